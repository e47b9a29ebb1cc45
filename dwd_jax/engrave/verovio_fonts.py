"""The music fonts in verovio's wheel: paths and metrics of their glyphs.

Units are those of verovio's fonts: 1000 per em, 250 per staff space, y up.
"""

import functools
import pathlib
import re
from collections.abc import Mapping
from typing import NamedTuple

import verovio
from lxml import etree  # pyright: ignore

from dwd_jax.engrave.outlines import Bounds

CODES = range(0xE000, 0xF900)  # of SMuFL: Unicode's private use area
NAMES = ("Leipzig", "Bravura", "Leland", "Gootville", "Petaluma")
UNITS_PER_SPACE = 250
_DATA = pathlib.Path(str(verovio.__file__)).parent / "data"
_PATH = re.compile(r' d="([^"]*)"')


class Metrics(NamedTuple):
  """What a layout needs of a glyph.

  Attributes:
    bounds: of its ink.
    advance: from its origin to that of the next.
    anchors: points by SMuFL's names, such as where a stem begins.
  """

  bounds: Bounds
  advance: float
  anchors: Mapping[str, tuple[float, float]]


class VerovioFont:
  """One of verovio's fonts."""

  def __init__(self, name: str):
    self._name = name

  def metrics(self, code: int) -> Metrics | None:
    """The metrics of a symbol; None if the font has none."""
    return self._table.get(code)

  def path(self, code: int) -> str:
    """Path data of a symbol that has metrics."""
    file = _DATA / self._name / f"{code:04X}.xml"
    found = _PATH.search(file.read_text())
    return found.group(1) if found else ""

  @functools.cached_property
  def _table(self) -> dict[int, Metrics]:
    table = {}
    for g in etree.parse(_DATA / f"{self._name}.xml").getroot():
      x, y, w, h, advance = (
        float(g.get(k, 0)) for k in ("x", "y", "w", "h", "h-a-x")
      )
      anchors = {
        a.get("n"): (
          UNITS_PER_SPACE * float(a.get("x")),
          UNITS_PER_SPACE * float(a.get("y")),
        )
        for a in g
      }
      code = int(g.get("c"), 16)
      table[code] = Metrics((x, y, x + w, y + h), advance, anchors)
    return table


@functools.cache
def read(name: str) -> VerovioFont:
  """One of `NAMES`."""
  return VerovioFont(name)


@functools.cache
def smufl_names() -> dict[int, str]:
  """SMuFL's names of all symbols that verovio draws, by code point."""
  rows = etree.parse(_DATA / "Bravura.xml").getroot()
  return {int(g.get("c"), 16): g.get("n") for g in rows}


def usual_codes() -> frozenset[int]:
  """The symbols of verovio's smallest font, which is enough for most music."""
  return frozenset(read("Gootville")._table)
