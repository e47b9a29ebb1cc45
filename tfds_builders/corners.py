"""Corners of oriented boxes as annotated: checked, mended or replaced.

What is mended or replaced is counted in the report; a bad oriented box never
costs an object its upright one.
"""

import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.imaging import oriented_boxes
from tfds_builders import checks

MAX_POINTS = 1000  # of a polygon
_ABSURD = 1e9  # px; beyond it, areas overflow
_LEAST_AREA = 1e-3  # square pixels
_REPLACED = "oriented boxes replaced by the upright ones"
_MENDED = "oriented boxes replaced by the rectangles around them"


def of_polygon(
  xy: Sequence[float], where: str, report: checks.BuildReport
) -> Float[np.ndarray, "4 2"]:
  """Corners (y, x) from the x and y of points in turn.

  Four points are taken as they are. More become the smallest rectangle around
  them. What is no polygon becomes nan, see `clean`.
  """
  points = np.array(xy, np.float64)
  if len(points) == 8:
    return points.reshape(4, 2)[:, ::-1]
  good = 8 < len(points) <= 2 * MAX_POINTS and len(points) % 2 == 0
  if not (good and (np.abs(points) < _ABSURD).all()):
    return np.full((4, 2), np.nan)
  report.add(f"{_MENDED}: more than four points", where)
  corners = oriented_boxes.smallest(points.reshape(-1, 2)[:, ::-1])
  return corners.astype(np.float64)


def clean(
  corners_yx: Float[np.ndarray, "n 4 2"],
  boxes_yxyx: Float[np.ndarray, "n 4"],
  kept: Bool[np.ndarray, " n"],
  image_hw: tuple[int, int],
  path: pathlib.Path,
  report: checks.BuildReport,
) -> Float[np.ndarray, "n 4 2"]:
  """Corners in order around a box, in pixels, not cut to the page.

  Crossed and dented ones become the smallest rectangle around them. What is no
  number, has no area, lies far beside the page or has nothing in common with
  the upright box of its object becomes that box.

  Args:
    corners_yx: as annotated; nan = unusable.
    boxes_yxyx: the same objects' boxes, from `checks.clean_boxes`.
    kept: objects that are kept; only they are reported.
    path: the annotation, named in the report.
  """
  upright = boxes_lib.corners_yx(boxes_yxyx)
  reach = float(max(image_hw))
  low, high = corners_yx.min(axis=1), corners_yx.max(axis=1)  # [n, 2]
  finite = np.isfinite(corners_yx).all(axis=(1, 2))
  with np.errstate(invalid="ignore", over="ignore"):
    far = (low < -reach).any(axis=1) | (high > 2 * reach).any(axis=1)
    elsewhere = (low > boxes_yxyx[:, 2:]).any(axis=1)
    elsewhere |= (high < boxes_yxyx[:, :2]).any(axis=1)
  kinds = np.full(len(corners_yx), "", object)
  kinds[finite & elsewhere] = f"{_REPLACED}: elsewhere"
  kinds[finite & far] = f"{_REPLACED}: far beside the page"
  kinds[~finite] = f"{_REPLACED}: not 8 numbers"
  found = np.where((kinds == "")[:, None, None], corners_yx, upright)
  for i in np.flatnonzero((kinds == "") & ~_are_convex(found)):
    found[i] = oriented_boxes.smallest(found[i])
    kinds[i] = f"{_MENDED}: crossed or dented"
  empty = np.abs(oriented_boxes.areas(found)) < _LEAST_AREA
  kinds[empty & finite] = f"{_REPLACED}: of no area"
  found[empty] = upright[empty]
  for i in np.flatnonzero(kept & (kinds != "")):
    report.add(kinds[i], f"{path.name}: object {i}")
  return found.astype(np.float32)


def _are_convex(
  corners_yx: Float[np.ndarray, "n 4 2"],
) -> Bool[np.ndarray, " n"]:
  """Whether each turns to one side only."""
  edges = np.roll(corners_yx, -1, axis=1) - corners_yx
  after = np.roll(edges, -1, axis=1)
  turns = edges[..., 0] * after[..., 1] - edges[..., 1] * after[..., 0]
  most = np.abs(turns).max(axis=1, keepdims=True)
  return (turns >= -1e-6 * most).all(1) | (turns <= 1e-6 * most).all(1)
