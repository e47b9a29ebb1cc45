"""Text as glyph outlines: no program that draws a page needs a font.

`TextSetter` sets the `<text>` elements of verovio's SVG, and lines of our own.
Verovio lays texts out in the Liberation Serif of its wheel; in another face
they are narrowed until they fit.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

from fontTools.pens.boundsPen import BoundsPen
from fontTools.pens.svgPathPen import SVGPathPen
from fontTools.pens.transformPen import TransformPen
from lxml import etree  # pyright: ignore

from dwd_jax.engrave import outlines, text_fonts, verovio_fonts
from dwd_jax.engrave.music_fonts import MusicFont
from dwd_jax.engrave.outlines import Bounds, Matrix
from dwd_jax.engrave.text_faces import Face, Faces, plain

# Of verovio's width, where something stands beside a text, and where not.
_WIDEST, _WIDEST_ALONE = 1.03, 1.6
_SHARE = {"start": 0.0, "middle": 0.5, "end": 1.0}
_NARROWEST = 0.55  # share of a face's width; then it gets wider than it should


@dataclasses.dataclass(frozen=True)
class Glyph:
  """One character: outline in font units, y up; the rest at size 1, y down.

  Attributes:
    key: of its definition.
    bounds: of the slanted outline, None if it has no ink.
    units: font units per em.
  """

  key: str
  d: str
  advance: float
  bounds: Bounds | None
  units: int


@functools.lru_cache(maxsize=8192)
def glyph(char: str, file: str, slant: float) -> Glyph:
  """The outline of a text character, or the missing glyph.

  Args:
    file: see `text_fonts.TextFont`.
    slant: see `Face`.
  """
  font = text_fonts.load(file)
  key = f"t{font.number}-{ord(char):x}"
  if char.isspace():
    return Glyph(key, "", font.advance(char), None, font.units)
  shape = font.glyphs[font.names.get(ord(char), ".notdef")]
  pen, bounds_pen = SVGPathPen(font.glyphs), BoundsPen(font.glyphs)
  shape.draw(pen)
  shape.draw(TransformPen(bounds_pen, (1, 0, slant, 1, 0, 0)))
  bounds = None
  if bounds_pen.bounds:
    x0, y0, x1, y1 = (v / font.units for v in bounds_pen.bounds)
    bounds = (x0, -y1, x1, -y0)
  return Glyph(key, pen.getCommands(), font.advance(char), bounds, font.units)


def _is_music(char: str) -> bool:
  """Whether a character of a text is a SMuFL symbol."""
  return ord(char) in verovio_fonts.CODES


@dataclasses.dataclass(frozen=True)
class _Style:
  """What a tspan inherits."""

  size: float
  bold: bool
  italic: bool
  raised: float = 0.0  # above the line

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


class Inked(NamedTuple):
  """A character that is drawn.

  Attributes:
    code: of a SMuFL symbol; 0 for letters.
    bounds: of its ink, in page units.
    matrix: glyph to page, of a symbol; see `verovio_svg.Mark`.
    drawn: SVG element.
  """

  code: int
  bounds: Bounds
  matrix: Matrix
  drawn: str


@dataclasses.dataclass(frozen=True)
class _Placed:
  """A character of a line; distances in page units."""

  key: str
  bounds: Bounds | None
  x: float
  scale: tuple[float, float]  # of bounds at size 1
  unit: float  # of the outline, at size 1
  raised: float = 0.0
  slant: float = 0.0
  fat: float = 0.0  # in em
  code: int = 0  # of a symbol


class TextSetter:
  """Sets the texts of one page, with the symbols of a music font."""

  def __init__(
    self, music: MusicFont, defs: dict[str, str], faces: Faces | None = None
  ):
    """Prepares a page.

    Args:
      music: for symbols inside texts.
      defs: of the page, to which those of glyphs are added.
      faces: of the texts; None = those of verovio's layout.
    """
    self.music = music
    self.defs = defs
    self.faces = faces or Faces()

  def typeset(
    self, element: etree._Element, m: Matrix, classes: set[str]
  ) -> tuple[list[Inked], str]:
    """Sets one `<text>`.

    Returns:
      What is drawn, and all characters.
    """
    bold, italic = self.faces.style(classes)
    style = _Style(0.0, bold, italic)
    chunks: list[_Chunk] = []
    self._collect(element, style.inside(element), "start", chunks)
    inked = [item for c in chunks for item in self._draw(c, m, classes)]
    chars = "".join(part for chunk in chunks for part, _ in chunk.runs)
    return inked, chars

  def line(
    self,
    text: str,
    at: tuple[float, float],
    size: float,
    face: Face,
    anchor: str = "start",
    width: float = 0.0,
  ) -> list[Inked]:
    """Sets a line of our own.

    Args:
      at: x and y of its start, middle or end on the base line.
      size: of the em, in page units.
      anchor: start, middle or end.
      width: to justify the line to, in page units; 0 = as it is.
    """
    placed, length = self._line(text, size, face)
    spaces = text.count(" ")
    if width and spaces:
      more, shift = (width - length) / spaces, 0.0
      for i, char in enumerate(text):
        placed[i] = dataclasses.replace(placed[i], x=placed[i].x + shift)
        shift += more * (char == " ")
    start = (at[0] - length * _SHARE[anchor], at[1])
    return list(self._ink(placed, start, outlines.IDENTITY))

  def length(self, text: str, size: float, face: Face) -> float:
    """How long a line is, in page units."""
    return self._line(text, size, face)[1]

  def _line(
    self, text: str, size: float, face: Face
  ) -> tuple[list[_Placed], float]:
    able = self._able(text, face, plain(False, False))
    return self._place(text, size, able)

  def _collect(
    self,
    element: etree._Element,
    style: _Style,
    anchor: str,
    chunks: list[_Chunk],
  ) -> _Style:
    """Adds what an element holds; returns the style of what follows."""
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
    down = outlines.numbers(element.get("dy", ""))
    if down:
      style = dataclasses.replace(style, raised=style.raised - down[0])
    # Characters of size 0 are indentation between the tspans.
    if element.text and style.size > 0:
      chunks[-1].runs.append((element.text, style))
    for child in element:
      if isinstance(child.tag, str):
        inner = self._collect(child, style.inside(child), anchor, chunks)
        style = dataclasses.replace(style, raised=inner.raised)
      if child.tail and style.size > 0:
        chunks[-1].runs.append((child.tail, style))
    return style

  def _draw(
    self, chunk: _Chunk, m: Matrix, classes: set[str]
  ) -> Iterator[Inked]:
    def set_out(fit: float) -> list[tuple[list[_Placed], float]]:
      return [
        self._place(text, style.size, face, fit) for text, style, face in runs
      ]

    runs, planned = [], 0.0
    for text, style in chunk.runs:
      other = plain(style.bold, style.italic)
      face = self.faces.face(classes, style.bold, style.italic)
      planned += self._width(text, style)
      runs.append((text, style, self._able(text, face, other)))
    pieces = set_out(1.0)
    natural = sum(length for _, length in pieces)
    alone = self.faces.may_widen(classes)
    widest = planned * (_WIDEST_ALONE if alone else _WIDEST)
    if natural > widest > 0:
      pieces = set_out(max(widest / natural, _NARROWEST))
    placed, x = [], 0.0
    for (_, style, _), (new, length) in zip(runs, pieces, strict=True):
      placed += [
        dataclasses.replace(p, x=p.x + x, raised=style.raised) for p in new
      ]
      x += length
    start = (chunk.x - x * _SHARE[chunk.anchor], chunk.y)
    return self._ink(placed, start, m)

  def _able(self, text: str, face: Face, other: Face) -> Face:
    """The face, or the other one where the face lacks a character."""
    font = text_fonts.load(face.file)
    able = all(font.has(char) or _is_music(char) for char in text)
    return face if able else other

  def _width(self, text: str, style: _Style) -> float:
    """The length of a text as verovio laid it out."""
    font = text_fonts.load(plain(style.bold, style.italic).file)
    total = 0.0
    for char in text:
      if _is_music(char):
        total += self.music.advance(ord(char))
      else:
        total += font.advance(char)
    return total * style.size

  def _place(
    self, text: str, size: float, face: Face, fit: float = 1.0
  ) -> tuple[list[_Placed], float]:
    """The characters of a text from x = 0 on, and its length."""
    placed, x = [], 0.0
    own = size * face.size
    wide = own * face.width * fit
    for char in text:
      if _is_music(char):
        key, bounds, advance = self._music(char)
        both = (size, size)
        placed.append(_Placed(key, bounds, x, both, 1 / 1000, code=ord(char)))
        x += advance * size
        continue
      shape = glyph(char, face.file, face.slant)
      if shape.key not in self.defs:
        self.defs[shape.key] = f'<path id="{shape.key}" d="{shape.d}"/>'
      placed.append(
        _Placed(
          shape.key, shape.bounds, x, (wide, own), 1 / shape.units,
          slant=face.slant, fat=face.fat,
        )
      )  # fmt: skip
      x += (shape.advance + face.tracking + face.fat / 2) * wide
    return placed, x

  def _music(self, char: str) -> tuple[str, Bounds | None, float]:
    """Key of the definition, bounds and advance of a SMuFL symbol."""
    code = ord(char)
    d = self.music.path(code)
    wide, high = self.music.scale(code)
    key = f"m{code:x}"
    self.defs[key] = (
      f'<path id="{key}" transform="scale({wide:.6g},{high:.6g})" d="{d}"/>'
    )
    parts = outlines.contours(d) if d else ()
    bounds = None
    if parts:
      size = (wide / 1000, 0, 0, -high / 1000, 0, 0)
      bounds = outlines.transform_bounds(outlines.union(parts), size)
    return key, bounds, self.music.advance(code)

  def _ink(
    self, placed: list[_Placed], start: tuple[float, float], m: Matrix
  ) -> Iterator[Inked]:
    """Draws characters at their places from the start of a line on."""
    for item in placed:
      if item.bounds is None:
        continue
      x, y = start[0] + item.x, start[1] - item.raised
      wide, high = item.scale
      at = outlines.multiply(m, (wide, 0, 0, high, x, y))
      x0, y0, x1, y1 = item.bounds
      grown = item.fat / 2 * math.hypot(1, item.slant), item.fat / 2
      bounds = x0 - grown[0], y0 - grown[1], x1 + grown[0], y1 + grown[1]
      unit = item.unit
      place = outlines.multiply(at, (unit, 0, item.slant * unit, -unit, 0, 0))
      numbers = ",".join(f"{v:.6g}" for v in place)
      stroke = ""
      if item.fat:
        stroke = f' stroke-width="{item.fat / unit:.4g}"'
        stroke += ' stroke-linejoin="round"'
      matrix = outlines.IDENTITY
      if item.code:
        look = self.music.scale(item.code)
        matrix = outlines.multiply(
          at, (look[0] * unit, 0, 0, look[1] * unit, 0, 0)
        )
      drawn = f'<use xlink:href="#{item.key}" transform="matrix({numbers})"'
      bounds = outlines.transform_bounds(bounds, at)
      yield Inked(item.code, bounds, matrix, f"{drawn}{stroke}/>")
