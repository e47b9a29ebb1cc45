"""Matches detections with true boxes, and classifies errors.

Detections are paired with true boxes one to one, best score first. The kinds of
error are those of TIDE; a wrong detection gets the first that fits:

  location    right class, IoU with a true box of it from 0.1 to below 0.5
  class       IoU 0.5 or more with a true box of another class
  duplicate   right class and place, but a better scored detection was matched
  background  IoU below 0.1 with every true box
  both        the rest: wrong class, and IoU from 0.1 to below 0.5

True boxes that nothing found are `missed`, unless a detection of kind
`location` or `class` overlaps them: repairing that one would find them.

Reference: Bolya et al., TIDE: A General Toolbox for Identifying Object
Detection Errors (ECCV 2020).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core.structs import PageBoxes
from dwd_jax.metrics.reliability import Judged

MIN_IOU = 0.5  # of a right detection
BACKGROUND_IOU = 0.1  # below: background
RIGHT = -1
KINDS = ("location", "class", "duplicate", "background", "both")
LOCATION, CLASS, DUPLICATE, BACKGROUND, BOTH = range(len(KINDS))


class Matches(NamedTuple):
  """Matches of n detections with m true boxes.

  Attributes:
    hit: detections that are right.
    found: true boxes matched by a right detection.
    confused_with: index of the true box of another class that a wrong detection
      overlaps; else -1.
    taken: index of the true box of a right detection; else -1.
  """

  hit: Bool[np.ndarray, " n"]
  found: Bool[np.ndarray, " m"]
  confused_with: Int[np.ndarray, " n"]
  taken: Int[np.ndarray, " n"]


def match(
  truth: PageBoxes,
  detections: PageBoxes,
  min_iou: float = MIN_IOU,
  iou: Float[np.ndarray, "n m"] | None = None,
) -> Matches:
  """Matches detections with true boxes, best score first, one to one.

  As in the COCO metric, a detection takes the free true box of its class that
  it overlaps most.

  Args:
    min_iou: least overlap of a pair, 0..1.
    iou: `overlaps` of the two, if known already.
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
  """IoU of n detections with m true boxes."""
  return np.asarray(
    boxes_lib.pairwise_iou(sane(detections.boxes_yxyx), sane(truth.boxes_yxyx))
  )


def sane(boxes_yxyx: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 4"]:
  """Clips boxes to finite sizes; a diverged model predicts anything."""
  return np.clip(np.nan_to_num(boxes_yxyx.astype(np.float64)), -1e5, 1e5)


class Outcomes(NamedTuple):
  """n detections and m true boxes of some pages, page by page.

  Boxes are in pixels of the source images.

  Attributes:
    page: index of the detection's page.
    scores: finite.
    kind: RIGHT, or the index into `KINDS`.
    of_truth: index of the true box that the detection found, or that its error
      refers to (location, class, duplicate); else -1.
    confused_with: index of the true box of another class that a wrong detection
      overlaps most, if by IoU 0.5 or more; else -1.
    true_page: index of the true box's page.
  """

  page: Int[np.ndarray, " n"]
  boxes_yxyx: Float[np.ndarray, "n 4"]
  labels: Int[np.ndarray, " n"]
  scores: Float[np.ndarray, " n"]
  kind: Int[np.ndarray, " n"]
  of_truth: Int[np.ndarray, " n"]
  confused_with: Int[np.ndarray, " n"]
  true_page: Int[np.ndarray, " m"]
  true_boxes_yxyx: Float[np.ndarray, "m 4"]
  true_labels: Int[np.ndarray, " m"]

  @property
  def right(self) -> Bool[np.ndarray, " n"]:
    """Detections matched with a true box of their class."""
    return self.kind == RIGHT

  def found(self) -> Bool[np.ndarray, " m"]:
    """True boxes matched by a right detection."""
    return self._touched(self.right)

  def missed(self) -> Bool[np.ndarray, " m"]:
    """True boxes without a right, misplaced or misnamed detection."""
    near = (self.kind == LOCATION) | (self.kind == CLASS)
    return ~self._touched(self.right | near)

  def _touched(self, which):
    touched = np.zeros(len(self.true_labels), bool)
    touched[self.of_truth[which]] = True
    return touched

  def judged(self) -> Judged:
    """Right and wrong detections for `metrics.reliability`."""
    return Judged(
      scores=self.scores,
      correct=self.right,
      labels=self.labels,
      page=self.page,
      num_objects=len(self.true_labels),
    )

  def keep(self, rows: Bool[np.ndarray, " n"]) -> "Outcomes":
    """Keeps some of the detections, and all true boxes.

    Matches stay valid if no removed detection scores better than a kept one of
    its class and page.
    """
    kept = {
      name: values[rows]
      for name, values in self._asdict().items()
      if not name.startswith("true_")
    }
    return self._replace(**kept)

  def at_least(self, min_score: float) -> "Outcomes":
    """Removes the detections below a score; the matches stay valid."""
    return self.keep(self.scores >= min_score)

  def of_page(self, number: int) -> "Outcomes":
    """Outcomes of one page, with true boxes counted from 0."""
    first, end = np.searchsorted(self.true_page, (number, number + 1))
    page = self.keep(self.page == number)

    def counted(index):
      return np.where(index < 0, -1, index - first)

    return page._replace(
      of_truth=counted(page.of_truth),
      confused_with=counted(page.confused_with),
      true_page=self.true_page[first:end],
      true_boxes_yxyx=self.true_boxes_yxyx[first:end],
      true_labels=self.true_labels[first:end],
    )


def judge(
  truth: Sequence[PageBoxes], detections: Sequence[PageBoxes]
) -> Outcomes:
  """Matches the detections of pages at IoU 0.5, see the module's docstring.

  Both lists have the same pages in the same order. Detections with a score or
  box that is not finite are left out, with a warning.
  """
  found = [page.finite() for page in detections]
  kinds, of_truth, confused, offset = [], [], [], 0
  for true, page in zip(truth, found, strict=True):
    kind, *indices = _judge_page(true, page)
    kinds.append(kind)
    for of_all, index in zip((of_truth, confused), indices, strict=True):
      of_all.append(np.where(index < 0, -1, index + offset))
    offset += len(true.labels)
  return Outcomes(
    page=_numbers(found),
    boxes_yxyx=_joined([p.boxes_yxyx for p in found], np.float64, (0, 4)),
    labels=_joined([p.labels for p in found], np.int64),
    scores=_joined([p.scores for p in found], np.float64),
    kind=_joined(kinds, np.int64),
    of_truth=_joined(of_truth, np.int64),
    confused_with=_joined(confused, np.int64),
    true_page=_numbers(truth),
    true_boxes_yxyx=_joined([p.boxes_yxyx for p in truth], np.float64, (0, 4)),
    true_labels=_joined([p.labels for p in truth], np.int64),
  )


def rejudge(
  outcomes: Outcomes,
  truth: Sequence[PageBoxes],
  detections: Sequence[PageBoxes],
) -> Outcomes:
  """Returns what `judge` gives for the same boxes with other, finite scores.

  Detections must keep their order; some may be gone. Nothing is matched again
  if none is, and their scores rank them alike on each page within each class,
  on which alone matches depend.
  """
  scores = _joined([page.scores for page in detections], np.float64)
  if len(scores) != len(outcomes.scores):
    return judge(truth, detections)
  place = outcomes.labels, outcomes.page
  old, new = (np.lexsort((-s, *place)) for s in (outcomes.scores, scores))
  if np.array_equal(old, new):
    return outcomes._replace(scores=scores)
  return judge(truth, detections)


def _joined(parts, dtype, empty=(0,)):
  parts = [np.asarray(part, dtype) for part in parts]
  return np.concatenate([np.zeros(empty, dtype), *parts])


def _numbers(pages: Sequence[PageBoxes]):
  counts = np.array([len(page.labels) for page in pages], np.int64)
  return np.repeat(np.arange(len(pages)), counts)


def _judge_page(true: PageBoxes, found: PageBoxes):
  """Kind, true box and confused box of each detection on a page."""
  n, m = len(found.labels), len(true.labels)
  if not n or not m:
    return np.full(n, BACKGROUND), np.full(n, -1), np.full(n, -1)
  iou = overlaps(true, found)  # [n, m]
  matches = match(true, found, MIN_IOU, iou)
  same = found.labels[:, None] == true.labels[None, :]
  own, other = np.where(same, iou, -1.0), np.where(same, -1.0, iou)
  best_own, best_other = own.max(axis=1), other.max(axis=1)
  conditions = (
    matches.hit,
    (best_own >= BACKGROUND_IOU) & (best_own < MIN_IOU),
    best_other >= MIN_IOU,
    best_own >= MIN_IOU,
    np.maximum(best_own, best_other) < BACKGROUND_IOU,
  )
  kind = np.select(
    conditions, (RIGHT, LOCATION, CLASS, DUPLICATE, BACKGROUND), BOTH
  )
  own_box, other_box = own.argmax(axis=1), other.argmax(axis=1)
  index = np.select(
    (matches.hit, kind == CLASS, np.isin(kind, (LOCATION, DUPLICATE))),
    (matches.taken, other_box, own_box),
    -1,
  )
  return kind, index, matches.confused_with
