"""A page of ink on which cut symbols are drawn, and their boxes."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float

from dwd_jax.engrave import corners
from dwd_jax.engrave.deepscores_folder import Annotated
from dwd_jax.engrave.hands import Symbol

Box = tuple[float, float, float, float]  # y0, x0, y1, x1 in px
Affine = Float[np.ndarray, "2 3"]  # (x, y, 1) of a symbol -> (x, y) of the page
_SHRINKS = 0.7  # below this scale, pixels are averaged
_MAX_SIDE_PX = 30_000
_ON_PAGE = 0.5  # of the area of what gets a box


class Canvas:
  """The ink of a page and what has been drawn on it.

  Attributes:
    ink: with staff lines.
    busy: without staff lines.
    drawn: its symbols in drawing order; boxes are cut to the page.
  """

  def __init__(self, height: int, width: int):
    self.ink = np.zeros((height, width), bool)
    self.busy = np.zeros((height, width), bool)
    self.drawn: list[Annotated] = []

  def paste(
    self,
    symbol: Symbol,
    matrix: Affine,
    position: int | None = None,
    onset: float | None = None,
  ) -> Box | None:
    """Draws a symbol with boxes for its parts.

    Args:
      position: see `Annotated`; that of the symbol itself.
      onset: likewise.

    Returns:
      Its box; None = it is not on the page, and has no parts.
    """
    whole = None
    for i, part in enumerate(symbol.parts):
      moved = matrix.copy()
      moved[:, 2] += matrix[:, :2] @ (part.left, part.top)
      mask, top, left = warp(part.mask, moved)
      box = self._stamp(mask, top, left)
      if box is not None:
        around = _rectangle(mask) + np.array((top, left))
        item = Annotated(part.name, box, around, position, onset)
        self.drawn.append(item if not i else Annotated(*item[:3]))
      if not i:
        whole = box
        if box is None:
          return None
    return whole

  def _stamp(
    self, mask: Bool[np.ndarray, "h w"], top: int, left: int
  ) -> Box | None:
    """Draws a mask; the extent of its ink, None if little is on the page."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
      return None
    mask = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    top, left = top + int(rows[0]), left + int(columns[0])
    high, wide = mask.shape
    y0, x0 = max(top, 0), max(left, 0)
    y1 = min(top + high, self.ink.shape[0])
    x1 = min(left + wide, self.ink.shape[1])
    if y1 <= y0 or x1 <= x0 or (y1 - y0) * (x1 - x0) <= _ON_PAGE * high * wide:
      return None
    seen = mask[y0 - top : y1 - top, x0 - left : x1 - left]
    self.ink[y0:y1, x0:x1] |= seen
    self.busy[y0:y1, x0:x1] |= seen
    return y0, x0, y1, x1

  def line(self, y: float, x0: float, x1: float, thickness: float) -> None:
    """Draws a staff line, which has no box.

    Args:
      y: its middle, px.
      x0: its left end, px.
      x1: its right end, px.
      thickness: px, at least 1 is drawn.
    """
    top = max(round(y - thickness / 2), 0)
    bottom = top + max(round(thickness), 1)
    self.ink[top:bottom, max(round(x0), 0) : max(round(x1), 0)] = True

  def box(self, name: str, boxes: Sequence[Box | None]) -> Box | None:
    """Adds a box around others; None and no box if there are none."""
    found = [box for box in boxes if box is not None]
    if not found:
      return None
    y0, x0, y1, x1 = zip(*found, strict=True)
    whole = min(y0), min(x0), max(y1), max(x1)
    upright = corners.of_bounds(whole)  # rows before columns, as in the box
    self.drawn.append(Annotated(name, whole, upright))
    return whole

  def crowded(self, y0: float, x0: float, y1: float, x1: float) -> float:
    """Share of an area that has ink; 1 where it leaves the page."""
    high, wide = self.busy.shape
    if y0 < 0 or x0 < 0 or y1 > high or x1 > wide:
      return 1.0
    part = self.busy[int(y0) : int(y1) + 1, int(x0) : int(x1) + 1]
    return float(part.mean())


def warp(
  mask: Bool[np.ndarray, "h w"], matrix: Affine
) -> tuple[Bool[np.ndarray, "h2 w2"], int, int]:
  """A mask under an affine map.

  Returns:
    The mask, and the row and column of its upper left corner.
  """
  picture = mask.astype(np.float32)
  scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
  matrix = np.asarray(matrix, np.float64).copy()
  if 0 < scale < _SHRINKS:
    high, wide = (max(1, round(side * scale)) for side in mask.shape)
    picture = cv2.resize(picture, (wide, high), interpolation=cv2.INTER_AREA)
    matrix[:, 0] *= mask.shape[1] / wide
    matrix[:, 1] *= mask.shape[0] / high
  high, wide = picture.shape
  corners = np.array([(0, 0), (wide, 0), (0, high), (wide, high)], float)
  corners = corners @ matrix[:, :2].T + matrix[:, 2]
  low = np.floor(corners.min(0)).astype(int) - 1
  size = np.ceil(corners.max(0)).astype(int) + 1 - low
  if size.max() > _MAX_SIDE_PX:
    return np.zeros((1, 1), bool), 0, 0
  # OpenCV counts from the middle of the first pixel.
  moved = matrix.copy()
  moved[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5 - low
  picture = np.pad(picture, 1)
  moved[:, 2] -= moved[:, :2] @ (1, 1)
  drawn = cv2.warpAffine(
    picture, moved, (int(size[0]), int(size[1])), flags=cv2.INTER_LINEAR
  )
  # What is thinner than a pixel is still seen.
  threshold = min(0.5, 0.6 * float(drawn.max()))
  return drawn > max(threshold, 1e-3), int(low[1]), int(low[0])


def scaled(
  scale_xy: tuple[float, float],
  anchor_xy: tuple[float, float],
  to_xy: tuple[float, float],
  slant: float = 0.0,
) -> Affine:
  """Scales, then slants, and moves a point of a symbol to one of the page.

  Args:
    slant: shift to the left per px downwards.
  """
  linear = np.array([[scale_xy[0], -slant * scale_xy[1]], [0, scale_xy[1]]])
  shift = np.array(to_xy) - linear @ anchor_xy
  return np.column_stack([linear, shift])


def sheared(
  ends: Float[np.ndarray, "2 2"],
  to: Float[np.ndarray, "2 2"],
  scale_y: float,
) -> Affine:
  """Brings the ends (x, y) of a stroke to others, columns stay upright.

  Args:
    scale_y: of its thickness and height above the line between its ends.
  """
  (ax, ay), (bx, by) = ends
  (cx, cy), (dx, dy) = to
  wide = (dx - cx) / max(bx - ax, 1.0)
  climb = (dy - cy - scale_y * (by - ay)) / max(bx - ax, 1.0)
  linear = np.array([[wide, 0.0], [climb, scale_y]])
  return np.column_stack([linear, np.array([cx, cy]) - linear @ (ax, ay)])


def stroke_ends(mask: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "2 2"]:
  """Left and right end (x, y) of a stroke, px in its frame."""
  wide = mask.shape[1]
  reach = max(1, wide // 20)
  rows = np.arange(mask.shape[0]) + 0.5
  ends = []
  for part, x in ((mask[:, :reach], 0.0), (mask[:, -reach:], float(wide))):
    weight = part.sum(1)
    total = max(int(weight.sum()), 1)
    ends.append((x, float(rows @ weight) / total))
  return np.array(ends)


def bulge(mask: Bool[np.ndarray, "h w"]) -> float:
  """How far the middle of a stroke is above the line between its ends, px."""
  wide = mask.shape[1]
  middle = mask[:, wide * 2 // 5 : max(wide * 3 // 5, wide * 2 // 5 + 1)]
  weight = middle.sum(1)
  if not weight.any():
    return 0.0
  y = float((np.arange(mask.shape[0]) + 0.5) @ weight) / int(weight.sum())
  ends = stroke_ends(mask)
  return float(ends[:, 1].mean() - y)


def clusters(spans: Sequence[tuple[float, float]]) -> Iterator[list[int]]:
  """Indices of spans (low, high) that overlap or touch, in ascending order."""
  group: list[int] = []
  end = -np.inf
  for i in sorted(range(len(spans)), key=lambda i: spans[i]):
    if group and spans[i][0] > end + 1:
      yield group
      group, end = [], -np.inf
    group.append(i)
    end = max(end, spans[i][1])
  if group:
    yield group


def _rectangle(mask: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "4 2"]:
  """Corners (y, x) of the smallest rectangle around the ink, px."""
  outer = []
  for lines, turned in ((mask, False), (mask.T, True)):
    at = np.flatnonzero(lines.any(1))
    first = lines[at].argmax(1)
    last = lines.shape[1] - lines[at][:, ::-1].argmax(1)
    for ends in (first, last):
      for edge in (at, at + 1):
        points = np.stack([edge, ends], 1)
        outer.append(points[:, ::-1] if turned else points)
  found = corners.around([np.concatenate(outer).astype(float)[:, ::-1]])
  return found[:, ::-1]
