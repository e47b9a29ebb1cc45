"""Pages with strokes that are no symbols, and dots in all spaces.

Beams, stems and barlines without their notes show a detector that they are
none. What is left keeps its box where the vocabulary has a name for it.
"""

import random
import re

from dwd_jax.engrave import outlines
from dwd_jax.engrave.outlines import Matrix
from dwd_jax.engrave.rarities import Rarities
from dwd_jax.engrave.verovio_svg import POINTS, UNITS_PER_SPACE, Mark, Page

_REPEAT_DOT = 0xE044
_LEFT_ALONE = {"clef", "barLine", "grpSym"}
_GONE = {"multiRest", "dots", "ledgerLines", "verse", "syl"}
_WIDEST_BAR = 1.2  # times its width; a heavy barline is something else
_PLACE = re.compile(r'transform="([^"]*)"')
_WIDTH = re.compile(r'stroke-width="([\d.]+)"')


def vary(page: Page, rng: random.Random, weights: Rarities) -> None:
  """Changes a page as the rates `repeat_dots` and `bare_strokes` say.

  Args:
    page: as engraved, before its symbols are found; changed in place.
  """
  if weights.happens(rng, "repeat_dots"):
    _fill_with_dots(page)
  if weights.happens(rng, "bare_strokes"):
    _Bare(page, rng).run()


def _fill_with_dots(page: Page) -> None:
  """Repeat dots in all four spaces, as old prints have them."""
  for index, group in enumerate(page.groups):
    if group.cls != "barLine":
      continue
    columns: dict[tuple[int, float], list[Mark]] = {}
    for mark in (page.marks[i] for i in group.marks):
      if mark.code == _REPEAT_DOT:
        columns.setdefault((round(mark.matrix[4]), mark.scale), []).append(mark)
    for marks in columns.values():
      marks.sort(key=lambda mark: mark.matrix[5])
      for upper, lower in zip(marks[::2], marks[1::2], strict=False):
        space = lower.matrix[5] - upper.matrix[5]
        if space < 1.2 * UNITS_PER_SPACE:  # else it is no pair of five lines
          _add_dot(page, index, upper, -space)
          _add_dot(page, index, lower, space)


def _add_dot(page: Page, group: int, dot: Mark, down: float) -> None:
  """A copy of a dot, moved downwards."""
  a, b, c, d, e, f = dot.matrix
  matrix: Matrix = (a, b, c, d, e, f + down)
  place = ",".join(f"{v:.6g}" for v in matrix)
  page.body.append(
    f'<use xlink:href="#g{dot.code:X}" transform="matrix({place})"/>'
  )
  x0, y0, x1, y1 = dot.bounds
  span = (len(page.body) - 1, len(page.body))
  bounds = (x0, y0 + down, x1, y1 + down)
  page.groups[group].marks.append(len(page.marks))
  page.marks.append(
    Mark(dot.code, dot.tag, bounds, dot.scale, group, span, matrix)
  )


class _Bare:
  """Takes the notes out of half of the measures of a page."""

  def __init__(self, page: Page, rng: random.Random):
    self.page, self.rng = page, rng
    self.children = page.children()

  def run(self) -> None:
    """Changes the page."""
    share = self.rng.choice((0.3, 0.5, 0.8))
    weight = self.rng.uniform(0.7, 1.9)
    for index, group in enumerate(self.page.groups):
      if group.cls == "measure" and self.rng.random() < share:
        self._measure(index, weight * self.rng.uniform(0.8, 1.2))

  def _measure(self, index: int, weight: float) -> None:
    without_stems = self.rng.random() < 0.3
    for inner in self._below(index):
      group = self.page.groups[inner]
      if group.cls == "beam":
        self._beam(inner, weight, without_stems)
      elif group.cls == "barLine":
        self._barline([self.page.marks[i] for i in group.marks], weight)
      if group.cls not in _LEFT_ALONE:
        for i in list(group.marks):
          mark = self.page.marks[i]
          if mark.code or mark.tag in ("text", "ellipse") or group.cls in _GONE:
            self._remove(mark)

  def _below(self, index: int) -> list[int]:
    """The groups inside a group."""
    found, todo = [], list(self.children[index])
    while todo:
      at = todo.pop(0)
      found.append(at)
      todo += self.children[at]
    return found

  def _remove(self, mark: Mark) -> None:
    for i in range(*mark.drawn):
      self.page.body[i] = ""
    group = self.page.groups[mark.group]
    group.marks = [i for i in group.marks if self.page.marks[i] is not mark]

  def _beam(self, index: int, weight: float, without_stems: bool) -> None:
    """Makes a beam thicker or thinner, and slants it with its stems."""
    bars = [self.page.marks[i] for i in self.page.groups[index].marks]
    bars = [mark for mark in bars if mark.tag == "polygon"]
    if not bars:
      return
    slope = self.rng.choice((0.0, self.rng.uniform(-0.5, 0.5)))
    xs = [x for mark in bars for x, _ in self.page.points(mark)]
    middle = (min(xs) + max(xs)) / 2
    for mark in bars:
      points = self.page.points(mark)
      ys: dict[float, list[float]] = {}
      for x, y in points:
        ys.setdefault(x, []).append(y)
      centre = {x: (min(y) + max(y)) / 2 for x, y in ys.items()}
      self._redraw(mark, [
        (x, centre[x] + (y - centre[x]) * weight + (x - middle) * slope)
        for x, y in points
      ])  # fmt: skip
    for inner in self._below(index):
      if self.page.groups[inner].cls != "stem":
        continue
      for mark in [self.page.marks[i] for i in self.page.groups[inner].marks]:
        if without_stems:
          self._remove(mark)
        elif mark.tag == "path":
          points = self.page.points(mark)
          self._redraw(mark, [(x, y + (x - middle) * slope) for x, y in points])

  def _barline(self, marks: list[Mark], weight: float) -> None:
    """Makes the lines of a barline thicker or thinner and lets them lean."""
    lean = self.rng.uniform(-0.2, 0.2) * UNITS_PER_SPACE
    lines = [mark for mark in marks if mark.tag == "path"]
    ends = [y for mark in lines for _, y in self.page.points(mark)]
    if not ends or any("dasharray" in self._drawn(mark) for mark in lines):
      return
    top, bottom = min(ends), max(ends)
    for mark in lines:
      points = [
        (x + lean * (y - top) / (bottom - top), y)
        for x, y in self.page.points(mark)
      ]
      self._redraw(mark, points, min(weight, _WIDEST_BAR))

  def _drawn(self, mark: Mark) -> str:
    return self.page.body[mark.drawn[0]]

  def _redraw(
    self, mark: Mark, points: list[tuple[float, float]], weight: float = 1.0
  ) -> None:
    """Draws a mark through other points, with another width of its line."""
    if not points:
      return
    drawn = self._drawn(mark)
    width = 0.0
    if (found := _WIDTH.search(drawn)) is not None:
      width = float(found[1]) * weight
      drawn = drawn.replace(found[0], f'stroke-width="{width:.1f}"')
    pairs = [f"{x:.1f} {y:.1f}" for x, y in points]
    text = " ".join(pairs) if mark.tag == "polygon" else "M" + " L".join(pairs)
    self.page.body[mark.drawn[0]] = POINTS.sub(
      lambda found: f'{found[1]}{text}"', drawn, count=1
    )
    if mark.tag == "polygon":
      xs, ys = zip(*points, strict=True)
      bounds = (min(xs), min(ys), max(xs), max(ys))
      bounds = outlines.grow(bounds, width / 2)
    else:
      flat = [value for point in points for value in point]
      bounds = outlines.line_bounds(flat, width)
    place = _PLACE.search(drawn)
    matrix = outlines.parse_transform(place[1] if place else "")
    mark.bounds = outlines.transform_bounds(bounds, matrix)
