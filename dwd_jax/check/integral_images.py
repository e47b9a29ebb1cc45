"""Integral images, for sums over any rectangle of a page."""

import cv2
import numpy as np
from jaxtyping import Int, UInt8


def shrunk(
  picture: UInt8[np.ndarray, "H W"], max_pixels: int
) -> tuple[UInt8[np.ndarray, "h w"], float]:
  """A picture, smaller if it is large, and its px for one of the original."""
  scale = min(1.0, (max_pixels / max(picture.size, 1)) ** 0.5)
  if scale < 1:
    picture = cv2.resize(
      picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
    )
  return picture, scale


def sums_and_areas(
  sums: Int[np.ndarray, "H1 W1"],
  y0: Int[np.ndarray, "*n"],
  x0: Int[np.ndarray, "*n"],
  y1: Int[np.ndarray, "*n"],
  x1: Int[np.ndarray, "*n"],
) -> tuple[Int[np.ndarray, "*n"], Int[np.ndarray, "*n"]]:
  """Sums over half-open rectangles, cut to the page, and their areas, px.

  Both are 0 outside the page.

  Args:
    sums: from `cv2.integral`.
  """
  height, width = sums.shape[0] - 1, sums.shape[1] - 1
  y0, y1 = np.clip(y0, 0, height), np.clip(y1, 0, height)
  x0, x1 = np.clip(x0, 0, width), np.clip(x1, 0, width)
  total = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
  return total, (y1 - y0) * (x1 - x0)
