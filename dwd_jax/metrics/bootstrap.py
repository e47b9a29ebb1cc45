"""How much AP depends on the pages: samples of pages with replacement.

A sample gives each page a weight, the number of times that it was drawn. Two
detectors are compared on the same samples: an interval of the difference that
does not contain 0 tells it from the noise of the choice of pages.

Reference: Efron and Tibshirani, An Introduction to the Bootstrap (1993).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from dwd_jax.metrics.protocols import RECALLS

SAMPLES = (100, 500)  # the fewest, for many detections, and the most
_WORK = 10_000_000  # detections in all samples
MIN_PAGES = 5  # with an object; fewer say nothing about others
_COVERED = 0.95
_AT_ONCE = 1 << 22  # numbers in memory


class Interval(NamedTuple):
  """95 % of the samples lie between its ends."""

  low: float
  high: float

  @property
  def without_0(self) -> bool:
    """Whether it tells the value from 0."""
    return self.low > 0 or self.high < 0


def num_samples(num_pages: int, num_detections: int) -> int:
  """How many to draw, so that it takes minutes at most; 0 = too few pages."""
  if num_pages < MIN_PAGES:
    return 0
  return int(np.clip(_WORK // max(num_detections, 1), *SAMPLES))


def draw(num_pages: int, samples: int, seed: int = 0) -> Int[np.ndarray, "R P"]:
  """Weights of the pages in each sample."""
  rng = np.random.default_rng(seed)
  share = np.full(num_pages, 1 / max(num_pages, 1))
  return rng.multinomial(num_pages, share, samples).astype(np.int32)


def interval(values: Float[np.ndarray, " R"]) -> Interval | None:
  """That of a value in each sample; None if it is unknown in most."""
  known = values[np.isfinite(values)]
  if 2 * len(known) <= len(values):
    return None
  tail = (1 - _COVERED) / 2
  return Interval(*map(float, np.quantile(known, (tail, 1 - tail))))


def average_precision(
  page: Int[np.ndarray, " n"],
  right: Bool[np.ndarray, "T n"],
  num_objects: Int[np.ndarray, " P"],
  weights: Int[np.ndarray, "R P"],
) -> Float[np.ndarray, "R T"]:
  """AP of the COCO metric of a class in each sample.

  Args:
    page: of the detections, best score first.
    right: at each IoU threshold.
    num_objects: true boxes on each page.

  Returns:
    NaN for samples without true boxes.
  """
  ap = np.full((len(weights), len(right)), np.nan)
  step = max(1, _AT_ONCE // max(len(page), 1))
  for start in range(0, len(weights), step):
    of_pages = weights[start : start + step]
    total = of_pages @ num_objects
    of_each = of_pages[:, page]
    kept = np.cumsum(of_each, axis=1)
    for t, hits in enumerate(right):
      at = np.flatnonzero(hits)
      found = np.cumsum(of_each[:, at], axis=1)
      ap[start : start + step, t] = _interpolated(found, kept[:, at], total)
  return ap


def _interpolated(
  found: Int[np.ndarray, "r k"],
  kept: Int[np.ndarray, "r k"],
  total: Int[np.ndarray, " r"],
) -> Float[np.ndarray, " r"]:
  """Mean precision at recall 0, 0.01 ... 1; as `protocols.interpolated`.

  Args:
    found: right detections down to each right one.
    kept: all detections down to it.
    total: true boxes.
  """
  precision = np.zeros(found.shape)
  np.divide(found, kept, out=precision, where=kept > 0)
  envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
  # How many of the 101 are reached with each right detection.
  reached = found / np.maximum(total, 1)[:, None]
  reached = np.searchsorted(RECALLS, reached.ravel(), "right")
  reached = np.diff(reached.reshape(found.shape), axis=1, prepend=0)
  ap = (envelope * reached).sum(axis=1) / len(RECALLS)
  return np.where(total > 0, ap, np.nan)
