"""Reads the SVG that LilyPond draws: grobs, their parts, a drawing of the page.

The prelude of `lilypond_programs` makes LilyPond label the group of every grob
(a graphical object: a note head, a clef) with its name and what else names
need. `read` finds which glyph of Emmentaler each path is, by the outlines in
the fonts that LilyPond itself draws from, sets texts as outlines of faces in
matplotlib's wheel, and redraws the page: boxes are measured on what is drawn.

Units are staff spaces.
"""

import dataclasses
import pathlib
import re
from collections.abc import Iterator

import matplotlib
import numpy as np
from lxml import etree  # pyright: ignore

from dwd_jax.core import safe_xml
from dwd_jax.engrave import (
  elements,
  outlines,
  text_fonts,
  text_outlines,
  verovio_svg,
)
from dwd_jax.engrave.music_fonts import MusicFont
from dwd_jax.engrave.outlines import Matrix

TEXT_FONTS = pathlib.Path(matplotlib.get_data_path(), "fonts/ttf")
# Files: regular, italic, bold, bold italic.
FACES = {
  "STIXGeneral": (
    "STIXGeneral", "STIXGeneralItalic", "STIXGeneralBol", "STIXGeneralBolIta",
  ),
  "DejaVu Serif": (
    "DejaVuSerif", "DejaVuSerif-Italic", "DejaVuSerif-Bold",
    "DejaVuSerif-BoldItalic",
  ),
}  # fmt: skip
FULL_SCALE = 0.004  # glyphs have 4 staff spaces to the em, 1000 units
_SVG = "{http://www.w3.org/2000/svg}"
_WHITE = re.compile(r"rgba?\((?:100\.0*%,? ?){3}|white$")
_SHAPES = {"path", "line", "rect", "polygon", "polyline", "circle", "ellipse"}
_GLYPH = re.compile(
  r'<glyph glyph-name="([^"]+)"[^>]*?\sd="([^"]+)"\s*/>', re.DOTALL
)
_STROKE = (
  "stroke-width", "stroke-linecap", "stroke-linejoin", "stroke-dasharray",
)  # fmt: skip


@dataclasses.dataclass(slots=True)
class Part:
  """One shape of a grob.

  Attributes:
    glyph: its name in Emmentaler, or a character in `'`; "" = a stroke.
    mark: where it is drawn.
    size: of a glyph, relative to its full size; 0 for others.
    outline: path data of a glyph.
  """

  glyph: str
  mark: verovio_svg.Mark
  size: float = 0.0
  outline: str = ""

  def contours(self) -> list[outlines.Bounds]:
    """Bounds of each contour of a glyph."""
    matrix = self.mark.matrix
    found = outlines.contours(self.outline)
    return [outlines.transform_bounds(bounds, matrix) for bounds in found]


@dataclasses.dataclass(slots=True)
class Grob:
  """A group of LilyPond; `name` is "" for what is in none, such as titles."""

  name: str
  data: dict[str, str]
  parts: list[Part]


def read(
  svg: bytes, glyphs: dict[str, str]
) -> tuple[list[Grob], verovio_svg.Page]:
  """Reads one page.

  Args:
    glyphs: names by outline, see `glyph_names`.

  Returns:
    Grobs in drawing order, and the drawing.
  """
  reader = _Reader(glyphs)
  for child in safe_xml.parse(svg):
    reader.walk(child, outlines.IDENTITY, reader.grobs[0])
  return reader.grobs, reader.page


def glyph_names(folder: pathlib.Path) -> dict[str, str]:
  """Names of the glyphs of all Emmentaler fonts in a folder, by outline."""
  found: dict[str, str] = {}
  for path in sorted(folder.glob("emmentaler-*.svg")):
    for name, outline in _GLYPH.findall(path.read_text(encoding="utf8")):
      found.setdefault(_plain(outline), name)
  return found


def _plain(d: str) -> str:
  return " ".join(d.split())


class _Reader:
  """The state of one reading."""

  def __init__(self, glyphs: dict[str, str]):
    self.glyphs = glyphs
    unused = MusicFont("Leipzig")  # paths of glyphs are in the SVG
    self.page = verovio_svg.Page(unused)
    self.grobs = [Grob("", {}, [])]

  def walk(self, element: etree._Element, m: Matrix, grob: Grob) -> None:
    """Reads an element of a grob and its children."""
    if not isinstance(element.tag, str):
      return  # a comment
    if _WHITE.match(element.get("color", "")):
      return  # hidden, or the ground of a text
    tag = element.tag.removeprefix(_SVG)
    transform = element.get("transform")
    if transform:
      m = outlines.multiply(m, outlines.parse_transform(transform))
    if tag in ("g", "a"):
      name = element.get("class", "")
      if name:
        data = {k[5:]: v for k, v in element.items() if k.startswith("data-")}
        grob = Grob(name, data, [])
        self.grobs.append(grob)
      for child in element:
        self.walk(child, m, grob)
    elif tag == "text":
      for d, char, at in _text(element, m):
        self._add(grob, f"'{char}", "path", f'd="{d}"', at)
    elif tag in _SHAPES:
      self._shape(element, tag, m, grob)

  def _shape(
    self, element: etree._Element, tag: str, m: Matrix, grob: Grob
  ) -> None:
    def given(*keys: str) -> str:
      return " ".join(f'{k}="{element.get(k, "0")}"' for k in keys)

    glyph, filled = "", element.get("fill", "") != "none"
    if tag == "path":
      d = _plain(element.get("d", ""))
      glyph, shape = self.glyphs.get(d, ""), f'd="{d}"'
    elif tag == "line":
      x0, y0, x1, y1 = (element.get(k, "0") for k in ("x1", "y1", "x2", "y2"))
      tag, shape, filled = "path", f'd="M{x0} {y0} L{x1} {y1}"', False
    elif tag == "rect":
      shape = given("x", "y", "width", "height", "ry")
    elif tag == "circle":
      tag, r = "ellipse", element.get("r", "0")
      shape = f'{given("cx", "cy")} rx="{r}" ry="{r}"'
    elif tag == "ellipse":
      shape = given("cx", "cy", "rx", "ry")
    else:
      shape = given("points")
    strokes = [k for k in _STROKE if element.get(k)]
    shape += "" if filled else ' fill="none"'
    shape += f" {given(*strokes)}" if strokes else ""
    self._add(grob, glyph, tag, shape, m)

  def _add(
    self, grob: Grob, glyph: str, tag: str, shape: str, m: Matrix
  ) -> None:
    """Draws and measures a shape; a shape without points is nothing."""
    place = ",".join(f"{v:.7g}" for v in m)
    drawn = f'<{tag} {shape} transform="matrix({place})"/>'
    element = elements.read(drawn, {})
    if element is None or not element.lines:
      return
    by = element.stroke / 2  # ends and corners are round
    bounds = outlines.grow(_bounds(element, tag, shape, m), by)
    self.page.body.append(drawn)
    end = len(self.page.body)
    mark = verovio_svg.Mark(0, tag, bounds, 0.0, 0, (end - 1, end), matrix=m)
    size = abs(m[0] * m[3] - m[1] * m[2]) ** 0.5 / FULL_SCALE if glyph else 0.0
    outline = shape.split('"')[1] if glyph else ""
    grob.parts.append(Part(glyph, mark, size, outline))


def _bounds(
  element: elements.Element, tag: str, shape: str, m: Matrix
) -> outlines.Bounds:
  """Bounds of an outline, exact for paths that are upright."""
  if tag == "path" and not (m[1] or m[2]):
    parts = outlines.contours(shape.split('"')[1])
    if parts:
      return outlines.transform_bounds(outlines.union(parts), m)
  points = np.concatenate(element.lines)
  x0, y0, x1, y1 = (*points.min(0).tolist(), *points.max(0).tolist())
  return x0, y0, x1, y1


def _text(
  element: etree._Element, m: Matrix
) -> Iterator[tuple[str, str, Matrix]]:
  """The characters of a text as (outline, character, matrix)."""
  bold = "bold" in element.get("font-weight", "")
  italic = "italic" in element.get("font-style", "")
  names = FACES.get(element.get("font-family", "")) or FACES["STIXGeneral"]
  file = str(TEXT_FONTS / f"{names[italic + 2 * bold]}.ttf")
  (size,) = outlines.numbers(element.get("font-size", "0"))[:1] or [0.0]
  x = 0.0
  for char in "".join(element.itertext()).strip("\n"):
    shape = text_outlines.glyph(char, file, slant=0.0)
    if shape.d and size and text_fonts.load(file).has(char):
      scale = size / shape.units
      yield shape.d, char, outlines.multiply(m, (scale, 0, 0, -scale, x, 0))
    x += shape.advance * size
