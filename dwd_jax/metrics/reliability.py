"""Reliability of scores: calibration error, thresholds.

A detection is right if it is matched with a true box of its class at IoU 0.5,
see `metrics.matching`.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

NUM_BINS = 15
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


def reliability(
  scores: Float[np.ndarray, " n"],
  correct: Bool[np.ndarray, " n"],
  num_bins: int = NUM_BINS,
) -> Bins:
  """Bins of a reliability diagram.

  Scores outside 0..1 count in the outermost bins; NaN is left out.
  """
  known = ~np.isnan(scores)
  scores, correct = scores[known], correct[known]
  at = np.clip(scores * num_bins, 0, num_bins - 1).astype(np.int64)
  count = np.bincount(at, minlength=num_bins)

  def mean(values):
    total = np.bincount(at, values.astype(np.float64), num_bins)
    return np.divide(
      total, count, out=np.full(num_bins, np.nan), where=count > 0
    )

  return Bins(count, mean(scores), mean(correct))


def expected_calibration_error(
  scores: Float[np.ndarray, " n"],
  correct: Bool[np.ndarray, " n"],
  num_bins: int = NUM_BINS,
) -> float:
  """Mean of |mean score - precision| over the detections, by bins.

  NaN without detections; see `reliability`.

  Reference: Guo et al., On Calibration of Modern Neural Networks (2017).
  """
  bins = reliability(scores, correct, num_bins)
  if not bins.count.sum():
    return float("nan")
  gap = np.nan_to_num(np.abs(bins.mean_score - bins.precision))
  return float((gap * bins.count).sum() / bins.count.sum())


def operating_point(judged: Judged, threshold: float) -> OperatingPoint:
  """Precision, recall and F1 of the detections with at least this score."""
  keep = judged.scores >= threshold
  kept, right = int(keep.sum()), int(judged.correct[keep].sum())
  objects = judged.num_objects
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
  order = np.argsort(-judged.scores, kind="stable")
  scores = judged.scores[order]
  right = np.cumsum(judged.correct[order])
  if not right.size or right[-1] == 0:
    return operating_point(judged, DEFAULT_THRESHOLD)
  kept = np.arange(1, len(scores) + 1)
  f1 = 2 * right / (kept + judged.num_objects)
  cut = np.append(scores[1:] < scores[:-1], True)  # equal scores stay together
  best = int(np.where(cut, f1, -1.0).argmax())
  below = scores[best + 1] if best + 1 < len(scores) else 0.0
  middle = (scores[best] + max(below, 0.0)) / 2
  return operating_point(judged, min(middle, scores[best]))
