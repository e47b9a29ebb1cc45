"""Oriented boxes of symbols: the smallest rectangles around their outlines."""

import functools
import re
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float

from dwd_jax.engrave import elements
from dwd_jax.engrave.outlines import Bounds
from dwd_jax.engrave.verovio_svg import Mark, Page
from dwd_jax.imaging import oriented_boxes

SLACK = 2.0  # units by which outlines may extend beyond their box
# As verovio draws it, without a turn; other ways of writing it cost time only.
_AXIS_LINE = re.compile(
  r'<path d="M(\S+) (\S+) L(?:\1 \S+|\S+ \2)"[^>(]*'
  r'(?:transform="matrix\([^,]+,0,0,[^>]*)?/>'
)
Corners = Float[np.ndarray, "4 2"]  # (x, y) in page units, in order


def around(points: Sequence[Float[np.ndarray, "n 2"]]) -> Corners:
  """The smallest rectangle around the points of some outlines."""
  return oriented_boxes.smallest(np.concatenate(points))


def of_bounds(bounds: Bounds) -> Float[np.ndarray, "4 2"]:
  """The corners of an upright rectangle."""
  x0, y0, x1, y1 = bounds
  return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


def inside(
  points: Float[np.ndarray, "n 2"], bounds: Bounds
) -> Bool[np.ndarray, " n"]:
  """Which points are in a box, as a symbol may be a part of a glyph."""
  low, high = np.array(bounds[:2]) - SLACK, np.array(bounds[2:]) + SLACK
  return np.all((points >= low) & (points <= high), axis=1)


def _glyph(path: str) -> np.ndarray:
  """Points of a glyph's outline, in font units, y down."""
  lines, _ = elements.path_lines(path)
  return np.concatenate(lines) * (1, -1)


@functools.lru_cache(maxsize=2048)
def _rectangle(path: str, a: float, b: float, c: float, d: float) -> Corners:
  """The oriented box of a scaled glyph, with its origin at 0."""
  return around([_glyph(path)]) @ np.array([[a, b], [c, d]])


class Outlines:
  """The outlines of all that is drawn on a page."""

  def __init__(self, page: Page):
    self._page = page

  def corners(self, marks: Sequence[Mark], bounds: Bounds) -> Corners:
    """The oriented box of a symbol.

    Args:
      marks: what draws it; parts outside of `bounds` do not count.
      bounds: its upright box.
    """
    if len(marks) == 1 and marks[0].bounds == bounds and marks[0].code:
      *turn, x, y = marks[0].matrix
      corners = _rectangle(self._page.glyphs[marks[0].code], *turn)
      return corners + np.array((x, y))
    if all(self._is_upright(mark) for mark in marks):
      return of_bounds(bounds)
    points = [p for mark in marks for p in self._points(mark)]
    points = [p[kept] for p in points if (kept := inside(p, bounds)).any()]
    return around(points or [of_bounds(bounds)])

  def _points(self, mark: Mark) -> Iterator[np.ndarray]:
    if mark.tag == "text":
      yield of_bounds(mark.bounds)
    elif mark.tag == "use":
      a, b, c, d, x, y = mark.matrix
      points = _glyph(self._page.glyphs[mark.code])
      yield points @ np.array([[a, b], [c, d]]) + (x, y)
    else:
      for drawn in self._page.body[slice(*mark.drawn)]:
        element = elements.read(drawn, self._page.defs)
        for line in element.lines if element else ():
          yield elements.spread(line, element.stroke if element else 0.0)

  def _is_upright(self, mark: Mark) -> bool:
    """Whether a mark is a dot, a bar or a line along an axis."""
    if mark.tag == "path":
      return bool(_AXIS_LINE.fullmatch(self._page.body[mark.drawn[0]]))
    return mark.tag in ("rect", "ellipse", "text")
