"""Pascal VOC average precision: the area under the precision envelope."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

from dwd_jax.core import boxes as box_lib
from dwd_jax.core.structs import PageBoxes
from dwd_jax.metrics.flat_boxes import IOUS, APTable, FlatBoxes, join

Protocol = Literal["clean", "legacy"]


def average_precision(
  truth: Sequence[PageBoxes],
  detections: Sequence[PageBoxes],
  num_classes: int,
  *,
  ious: Sequence[float] = IOUS,
  protocol: Protocol = "clean",
) -> APTable:
  """VOC AP of every class at every IoU threshold.

  A detection goes to the truth box of its class and page that it overlaps
  most. It is right if that IoU reaches the threshold and no better-scored
  detection took the box before; else it is wrong, a duplicate too.

  Args:
    truth: pages in source-image pixels; none left out.
    detections: pages with scores (see `pages.join`).
    num_classes: C, number of classes.
    ious: T thresholds, 0..1.
    protocol: "clean" measures half-open boxes and asks for IoU >= threshold;
      "legacy" adds a pixel to each side of every box and asks for IoU >
      threshold, as the original's evaluation does.

  Returns:
    The table; classes without truth are NaN in both protocols.

  Raises:
    ValueError: see `pages.join`, or the protocol is unknown.

  Reference: Everingham et al., The Pascal Visual Object Classes Challenge
  (2010). Differs from the original: it counted classes without truth as 0.
  """
  if protocol not in ("clean", "legacy"):
    raise ValueError(f"protocol {protocol!r} is neither 'clean' nor 'legacy'")
  gt, dt, _ = join(truth, detections, num_classes)
  num_objects = np.bincount(gt.labels, minlength=num_classes)
  ap = np.full((len(ious), num_classes), np.nan)
  for label in np.flatnonzero(num_objects).tolist():
    best_iou, best_truth = _best_truth(
      _of_class(gt, label), _of_class(dt, label), protocol
    )
    for t, iou in enumerate(ious):
      hit = best_iou > iou if protocol == "legacy" else best_iou >= iou
      ap[t, label] = _area(_first_hits(hit, best_truth), num_objects[label])
  return APTable(tuple(ious), ap, num_objects)


def _of_class(flat: FlatBoxes, label: int) -> FlatBoxes:
  return FlatBoxes(*(column[flat.labels == label] for column in flat))


def _best_truth(gt: FlatBoxes, dt: FlatBoxes, protocol: Protocol):
  """IoU and index of the truth box that each detection overlaps most."""
  iou_of = _pairwise_iou_legacy if protocol == "legacy" else _pairwise_iou
  best_iou = np.full(len(dt.page), -1.0)  # -1: no truth on this page
  best_truth = np.zeros(len(dt.page), np.int64)
  for page in np.intersect1d(gt.page, dt.page):
    rows = np.flatnonzero(dt.page == page)
    columns = np.flatnonzero(gt.page == page)
    iou = iou_of(dt.boxes_yxyx[rows], gt.boxes_yxyx[columns])  # [n, m]
    best_iou[rows] = iou.max(axis=1)
    best_truth[rows] = columns[iou.argmax(axis=1)]
  return best_iou, best_truth


def _pairwise_iou(a, b):
  return np.asarray(box_lib.pairwise_iou(a, b))


def _pairwise_iou_legacy(a, b):
  """IoU of boxes whose far edge counts as one more pixel."""
  one = np.array([0.0, 0.0, 1.0, 1.0])
  return _pairwise_iou(a + one, b + one)


def _first_hits(hit, best_truth):
  """Keeps only the first hit of each truth box; rows are in falling score."""
  rows = np.flatnonzero(hit)
  _, first = np.unique(best_truth[rows], return_index=True)
  kept = np.zeros(len(hit), bool)
  kept[rows[first]] = True
  return kept


def _area(true_positive: np.ndarray, num_objects: int) -> float:
  """Area under the precision envelope over recall."""
  if not true_positive.size:
    return 0.0
  found = np.cumsum(true_positive)
  precision = found / np.arange(1, len(found) + 1)
  envelope: Float[np.ndarray, " n"] = np.maximum.accumulate(precision[::-1])
  return float(np.sum(envelope[::-1] * true_positive) / num_objects)
