"""A music font as a score is drawn with it: complete, in the sizes of a print.

The font may be one of verovio's or a file. What it lacks is put together from
its own symbols (a small clef, `ff` of two letters, an 8 below a clef), or taken
from Leipzig, which has all that verovio draws. Verovio lays the score out with
the same sizes: `write` makes a font in its own format.
"""

import functools
import pathlib
import tempfile
import zipfile
from typing import NamedTuple

import verovio

from dwd_jax.engrave import font_files, outlines, smufl_classes, verovio_fonts
from dwd_jax.engrave.font_files import FontFile
from dwd_jax.engrave.outlines import Matrix
from dwd_jax.engrave.print_look import FONTS_OWN, Look
from dwd_jax.engrave.verovio_fonts import Metrics, VerovioFont

_NAME = "Score"  # of the font that `write` makes
_BLACK_HEAD = 0xE0A4
_FALLBACK = "Leipzig"
_CHANGES = {0xE07A: 0xE050, 0xE07B: 0xE05C, 0xE07C: 0xE062}
_CHANGE = 0.75  # size of a clef that changes, where the font has no such
LETTERS = dict(zip("pmfrszn", range(0xE520, 0xE527), strict=True))
# What letters of dynamics say together.
DYNAMICS = {
  0xE527: "pppppp", 0xE528: "ppppp", 0xE529: "pppp", 0xE52A: "ppp",
  0xE52B: "pp", 0xE52C: "mp", 0xE52D: "mf", 0xE52E: "pf", 0xE52F: "ff",
  0xE530: "fff", 0xE531: "ffff", 0xE532: "fffff", 0xE533: "ffffff",
  0xE534: "fp", 0xE535: "fz", 0xE536: "sf", 0xE537: "sfp", 0xE538: "sfpp",
  0xE539: "sfz", 0xE53A: "sfzp", 0xE53B: "sffz", 0xE53C: "rf", 0xE53D: "rfz",
}  # fmt: skip
# Clefs with an octave number: the clef, the number, and whether that is above.
OCTAVES = {
  0xE051: (0xE050, "15", False),
  0xE052: (0xE050, "8", False),
  0xE053: (0xE050, "8", True),
  0xE054: (0xE050, "15", True),
  0xE05D: (0xE05C, "8", False),
  0xE063: (0xE062, "15", False),
  0xE064: (0xE062, "8", False),
  0xE065: (0xE062, "8", True),
  0xE066: (0xE062, "15", True),
}
_DIGIT, _DIGIT_SCALE = 0xE080, 0.5
_LABELLED = smufl_classes.get("printed").glyphs  # the largest
_GAP = 20  # units between a clef and its number


class _Part(NamedTuple):
  """A symbol of a font, scaled and moved."""

  font: FontFile | VerovioFont
  code: int
  scale: float = 1.0
  x: float = 0.0
  y: float = 0.0

  @property
  def matrix(self) -> Matrix:
    """From the font to where it is."""
    return (self.scale, 0, 0, self.scale, self.x, self.y)


class _Complete:
  """A font with all symbols, in its own sizes."""

  def __init__(self, font: FontFile | VerovioFont):
    self._font = font
    self._known: dict[int, Metrics | None] = {}
    self._paths: dict[int, str] = {}

  def metrics(self, code: int) -> Metrics | None:
    """Of a symbol; None if there is no such symbol."""
    if code not in self._known:
      parts = self._parts(code)
      self._known[code] = _joined_metrics(parts) if parts else None
    return self._known[code]

  def path(self, code: int) -> str:
    """Path data of a symbol; "" if there is no such symbol."""
    if code not in self._paths:
      parts = self._parts(code)
      self._paths[code] = "".join(_moved(part) for part in parts)
    return self._paths[code]

  def clef_of(self, code: int) -> str:
    """Path data of the clef inside a clef with an octave number."""
    clef = OCTAVES[code][0]
    font = self._parts(code)[0].font
    return font.path(clef) if font.metrics(clef) else ""

  def _parts(self, code: int) -> list[_Part]:
    """What a symbol consists of; [] if it is unknown."""
    # Verovio's own fonts stay as verovio draws them.
    parts = self._composed(code) if isinstance(self._font, FontFile) else []
    # Fonts may draw another clef below an 8 than alone, which hides the 8.
    if parts and code in OCTAVES:
      return parts
    if self._font.metrics(code) is not None:
      return [_Part(self._font, code)]
    if parts:
      return parts
    fallback = verovio_fonts.read(_FALLBACK)
    return [_Part(fallback, code)] if fallback.metrics(code) else []

  def _composed(self, code: int) -> list[_Part]:
    """A symbol of several others of this font; [] if it lacks one of them."""
    if code in _CHANGES and self._font.metrics(_CHANGES[code]):
      return [_Part(self._font, _CHANGES[code], _CHANGE)]
    if code in DYNAMICS:
      return self._row([LETTERS[c] for c in DYNAMICS[code]], 1.0)
    if code not in OCTAVES:
      return []
    clef, number, above = OCTAVES[code]
    shape = self._font.metrics(clef)
    digits = self._row([_DIGIT + int(c) for c in number], _DIGIT_SCALE)
    if shape is None or not digits:
      return []
    x0, y0, x1, y1 = _joined_metrics(digits).bounds
    left, bottom, right, top = shape.bounds
    dx = (left + right - x0 - x1) / 2
    dy = top + _GAP - y0 if above else bottom - _GAP - y1
    moved = [part._replace(x=part.x + dx, y=dy) for part in digits]
    return [_Part(self._font, clef), *moved]

  def _row(self, codes: list[int], scale: float) -> list[_Part]:
    """Symbols side by side; [] if the font lacks one."""
    x, parts = 0.0, []
    for code in codes:
      metrics = self._font.metrics(code)
      if metrics is None:
        return []
      parts.append(_Part(self._font, code, scale, x))
      x += scale * metrics.advance
    return parts


def _moved(part: _Part) -> str:
  """Path data of a part of a symbol."""
  d = part.font.path(part.code)
  if part.matrix == outlines.IDENTITY:
    return d
  return outlines.path_data(outlines.commands(d), part.matrix)


def _joined_metrics(parts: list[_Part]) -> Metrics:
  """Metrics of a symbol of one or more parts."""
  bounds, ends = [], []
  for part in parts:
    metrics = part.font.metrics(part.code)
    assert metrics is not None
    if len(parts) == 1 and part.matrix == outlines.IDENTITY:
      return metrics
    bounds.append(outlines.transform_bounds(metrics.bounds, part.matrix))
    ends.append(part.x + part.scale * metrics.advance)
  return Metrics(outlines.union(bounds), max(ends), {})


@functools.lru_cache(maxsize=64)
def _complete(font: str) -> _Complete:
  own = font in verovio_fonts.NAMES
  return _Complete(verovio_fonts.read(font) if own else font_files.read(font))


class MusicFont:
  """The symbols of one score.

  Args:
    font: one of `verovio_fonts.NAMES`, or the path of a font file.
    look: the sizes of its symbols.

  Attributes:
    look: as given.
  """

  def __init__(self, font: str, look: Look = FONTS_OWN):
    self.look = look
    self._font = _complete(font)

  def path(self, code: int) -> str:
    """Path data of a symbol in the font's own size; "" if it is unknown.

    The y axis points upwards, an em has 1000 units.
    """
    return self._font.path(code)

  def scale(self, code: int) -> tuple[float, float]:
    """Width and height that the look gives a symbol, relative to the path's."""
    found = self._font.metrics(code)
    if found is None or self.look is FONTS_OWN:
      return 1.0, 1.0
    _, low, _, high = found.bounds
    return self.look.scale(code, high - low)

  def advance(self, code: int) -> float:
    """Width of a symbol with the room beside it, in ems."""
    found = self._font.metrics(code)
    return found.advance / 1000 * self.scale(code)[0] if found else 0.0

  def clef_of(self, code: int) -> str:
    """Path data of the clef in one with an octave number; "" = not known."""
    return self._font.clef_of(code)

  def write(self, path: pathlib.Path) -> None:
    """Writes the metrics for verovio's option `fontAddCustom`.

    The paths of glyphs are not in the file: the drawing takes them from here.
    """
    rows = []
    names = verovio_fonts.smufl_names()
    usual = verovio_fonts.usual_codes().union(_LABELLED)
    for code in sorted(usual & names.keys()):
      found = self._font.metrics(code)
      if found is not None:
        rows.append(self._row(code, names[code], found))
    text = "".join(
      [f'<bounding-boxes font-family="{_NAME}" units-per-em="1000">', *rows]
    )
    with zipfile.ZipFile(path, "w") as file:
      file.writestr(f"{_NAME}.xml", f"{text}</bounding-boxes>")

  def _row(self, code: int, name: str, metrics: Metrics) -> str:
    wide, high = self.scale(code)
    x0, y0, x1, y1 = metrics.bounds
    spaces = (
      wide / verovio_fonts.UNITS_PER_SPACE,
      high / verovio_fonts.UNITS_PER_SPACE,
    )
    anchors = "".join(
      f'<a n="{anchor}" x="{x * spaces[0]:.3f}" y="{y * spaces[1]:.3f}"/>'
      for anchor, (x, y) in metrics.anchors.items()
    )
    return (
      f'<g c="{code:04X}" n="{name}" x="{x0 * wide:.1f}" y="{y0 * high:.1f}"'
      f' w="{(x1 - x0) * wide:.1f}" h="{(y1 - y0) * high:.1f}"'
      f' h-a-x="{metrics.advance * wide:.1f}">{anchors}</g>'
    )


def set_options(
  toolkit: verovio.toolkit, font: str, look: Look, options: dict
) -> None:
  """Gives verovio its options, and the font for the layout of the next score.

  Args:
    font: as for `MusicFont`.
    options: of verovio, without those of fonts.
  """
  if font in verovio_fonts.NAMES and look is FONTS_OWN:
    toolkit.setOptions({**options, "font": font})
    return
  toolkit.setResourcePath(toolkit.getResourcePath())  # forgets the last one
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / f"{_NAME}.zip"
    MusicFont(font, look).write(path)
    custom = {"fontAddCustom": [str(path)], "font": _NAME}
    toolkit.setOptions({**options, **custom})


def head_height(font: str) -> float:
  """Height of the black notehead of a font, in its units."""
  found = _complete(font).metrics(_BLACK_HEAD)
  assert found is not None
  _, low, _, high = found.bounds
  return high - low
