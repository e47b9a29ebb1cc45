"""Which class is taken for which: the confusion matrix of a split."""

import numpy as np
from jaxtyping import Int

from dwd_jax.core import boxes as box_lib
from dwd_jax.metrics.matching import sane
from dwd_jax.metrics.outcomes import MIN_IOU, Outcomes


def matrix(outcomes: Outcomes, num_classes: int) -> Int[np.ndarray, "C+1 C+1"]:
  """Counts pairs of true boxes and detections, one to one.

  First come the pairs that are right (`metrics.matching`), then what is left
  over is paired whatever the class, from the highest IoU down to 0.5. So a row
  adds up to the true boxes of its class, a column to the detections of its.

  Args:
    outcomes: the detections that count, see `Outcomes.at_least`.
    num_classes: C.

  Returns:
    Row: class of the true box; column: class of the detection. The last column
    holds true boxes that were missed, the last row detections of nothing.
  """
  found = np.zeros((num_classes + 1, num_classes + 1), np.int64)
  right = outcomes.right
  np.add.at(found, (outcomes.labels[right], outcomes.labels[right]), 1)
  free = ~outcomes.found()
  for page in np.union1d(outcomes.true_page[free], outcomes.page[~right]):
    rows = np.flatnonzero(~right & (outcomes.page == page))
    true = np.flatnonzero(free & (outcomes.true_page == page))
    pairs = _pairs(outcomes.boxes_yxyx[rows], outcomes.true_boxes_yxyx[true])
    labels = np.append(outcomes.labels[rows], num_classes)
    true_labels = np.append(outcomes.true_labels[true], num_classes)
    for row, column in pairs:
      found[true_labels[column], labels[row]] += 1
  return found


def _pairs(boxes, true_boxes) -> list[tuple[int, int]]:
  """(detection, true box), best IoU first; -1 for what has no partner."""
  iou = np.asarray(box_lib.pairwise_iou(sane(boxes), sane(true_boxes)))
  at = np.argwhere(iou >= MIN_IOU)
  order = np.argsort(-iou[tuple(at.T)], kind="stable")
  free_row, free_column = (np.ones(side, bool) for side in iou.shape)
  pairs = []
  for row, column in at[order].tolist():
    if free_row[row] and free_column[column]:
      free_row[row] = free_column[column] = False
      pairs.append((row, column))
  pairs += [(row, -1) for row in np.flatnonzero(free_row).tolist()]
  return pairs + [(-1, column) for column in np.flatnonzero(free_column)]
