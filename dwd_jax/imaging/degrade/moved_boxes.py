"""Boxes moved by a warp, their edges kept at the ink.

On a turned page the box around the four moved corners of a wide box is far too
tall, as the ink of a slur touches the top edge at one place only. So the outer
ink of columns and rows is moved instead.
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.imaging import oriented_boxes
from dwd_jax.imaging.degrade.warps import Warp

_INK = 64  # of 255; a quarter of a pixel is ink, as of thin staff lines
_EXACT_PX = 0.5  # edges that stay this straight are moved without their ink
_ALONG = 9  # points of an edge
_LINE = 0.9  # share of an edge that a line along it covers
_MAX_LINES = 48  # columns and rows examined in a box
_AXIS = (0, 1, 0, 1)  # of the sides top, left, bottom, right


def move(
  boxes_yxyx: Float[np.ndarray, "n 4"],
  warp: Warp,
  ink: UInt8[np.ndarray, "H W"],
  origin_yx: tuple[float, float] = (0.0, 0.0),
) -> Float[np.ndarray, "n 4"]:
  """Boxes of the page -> boxes of the image, not clipped.

  Edges keep their distance from the ink: boxes drawn with a margin keep it, and
  an identity map returns the boxes unchanged.

  Args:
    boxes_yxyx: of the page, in the image's frame, px.
    warp: map from page to image.
    ink: of the page, 0 = paper; without ink the edges themselves are moved.
    origin_yx: of `ink` in the image's frame, px.
  """
  boxes = boxes_yxyx.astype(np.float64)
  if not len(boxes):
    return boxes_yxyx.astype(np.float32)
  low, high = _edge_ranges(boxes, warp)
  moved = np.stack([low[:, 0], low[:, 1], high[:, 2], high[:, 3]], axis=1)
  loose = np.flatnonzero((high - low).max(axis=1) > _EXACT_PX)
  if len(loose):
    edges = _edges_of_ink(boxes[loose], warp, ink >= _INK, origin_yx)
    # Ink that touches an edge stays within the range of the moved edge.
    edges = np.clip(edges, low[loose], high[loose])
    moved[loose] = np.where(np.isnan(edges), moved[loose], edges)
  # An empty box stays empty.
  empty = (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)
  moved[empty, 2:] = moved[empty, :2]
  return moved.astype(np.float32)


def move_corners(
  corners_yx: Float[np.ndarray, "n 4 2"],
  warp: Warp,
  moved_yxyx: Float[np.ndarray, "n 4"],
) -> Float[np.ndarray, "n 4 2"]:
  """Oriented boxes of the page -> oriented boxes of the image, not clipped.

  They are the smallest rectangles around the moved corners.

  Args:
    moved_yxyx: upright boxes from `move`, for a box that reaches so far beside
      the image that the camera does not see all of its corners.
  """
  before = corners_yx.astype(np.float64)
  with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
    moved = warp.forward(before)
    turns = np.sign(oriented_boxes.areas(moved))
  seen = turns == np.sign(oriented_boxes.areas(before))  # not for nan
  upright = boxes_lib.corners_yx(moved_yxyx)
  moved = np.where(seen[:, None, None], moved, upright).astype(np.float32)
  return oriented_boxes.rectangles(moved)


def _edge_ranges(
  boxes: Float[np.ndarray, "n 4"], warp: Warp
) -> tuple[Float[np.ndarray, "n 4"], Float[np.ndarray, "n 4"]]:
  """Least and greatest row or column of each moved edge."""
  t = np.linspace(0, 1, _ALONG)
  y0, x0, y1, x1 = (v[:, None] for v in boxes.T)
  y = y0 + (y1 - y0) * t
  x = x0 + (x1 - x0) * t
  edges = warp.forward(
    np.stack(
      [
        np.stack([np.broadcast_to(y0, x.shape), x], axis=-1),
        np.stack([y, np.broadcast_to(x0, y.shape)], axis=-1),
        np.stack([np.broadcast_to(y1, x.shape), x], axis=-1),
        np.stack([y, np.broadcast_to(x1, y.shape)], axis=-1),
      ],
      axis=1,
    )
  )  # [n, 4, _ALONG, 2]
  across = np.stack([edges[:, i, :, _AXIS[i]] for i in range(4)], axis=1)
  return across.min(axis=-1), across.max(axis=-1)


def _edges_of_ink(
  boxes: Float[np.ndarray, "n 4"],
  warp: Warp,
  ink: Bool[np.ndarray, "H W"],
  origin_yx: tuple[float, float],
) -> Float[np.ndarray, "n 4"]:
  """Edges from the moved ink; NaN where a box has none."""
  local = boxes - np.tile(origin_yx, 2)
  result = np.full(boxes.shape, np.nan)
  found = [_outer_ink(ink, box) for box in local]
  rows = [i for i, points in enumerate(found) if points is not None]
  if not rows:
    return result
  for side in range(4):
    points = [found[i][side] for i in rows]  # pyright: ignore
    starts = np.cumsum([0, *(len(p) for p in points[:-1])])
    flat = np.concatenate(points) + origin_yx
    before = flat[:, _AXIS[side]]
    after = warp.forward(flat)[:, _AXIS[side]]
    outermost = np.minimum if side < 2 else np.maximum
    air = outermost.reduceat(before, starts) - boxes[rows, side]
    result[rows, side] = outermost.reduceat(after, starts) - air
  return result


def _outer_ink(
  ink: Bool[np.ndarray, "H W"], box: Float[np.ndarray, " 4"]
) -> list[Float[np.ndarray, "m 2"]] | None:
  """The outermost ink (y, x) in px from each side of a box; None if no ink."""
  y0, x0 = np.maximum(np.floor(box[:2] + 0.3), 0).astype(int).tolist()
  y1, x1 = np.minimum(np.ceil(box[2:] - 0.3), ink.shape).astype(int).tolist()
  if y1 <= y0 or x1 <= x0:
    return None
  own = _without_crossing(ink, y0, x0, y1, x1)
  if own is None:
    return None
  top, bottom, x = _outline(own)
  left, right, y = _outline(own.T)
  return [
    np.stack([top + y0, x + x0], axis=1),
    np.stack([y + y0, left + x0], axis=1),
    np.stack([bottom + y0, x + x0], axis=1),
    np.stack([y + y0, right + x0], axis=1),
  ]


def _outline(
  own: Bool[np.ndarray, "h w"],
) -> tuple[
  Float[np.ndarray, " m"], Float[np.ndarray, " m"], Float[np.ndarray, " m"]
]:
  """Where the ink of columns begins and ends, and which columns these are.

  A symbol has ink in every column. Columns emptied with another's ink are
  interpolated; if most are empty, the ends of the box stand for the outline.
  """
  height, width = own.shape
  count = min(width, _MAX_LINES)
  columns = np.linspace(0, width - 1, count).round().astype(int)
  part = own[:, columns]
  seen = np.flatnonzero(part.any(axis=0))
  x = columns + 0.5
  if 2 * len(seen) < count:
    return np.zeros(count), np.full(count, float(height)), x
  part = part[:, seen]
  begin = part.argmax(axis=0).astype(float)
  end = height - part[::-1].argmax(axis=0).astype(float)
  if len(seen) < count:
    begin, end = np.interp(x, x[seen], begin), np.interp(x, x[seen], end)
  return begin, end, x


def _without_crossing(
  ink: Bool[np.ndarray, "H W"], y0: int, x0: int, y1: int, x1: int
) -> Bool[np.ndarray, "h w"] | None:
  """The ink in a box without staff lines and stems that cross its edges.

  Ink that continues for two pixels beyond an edge belongs to another symbol,
  from the edge to the first gap. Lines along an edge stay, as those of a staff
  that end at a barline. None if there is no ink.
  """
  own = ink[y0:y1, x0:x1]
  if not own.any():
    return None
  alone = own.copy()
  if x0 >= 2:
    _erase(alone, own, ink[y0:y1, x0 - 2])
  if x1 + 1 < ink.shape[1]:
    _erase(alone[:, ::-1], own[:, ::-1], ink[y0:y1, x1 + 1])
  if y0 >= 2:
    _erase(alone.T, own.T, ink[y0 - 2, x0:x1])
  if y1 + 1 < ink.shape[0]:
    _erase(alone[::-1].T, own[::-1].T, ink[y1 + 1, x0:x1])
  return alone if alone.any() else own


def _erase(
  alone: Bool[np.ndarray, "h w"],
  own: Bool[np.ndarray, "h w"],
  beside: Bool[np.ndarray, " h"],
) -> None:
  """Erases runs at the left edge of the rows with ink beside it, in place."""
  rows = np.flatnonzero(own[:, 0] & beside)
  if not len(rows) or 2 * len(rows) > len(own):
    return  # most of the width continues: the stem of this very notehead
  ends = rows[(rows < 2) | (rows >= len(own) - 2)]
  if len(ends):
    along = ends[own[ends].mean(axis=1) > _LINE]
    rows = rows[~np.isin(rows, along)]
  if len(rows):
    alone[rows] &= ~np.logical_and.accumulate(own[rows], axis=1)
