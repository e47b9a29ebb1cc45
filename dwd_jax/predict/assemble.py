"""Joins the tiles of a page, and fuses the detections of several scales."""

import dataclasses
import math
import warnings
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from dwd_jax.core import boxes as box_lib
from dwd_jax.core.structs import Array, Detections, PageBoxes, PageImage
from dwd_jax.imaging import page_windows
from dwd_jax.predict import tiling


class PagePrediction(NamedTuple):
  """Prediction for one page.

  Attributes:
    detections: best score first, in source-image pixels.
    overflow: True if more objects were found than the decode has slots.
    ink: the page at the first scale, 0..255, without padding.
    levels: energy levels of `ink` and its padding; None unless asked for.
    seconds: wall time from the source image to boxes, a share of its batch; NaN
      if that includes compiling for a new size.
    scale: pixels of `ink` per pixel of the source image, as chosen.
    staff_space_px: px of the source image; None = unknown.
  """

  detections: PageBoxes
  overflow: bool
  ink: UInt8[np.ndarray, "h w"]
  levels: Float[np.ndarray, "H W G"] | None
  seconds: float
  scale: float
  staff_space_px: float | None


def join(
  page: PageImage,
  window: page_windows.Window,
  ink: UInt8[np.ndarray, "H W"],
  tiles: Sequence[tiling.Tile],
  found: Iterable[tuple[Detections, Array | None]],
  keep_levels: bool,
) -> PagePrediction:
  """Joins the detections of a page's tiles into one prediction.

  Its time is not set. Warns if a tile holds more objects than the decode has
  slots.

  Args:
    window: from the source image to `ink`.
    ink: the padded image.
    found: detections (without the axis B) and energy levels of each tile; the
      latter only if they are kept.
  """
  parts, maps, most, slots = [], None, 0, 0
  for number, (tile, (slot, levels)) in enumerate(
    zip(tiles, found, strict=True)
  ):
    used = np.asarray(slot.valid)
    offset = np.array([tile.top, tile.left] * 2, np.float32)
    boxes = np.asarray(slot.boxes_yxyx)[used] + offset
    parts.append(
      (
        boxes,
        np.asarray(slot.labels)[used],
        np.asarray(slot.scores)[used],
        np.full(len(boxes), number),
        tiling.depth(_centers(boxes), tile, window.out_hw),
      )
    )
    most, slots = max(most, int(slot.count)), len(used)
    if keep_levels:
      maps = _paste(maps, levels, tile, window.out_hw)
  if most > slots:
    warnings.warn(
      f"{page.filename}: {most} objects found, only the best {slots} are"
      " kept; raise decode.max_detections",
      stacklevel=2,
    )
  boxes, labels, scores, tile_of, depths = map(
    np.concatenate, zip(*parts, strict=True)
  )
  if len(tiles) > 1:
    keep = tiling.select(_centers(boxes), labels, tile_of, depths)
    order = np.flatnonzero(keep)
    order = order[np.argsort(-scores[order], kind="stable")]
    boxes, labels, scores = boxes[order], labels[order], scores[order]
  height, width = (
    math.ceil(side * scale)
    for side, scale in zip(page.ink.shape, window.scale_hw, strict=True)
  )
  return PagePrediction(
    detections=to_page_boxes(boxes, labels, scores, page, window),
    overflow=most > slots,
    ink=ink[:height, :width],
    levels=maps,
    seconds=math.nan,
    scale=page.scale,
    staff_space_px=page.staff_space_px,
  )


def _centers(boxes: np.ndarray) -> np.ndarray:
  return np.asarray(box_lib.centers_yx(boxes))


def _paste(maps, levels, tile, page_hw) -> np.ndarray:
  """Pastes the energy levels of a tile's core into the page's."""
  levels = np.asarray(levels, np.float32)
  if maps is None:
    maps = np.zeros((*page_hw, levels.shape[-1]), np.float32)
  y0, x0, y1, x1 = tile.core_yxyx
  maps[y0:y1, x0:x1] = levels[
    y0 - tile.top : y1 - tile.top, x0 - tile.left : x1 - tile.left
  ]
  return maps


def to_page_boxes(
  boxes_yxyx: Float[np.ndarray, "n 4"],
  labels: Int[np.ndarray, " n"],
  scores: Float[np.ndarray, " n"],
  page: PageImage,
  window: page_windows.Window,
) -> PageBoxes:
  """Converts boxes of a padded image to the source image.

  Boxes with their centre in the padding are dropped, the others clipped to the
  page.

  Args:
    boxes_yxyx: in pixels of the padded image.
    scores: best first.
    window: from the source image to the padded one.
  """
  height, width = page.ink.shape
  boxes = window.to_source(boxes_yxyx)
  centers = _centers(boxes)
  # Boxes that are not finite stay: the metrics report them.
  outside = (centers >= (height, width)).any(-1) | (centers < 0).any(-1)
  boxes = box_lib.clip(boxes[~outside], float(height), float(width))
  return PageBoxes(
    filename=page.filename,
    image_hw=(height, width),
    boxes_yxyx=np.asarray(boxes),
    labels=labels[~outside],
    scores=scores[~outside],
  )


def fuse(views: Sequence[PageBoxes], min_iou: float = 0.5) -> PageBoxes:
  """Fuses the boxes of several views of a page into weighted means.

  From the best score down, a box joins the object of its class that it overlaps
  most, if by at least `min_iou` and without a box of the same view; otherwise
  it starts a new object. An object's box is the mean of its boxes weighted by
  their scores; its score is the sum of the scores over the number of views, so
  that objects seen in one view only count less.

  Args:
    views: in source pixels, with scores.
    min_iou: least overlap of two boxes of one object.

  Returns:
    The objects, best score first.

  Reference: weighted boxes fusion, Solovyev et al. 2021. Differs from it: at
  most one box of each view in an object.
  """
  if len(views) == 1:
    return views[0]
  boxes = np.concatenate([np.asarray(v.boxes_yxyx, np.float64) for v in views])
  labels = np.concatenate([v.labels for v in views])
  scores = np.concatenate([np.asarray(v.scores, np.float64) for v in views])
  view = np.repeat(np.arange(len(views)), [len(v.labels) for v in views])
  parts = [
    _fuse_class(boxes[rows], scores[rows], view[rows], min_iou, len(views))
    for rows in (np.flatnonzero(labels == label) for label in np.unique(labels))
  ]
  counts = [len(score) for _, score in parts]
  fused = np.concatenate([np.zeros((0, 4)), *(box for box, _ in parts)])
  total = np.concatenate([np.zeros(0), *(score for _, score in parts)])
  order = np.argsort(-total, kind="stable")
  return dataclasses.replace(
    views[0],
    boxes_yxyx=fused[order].astype(np.float32),
    labels=np.repeat(np.unique(labels), counts)[order].astype(np.int32),
    scores=total[order].astype(np.float32),
  )


def _fuse_class(boxes, scores, view, min_iou, num_views):
  """Boxes float64 [m, 4] and scores [m] of the objects of one class."""
  n, m = len(scores), 0
  seen = np.zeros((n, num_views), bool)
  means, weighted = np.zeros((n, 4)), np.zeros((n, 4))
  total = np.zeros(n)
  for i in np.argsort(-scores, kind="stable"):
    overlap = box_lib.pairwise_iou(boxes[i : i + 1], means[:m])[0]
    overlap = np.where(seen[:m, view[i]], -1.0, overlap)
    j = int(overlap.argmax()) if m else 0
    if not m or not overlap[j] >= min_iou:
      j, m = m, m + 1
    weight = max(scores[i], 1e-6)
    seen[j, view[i]] = True
    weighted[j] += weight * boxes[i]
    total[j] += weight
    means[j] = weighted[j] / total[j]
  return means[:m], total[:m] / num_views
