"""Figures of a report, each a function of the outcomes of a split.

`error_counts` and `error_gains` count the errors of each kind
(`metrics.matching`), and measure its cost: the AP at IoU 0.5 gained by
repairing all errors of the kind and no others:

  location, class  the best scored detection of each true box not found gets
                   its place or its class, the others are removed
  duplicate, background, both  the detections are removed
  missed           the true boxes are removed

Gains do not add up. They, APs and sizes need all detections as outcomes; counts
are of those from a threshold on (`Outcomes.at_least`).

Reference: Bolya et al., TIDE: A General Toolbox for Identifying Object
Detection Errors (ECCV 2020), section 2.3. Differs from it where a class has
only missed boxes: once they are removed its AP is taken as 1.

`by_size` measures objects by size, the square root of a box's area. A bin holds
the true boxes of its sizes, the detections that found one of them, and the
wrong detections of such a size, similar to COCO's small, medium and large.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.metrics.matching import (
  CLASS,
  KINDS,
  LOCATION,
  MIN_IOU,
  Outcomes,
  sane,
)
from dwd_jax.metrics.protocols import mean_or_nan

MISSED = "missed"  # besides `KINDS`
# Of the bins of `by_size`.
PX_EDGES = (0, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, np.inf)
STAFF_SPACE_EDGES = (0, 0.35, 0.5, 0.7, 1, 1.4, 2, 2.8, 4, 5.7, 8, np.inf)
_RECALLS = np.linspace(0.0, 1.0, 101)


class Curve(NamedTuple):
  """Precision and rising recall at each of k falling thresholds."""

  scores: Float[np.ndarray, " k"]
  recall: Float[np.ndarray, " k"]
  precision: Float[np.ndarray, " k"]

  def thinned(self, most: int) -> "Curve":
    """At most `most` of its points, including the first and the last."""
    k = len(self.scores)
    at = np.unique(np.linspace(0, k - 1, min(k, most)).round().astype(int))
    return Curve(self.scores[at], self.recall[at], self.precision[at])


def curve(
  scores: Float[np.ndarray, " n"],
  correct: Bool[np.ndarray, " n"],
  num_objects: int,
) -> Curve:
  """Precision and recall at every score; empty without true boxes."""
  if not num_objects:
    return Curve(np.zeros(0), np.zeros(0), np.zeros(0))
  order = np.argsort(-scores, kind="stable")
  scores, right = scores[order], np.cumsum(correct[order])
  last = np.append(scores[1:] < scores[:-1], True)[: len(scores)]
  kept = np.arange(1, len(scores) + 1)
  return Curve(scores[last], (right / num_objects)[last], (right / kept)[last])


def average_precision(
  scores: Float[np.ndarray, " n"],
  correct: Bool[np.ndarray, " n"],
  num_objects: int,
) -> float:
  """COCO's AP: mean of the precision envelope at recall 0, 0.01 ... 1.

  Args:
    scores: of n detections of a class; equal ones keep their order.
    correct: whether they are right.
    num_objects: true boxes of the class.

  Returns:
    0..1; NaN without true boxes.

  Reference: Lin et al., Microsoft COCO (2014). Equals `protocols.coco`, which
  takes boxes instead of flags.
  """
  if not num_objects:
    return float("nan")
  if not len(scores):
    return 0.0
  right = np.cumsum(correct[np.argsort(-scores, kind="stable")])
  precision = right / np.arange(1, len(right) + 1)
  envelope = np.maximum.accumulate(precision[::-1])[::-1]
  at = np.searchsorted(right / num_objects, _RECALLS)
  return float(np.append(envelope, 0.0)[at].mean())


class Gains(NamedTuple):
  """AP_50 by class, and {kind: AP_50 gained by repair}; NaN without truth."""

  ap_50: Float[np.ndarray, " C"]
  gain: dict[str, Float[np.ndarray, " C"]]


def error_counts(
  outcomes: Outcomes, num_classes: int
) -> dict[str, Int[np.ndarray, " C"]]:
  """Counts errors of each kind by class, of the detection or the missed box."""
  found = {
    name: _count(outcomes.labels[outcomes.kind == i], num_classes)
    for i, name in enumerate(KINDS)
  }
  missed = outcomes.true_labels[outcomes.missed()]
  return found | {MISSED: _count(missed, num_classes)}


def _count(ids: Int[np.ndarray, " n"], size: int) -> Int[np.ndarray, " size"]:
  return np.bincount(ids, minlength=size)


def error_gains(outcomes: Outcomes, num_classes: int) -> Gains:
  """Measures the gain in AP_50 of repairing each kind of error, by class."""
  objects = _count(outcomes.true_labels, num_classes)
  plain = _ap(outcomes, outcomes.labels, outcomes.right, None, objects)
  gain = {}
  for kind, name in enumerate(KINDS):
    wrong = outcomes.kind == kind
    labels, right = outcomes.labels, outcomes.right
    repaired = np.zeros(len(labels), bool)
    if kind in (LOCATION, CLASS):
      repaired = _repaired(outcomes, wrong)
      labels = labels.copy()
      labels[repaired] = outcomes.true_labels[outcomes.of_truth[repaired]]
    keep = ~wrong | repaired
    gain[name] = _ap(outcomes, labels, right | repaired, keep, objects) - plain
  left = _count(outcomes.true_labels[~outcomes.missed()], num_classes)
  without = _ap(outcomes, outcomes.labels, outcomes.right, None, left)
  without = np.where((objects > 0) & (left == 0), 1.0, without)
  gain[MISSED] = without - plain
  return Gains(plain, gain)


def _repaired(
  outcomes: Outcomes, wrong: Bool[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
  """The best of the wrong detections of each true box that was not found."""
  rows = np.flatnonzero(wrong)
  rows = rows[~outcomes.found()[outcomes.of_truth[rows]]]
  rows = rows[np.argsort(-outcomes.scores[rows], kind="stable")]
  _, first = np.unique(outcomes.of_truth[rows], return_index=True)
  repaired = np.zeros(len(wrong), bool)
  repaired[rows[first]] = True
  return repaired


def _ap(outcomes: Outcomes, labels, right, keep, objects):
  """AP of each class; `objects` [C] true boxes, `keep` [n] or None = all."""
  keep = np.ones(len(labels), bool) if keep is None else keep
  labels, scores, right = labels[keep], outcomes.scores[keep], right[keep]
  order = np.argsort(labels, kind="stable")
  edges = np.searchsorted(labels[order], np.arange(len(objects) + 1))
  return np.array(
    [
      average_precision(scores[rows], right[rows], int(objects[c]))
      for c, rows in enumerate(order[a:b] for a, b in itertools.pairwise(edges))
    ]
  )


def confusion_matrix(
  outcomes: Outcomes, num_classes: int
) -> Int[np.ndarray, "C+1 C+1"]:
  """Counts pairs of true boxes and detections, one to one.

  Right pairs (`metrics.matching`) come first; what is left is paired whatever
  its class, from the highest IoU down to 0.5. So a row sums to the true boxes
  of its class, a column to its detections.

  Returns:
    Row: class of the true box; column: class of the detection. The last column
    holds missed true boxes, the last row detections without a true box.
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
  """(detection, true box), best IoU first; -1 for those without partner."""
  iou = np.asarray(boxes_lib.pairwise_iou(sane(boxes), sane(true_boxes)))
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


class BySize(NamedTuple):
  """Figures of each of k bins of sizes.

  Attributes:
    edges: k + 1 edges; a size on an edge belongs to the bin above.
    num_objects: true boxes.
    num_classes: their classes.
    recall: at the threshold; NaN without true boxes.
    ap_50: mean of the classes' AP in this bin; NaN without true boxes.
  """

  edges: tuple[float, ...]
  num_objects: Int[np.ndarray, " k"]
  num_classes: Int[np.ndarray, " k"]
  recall: Float[np.ndarray, " k"]
  ap_50: Float[np.ndarray, " k"]


def by_size(
  outcomes: Outcomes,
  min_score: float,
  edges: Sequence[float] = PX_EDGES,
  px_per_unit: Float[np.ndarray, " pages"] | None = None,
) -> BySize:
  """Recall and AP_50 by the size of the objects.

  Args:
    min_score: threshold of the recall.
    edges: of the bins, rising.
    px_per_unit: unit of the edges by page, such as its staff space; NaN leaves
      the boxes of a page out. None: pixels.
  """
  unit = np.ones(1) if px_per_unit is None else px_per_unit

  def bins_of(boxes, page):
    size = np.sqrt(np.asarray(boxes_lib.areas(boxes)))
    size = size / (unit[0] if px_per_unit is None else unit[page])
    # NaN is sorted past the last bin.
    return np.searchsorted(np.array(edges), size, side="right") - 1

  true_bin = bins_of(outcomes.true_boxes_yxyx, outcomes.true_page)
  bins = bins_of(outcomes.boxes_yxyx, outcomes.page)
  right = outcomes.right
  bins[right] = true_bin[outcomes.of_truth[right]]
  found = outcomes.at_least(min_score).found()
  k = len(edges) - 1
  rows = [_bin(outcomes, found, true_bin == b, bins == b) for b in range(k)]
  objects, classes, recall, ap_50 = map(np.array, zip(*rows, strict=True))
  return BySize(tuple(map(float, edges)), objects, classes, recall, ap_50)


def _bin(outcomes: Outcomes, found, true_here, here):
  """Objects, classes, recall and AP_50 of one bin."""
  objects = np.bincount(outcomes.true_labels[true_here])
  if not len(objects):
    return 0, 0, np.nan, np.nan
  ap = mean_or_nan(
    _ap(outcomes, outcomes.labels, outcomes.right, here, objects)
  )
  return objects.sum(), np.count_nonzero(objects), found[true_here].mean(), ap


class ByPage(NamedTuple):
  """Figures of each of p pages."""

  num_objects: Int[np.ndarray, " p"]
  num_detections: Int[np.ndarray, " p"]
  num_right: Int[np.ndarray, " p"]

  @property
  def num_errors(self) -> Int[np.ndarray, " p"]:
    """Wrong detections plus true boxes that were not found."""
    return self.num_detections + self.num_objects - 2 * self.num_right

  @property
  def f1(self) -> Float[np.ndarray, " p"]:
    """F1; 1 where there are neither objects nor detections."""
    total = self.num_detections + self.num_objects
    return np.where(total > 0, 2 * self.num_right / np.maximum(total, 1), 1.0)

  def worst_first(self) -> Int[np.ndarray, " p"]:
    """Page numbers by rising F1, then falling number of errors."""
    return np.lexsort((-self.num_errors, self.f1))


def by_page(outcomes: Outcomes, num_pages: int) -> ByPage:
  """Counts the objects and detections of every page."""
  return ByPage(
    num_objects=_count(outcomes.true_page, num_pages),
    num_detections=_count(outcomes.page, num_pages),
    num_right=_count(outcomes.page[outcomes.right], num_pages),
  )
