"""Joins the tiles of a page, and fuses the detections of several scales."""

import dataclasses
import math
import warnings
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from dwd_jax.core import boxes as box_lib
from dwd_jax.core.structs import (
  NO_POSITION,
  Array,
  Detections,
  PageBoxes,
  PageImage,
)
from dwd_jax.imaging import page_windows
from dwd_jax.predict import tiling

# Columns of ink show places on the staff at the scale of the training only.
_SAME_SCALE = 1.1


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
  ink: UInt8[np.ndarray, "h w *c"]
  levels: Float[np.ndarray, "H W G"] | None
  seconds: float
  scale: float
  staff_space_px: float | None


def join(
  page: PageImage,
  window: page_windows.Window,
  ink: UInt8[np.ndarray, "H W *c"],
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
  parts, depths, maps, most, slots = [], [], None, 0, 0
  for tile, (slot, levels) in zip(tiles, found, strict=True):
    part = _of_tile(page.filename, window.out_hw, tile, slot)
    parts.append(part)
    centers = _centers(part.boxes_yxyx)
    depths.append(tiling.depth(centers, tile, window.out_hw))
    most, slots = max(most, int(slot.count)), len(slot.valid)
    if keep_levels:
      maps = _paste(maps, levels, tile, window.out_hw)
  if most > slots:
    warnings.warn(
      f"{page.filename}: {most} objects found, only the best {slots} are"
      " kept; raise decode.max_detections",
      stacklevel=2,
    )
  boxes = PageBoxes.concatenated(parts)
  if len(tiles) > 1:
    tile_of = np.repeat(np.arange(len(parts)), [len(p.labels) for p in parts])
    centers = _centers(boxes.boxes_yxyx)
    keep = tiling.select(
      centers, boxes.labels, tile_of=tile_of, depths=np.concatenate(depths)
    )
    boxes = boxes.keep(keep).by_score()
  height, width = (
    math.ceil(side * scale)
    for side, scale in zip(page.ink.shape[:2], window.scale_hw, strict=True)
  )
  return PagePrediction(
    detections=to_source(boxes, page, window),
    overflow=most > slots,
    ink=ink[:height, :width],
    levels=maps,
    seconds=math.nan,
    scale=page.scale,
    staff_space_px=page.staff_space_px,
  )


def _of_tile(
  filename: str, hw: tuple[int, int], tile: tiling.Tile, slots: Detections
) -> PageBoxes:
  """Detections of a tile, in pixels of the padded image of size hw."""
  used = np.asarray(slots.valid)
  offset = np.array([tile.top, tile.left], np.float32)

  def of(x):
    return None if x is None else np.asarray(x)[used]

  oriented = of(slots.oriented_yx)
  return PageBoxes(
    filename=filename,
    image_hw=hw,
    boxes_yxyx=np.asarray(slots.boxes_yxyx)[used] + np.tile(offset, 2),
    labels=np.asarray(slots.labels)[used],
    scores=np.asarray(slots.scores)[used],
    oriented_yx=None if oriented is None else oriented + offset,
    positions=of(slots.positions),
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


def to_source(
  found: PageBoxes, page: PageImage, window: page_windows.Window
) -> PageBoxes:
  """Converts boxes of a padded image to the source image.

  Boxes with their centre in the padding are dropped, the others clipped to the
  page; oriented boxes are not clipped. Positions are kept only if the image
  has the scale of the page, more or less.

  Args:
    found: in pixels of the padded image.
    window: from the source image to the padded one.
  """
  height, width = page.ink.shape[:2]
  boxes = window.to_source(found.boxes_yxyx)
  centers = _centers(boxes)
  # Boxes that are not finite stay: the metrics report them.
  outside = (centers >= (height, width)).any(-1) | (centers < 0).any(-1)
  oriented, positions = found.oriented_yx, found.positions
  factor = window.scale_hw[0] / page.scale
  if positions is not None and max(factor, 1 / factor) > _SAME_SCALE:
    positions = np.full_like(positions, NO_POSITION)
  return dataclasses.replace(
    found,
    positions=positions,
    image_hw=(height, width),
    boxes_yxyx=np.asarray(box_lib.clip(boxes, float(height), float(width))),
    oriented_yx=None if oriented is None else window.points_to_source(oriented),
  ).keep(np.flatnonzero(~outside))


def fuse(views: Sequence[PageBoxes], min_iou: float = 0.5) -> PageBoxes:
  """Fuses the boxes of several views of a page into weighted means.

  From the best score down, a box joins the object of its class that it overlaps
  most, if by at least `min_iou` and without a box of the same view; otherwise
  it starts a new object. An object's box is the mean of its boxes weighted by
  their scores; its score is the sum of the scores over the number of views, so
  that objects seen in one view only count less. Corners are those of its best
  box, the position is that of the best one that has any.

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
  found = PageBoxes.concatenated(views)
  boxes = np.asarray(found.boxes_yxyx, np.float64)
  scores = np.asarray(found.scores, np.float64)
  view = np.repeat(np.arange(len(views)), [len(v.labels) for v in views])
  fused, total = [np.zeros((0, 4))], [np.zeros(0)]
  positions = found.positions
  known = np.ones(len(view), bool)
  if positions is not None:
    known = positions != NO_POSITION
  best, placed = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
  for label in np.unique(found.labels):
    rows = np.flatnonzero(found.labels == label)
    means, sums, *first = _fuse_class(
      boxes[rows],
      scores[rows],
      view[rows],
      known[rows],
      min_iou=min_iou,
      views=len(views),
    )
    fused.append(means)
    total.append(sums)
    best.append(rows[first[0]])
    placed.append(rows[first[1]])
  if positions is not None:
    positions = positions[np.concatenate(placed)]
  return dataclasses.replace(
    found.keep(np.concatenate(best)),
    positions=positions,
    boxes_yxyx=np.concatenate(fused).astype(np.float32),
    scores=np.concatenate(total).astype(np.float32),
  ).by_score()


def _fuse_class(boxes, scores, view, known, *, min_iou, views):
  """Objects of one class: boxes [m, 4], scores [m], and rows of boxes.

  They are the best box of each, and the best one whose position is known.
  """
  n, m = len(scores), 0
  seen = np.zeros((n, views), bool)
  best, placed = np.zeros(n, np.int64), np.zeros(n, np.int64)
  means, weighted = np.zeros((n, 4)), np.zeros((n, 4))
  total = np.zeros(n)
  for i in np.argsort(-scores, kind="stable"):
    overlap = box_lib.pairwise_iou(boxes[i : i + 1], means[:m])[0]
    overlap = np.where(seen[:m, view[i]], -1.0, overlap)
    j = int(overlap.argmax()) if m else 0
    if not m or not overlap[j] >= min_iou:
      j, m = m, m + 1
      best[j] = placed[j] = i
    if known[i] and not known[placed[j]]:
      placed[j] = i
    weight = max(scores[i], 1e-6)
    seen[j, view[i]] = True
    weighted[j] += weight * boxes[i]
    total[j] += weight
    means[j] = weighted[j] / total[j]
  return means[:m], total[:m] / views, best[:m], placed[:m]
