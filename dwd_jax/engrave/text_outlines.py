"""Text as glyph outlines, so that pages look the same on every machine.

`TextSetter` sets the `<text>` elements of verovio's SVG. The Liberation Serif
faces inside verovio's wheel have the metrics that verovio lays text out with;
no font of the system is used.
"""

import base64
import dataclasses
import functools
import io
import pathlib
import re

import verovio
from fontTools.pens.boundsPen import BoundsPen
from fontTools.pens.svgPathPen import SVGPathPen
from fontTools.ttLib import TTFont
from lxml import etree  # pyright: ignore

from dwd_jax.engrave import outlines
from dwd_jax.engrave.music_fonts import MusicFont
from dwd_jax.engrave.outlines import Bounds, Matrix

_DATA = pathlib.Path(str(verovio.__file__)).parent / "data"
_SOURCE = re.compile(r"base64,([A-Za-z0-9+/=]+)")
_PUA = range(0xE000, 0xF8FF)  # SMuFL's code points
_BOLD = {"ending", "fing", "reh", "tempo"}  # as in verovio's style sheet
_ITALIC = {"dir", "dynam", "mNum"}


@dataclasses.dataclass(frozen=True)
class Glyph:
  """One character: outline in font units, y up; the rest at size 1, y down."""

  key: str
  d: str
  advance: float
  bounds: Bounds | None


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
  """The outline of a text character, or the missing glyph."""
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
  """Whether a character of a text is a SMuFL symbol."""
  return ord(char) in _PUA


@dataclasses.dataclass(frozen=True)
class _Style:
  """What a tspan inherits."""

  size: float
  bold: bool
  italic: bool
  music: MusicFont

  def inside(self, element: etree._Element) -> "_Style":
    """The style of a child element."""
    new = {}
    size = outlines.numbers(element.get("font-size", ""))
    if size:
      new["size"] = size[0]
    if element.get("font-weight"):
      new["bold"] = element.get("font-weight") == "bold"
    if element.get("font-style"):
      new["italic"] = element.get("font-style") in ("italic", "oblique")
    return dataclasses.replace(self, **new) if new else self


@dataclasses.dataclass
class _Chunk:
  """Characters from one absolute position on."""

  x: float
  y: float
  anchor: str
  runs: list[tuple[str, _Style]]


class TextSetter:
  """Sets the texts of one page, with the symbols of a music font.

  Attributes:
    defs: definitions of the glyphs in use.
  """

  def __init__(self, music: MusicFont):
    self.music = music
    self.defs: dict[str, str] = {}

  def set(
    self, element: etree._Element, m: Matrix, classes: set[str]
  ) -> tuple[Bounds | None, list[str], str]:
    """Sets one `<text>`.

    Returns:
      (bounds of the ink or None, SVG elements, the characters).
    """
    bold = bool(classes & _BOLD) and "label" not in classes
    style = _Style(0.0, bold, bool(classes & _ITALIC), self.music)
    chunks: list[_Chunk] = []
    self._collect(element, style.inside(element), "start", chunks)
    boxes, drawn = [], []
    for chunk in chunks:
      self._draw(chunk, m, boxes, drawn)
    chars = "".join(part for chunk in chunks for part, _ in chunk.runs)
    return (outlines.union(boxes) if boxes else None), drawn, chars

  def _collect(
    self,
    element: etree._Element,
    style: _Style,
    anchor: str,
    chunks: list[_Chunk],
  ) -> None:
    anchor = element.get("text-anchor", anchor)
    x, y = element.get("x"), element.get("y")
    if x is not None or y is not None or not chunks:
      last = chunks[-1] if chunks else _Chunk(0, 0, anchor, [])
      chunks.append(
        _Chunk(
          outlines.numbers(x)[0] if x else last.x,
          outlines.numbers(y)[0] if y else last.y,
          anchor,
          [],
        )
      )
    # Characters of size 0 are indentation between the tspans.
    if element.text and style.size > 0:
      chunks[-1].runs.append((element.text, style))
    for child in element:
      if isinstance(child.tag, str):
        self._collect(child, style.inside(child), anchor, chunks)
      if child.tail and style.size > 0:
        chunks[-1].runs.append((child.tail, style))

  def _draw(
    self, chunk: _Chunk, m: Matrix, boxes: list[Bounds], drawn: list[str]
  ) -> None:
    glyphs = []  # key, bounds for size 1, scale of the outline, size, x
    x = 0.0
    for part, style in chunk.runs:
      for char in part:
        key, bounds, unit, advance = self._glyph(char, style)
        glyphs.append((key, bounds, style.size * unit, style.size, x))
        x += advance * style.size
    start = chunk.x - x * {"middle": 0.5, "end": 1.0}.get(chunk.anchor, 0.0)
    for key, bounds, scale, size, left in glyphs:
      if bounds is None:
        continue
      at = outlines.multiply(m, (1, 0, 0, 1, start + left, chunk.y))
      boxes.append(
        outlines.transform_bounds(
          bounds, outlines.multiply(at, (size, 0, 0, size, 0, 0))
        )
      )
      place = outlines.multiply(at, (scale, 0, 0, -scale, 0, 0))
      numbers = ",".join(f"{v:.6g}" for v in place)
      drawn.append(f'<use xlink:href="#{key}" transform="matrix({numbers})"/>')

  def _glyph(
    self, char: str, style: _Style
  ) -> tuple[str, Bounds | None, float, float]:
    """Key of the definition, bounds, outline units, advance for size 1."""
    if is_music(char):
      d = style.music.path(ord(char))
      if d:
        wide, high = style.music.scale(ord(char))
        key = f"m{ord(char):x}"
        self.defs[key] = (
          f'<path id="{key}" transform="scale({wide:.6g},{high:.6g})" d="{d}"/>'
        )
        parts = outlines.contours(d)
        bounds = None
        if parts:
          size = (wide / 1000, 0, 0, -high / 1000, 0, 0)
          bounds = outlines.transform_bounds(outlines.union(parts), size)
        return key, bounds, 1 / 1000, style.music.advance(ord(char))
    shape = glyph(char, style.bold, style.italic)
    self.defs[shape.key] = f'<path id="{shape.key}" d="{shape.d}"/>'
    return shape.key, shape.bounds, 1 / units_per_em(), shape.advance
