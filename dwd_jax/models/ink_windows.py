"""Windows of ink around boxes, and boxes that are moved by what they show.

A window is larger than its box by half and always has as many samples, so that
the edges of a dot and of a brace look alike.

Functions take NumPy or JAX arrays. Exported detectors carry a copy of this
file, so it needs numpy only.
"""

from typing import Any

import numpy as np

from dwd_jax.core import rectangles

SIDE = 16  # samples of a window, along either side
_LARGER = 1.5  # than the box
_LEAST_MARGIN_PX = 3.0  # on either side of it
_LEAST_PX = 0.5  # sides of boxes, which are divided by
_MOST_CHANGE = 1.5  # of the logarithm of a side, and of the centre by sides
_MOST_SLANT = 3.5
# Middles of the samples, by sides of the window.
_SAMPLES = ((np.arange(SIDE) + 0.5) / SIDE - 0.5).astype(np.float32)


def grey_of(image: Any) -> Any:
  """Ink [..., H, W] of images [..., H, W, c]; the luma (BT.601) of colours."""
  if image.shape[-1] == 1:
    return image[..., 0]
  return 0.299 * image[..., 0] + 0.587 * image[..., 1] + 0.114 * image[..., 2]


def windows_at(ink: Any, boxes_yxyx: Any) -> Any:
  """Ink in windows around boxes, bilinear, paper beyond the edges.

  Args:
    ink: float32 [H, W], 0 = paper, 1 = ink.
    boxes_yxyx: finite boxes [P, 4], px.

  Returns:
    float32 [P, 16, 16].
  """
  xp = _np_of(ink)
  centers, sides = _centers_and_sides(boxes_yxyx)
  spans = xp.maximum(sides * _LARGER, sides + 2 * _LEAST_MARGIN_PX)
  at = centers[:, None] + spans[:, None] * _SAMPLES[:, None]  # [P, 16, 2]
  (y, ty), (x, tx) = (_taps(at[..., i], ink.shape[i], xp) for i in range(2))
  y, ty, x, tx = y[:, :, None], ty[:, :, None], x[:, None], tx[:, None]

  def row(y):
    return _shown(ink, y, x) * (1 - tx) + _shown(ink, y, x + 1) * tx

  return row(y) * (1 - ty) + row(y + 1) * ty


def log_sides(boxes_yxyx: Any) -> Any:
  """Logarithms of heights and widths in px, [P, 2]."""
  return _np_of(boxes_yxyx).log(_centers_and_sides(boxes_yxyx)[1])


def moved(boxes_yxyx: Any, changes: Any) -> Any:
  """Boxes [..., 4] after changes.

  Args:
    changes: [..., 4]: of the centre (y, x) by sides of the box, then of the
      logarithms of height and width; large ones are cut.
  """
  xp = _np_of(boxes_yxyx)
  centers, sides = _centers_and_sides(boxes_yxyx)
  changes = xp.clip(changes, -_MOST_CHANGE, _MOST_CHANGE)
  centers = centers + changes[..., :2] * sides
  half = sides * xp.exp(changes[..., 2:]) / 2
  return xp.concatenate([centers - half, centers + half], -1)


def oriented(boxes_yxyx: Any, changes: Any) -> Any:
  """Corners [..., 4, 2] of oriented boxes.

  Args:
    changes: [..., 5]: to the upright box around it, see `moved`, and its slant,
      see `rectangles.encode`.
  """
  xp = _np_of(boxes_yxyx)
  around = moved(boxes_yxyx, changes[..., :4])
  slant = xp.clip(changes[..., 4:], -_MOST_SLANT, _MOST_SLANT)
  return rectangles.decode(xp.concatenate([around, slant], -1))


def changes_to(boxes_yxyx: Any, wanted_yxyx: Any) -> Any:
  """The changes [..., 4] with which `moved` makes other boxes of boxes."""
  xp = _np_of(boxes_yxyx)
  centers, sides = _centers_and_sides(boxes_yxyx)
  to_centers, to_sides = _centers_and_sides(wanted_yxyx)
  by = (to_centers - centers) / sides
  return xp.concatenate([by, xp.log(to_sides / sides)], -1)


def _centers_and_sides(boxes_yxyx):
  xp = _np_of(boxes_yxyx)
  low, high = boxes_yxyx[..., :2], boxes_yxyx[..., 2:]
  return (low + high) / 2, xp.maximum(high - low, xp.float32(_LEAST_PX))


def _taps(at, size, xp):
  """Rows or columns before points, -1 .. size, and the share of the next."""
  at = xp.clip(at - np.float32(0.5), -1, xp.asarray(size, np.float32))
  low = xp.floor(at)
  return low.astype(np.int32), at - low


def _shown(ink, y, x):
  """Ink at pixels; paper beyond the edges."""
  xp, (height, width) = _np_of(ink), ink.shape
  there = (y >= 0) & (y < height) & (x >= 0) & (x < width)
  values = ink[xp.clip(y, 0, height - 1), xp.clip(x, 0, width - 1)]
  return xp.where(there, values, xp.float32(0))


def _np_of(array) -> Any:
  return getattr(array, "__array_namespace__", lambda: np)()
