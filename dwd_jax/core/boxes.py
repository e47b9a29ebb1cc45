"""Conversions between box formats, clipping, areas, IoU.

Pure functions that return the array type of their input, NumPy or JAX. Inside
dwd_jax every box is `yxyx` in float32 pixels, half-open.

JAX is not imported here: processes that generate pages do without it.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

if TYPE_CHECKING:
  from dwd_jax.core.structs import Array
else:
  Array = Any


def _np_of(boxes) -> Any:
  return boxes.__array_namespace__()


def yxyx_to_xywh(boxes_yxyx: Float[Array, "*n 4"]) -> Float[Array, "*n 4"]:
  """(ymin, xmin, ymax, xmax) -> (xmin, ymin, width, height), COCO's format."""
  xp = _np_of(boxes_yxyx)
  y0, x0, y1, x1 = xp.moveaxis(boxes_yxyx, -1, 0)
  return xp.stack([x0, y0, x1 - x0, y1 - y0], axis=-1)


def xywh_to_yxyx(boxes_xywh: Float[Array, "*n 4"]) -> Float[Array, "*n 4"]:
  """(xmin, ymin, width, height) -> (ymin, xmin, ymax, xmax)."""
  xp = _np_of(boxes_xywh)
  x, y, w, h = xp.moveaxis(boxes_xywh, -1, 0)
  return xp.stack([y, x, y + h, x + w], axis=-1)


def centers_yx(boxes_yxyx: Float[Array, "*n 4"]) -> Float[Array, "*n 2"]:
  """Centres (y, x) in pixels."""
  return (boxes_yxyx[..., :2] + boxes_yxyx[..., 2:]) / 2


def sizes_hw(boxes_yxyx: Float[Array, "*n 4"]) -> Float[Array, "*n 2"]:
  """(height, width) in pixels; negative for inverted boxes."""
  return boxes_yxyx[..., 2:] - boxes_yxyx[..., :2]


def from_centers(
  centers: Float[Array, "*n 2"], hw: Float[Array, "*n 2"]
) -> Float[Array, "*n 4"]:
  """Centres (y, x) and sizes (height, width) -> yxyx."""
  xp = _np_of(centers)
  return xp.concatenate([centers - hw / 2, centers + hw / 2], axis=-1)


def corners_yx(boxes_yxyx: Float[Array, "*n 4"]) -> Float[Array, "*n 4 2"]:
  """Corners (y, x) in order around each box, from the top left clockwise."""
  xp = _np_of(boxes_yxyx)
  y0, x0, y1, x1 = xp.moveaxis(boxes_yxyx, -1, 0)
  y, x = (
    xp.stack([y0, y0, y1, y1], axis=-1),
    xp.stack([x0, x1, x1, x0], axis=-1),
  )
  return xp.stack([y, x], axis=-1)


def areas(boxes_yxyx: Float[Array, "*n 4"]) -> Float[Array, "*n"]:
  """Areas in square pixels; 0 for empty or inverted boxes."""
  xp = _np_of(boxes_yxyx)
  hw = xp.maximum(sizes_hw(boxes_yxyx), 0)
  return hw[..., 0] * hw[..., 1]


def clip(
  boxes_yxyx: Float[Array, "*n 4"], height: float, width: float
) -> Float[Array, "*n 4"]:
  """Clips boxes to the image [0, height) x [0, width)."""
  xp = _np_of(boxes_yxyx)
  high = xp.asarray([height, width, height, width], boxes_yxyx.dtype)
  return xp.clip(boxes_yxyx, 0, high)


def visible(
  boxes_yxyx: Float[np.ndarray, "n 4"], hw: tuple[int, int], min_visible: float
) -> tuple[Float[np.ndarray, "n 4"], Bool[np.ndarray, " n"]]:
  """Clips boxes to a crop of size `hw`; also returns a mask of those to keep.

  A clipped box is centred on the visible part, and so is its energy disc.

  Args:
    boxes_yxyx: in pixels of the crop.
    min_visible: minimum share of a box's area inside the crop.
  """
  clipped = np.asarray(clip(boxes_yxyx, float(hw[0]), float(hw[1])))
  area = np.asarray(areas(clipped))
  whole = np.asarray(areas(boxes_yxyx))
  # The tolerance keeps boxes inside the crop despite rounding errors.
  return clipped, (area > 0) & (area >= (min_visible - 1e-5) * whole)


def iou(
  a_yxyx: Float[Array, "*n 4"], b_yxyx: Float[Array, "*m 4"]
) -> Float[Array, "*k"]:
  """Intersection over union of boxes with those beside them; broadcasts."""
  xp = _np_of(a_yxyx)
  top_left = xp.maximum(a_yxyx[..., :2], b_yxyx[..., :2])
  bottom_right = xp.minimum(a_yxyx[..., 2:], b_yxyx[..., 2:])
  hw = xp.maximum(bottom_right - top_left, 0)
  inter = hw[..., 0] * hw[..., 1]
  union = areas(a_yxyx) + areas(b_yxyx) - inter
  return xp.where(union > 0, inter / xp.maximum(union, 1e-9), 0)


def pairwise_iou(
  a_yxyx: Float[Array, "n 4"], b_yxyx: Float[Array, "m 4"]
) -> Float[Array, "n m"]:
  """Intersection over union of every box of `a` with every box of `b`."""
  return iou(a_yxyx[:, None], b_yxyx[None])
