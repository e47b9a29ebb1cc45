"""Which symbols still show on a degraded page."""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

_INK = 128  # of 255, on the page before degradation
_PAPER = 16
# Difference of what was ink and what was paper, as a share of black on white. A
# reader makes out a notehead in a shadow at 0.1.
LEAST_CONTRAST = 0.08


def legible(
  boxes_yxyx: Float[np.ndarray, "n 4"],
  clean: UInt8[np.ndarray, "h w"],
  worn: UInt8[np.ndarray, "h w"],
  *,
  margin_px: float,
) -> Bool[np.ndarray, " n"]:
  """Boxes whose ink is still darker than the paper around it.

  Ink that crosses a box, as a staff line, counts as its own. Boxes without ink
  or without paper, and those beside the image, stay.

  Args:
    clean: ink before degradation, in the same places, 0 = paper.
    worn: ink after it.
    margin_px: of the paper around a box.
  """
  if not len(boxes_yxyx):
    return np.ones(0, bool)
  own = _clipped(boxes_yxyx, clean.shape)
  near = _clipped(
    boxes_yxyx + margin_px * np.array([-1, -1, 1, 1]), clean.shape
  )
  dark = _mean(worn, clean >= _INK, own)
  light = _mean(worn, clean < _PAPER, near)
  with np.errstate(invalid="ignore"):
    return ~(dark - light < 255 * LEAST_CONTRAST)  # not for nan


def _clipped(
  boxes: Float[np.ndarray, "n 4"], hw: tuple[int, ...]
) -> Int[np.ndarray, "n 4"]:
  return np.clip(np.rint(boxes), 0, (hw + hw)).astype(int)


def _mean(
  values: UInt8[np.ndarray, "h w"],
  where: Bool[np.ndarray, "h w"],
  boxes: Int[np.ndarray, "n 4"],
) -> Float[np.ndarray, " n"]:
  """Means in boxes; nan where `where` is nowhere true."""
  mask = where.view(np.uint8)
  sums = _sums(cv2.multiply(values, mask), boxes)
  with np.errstate(invalid="ignore"):
    return sums / _sums(mask, boxes)


def _sums(
  values: UInt8[np.ndarray, "h w"], boxes: Int[np.ndarray, "n 4"]
) -> Float[np.ndarray, " n"]:
  exact = 255 * values.size < 1 << 31  # faster
  total = cv2.integral(values, sdepth=cv2.CV_32S if exact else cv2.CV_64F)
  y0, x0, y1, x1 = boxes.T
  sums = total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]
  return sums.astype(float)
