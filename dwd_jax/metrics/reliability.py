"""Reliability of scores: calibration error, thresholds.

A detection is right if it is matched with a true box of its class at IoU 0.5,
see `metrics.matching`.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

NUM_BINS = 15
_AT_ONCE = 1 << 20  # detections
# Thresholds where no best one is known: of raw scores without a calibration;
# where nothing is right, so that F1 decides nothing.
RAW_THRESHOLD = 0.3
DEFAULT_THRESHOLD = 0.5


class Judged(NamedTuple):
  """The n detections of some pages, right or wrong.

  Attributes:
    scores: finite.
    correct: matched with a true box of their class.
    page: index of the detection's page.
    num_objects: true boxes on all the pages.
  """

  scores: Float[np.ndarray, " n"]
  correct: Bool[np.ndarray, " n"]
  labels: Int[np.ndarray, " n"]
  page: Int[np.ndarray, " n"]
  num_objects: int


class Sample:
  """The detections of evenly chosen pages: of all, as long as they are few.

  Once there are more than `most`, every second page is left out.
  """

  def __init__(self, most: int = 1 << 19):
    self._most, self._seen, self._stride, self._count = most, 0, 1, 0
    self._pages: list[Judged] = []

  def add(
    self,
    scores: Float[np.ndarray, " n"],
    correct: Bool[np.ndarray, " n"],
    labels: Int[np.ndarray, " n"],
    num_objects: int,
  ) -> None:
    """Adds a page."""
    number, self._seen = self._seen, self._seen + 1
    if number % self._stride:
      return
    page = np.full(len(scores), number)
    self._pages.append(Judged(scores, correct, labels, page, num_objects))
    self._count += len(scores)
    while self._count > self._most and len(self._pages) > 1:
      self._stride *= 2
      self._pages = self._pages[::2]
      self._count = sum(len(page.scores) for page in self._pages)

  @property
  def num_pages(self) -> int:
    """Number of the chosen pages."""
    return len(self._pages)

  def judged(self) -> Judged:
    """The detections of the chosen pages."""

    def column(name, kind):
      parts = (getattr(page, name) for page in self._pages)
      return np.concatenate([np.zeros(0, kind), *parts])

    return Judged(
      scores=column("scores", np.float64),
      correct=column("correct", bool),
      labels=column("labels", np.int64),
      page=column("page", np.int64),
      num_objects=sum(page.num_objects for page in self._pages),
    )


class OperatingPoint(NamedTuple):
  """Precision, recall and F1 at a threshold.

  Attributes:
    threshold: detections with at least this score count.
    precision: share of those detections that is right; NaN without any.
    recall: share of the true boxes found; NaN without any.
    f1: harmonic mean of both; 0 if nothing is right.
  """

  threshold: float
  precision: float
  recall: float
  f1: float


class Bins(NamedTuple):
  """Number, mean score and precision of detections in bins of the score.

  Bins have equal widths over 0..1; empty ones have NaN for the means.
  """

  count: Int[np.ndarray, " bins"]
  mean_score: Float[np.ndarray, " bins"]
  precision: Float[np.ndarray, " bins"]


class Binning:
  """Bins of a reliability diagram, filled page by page.

  Scores outside 0..1 count in the outermost bins; NaN is left out.
  """

  def __init__(self, num_bins: int = NUM_BINS):
    self._sums = np.zeros((3, num_bins))  # count, scores, right ones

  def add(
    self, scores: Float[np.ndarray, " n"], correct: Bool[np.ndarray, " n"]
  ) -> None:
    """Adds detections."""
    num_bins = self._sums.shape[1]
    known = ~np.isnan(scores)
    scores, correct = scores[known].astype(np.float64), correct[known]
    at = np.clip(scores * num_bins, 0, num_bins - 1).astype(np.int64)
    for total, values in zip(self._sums, (None, scores, correct), strict=True):
      total += np.bincount(at, values, num_bins)

  def bins(self) -> Bins:
    """The bins of all detections."""
    count, *sums = self._sums
    means = (
      np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
      for total in sums
    )
    return Bins(count.astype(np.int64), *means)


def reliability(
  scores: Float[np.ndarray, " n"],
  correct: Bool[np.ndarray, " n"],
  num_bins: int = NUM_BINS,
) -> Bins:
  """Bins of a reliability diagram; see `Binning`."""
  binning = Binning(num_bins)
  binning.add(scores, correct)
  return binning.bins()


def expected_calibration_error(bins: Bins) -> float:
  """Mean of |mean score - precision| over the detections, by bins.

  NaN without detections.

  Reference: Guo et al., On Calibration of Modern Neural Networks (2017).
  """
  if not bins.count.sum():
    return float("nan")
  gap = np.nan_to_num(np.abs(bins.mean_score - bins.precision))
  return float((gap * bins.count).sum() / bins.count.sum())


def operating_point(judged: Judged, threshold: float) -> OperatingPoint:
  """Precision, recall and F1 of the detections with at least this score."""
  keep = judged.scores >= threshold
  right = int((judged.correct & keep).sum())
  return point_of(threshold, int(keep.sum()), right, judged.num_objects)


def point_of(
  threshold: float, kept: int, right: int, objects: int
) -> OperatingPoint:
  """The point at which so many detections are kept, and so many are right."""
  return OperatingPoint(
    threshold=float(threshold),
    precision=right / kept if kept else float("nan"),
    recall=right / objects if objects else float("nan"),
    f1=2 * right / max(kept + objects, 1),
  )


def best_threshold(judged: Judged) -> OperatingPoint:
  """Finds the threshold with the best F1 over all detections.

  Matching must go from the best score down, so that a threshold does not change
  the matches above it.

  Returns:
    The highest of the best thresholds, half-way to the next lower score, so
    that rounding does not matter. DEFAULT_THRESHOLD if nothing is right.
  """
  scores, correct = ranked(judged.scores, judged.correct)
  if not correct.any():
    return operating_point(judged, DEFAULT_THRESHOLD)
  best, best_f1, right = 0, -1.0, 0
  for start in range(0, len(scores), _AT_ONCE):
    at = np.arange(start, min(start + _AT_ONCE, len(scores)))
    found = right + np.cumsum(correct[at])
    right = int(found[-1])
    f1 = 2 * found / (at + 1 + judged.num_objects)
    # Equal scores stay together.
    last = at == len(scores) - 1
    cut = last | (scores[np.minimum(at + 1, len(scores) - 1)] < scores[at])
    f1 = np.where(cut, f1, -1.0)
    if f1.max() > best_f1:
      best, best_f1 = start + int(f1.argmax()), float(f1.max())
  below = scores[best + 1] if best + 1 < len(scores) else 0.0
  middle = (scores[best] + max(below, 0.0)) / 2
  return operating_point(judged, min(middle, scores[best]))


def ranked(
  scores: Float[np.ndarray, " n"], correct: Bool[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
  """Both by falling score; equal ones keep their order."""
  order = np.argsort(-scores, kind="stable")
  return scores[order], correct[order]
