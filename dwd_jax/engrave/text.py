"""Text as glyph outlines, so that pages look the same on every machine.

The Liberation Serif faces inside verovio's wheel have the metrics that verovio
lays text out with. No font of the system is used.
"""

import base64
import functools
import io
import pathlib
import re

import verovio
from fontTools.pens.boundsPen import BoundsPen
from fontTools.pens.svgPathPen import SVGPathPen
from fontTools.ttLib import TTFont

from dwd_jax.engrave.outlines import Bounds

_DATA = pathlib.Path(str(verovio.__file__)).parent / "data"
_SOURCE = re.compile(r"base64,([A-Za-z0-9+/=]+)")
_PUA = range(0xE000, 0xF8FF)  # SMuFL's code points


class Glyph:
  """One character: outline, advance and bounds for a font size of 1, y down."""

  def __init__(self, key: str, d: str, advance: float, bounds: Bounds | None):
    """Stores what `glyph` found; `d` is in font units, y up."""
    self.key = key
    self.d = d
    self.advance = advance
    self.bounds = bounds


@functools.lru_cache(maxsize=1)
def _faces() -> tuple[TTFont, ...]:
  """Regular, bold, italic, bold italic."""
  css = (_DATA / "Liberation.css").read_text()
  return tuple(
    TTFont(io.BytesIO(base64.b64decode(source)))
    for source in _SOURCE.findall(css)
  )


@functools.lru_cache(maxsize=4096)
def glyph(char: str, bold: bool, italic: bool) -> Glyph:
  """The outline of a text character; an unknown one gives the missing glyph."""
  face = bold + 2 * italic
  font = _faces()[face]
  units = font["head"].unitsPerEm  # pyright: ignore
  name = (font.getBestCmap() or {}).get(ord(char), ".notdef")
  glyphs = font.getGlyphSet()
  pen, bounds_pen = SVGPathPen(glyphs), BoundsPen(glyphs)
  glyphs[name].draw(pen)
  glyphs[name].draw(bounds_pen)
  bounds = None
  if bounds_pen.bounds:
    x0, y0, x1, y1 = (v / units for v in bounds_pen.bounds)
    bounds = (x0, -y1, x1, -y0)
  key = f"t{face}-{ord(char):x}"
  return Glyph(key, pen.getCommands(), glyphs[name].width / units, bounds)


def units_per_em() -> int:
  """Font units per font size of the text faces."""
  return _faces()[0]["head"].unitsPerEm  # pyright: ignore


def is_music(char: str) -> bool:
  """Whether the character is a SMuFL symbol set inside a text."""
  return ord(char) in _PUA


@functools.lru_cache(maxsize=64)
def _advances(font: str) -> dict[int, float]:
  table = (_DATA / f"{font}.xml").read_text()
  return {
    int(code, 16): float(advance) / 1000
    for code, advance in re.findall(
      r'<g c="([0-9A-F]+)"[^>]*? h-a-x="([\d.]+)"', table
    )
  }


@functools.lru_cache(maxsize=4096)
def music_glyph(char: str, font: str) -> tuple[str, float] | None:
  """Outline (1000 units per em, y up) and advance of a SMuFL symbol.

  Args:
    char: the symbol.
    font: name of one of verovio's fonts.

  Returns:
    (path data, advance for a font size of 1), or None where neither the font
    nor Leipzig has it.
  """
  code = ord(char)
  for name in (font, "Leipzig"):
    path = _DATA / name / f"{code:04X}.xml"
    if re.fullmatch(r"\w+", name) and path.is_file():
      d = re.search(r' d="([^"]*)"', path.read_text())
      if d:
        return d.group(1), _advances(name).get(code, 0.5)
  return None
