"""Which detections are right: pairs of detections and truth, one to one."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from dwd_jax.core import boxes as box_lib
from dwd_jax.core.structs import PageBoxes


class Matches(NamedTuple):
  """Which predictions are right and which truth was found.

  Attributes:
    hit: predictions that are right.
    found: truth boxes that a right prediction took.
    confused_with: for each prediction, the truth box of another class that it
      sits on; -1 if there is none or the prediction is right.
    taken: for each prediction that is right, its truth box; else -1.
  """

  hit: Bool[np.ndarray, " n"]
  found: Bool[np.ndarray, " m"]
  confused_with: Int[np.ndarray, " n"]
  taken: Int[np.ndarray, " n"]


def match(
  truth: PageBoxes,
  detections: PageBoxes,
  min_iou: float = 0.5,
  iou: Float[np.ndarray, "n m"] | None = None,
) -> Matches:
  """Pairs predictions with truth, best score first, one to one.

  Args:
    truth: m boxes.
    detections: n boxes with scores.
    min_iou: least overlap of a pair, 0..1.
    iou: `overlaps` of the two, where they are known already.

  Returns:
    The pairs. A prediction takes the free truth box of its class that it
    overlaps most, as in the COCO metric.
  """
  n, m = len(detections.labels), len(truth.labels)
  hit, found = np.zeros(n, bool), np.zeros(m, bool)
  confused_with, taken = np.full(n, -1), np.full(n, -1)
  if not n or not m:
    return Matches(hit, found, confused_with, taken)
  if iou is None:
    iou = overlaps(truth, detections)
  same = detections.labels[:, None] == truth.labels[None, :]
  scores = np.zeros(n) if detections.scores is None else detections.scores
  for i in np.argsort(-scores, kind="stable"):
    free = np.where(same[i] & ~found, iou[i], -1.0)
    best = int(free.argmax())
    if free[best] >= min_iou:
      hit[i] = found[best] = True
      taken[i] = best
  other = np.where(same, -1.0, iou)
  confused = ~hit & (other.max(axis=1) >= min_iou)
  confused_with[confused] = other.argmax(axis=1)[confused]
  return Matches(hit, found, confused_with, taken)


def overlaps(
  truth: PageBoxes, detections: PageBoxes
) -> Float[np.ndarray, "n m"]:
  """IoU of n predictions with m truth boxes."""
  return np.asarray(
    box_lib.pairwise_iou(sane(detections.boxes_yxyx), sane(truth.boxes_yxyx))
  )


def sane(boxes_yxyx: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 4"]:
  """Finite boxes of a size that can be drawn; a diverged model predicts all."""
  return np.clip(np.nan_to_num(boxes_yxyx.astype(np.float64)), -1e5, 1e5)
