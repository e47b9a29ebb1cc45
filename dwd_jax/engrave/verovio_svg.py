"""Reads verovio's SVG: where every mark is, and a plain drawing of the page.

Verovio's SVG is a tree of groups (class `note`, `clef`, ...) of marks: glyphs,
strokes, texts. `read_page` keeps the tree as a flat list, measures each mark,
and redraws the page without style sheets, hidden placeholders and fonts, in
units of verovio (1/180 of a staff space). `render` turns SVG into pixels.
"""

import dataclasses
import math
import re
from collections.abc import Sequence

import numpy as np
import pyvips
from lxml import etree  # pyright: ignore

from dwd_jax.core import safe_xml
from dwd_jax.engrave import outlines
from dwd_jax.engrave.music_fonts import MusicFont
from dwd_jax.engrave.outlines import Bounds, Matrix
from dwd_jax.engrave.print_look import FONTS_OWN, Look
from dwd_jax.engrave.text_faces import Faces
from dwd_jax.engrave.text_outlines import Inked, TextSetter

UNITS_PER_SPACE = 180  # verovio units between two staff lines at scale 100
# What labels need and no drawing shows: verovio's `svgAdditionalAttribute`.
ATTRIBUTES = (
  "note@grace", "chord@grace", "note@staff", "chord@staff", "staff@n",
  "barLine@form",
)  # fmt: skip
_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
POINTS = re.compile(r'( (?:points|d)=")([^"]*)"')  # of an element in a drawing
_GLYPH = re.compile(r"#?([0-9A-F]{4,5})-")
# Verovio draws modern maxima rests as mensural ones.
_MODERN = {0xE9F0: 0xE4E0}
BEAMS = {"beam", "beamSpan", "fTrem"}  # with bars of tremolos
_DOT = 0.4  # staff spaces: diameter of the dots that verovio draws
_SHAPES = {"path", "ellipse", "rect", "polygon", "polyline"}
_KEPT = (
  "d", "cx", "cy", "rx", "ry", "x", "y", "width", "height", "points", "fill",
  "fill-opacity", "stroke-width", "stroke-linecap", "stroke-linejoin",
  "stroke-dasharray",
)  # fmt: skip
_SKIPPED_CLASSES = {"placeholder", "pageMilestone", "systemMilestoneEnd"}
_COMPRESSION = 4  # zlib level: half the time of 6 for 5 % more bytes


@dataclasses.dataclass(slots=True)
class Mark:
  """Something drawn.

  Attributes:
    code: SMuFL code point of a glyph; 0 for strokes and texts.
    tag: SVG tag: use, path, ellipse, rect, polygon, polyline, text.
    bounds: of the ink, in page units.
    scale: em of a glyph relative to 1000 page units, whatever the sizes of
      the print: 0.72 = of full size; 0 for others.
    group: index into `Page.groups`.
    drawn: range of its elements in `Page.body`.
    matrix: glyph to page.
    text: the characters of a text.
  """

  code: int
  tag: str
  bounds: Bounds
  scale: float
  group: int
  drawn: tuple[int, int]
  matrix: Matrix = outlines.IDENTITY
  text: str = ""


@dataclasses.dataclass(slots=True)
class Group:
  """A `<g>` with a class; `marks` are indices of the marks directly in it."""

  cls: str
  parent: int
  data: dict[str, str]
  marks: list[int]
  id: str = ""


@dataclasses.dataclass
class Page:
  """One engraved page, in verovio units; empty until something is drawn.

  Attributes:
    music: the font that its symbols are drawn with.
    groups: parents before children; group 0 is the page.
    marks: in drawing order.
    glyphs: path data (y up, 1000 units per em) by SMuFL code point, of the
      symbols on the page.
    body: the drawing, SVG elements without a root.
    defs: the definitions that `body` uses.
  """

  music: MusicFont
  groups: list[Group] = dataclasses.field(
    default_factory=lambda: [Group("page", -1, {}, [])]
  )
  marks: list[Mark] = dataclasses.field(default_factory=list)
  glyphs: dict[int, str] = dataclasses.field(default_factory=dict)
  body: list[str] = dataclasses.field(default_factory=list)
  defs: dict[str, str] = dataclasses.field(default_factory=dict)

  def children(self) -> list[list[int]]:
    """Indices of the groups directly in each group."""
    found: list[list[int]] = [[] for _ in self.groups]
    for index, group in enumerate(self.groups[1:], 1):
      found[group.parent].append(index)
    return found

  def points(self, mark: Mark) -> list[tuple[float, float]]:
    """The points of a polygon or of lines as drawn; [] for curves."""
    found = POINTS.search(self.body[mark.drawn[0]])
    if found is None or "C" in found[2]:
      return []
    numbers = outlines.numbers(found[2])
    return list(zip(numbers[0::2], numbers[1::2], strict=True))


def to_svg(
  page: Page, width_px: int, height_px: int, px_per_unit: float
) -> str:
  """The page as a self-contained SVG image of the given size."""
  w, h = width_px / px_per_unit, height_px / px_per_unit
  return "".join(
    [
      '<svg xmlns="http://www.w3.org/2000/svg" '
      'xmlns:xlink="http://www.w3.org/1999/xlink" '
      f'width="{width_px}" height="{height_px}" viewBox="0 0 {w:.6f} {h:.6f}">'
      "<defs>",
      *page.defs.values(),
      '</defs><g stroke="#000" stroke-width="0">',
      *page.body,
      "</g></svg>",
    ]
  )


def read_page(
  svg: str, font: str, look: Look = FONTS_OWN, faces: Faces | None = None
) -> Page:
  """Measures and redraws one page.

  Args:
    svg: verovio's output; other SVG is not understood.
    font: the music font, as verovio laid the page out with it.
    look: the sizes of its symbols, and the thickness of beams.
    faces: of texts and digits; None = those of verovio's layout.
  """
  root = safe_xml.parse(svg)
  reader = _Reader(MusicFont(font, look), faces)
  for child in root:
    if child.tag == f"{_SVG}svg":
      for part in child:
        reader.walk(part, outlines.IDENTITY, 0)
  return reader.page


def render(svg: str) -> pyvips.Image:
  """Draws an SVG of black ink on transparent ground.

  Returns:
    One 8-bit band, 255 = paper, 0 = ink, of the SVG's width and height.
  """
  image = pyvips.Image.svgload_buffer(svg.encode())
  # The ink is black, so its opacity is the whole picture: no blending.
  return image.extract_band(3).invert()  # pyright: ignore


def to_png(image: pyvips.Image) -> bytes:
  """Encodes an image as PNG without metadata."""
  return image.pngsave_buffer(  # pyright: ignore
    compression=_COMPRESSION,
    keep="none",  # pyright: ignore
  )


def to_array(image: pyvips.Image) -> np.ndarray:
  """The pixels of a one-band image, uint8 [H, W]."""
  return np.asarray(image.numpy())


class _Reader:
  """The state of one reading."""

  def __init__(self, music: MusicFont, faces: Faces | None):
    self.page = Page(music)
    self.text = TextSetter(music, self.page.defs, faces)

  def walk(self, element: etree._Element, m: Matrix, group: int) -> None:
    """Reads an element and its children."""
    if not isinstance(element.tag, str):
      return  # a comment
    tag = element.tag.removeprefix(_SVG)
    if tag == "g":
      self._group(element, m, group)
    elif tag == "use":
      self._use(element, m, group)
    elif tag == "text":
      self._text(element, m, group)
    elif tag in _SHAPES:
      self._shape(element, tag, m, group)

  def _group(self, element: etree._Element, m: Matrix, group: int) -> None:
    classes = element.get("class", "").split()
    if _SKIPPED_CLASSES & set(classes):
      return
    if classes:
      data = {k[5:]: v for k, v in element.items() if k.startswith("data-")}
      name = element.get("id", "")
      cls = classes[0] if classes[0] != "oStaff" else "staff"  # of an ossia
      self.page.groups.append(Group(cls, group, data, [], name))
      group = len(self.page.groups) - 1
    transform = element.get("transform")
    if transform:
      m = outlines.multiply(m, outlines.parse_transform(transform))
    for child in element:
      self.walk(child, m, group)

  def _style(self, group: int) -> set[str]:
    """Classes of all surrounding groups, which decide on bold and italic."""
    found = set()
    while group >= 0:
      found.add(self.page.groups[group].cls)
      group = self.page.groups[group].parent
    return found

  def _last(self) -> tuple[int, int]:
    """Range of the last element in the body."""
    return len(self.page.body) - 1, len(self.page.body)

  def _add(self, mark: Mark) -> None:
    self.page.groups[mark.group].marks.append(len(self.page.marks))
    self.page.marks.append(mark)

  def _define(self, code: int) -> bool:
    """Makes a symbol ready for use; says whether there is one."""
    if code not in self.page.glyphs:
      d = self.page.music.path(code)
      if not d:
        return False
      d = self.text.faces.digit(code, d)
      self.page.glyphs[code] = d
      key = f"g{code:X}"
      self.page.defs[key] = (
        f'<path id="{key}" transform="scale(1,-1)" d="{d}"/>'
      )
    return True

  def _use(self, element: etree._Element, m: Matrix, group: int) -> None:
    code = _GLYPH.match(element.get(_HREF) or element.get("href") or "")
    value = int(code.group(1), 16) if code else 0
    value = _MODERN.get(value, value)
    if not self._define(value):
      return
    m = outlines.multiply(
      m, outlines.parse_transform(element.get("transform", ""))
    )
    scale = math.hypot(*m[:2])
    wide, high = self.page.music.scale(value)
    m = outlines.multiply(m, (wide, 0, 0, high, 0, 0))
    place = ",".join(f"{v:.6g}" for v in m)
    self.page.body.append(
      f'<use xlink:href="#g{value:X}" transform="matrix({place})"/>'
    )
    parts = outlines.contours(self.page.glyphs[value])
    if not parts:
      return
    x0, y0, x1, y1 = outlines.union(parts)
    bounds = outlines.transform_bounds((x0, -y1, x1, -y0), m)
    self._add(Mark(value, "use", bounds, scale, group, self._last(), m))

  def _text(self, element: etree._Element, m: Matrix, group: int) -> None:
    """A text is one mark, but the signs in `p dolce` are symbols."""
    inked, chars = self.text.typeset(element, m, self._style(group))
    signs = self.page.groups[group].cls == "dynam"
    self.page.body += [item.drawn for item in inked]
    first = len(self.page.body) - len(inked)
    letters: list[Inked] = []
    for end, item in enumerate([*inked, None], first):
      if item and not (signs and item.code):
        letters.append(item)
        continue
      if letters:
        bounds = outlines.union(letter.bounds for letter in letters)
        span = (end - len(letters), end)
        self._add(Mark(0, "text", bounds, 0.0, group, span, text=chars))
        letters = []
      if item and self._define(item.code):
        wide, _ = self.page.music.scale(item.code)
        scale = math.hypot(*item.matrix[:2]) / wide
        span = (end, end + 1)
        self._add(
          Mark(
            item.code, "use", item.bounds, scale, group, span, item.matrix
          )
        )  # fmt: skip

  def _shape(
    self, element: etree._Element, tag: str, m: Matrix, group: int
  ) -> None:
    self._resize(element, tag, self.page.groups[group].cls)
    attributes = "".join(
      f' {k}="{element.get(k)}"' for k in _KEPT if element.get(k) is not None
    )
    place = ""
    if m != outlines.IDENTITY:
      numbers = ",".join(f"{v:.6g}" for v in m)
      place = f' transform="matrix({numbers})"'
    self.page.body.append(f"<{tag}{attributes}{place}/>")
    bounds = _shape_bounds(element, tag)
    if bounds is not None:
      bounds = outlines.transform_bounds(bounds, m)
      self._add(Mark(0, tag, bounds, 0.0, group, self._last()))

  def _resize(self, element: etree._Element, tag: str, cls: str) -> None:
    """Gives dots and beams, for which verovio has no option, their size."""
    look = self.page.music.look
    if cls == "dots" and tag == "ellipse" and look.dot:
      for name in ("rx", "ry"):
        usual = outlines.numbers(element.get(name, ""))[0]
        element.set(name, f"{usual * look.dot / _DOT:.6g}")
    elif cls in BEAMS and tag == "polygon" and look.beam != 1.0:
      points = outlines.numbers(element.get("points", ""))
      element.set("points", _thicker(points, look.beam))


def _thicker(points: Sequence[float], factor: float) -> str:
  """A beam's corners, moved from the middle of the side they are on."""
  corners = list(zip(points[0::2], points[1::2], strict=True))
  moved = []
  for x, y in corners:
    side = [b for a, b in corners if a == x]
    middle = (min(side) + max(side)) / 2
    moved.append(f"{x:.6g},{middle + (y - middle) * factor:.6g}")
  return " ".join(moved)


def _shape_bounds(element: etree._Element, tag: str) -> Bounds | None:
  """Bounds of a stroke or filled shape with its stroke, or None if empty."""

  def value(name: str) -> float:
    return (outlines.numbers(element.get(name, "0")) or [0.0])[0]

  width = value("stroke-width")
  if tag == "ellipse":
    cx, cy, rx, ry = (value(k) for k in ("cx", "cy", "rx", "ry"))
    return outlines.grow((cx - rx, cy - ry, cx + rx, cy + ry), width / 2)
  if tag == "rect":
    x, y = value("x"), value("y")
    bounds = (x, y, x + value("width"), y + value("height"))
    return outlines.grow(bounds, width / 2)
  if tag in ("polygon", "polyline"):
    points = outlines.numbers(element.get("points", ""))
    if len(points) < 4:
      return None
    xs, ys = points[0::2], points[1::2]
    return outlines.grow((min(xs), min(ys), max(xs), max(ys)), width / 2)
  d = element.get("d", "")
  points = outlines.numbers(d)
  if len(points) == 4 and "C" not in d:
    return outlines.line_bounds(points, width)
  parts = outlines.contours(d)
  return outlines.grow(outlines.union(parts), width / 2) if parts else None
