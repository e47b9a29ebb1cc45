"""Scores -> probabilities that a detection is right: the fit of a monotone map.

Beta calibration (Kull, Silva Filho and Flach 2017) with an offset for each
class:

```
  logit(p) = a * log(s) - b * log(1 - s) + c + offset[class],   a, b > 0
```

It rises with the score within a class, so no AP changes (but for ties). A
Gaussian prior around the identity (a = b = 1, no offsets) holds what few
detections can not decide: with none, the map is the identity.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from dwd_jax.metrics.reliability import Judged

_FOLDS = 5
_EPS = 1e-6  # scores are kept this far from 0 and 1
_LEAST_SLOPE = 0.01  # of a and b: the map stays strictly monotone
_RIDGE = 1.0  # 1 / variance of the prior; of 0.3 to 3 none is clearly better
_MAX_ROUNDS = 100


class ScoreMap(NamedTuple):
  """Score -> probability, see the text of the module.

  Attributes:
    a: slope of log(s).
    b: slope of -log(1 - s).
    c: intercept.
    offsets: of each class.
  """

  a: float
  b: float
  c: float
  offsets: Float[np.ndarray, " C"]

  def __call__(
    self, scores: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"]
  ) -> Float[np.ndarray, " n"]:
    """Probabilities float64; a score that is not finite stays as it is."""
    scores = np.asarray(scores, np.float64)
    finite = np.isfinite(scores)
    features = _features(np.where(finite, scores, 0.5))
    logit = features @ np.array([self.a, self.b, self.c]) + self.offsets[labels]
    return np.where(finite, _sigmoid(logit), scores)


def fit(judged: Judged, num_classes: int) -> ScoreMap:
  """Fits the map by penalised maximum likelihood.

  Args:
    judged: the more detections, the less the identity's prior counts.
    num_classes: C.
  """
  fixed = np.zeros(2, bool)  # slopes at their least
  while True:
    weights = _newton(judged, num_classes, fixed)
    low = ~fixed & (weights[:2] < _LEAST_SLOPE)
    if not low.any():
      a, b, c = weights[:3].tolist()
      return ScoreMap(a, b, c, weights[3:])
    # Kull et al.: a slope that turns negative is fixed, the rest fitted anew.
    fixed[np.argmin(np.where(fixed, np.inf, weights[:2]))] = True


def cross_validated(
  judged: Judged, num_classes: int
) -> Float[np.ndarray, " n"]:
  """Probabilities by maps that were fitted without the detection's page.

  Args:
    judged: of several pages. Those of a single page get the map fitted on
      themselves.
    num_classes: C.
  """
  pages = np.unique(judged.page)
  if len(pages) < 2:
    return fit(judged, num_classes)(judged.scores, judged.labels)
  fold = np.searchsorted(pages, judged.page) % min(_FOLDS, len(pages))
  probability = np.zeros(len(judged.scores))
  for i in np.unique(fold):
    here = fold == i
    score_map = fit(_select(judged, ~here), num_classes)
    probability[here] = score_map(judged.scores[here], judged.labels[here])
  return probability


def _select(judged: Judged, keep: Bool[np.ndarray, " n"]) -> Judged:
  return judged._replace(
    scores=judged.scores[keep],
    correct=judged.correct[keep],
    labels=judged.labels[keep],
    page=judged.page[keep],
  )


def _features(scores):
  """[n, 3]: log(s), -log(1 - s), 1."""
  s = np.clip(scores, _EPS, 1 - _EPS)
  return np.stack([np.log(s), -np.log1p(-s), np.ones_like(s)], axis=1)


def _sigmoid(z):
  return np.exp(-np.logaddexp(0, -z))


def _newton(judged, num_classes, fixed):
  """Weights (a, b, c, offsets) of the least penalised loss.

  Newton's method with halved steps; the loss is convex, so it converges.
  """
  x, y, labels = _features(judged.scores), judged.correct, judged.labels
  prior = np.concatenate([[1.0, 1.0, 0.0], np.zeros(num_classes)])
  weights = prior.copy()
  weights[:2][fixed] = _LEAST_SLOPE
  free = np.concatenate([~fixed, np.ones(1 + num_classes, bool)])

  def logits(w):
    return x @ w[:3] + w[3:][labels]

  def loss(w):
    z = logits(w)
    penalty = _RIDGE * np.square(w - prior).sum() / 2
    return (np.logaddexp(0, z) - y * z).sum() + penalty

  now = loss(weights)
  for _ in range(_MAX_ROUNDS):
    p = _sigmoid(logits(weights))
    gradient = _per_weight(p - y, x, labels, num_classes)
    gradient += _RIDGE * (weights - prior)
    hessian = _hessian(p * (1 - p), x, labels, num_classes)
    hessian += _RIDGE * np.eye(len(prior))
    step = np.zeros_like(weights)
    step[free] = np.linalg.solve(hessian[np.ix_(free, free)], gradient[free])
    size = 1.0
    while size > 1e-9 and loss(weights - size * step) > now:
      size /= 2
    weights = weights - size * step
    before, now = now, loss(weights)
    if before - now <= 1e-9 * (1 + abs(now)):
      break
  return weights


def _per_weight(values, x, labels, num_classes):
  """Sums of values times each feature, then by class."""
  by_class = np.bincount(labels, values, num_classes)
  return np.concatenate([values @ x, by_class])


def _hessian(curvature, x, labels, num_classes):
  """[3 + C, 3 + C]; offsets of two classes do not interact."""
  columns = [
    _per_weight(curvature * column, x, labels, num_classes) for column in x.T
  ]
  top = np.stack(columns)  # [3, 3 + C]
  by_class = np.bincount(labels, curvature, num_classes)
  bottom = np.concatenate([top[:, 3:].T, np.diag(by_class)], axis=1)
  return np.concatenate([top, bottom])
