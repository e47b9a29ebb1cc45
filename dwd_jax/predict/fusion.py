"""Detections of one page at several scales -> one list."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from dwd_jax.core import boxes as box_lib
from dwd_jax.core.structs import PageBoxes


def fuse(views: Sequence[PageBoxes], min_iou: float = 0.5) -> PageBoxes:
  """Weighted mean of the boxes that several views agree on.

  Going from the best score down, a box joins the object of its class that it
  overlaps most, at least by `min_iou`, and that has no box of its view yet; or
  it begins an object. An object's box is the mean of its boxes weighted by
  their scores; its score is the sum of the scores over the number of views, so
  that what one view alone has seen counts less.

  Args:
    views: of one page, in source pixels, with scores.
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
