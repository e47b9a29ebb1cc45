"""Precision over recall, and the area below it as COCO measures it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

_RECALLS = np.linspace(0.0, 1.0, 101)


class Curve(NamedTuple):
  """Precision and recall, one point for each of k thresholds.

  Attributes:
    scores: the thresholds, falling.
    recall: 0..1, rising.
    precision: 0..1.
  """

  scores: Float[np.ndarray, " k"]
  recall: Float[np.ndarray, " k"]
  precision: Float[np.ndarray, " k"]

  def thinned(self, most: int) -> "Curve":
    """At most so many of its points, the first and the last among them."""
    k = len(self.scores)
    at = np.unique(np.linspace(0, k - 1, min(k, most)).round().astype(int))
    return Curve(self.scores[at], self.recall[at], self.precision[at])


def curve(
  scores: Float[np.ndarray, " n"],
  correct: Bool[np.ndarray, " n"],
  num_objects: int,
) -> Curve:
  """Precision and recall at every score.

  Args:
    scores: of n detections.
    correct: whether they are right.
    num_objects: true boxes, found or not; without any there are no points.
  """
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
  """Mean precision at recall 0, 0.01 ... 1, never rising, as COCO has it.

  Args:
    scores: of n detections of a class; of equal ones the first comes first.
    correct: whether they are right.
    num_objects: true boxes of the class.

  Returns:
    0..1; NaN without true boxes.

  Reference: Lin et al., Microsoft COCO (2014). `metrics.coco` gives the same
  (a test compares them) for boxes instead of flags.
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
