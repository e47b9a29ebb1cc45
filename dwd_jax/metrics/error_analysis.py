"""Figures of a report, each a function of the outcomes of a split.

`error_counts` and `error_gains` count the errors of each kind
(`metrics.matching`), and measure its cost: the AP at IoU 0.5 gained by
repairing all errors of the kind and no others:

  location, class  the best scored detection of each true box not found gets
                   its place or its class, the others are removed
  duplicate, background, both  the detections are removed
  missed           the true boxes are removed

Gains do not add up. They, APs and sizes need all detections as outcomes; counts
and confusions are of those from a threshold on (`Outcomes.at_least`).

Reference: Bolya et al., TIDE: A General Toolbox for Identifying Object
Detection Errors (ECCV 2020), section 2.3. Differs from it where a class has
only missed boxes: once they are removed its AP is taken as 1.

`by_size` measures objects by size, the square root of a box's area. A bin holds
the true boxes of its sizes, the detections that found one of them, and the
wrong detections of such a size, similar to COCO's small, medium and large.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from dwd_jax.core.structs import PageBoxes
from dwd_jax.metrics import matching, pairs, protocols
from dwd_jax.metrics.matching import CLASS, KINDS, LOCATION, MIN_IOU, Outcomes
from dwd_jax.metrics.protocols import mean_or_nan

MISSED = "missed"  # besides `KINDS`
# Of the bins of `by_size`.
PX_EDGES = (0, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, np.inf)
STAFF_SPACE_EDGES = (0, 0.35, 0.5, 0.7, 1, 1.4, 2, 2.8, 4, 5.7, 8, np.inf)
_AT_ONCE = 1 << 20  # boxes


class Curve(NamedTuple):
  """Precision and rising recall at each of k falling thresholds."""

  scores: Float[np.ndarray, " k"]
  recall: Float[np.ndarray, " k"]
  precision: Float[np.ndarray, " k"]


def curve(
  scores: Float[np.ndarray, " n"],
  correct: Bool[np.ndarray, " n"],
  num_objects: int,
  most: int | None = None,
) -> Curve:
  """Precision and recall at every score; empty without true boxes.

  Args:
    scores: falling, see `reliability.ranked`.
    most: number of points, the first and the last among them; None = all.
  """
  if not num_objects:
    return Curve(np.zeros(0), np.zeros(0), np.zeros(0))
  last = np.append(scores[1:] < scores[:-1], True)[: len(scores)]
  k = int(last.sum())
  at = np.linspace(0, k - 1, k if most is None else min(k, most))
  at = np.flatnonzero(last)[np.unique(at.round().astype(int))]
  right = np.cumsum(correct, dtype=np.int64)[at]
  return Curve(scores[at], right / num_objects, right / (at + 1))


def average_precision(
  correct: Bool[np.ndarray, " n"], num_objects: int
) -> float:
  """AP of the COCO metric; NaN without true boxes.

  Args:
    correct: whether the detections of a class are right, best score first.
    num_objects: true boxes of the class.
  """
  if not num_objects:
    return float("nan")
  return protocols.COCO.average(correct, num_objects)


class Gains(NamedTuple):
  """AP_50 by class, and {kind: AP_50 gained by repair}; NaN without truth."""

  ap_50: Float[np.ndarray, " C"]
  gain: dict[str, Float[np.ndarray, " C"]]


def error_counts(
  outcomes: Outcomes, num_classes: int
) -> dict[str, Int[np.ndarray, " C"]]:
  """Counts errors of each kind by class, of the detection or the missed box."""
  found = {
    name: count(outcomes.labels[outcomes.kind == i], num_classes)
    for i, name in enumerate(KINDS)
  }
  missed = outcomes.true_labels[outcomes.missed()]
  return found | {MISSED: count(missed, num_classes)}


def count(ids: Int[np.ndarray, " n"], size: int) -> Int[np.ndarray, " size"]:
  """How often each id occurs."""
  total = np.zeros(size, np.int64)
  for start in range(0, len(ids), _AT_ONCE):  # bincount makes a wide copy
    total += np.bincount(ids[start : start + _AT_ONCE], minlength=size)
  return total


def error_gains(outcomes: Outcomes, num_classes: int) -> Gains:
  """Measures the gain in AP_50 of repairing each kind of error, by class."""
  objects = count(outcomes.true_labels, num_classes)
  as_found = _ByClass(outcomes.labels, outcomes.scores, num_classes)
  right = outcomes.right
  plain = as_found.ap(right, None, objects)
  gain = {}
  for kind, name in enumerate(KINDS):
    wrong, by_class = outcomes.kind == kind, as_found
    repaired = np.zeros(len(wrong), bool)
    if kind in (LOCATION, CLASS):
      repaired = _repaired(outcomes, wrong)
    if kind == CLASS:
      labels = outcomes.labels.copy()
      labels[repaired] = outcomes.true_labels[outcomes.of_truth[repaired]]
      by_class = _ByClass(labels, outcomes.scores, num_classes)
    gain[name] = by_class.ap(right | repaired, ~wrong | repaired, objects)
    gain[name] -= plain
  left = count(outcomes.true_labels[~outcomes.missed()], num_classes)
  without = as_found.ap(right, None, left)
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


class _ByClass:
  """Detections by class, then by falling score: sorted once, used often."""

  def __init__(self, labels, scores, num_classes):
    # Of 16 bits, labels are sorted by counting.
    self._order = order = np.argsort(labels, kind="stable").astype(np.int32)
    self._edges = np.cumsum([0, *count(labels, num_classes)])
    for start, end in itertools.pairwise(self._edges):
      rows = order[start:end]
      order[start:end] = rows[np.argsort(-scores[rows], kind="stable")]

  def ap(self, right, keep, objects):
    """AP of each class; `objects` [C] true boxes, `keep` [n] or None = all."""
    right = right[self._order]
    keep = None if keep is None else keep[self._order]
    ap = np.full(len(objects), np.nan)
    for c in np.flatnonzero(objects):
      rows = slice(self._edges[c], self._edges[c + 1])
      of_class = right[rows] if keep is None else right[rows][keep[rows]]
      ap[c] = average_precision(of_class, int(objects[c]))
    return ap


def confusion_matrix(
  pages: Iterable[tuple[PageBoxes, PageBoxes]], num_classes: int
) -> Int[np.ndarray, "C+1 C+1"]:
  """Counts pairs of true boxes and detections, one to one.

  Right pairs (`metrics.matching`) come first; what is left is paired whatever
  its class, from the highest IoU down to 0.5. So a row sums to the true boxes
  of its class, a column to its detections.

  Args:
    pages: truth and finite detections of each.

  Returns:
    Row: class of the true box; column: class of the detection. The last column
    holds missed true boxes, the last row detections without a true box.
  """
  counts = np.zeros((num_classes + 1, num_classes + 1), np.int64)
  for truth, found in pages:
    matches = matching.match(truth, found)
    right = found.labels[matches.hit]
    np.add.at(counts, (right, right), 1)
    true, wrong = truth.keep(~matches.found), found.keep(~matches.hit)
    row, column = _left_pairs(true, wrong)
    np.add.at(counts, (true.labels[column], wrong.labels[row]), 1)
    missed, false = np.delete(true.labels, column), np.delete(wrong.labels, row)
    counts[:-1, -1] += count(missed, num_classes)
    counts[-1, :-1] += count(false, num_classes)
  return counts


def _left_pairs(true: PageBoxes, wrong: PageBoxes):
  """Detections and true boxes, best IoU first, each in one pair at most."""
  found = pairs.of_pages(wrong, true, MIN_IOU)
  found = found.keep(np.argsort(-found.iou, kind="stable"))
  rows, columns = {}, set()
  for row, column in zip(
    found.row.tolist(), found.column.tolist(), strict=True
  ):
    if row not in rows and column not in columns:
      rows[row] = column
      columns.add(column)
  return np.array([*rows], np.int64), np.array([*rows.values()], np.int64)


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

  def bins_of(size, page):
    bins = np.empty(len(size), np.int8)
    for start in range(0, len(size), _AT_ONCE):
      here = slice(start, start + _AT_ONCE)
      unit = 1.0 if px_per_unit is None else px_per_unit[page[here]]
      # NaN is sorted past the last bin.
      found = np.searchsorted(np.array(edges), size[here] / unit, side="right")
      bins[here] = found - 1
    return bins

  true_bin = bins_of(outcomes.true_size_px, outcomes.true_page)
  bins = bins_of(outcomes.size_px, outcomes.page)
  right = outcomes.right
  bins[right] = true_bin[outcomes.of_truth[right]]
  found, k = outcomes.found(min_score), len(edges) - 1
  num_classes = int(outcomes.true_labels.max(initial=-1)) + 1
  num_classes = max(num_classes, int(outcomes.labels.max(initial=-1)) + 1)
  by_class = _ByClass(outcomes.labels, outcomes.scores, num_classes)
  objects, classes = np.zeros(k, np.int64), np.zeros(k, np.int64)
  recall, ap_50 = np.full(k, np.nan), np.full(k, np.nan)
  for b in range(k):
    here = true_bin == b
    of_class = count(outcomes.true_labels[here], num_classes)
    objects[b], classes[b] = of_class.sum(), np.count_nonzero(of_class)
    if objects[b]:
      recall[b] = found[here].mean()
      ap_50[b] = mean_or_nan(by_class.ap(right, bins == b, of_class))
  return BySize(tuple(map(float, edges)), objects, classes, recall, ap_50)


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
    num_objects=count(outcomes.true_page, num_pages),
    num_detections=count(outcomes.page, num_pages),
    num_right=count(outcomes.page[outcomes.right], num_pages),
  )
