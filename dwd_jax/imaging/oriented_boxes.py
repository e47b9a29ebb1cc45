"""Oriented boxes as four corners: around points, made rectangles, their areas.

Corners are (y, x), float32 pixels, in order around the box.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float

_SKEW_PX = 0.1  # corners this far from those of a rectangle count as one
# The smallest rectangle around a wedge lies along any of its sides, so noise
# would decide how a hairpin is turned.
_AS_SMALL = 1.02


def smallest(points_yx: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, "4 2"]:
  """The rectangle of the smallest area around one or more points.

  The upright one if it is as small, up to 2 %.
  """
  middle = points_yx.mean(axis=0)  # OpenCV computes in float32
  around = np.ascontiguousarray(points_yx - middle, np.float32)
  found = cv2.minAreaRect(around)
  (y0, x0), (y1, x1) = around.min(0), around.max(0)
  if (y1 - y0) * (x1 - x0) <= _AS_SMALL * np.prod(found[1]):
    corners = np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)])
  else:
    corners = cv2.boxPoints(found)
  return (corners + middle).astype(np.float32)


def rectangles(
  corners_yx: Float[np.ndarray, "n 4 2"],
) -> Float[np.ndarray, "n 4 2"]:
  """Makes other shapes the smallest rectangles around their corners."""
  found = corners_yx.astype(np.float32)
  for i in np.flatnonzero(~_are_rectangles(found)):
    found[i] = smallest(found[i])
  return found


def _are_rectangles(
  corners_yx: Float[np.ndarray, "n 4 2"],
) -> Bool[np.ndarray, " n"]:
  """Whether the diagonals are as long and have the same middle."""
  first = corners_yx[:, 2] - corners_yx[:, 0]
  second = corners_yx[:, 3] - corners_yx[:, 1]
  apart = corners_yx[:, 0] + corners_yx[:, 2]
  apart = (apart - corners_yx[:, 1] - corners_yx[:, 3]) / 2
  lengths = np.hypot(*first.T) - np.hypot(*second.T)
  return (np.hypot(*apart.T) < _SKEW_PX) & (np.abs(lengths) < _SKEW_PX)


def areas(
  corners_yx: Float[np.ndarray, "n 4 2"],
) -> Float[np.ndarray, " n"]:
  """Signed areas in square pixels: positive if the corners go clockwise."""
  y, x = corners_yx[..., 0], corners_yx[..., 1]
  before = np.roll(x, 1, axis=1) * y - np.roll(y, 1, axis=1) * x
  return before.sum(axis=1) / 2
