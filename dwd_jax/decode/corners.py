"""Corners of oriented boxes, read from the network's maps.

Functions take NumPy or JAX arrays. Exported detectors carry a copy of this
file, so it needs numpy only.
"""

from typing import Any

import numpy as np

from dwd_jax.core import rectangles

_AROUND_PX = (-2, 0, 2)  # rows and columns around the centre that are averaged
_MOST = 7.0  # of the code of an oriented box, whose sides stay finite


def pixels_of(boxes_yxyx: Any, most_yx: Any) -> Any:
  """Pixels (y, x) around the centres of upright boxes, as floats.

  Args:
    boxes_yxyx: [..., 4], px.
    most_yx: row and column of the last pixel of the image.

  Returns:
    3 x 3 pixels [..., 9, 2], two pixels apart.
  """
  xp = _np_of(boxes_yxyx)
  step = np.stack(np.meshgrid(_AROUND_PX, _AROUND_PX, indexing="ij"), -1)
  center = xp.floor((boxes_yxyx[..., :2] + boxes_yxyx[..., 2:]) / 2)
  return xp.clip(center[..., None, :] + step.reshape(-1, 2), 0, most_yx)


def mean(boxes_yxyx: Any, pixels_yx: Any, values: Any) -> Any:
  """Corners [..., 4, 2]: the mean of what the network says at some pixels.

  Args:
    boxes_yxyx: upright boxes [..., 4], which stand in where it says nothing
      finite.
    pixels_yx: [..., n, 2].
    values: of `Predictions.oriented` at these, [..., n, 5].
  """
  xp = _np_of(values)
  centers = (pixels_yx + 0.5 + values[..., 3:]).mean(-2)
  codes = xp.clip(values[..., :3].mean(-2), -_MOST, _MOST)
  corners = rectangles.decode(codes, centers)
  good = xp.isfinite(corners).all((-2, -1))[..., None, None]
  upright = boxes_yxyx[..., np.array([[0, 1], [0, 3], [2, 3], [2, 1]])]
  return xp.where(good, corners, upright)


def _np_of(array) -> Any:
  return getattr(array, "__array_namespace__", lambda: np)()
