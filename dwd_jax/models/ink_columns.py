"""Columns of ink around symbols, which tell their places on the staff.

Functions take NumPy or JAX arrays. Exported detectors carry a copy of this
file, so it needs numpy only.
"""

from typing import Any

import numpy as np

# Where there is ink to look at, from the middle of a symbol, in ninths of a
# staff space: rows, and the middles of stretches of a row.
ROWS = np.arange(-72, 73)
ACROSS = np.array([-72, -48, -28, -14, 0, 14, 28, 48, 72])


def stretches(ink: Any, space_px: float) -> Any:
  """Mean ink of the stretch of a row around each pixel, paper beyond the edges.

  Args:
    ink: float32 [..., H, W], 0 = paper, 1 = ink.
    space_px: distance of two staff lines; a stretch is as long.
  """
  xp = _np_of(ink)
  width = 2 * round(space_px / 2 - 0.5) + 1  # odd
  half = width // 2
  room = [(0, 0)] * (ink.ndim - 1) + [(half + 1, half)]
  sums = xp.cumsum(xp.pad(ink, room), -1)
  return (sums[..., width:] - sums[..., :-width]) / width


def columns_at(means: Any, centers_yx: Any, space_px: float) -> Any:
  """Columns of ink [P, rows, across] around points, float32.

  Args:
    means: [H, W], see `stretches`.
    centers_yx: [P, 2], px, like boxes: the middle of the first row is at 0.5.
    space_px: as in `stretches`.
  """
  xp = _np_of(means)
  height, width = means.shape
  y, x = centers_yx[:, :1], centers_yx[:, 1:]
  rows = y - 0.5 + np.float32(ROWS * space_px / 9)  # [P, rows]
  columns = xp.floor(x + np.float32(ACROSS * space_px / 9)).astype(np.int32)
  low = xp.floor(rows)
  share = (rows - low)[..., None]
  low = low.astype(np.int32)

  def at(row):
    """Ink [P, rows, across]; paper beyond the edges."""
    there = ((row >= 0) & (row < height))[..., None]
    there = there & ((columns >= 0) & (columns < width))[:, None]
    y = xp.clip(row, 0, height - 1)[..., None]
    x = xp.clip(columns, 0, width - 1)[:, None]
    return xp.where(there, means[y, x], np.float32(0))

  return at(low) * (1 - share) + at(low + 1) * share


def _np_of(array) -> Any:
  return getattr(array, "__array_namespace__", lambda: np)()
