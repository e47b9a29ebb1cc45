"""Columns of ink around symbols, which tell their places on the staff.

They are what position_head.onnx takes; needs numpy only.
"""

import numpy as np

_ROWS = np.arange(-72, 73)  # in ninths of a staff space
_ACROSS = np.array(
  [-72, -48, -28, -14, 0, 14, 28, 48, 72]
)  # middles of the stretches, likewise
_STRETCH = 9  # length of a stretch, likewise


def columns_of(ink, boxes, space_px):
  """Columns [n, 145, 9] of ink [H, W] around the middles of boxes [n, 4].

  Means over stretches of a row, interpolated between rows; paper beyond the
  edges. `space_px` is the distance of two staff lines.
  """
  ninth = space_px / 9
  width = 2 * round(_STRETCH * ninth / 2 - 0.5) + 1  # odd
  half = width // 2
  sums = np.cumsum(np.pad(ink, ((0, 0), (half + 1, half))), -1, np.float64)
  means = ((sums[:, width:] - sums[:, :-width]) / width).astype(np.float32)
  middle = (boxes[:, :2] + boxes[:, 2:]) / 2
  rows = middle[:, :1] - 0.5 + _ROWS * ninth
  across = np.floor(middle[:, 1:] + _ACROSS * ninth).astype(int)
  low = np.floor(rows)
  share = (rows - low)[..., None]
  low = low.astype(int)

  def at(row):
    h, w = means.shape
    there = ((row >= 0) & (row < h))[..., None]
    there = there & ((across >= 0) & (across < w))[:, None]
    found = means[
      np.clip(row, 0, h - 1)[..., None], np.clip(across, 0, w - 1)[:, None]
    ]
    return np.where(there, found, 0)

  return np.float32(at(low) * (1 - share) + at(low + 1) * share)
