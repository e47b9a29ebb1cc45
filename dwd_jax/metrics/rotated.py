"""IoU of oriented boxes, which are judged as the convex hulls of their corners.

Crossed outlines are thus no error, and what has no area overlaps nothing.
(`cv2.intersectConvexConvex` is wrong where edges lie on each other.)
"""

import numpy as np
from jaxtyping import Float

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core.structs import PageBoxes
from dwd_jax.metrics import pairs as pairs_lib
from dwd_jax.metrics.pairs import Pairs

_AT_ONCE = 1 << 14  # pairs
_MAX_PX = 1e5  # a diverged model predicts anything
_ANY = float(np.finfo(np.float64).tiny)


def outlines(page: PageBoxes) -> Float[np.ndarray, "n 4 2"]:
  """Convex outlines of the boxes, all turning the same way.

  A corner inside the triangle of the others repeats its neighbour. Upright
  boxes stand in where the page has no corners, which are finite.
  """
  corners = page.oriented_yx
  if corners is None:
    corners = np.asarray(boxes_lib.corners_yx(page.boxes_yxyx))
  corners = np.clip(corners.astype(np.float64), -_MAX_PX, _MAX_PX)
  away = corners - corners.mean(axis=1, keepdims=True)
  order = np.argsort(np.arctan2(away[..., 0], away[..., 1]), axis=1)
  corners = np.take_along_axis(corners, order[..., None], axis=1)
  before, after = np.roll(corners, 1, axis=1), np.roll(corners, -1, axis=1)
  inside = _cross(corners - before, after - corners) < 0
  return np.where(inside[..., None], before, corners)


def overlapping(
  rows_yx: Float[np.ndarray, "n 4 2"],
  columns_yx: Float[np.ndarray, "m 4 2"],
  min_iou: float,
) -> Pairs:
  """Pairs of `outlines` with at least this IoU, which must be above 0."""
  around_rows, around_columns = (
    np.hstack([c.min(1), c.max(1)]) for c in (rows_yx, columns_yx)
  )
  pairs = pairs_lib.overlapping(around_rows, around_columns, _ANY)
  row, column = pairs.row, pairs.column
  first, second = _areas(rows_yx)[row], _areas(columns_yx)[column]
  a, b = around_rows[row], around_columns[column]
  hw = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
  # What they share is at most this, which leaves few pairs.
  most = np.minimum(np.minimum(first, second), hw.prod(axis=1))
  least = (1 - 1e-9) * min_iou * (first + second - most)
  pairs = pairs.keep(np.flatnonzero((most >= least) & (most > 0)))
  starts = range(0, len(pairs.row), _AT_ONCE)
  parts = [slice(start, start + _AT_ONCE) for start in starts]
  shared = [
    _shared(rows_yx[pairs.row[part]], columns_yx[pairs.column[part]])
    for part in parts
  ]
  inter = np.concatenate([*shared, np.zeros(0)])
  union = _areas(rows_yx)[pairs.row] + _areas(columns_yx)[pairs.column] - inter
  iou = inter / np.maximum(union, _ANY)
  return pairs._replace(iou=iou).keep(np.flatnonzero(iou >= min_iou))


def _shared(
  a_yx: Float[np.ndarray, "k 4 2"], b_yx: Float[np.ndarray, "k 4 2"]
) -> Float[np.ndarray, " k"]:
  """Areas of the intersections: `a` cut at each side of `b`.

  Reference: Sutherland and Hodgman, Reentrant Polygon Clipping (1974).
  """
  middle = b_yx.mean(axis=1, keepdims=True)
  a_yx, b_yx = a_yx - middle, b_yx - middle  # small numbers are exact
  for i in range(4):
    a_yx = _cut(a_yx, b_yx[:, i], b_yx[:, (i + 1) % 4])
  return _areas(a_yx)


def _cut(polygons, start, end):
  """The parts of convex polygons [k, v, 2] to the left of lines [k, 2]."""
  side = _cross((end - start)[:, None], polygons - start[:, None])  # [k, v]
  after, side_after = np.roll(polygons, -1, axis=1), np.roll(side, -1, axis=1)
  inside = side >= 0
  crossed = inside != (side_after >= 0)
  share = side / np.where(crossed, side - side_after, 1)
  crossing = polygons + share[..., None] * (after - polygons)
  points = np.stack([polygons, crossing], axis=2).reshape(len(side), -1, 2)
  valid = np.stack([inside, crossed], axis=2).reshape(len(side), -1)
  # The valid points come first, and fill the places of the others.
  size = max(int(valid.sum(axis=1).max(initial=0)), 1)
  order = np.argsort(~valid, axis=1, kind="stable")[:, :size]
  points = np.take_along_axis(points, order[..., None], axis=1)
  valid = np.take_along_axis(valid, order, axis=1)
  return np.where(valid[..., None], points, points[:, :1])


def _cross(a, b):
  return a[..., 1] * b[..., 0] - a[..., 0] * b[..., 1]


def _areas(corners_yx):
  """Of convex polygons [n, v, 2]."""
  from_first = corners_yx[:, 1:] - corners_yx[:, :1]
  return _cross(from_first[:, :-1], from_first[:, 1:]).sum(axis=1) / 2
