"""Matches detections with true boxes, and classifies errors.

Detections are paired with true boxes one to one, best score first. The kinds of
error are those of TIDE; a wrong detection gets the first that fits:

  location    right class, IoU with a true box of it from 0.1 to below 0.5
  class       IoU 0.5 or more with a true box of another class
  duplicate   right class and place, but a better scored detection was matched
  background  IoU below 0.1 with every true box
  both        the rest: wrong class, and IoU from 0.1 to below 0.5

Where truth and detections have oriented boxes, the IoU is theirs;
`PageBoxes.upright` forgets them.

True boxes that nothing found are `missed`, unless a detection of kind
`location` or `class` overlaps them: repairing that one would find them.

Reference: Bolya et al., TIDE: A General Toolbox for Identifying Object
Detection Errors (ECCV 2020).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core.structs import PageBoxes
from dwd_jax.metrics import pairs as pairs_lib
from dwd_jax.metrics.columns import Column
from dwd_jax.metrics.pairs import Pairs
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
  truth: PageBoxes, detections: PageBoxes, min_iou: float = MIN_IOU
) -> Matches:
  """Matches detections with true boxes, best score first, one to one.

  As in the COCO metric, a detection takes the free true box of its class that
  it overlaps most. Where both have oriented boxes, these are compared.

  Args:
    min_iou: least overlap of a pair, above 0 and up to 1.
  """
  own, other = _pairs(truth, detections, min_iou)
  taken = _taken(truth, detections, own, min_iou)
  hit, found = taken >= 0, np.zeros(len(truth.labels), bool)
  found[taken[hit]] = True
  _, confused = pairs_lib.best(other, len(hit))
  return Matches(hit, found, np.where(hit, -1, confused), taken)


def _pairs(
  truth: PageBoxes, detections: PageBoxes, min_iou: float
) -> tuple[Pairs, Pairs]:
  """Detections and true boxes of the same class, and of others."""
  pairs = pairs_lib.of_pages(detections, truth, min_iou)
  same = detections.labels[pairs.row] == truth.labels[pairs.column]
  return pairs.keep(same), pairs.keep(~same)


def _taken(
  truth: PageBoxes, detections: PageBoxes, own: Pairs, min_iou: float
) -> Int[np.ndarray, " n"]:
  """The true box that each detection takes; -1: none."""
  n, scores = len(detections.labels), detections.scores
  order = np.arange(n) if scores is None else np.argsort(-scores, kind="stable")
  rank = np.empty(n, np.int64)
  rank[order] = np.arange(n)
  ranked = own._replace(row=rank[own.row])
  (taken,) = pairs_lib.one_to_one(ranked, n, len(truth.labels), [min_iou])
  return taken[rank]


def sane(px: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
  """Clips boxes or corners to finite sizes; a diverged model predicts any."""
  return np.clip(np.nan_to_num(px.astype(np.float64)), -1e5, 1e5)


class Outcomes(NamedTuple):
  """n detections and m true boxes of some pages, page by page.

  Attributes:
    page: index of the detection's page.
    scores: finite.
    kind: RIGHT, or the index into `KINDS`.
    of_truth: index of the true box that the detection found, or that its error
      refers to (location, class, duplicate); else -1.
    size_px: root of the box's area, in pixels of the source image.
    true_page: index of the true box's page.
  """

  page: Int[np.ndarray, " n"]
  labels: Int[np.ndarray, " n"]
  scores: Float[np.ndarray, " n"]
  kind: Int[np.ndarray, " n"]
  of_truth: Int[np.ndarray, " n"]
  size_px: Float[np.ndarray, " n"]
  true_page: Int[np.ndarray, " m"]
  true_labels: Int[np.ndarray, " m"]
  true_size_px: Float[np.ndarray, " m"]

  @property
  def right(self) -> Bool[np.ndarray, " n"]:
    """Detections matched with a true box of their class."""
    return self.kind == RIGHT

  def found(self, min_score: float = -np.inf) -> Bool[np.ndarray, " m"]:
    """True boxes matched by a right detection with at least this score."""
    return self._touched(self.right & (self.scores >= min_score))

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

  def at_least(self, min_score: float) -> "Outcomes":
    """Removes the detections below a score; true boxes and matches stay."""
    rows = self.scores >= min_score
    kept = {
      name: values[rows]
      for name, values in self._asdict().items()
      if not name.startswith("true_")
    }
    return self._replace(**kept)


class OfPage(NamedTuple):
  """What became of the n detections of a page; see `Outcomes`.

  Attributes:
    of_truth: index into the page's true boxes.
  """

  kind: Int[np.ndarray, " n"]
  of_truth: Int[np.ndarray, " n"]

  def keep(self, rows: Bool[np.ndarray, " n"]) -> "OfPage":
    """Some of the detections.

    Matches stay valid if no removed detection scores better than a kept one of
    its class.
    """
    return OfPage(self.kind[rows], self.of_truth[rows])

  def after(self, count: int) -> "OfPage":
    """With `count` true boxes before those of the page."""
    of_truth = np.where(self.of_truth < 0, -1, self.of_truth + count)
    return self._replace(of_truth=of_truth)


_OF_KIND = {"kind": np.int8, "of_truth": np.int32}


class Collector:
  """Collects the outcomes of pages: 23 bytes of a detection, 10 of a true box.

  Classes have 16 bits, indices and sizes 32, scores 64. Those of oriented boxes
  differ in kind and true box, 5 bytes of a detection.
  """

  def __init__(self):
    self._pages = 0
    kinds = {
      "page": np.int32,
      "labels": np.int16,
      "scores": np.float64,
      **_OF_KIND,
      "size_px": np.float32,
      "true_page": np.int32,
      "true_labels": np.int16,
      "true_size_px": np.float32,
    }
    self._columns = _columns(kinds)
    self._rotated: dict[str, Column] | None = _columns(_OF_KIND)

  def add(
    self,
    truth: PageBoxes,
    found: PageBoxes,
    of_page: OfPage,
    rotated: OfPage | None = None,
  ) -> None:
    """Adds a page, whose detections are finite.

    Args:
      of_page: by upright boxes.
      rotated: by oriented boxes, if truth and detections have them.
    """
    true_count = len(self._columns["true_page"])
    if rotated is None:
      self._rotated = None
    elif self._rotated is not None:
      _add(self._rotated, rotated.after(true_count)._asdict())
    values = {
      "page": np.full(len(found.labels), self._pages),
      "labels": found.labels,
      "scores": found.scores,
      **of_page.after(true_count)._asdict(),
      "size_px": _sizes_px(found),
      "true_page": np.full(len(truth.labels), self._pages),
      "true_labels": truth.labels,
      "true_size_px": _sizes_px(truth),
    }
    _add(self._columns, values)
    self._pages += 1

  def outcomes(self) -> Outcomes:
    """Those of all pages; nothing can be added afterwards."""
    return Outcomes(**{k: v.values() for k, v in self._columns.items()})

  def rotated(self) -> Outcomes | None:
    """Those by oriented boxes; None if a page has none."""
    if self._rotated is None or not self._pages:
      return None
    kinds = {k: v.values() for k, v in self._rotated.items()}
    return self.outcomes()._replace(**kinds)


def _columns(kinds) -> dict[str, Column]:
  return {name: Column(kind) for name, kind in kinds.items()}


def _add(columns: dict[str, Column], values: dict[str, np.ndarray]) -> None:
  for name, column in columns.items():
    column.add(values[name])


def _sizes_px(page: PageBoxes) -> np.ndarray:
  return np.sqrt(
    np.asarray(boxes_lib.areas(page.boxes_yxyx.astype(np.float64)))
  )


def judge_page(truth: PageBoxes, found: PageBoxes) -> OfPage:
  """Matches the finite detections of a page at IoU 0.5.

  See the module's docstring.
  """
  n = len(found.labels)
  own, other = _pairs(truth, found, BACKGROUND_IOU)
  taken = _taken(truth, found, own, MIN_IOU)
  (best_own, own_box), (best_other, other_box) = (
    pairs_lib.best(pairs, n) for pairs in (own, other)
  )
  conditions = (
    taken >= 0,
    (best_own >= BACKGROUND_IOU) & (best_own < MIN_IOU),
    best_other >= MIN_IOU,
    best_own >= MIN_IOU,
    np.maximum(best_own, best_other) < BACKGROUND_IOU,
  )
  kind = np.select(
    conditions, (RIGHT, LOCATION, CLASS, DUPLICATE, BACKGROUND), BOTH
  )
  index = np.select(
    (taken >= 0, kind == CLASS, np.isin(kind, (LOCATION, DUPLICATE))),
    (taken, other_box, own_box),
    -1,
  )
  return OfPage(kind, index)
