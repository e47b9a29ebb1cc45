"""Calibration of a checkpoint: scores as probabilities, a default threshold.

A monotone map from score to the probability that the detection is right: beta
calibration (Kull, Silva Filho and Flach 2017) with an offset for each class:

```
  logit(p) = a * log(s) - b * log(1 - s) + c + offset[class],   a, b > 0
```

It is increasing within a class, so it changes no AP (except for ties). A
Gaussian prior around the identity (a = b = 1, no offsets) regularises the fit:
without detections the map is the identity.

`calibration.json` in the checkpoint's folder holds

```
  score_map     a, b, c and the classes' offsets
  threshold     the probability from which a detection counts by default: the
                best F1
  precision, recall, f1  at the threshold
  ece_raw, ece  expected calibration error before and after; where it would
                grow, the map is the identity: raw scores stay
  num_pages, num_objects, num_detections  what it was made from
  made_with     what the scores depend on besides the checkpoint: data set,
                split, scale, settings of the decode
  contradictions  which classes lie on each other in the training pages, see
                `dwd_jax.decode.contradictions`; absent in older files
```

The map and the threshold are fitted before contradictions are dropped.

All figures but `ece_raw` are cross-validated by page: each page is judged by a
map that was fitted on others. null = undefined.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from dwd_jax.core import files
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageBoxes
from dwd_jax.decode import contradictions as contradictions_lib
from dwd_jax.decode.contradictions import Contradictions
from dwd_jax.metrics import reliability
from dwd_jax.metrics.json_results import or_null
from dwd_jax.metrics.reliability import Judged

NAME = "calibration.json"
_FOLDS = 5
_EPS = 1e-6  # scores are clipped to this distance from 0 and 1
_LEAST_SLOPE = 0.01  # of a and b: the map stays strictly monotone
_RIDGE = 1.0  # 1 / variance of the prior; 0.3 to 3 perform alike
_MAX_ROUNDS = 100


class ScoreMap(NamedTuple):
  """Map from score to probability, see the module's docstring."""

  a: float
  b: float
  c: float
  offsets: Float[np.ndarray, " C"]

  def __call__(
    self, scores: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"]
  ) -> Float[np.ndarray, " n"]:
    """Returns probabilities, float64; scores that are not finite are kept."""
    scores = np.asarray(scores, np.float64)
    finite = np.isfinite(scores)
    features = _features(np.where(finite, scores, 0.5))
    logit = features @ np.array([self.a, self.b, self.c]) + self.offsets[labels]
    return np.where(finite, _sigmoid(logit), scores)


def fit_score_map(judged: Judged, num_classes: int) -> ScoreMap:
  """Fits the map by penalised maximum likelihood."""
  fixed = np.zeros(2, bool)  # slopes at their lower bound
  while True:
    weights = _newton(judged, num_classes, fixed)
    low = ~fixed & (weights[:2] < _LEAST_SLOPE)
    if not low.any():
      a, b, c = weights[:3].tolist()
      return ScoreMap(a, b, c, weights[3:])
    # Kull et al.: a slope that turns negative is fixed, the rest refitted.
    fixed[np.argmin(np.where(fixed, np.inf, weights[:2]))] = True


def cross_validated(
  judged: Judged, num_classes: int
) -> Float[np.ndarray, " n"]:
  """Probabilities by maps that were fitted without the detection's page.

  The detections of a single page get the map fitted on themselves.
  """
  pages = np.unique(judged.page)
  if len(pages) < 2:
    return fit_score_map(judged, num_classes)(judged.scores, judged.labels)
  fold = np.searchsorted(pages, judged.page) % min(_FOLDS, len(pages))
  probability = np.zeros(len(judged.scores))
  for i in np.unique(fold):
    here = fold == i
    score_map = fit_score_map(_select(judged, ~here), num_classes)
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
  """Minimises the penalised loss over the weights (a, b, c, offsets).

  Newton's method with step halving; the loss is convex, so it converges.
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
  """Sums of values times each feature, then sums of values by class."""
  by_class = np.bincount(labels, values, num_classes)
  return np.concatenate([values @ x, by_class])


def _hessian(curvature, x, labels, num_classes):
  """[3 + C, 3 + C]; the offsets of two classes do not interact."""
  columns = [
    _per_weight(curvature * column, x, labels, num_classes) for column in x.T
  ]
  top = np.stack(columns)  # [3, 3 + C]
  by_class = np.bincount(labels, curvature, num_classes)
  bottom = np.concatenate([top[:, 3:].T, np.diag(by_class)], axis=1)
  return np.concatenate([top, bottom])


@dataclasses.dataclass(frozen=True)
class Calibration:
  """Calibration of a checkpoint, with figures of its quality.

  Attributes:
    point: default threshold, with precision, recall and F1.
    ece_raw: expected calibration error of the raw scores; NaN = no detections.
    ece: the same of the probabilities; above `ece_raw`, the score map is the
      identity.
    made_with: see the module's docstring; plain JSON values.
    contradictions: None: no detection contradicts another.
  """

  score_map: ScoreMap
  point: reliability.OperatingPoint
  ece_raw: float
  ece: float
  num_pages: int
  num_objects: int
  num_detections: int
  made_with: dict[str, Any]
  contradictions: Contradictions | None = None

  def apply(self, detections: PageBoxes) -> PageBoxes:
    """Replaces scores by probabilities (float64), drops contradictions."""
    assert detections.scores is not None
    labels = np.asarray(detections.labels)
    scores = self.score_map(detections.scores, labels)
    found = dataclasses.replace(detections, scores=scores)
    if self.contradictions is None:
      return found
    boxes = found.boxes_yxyx
    return found.keep(self.contradictions.stays(boxes, labels, scores))

  def describe(self, images: str = "pages") -> str:
    """Summarises the calibration in one line.

    Args:
      images: what pages are called.
    """
    point = self.point
    on = f"{self.num_pages} {images} ({self.num_detections} detections)"
    if self.ece > self.ece_raw:
      said = (
        f"Scores stay as they are: on {on} a calibration made them worse, ECE"
        f" {self.ece_raw:.3f} -> {self.ece:.3f}"
      )
    else:
      said = (
        f"Scores calibrated on {on}: ECE {_shown(self.ece_raw)} ->"
        f" {_shown(self.ece)}"
      )
    return (
      f"{said}; threshold {point.threshold:.3f} (precision"
      f" {_shown(point.precision)}, recall {_shown(point.recall)}, F1"
      f" {_shown(point.f1)})"
    )


def _shown(value: float) -> str:
  """Three digits; "-" = not defined."""
  return "-" if math.isnan(value) else f"{value:.3f}"


def make(
  raw: Judged,
  num_pages: int,
  num_classes: int,
  made_with: dict[str, Any],
  contradictions: Contradictions | None = None,
) -> Calibration:
  """Makes the calibration from raw scores on pages that were not trained on.

  Where its expected error would be larger than that of the raw scores, on pages
  that the map was not fitted on, the map is the identity.

  Args:
    num_pages: with those without detections.
  """
  probable = raw._replace(scores=cross_validated(raw, num_classes))

  def ece(of: Judged) -> float:
    bins = reliability.reliability(of.scores, of.correct)
    return reliability.expected_calibration_error(bins)

  before, after = ece(raw), ece(probable)
  if after > before:  # neither is NaN
    score_map = ScoreMap(1.0, 1.0, 0.0, np.zeros(num_classes))
    point = reliability.best_threshold(raw)
  else:
    score_map = fit_score_map(raw, num_classes)
    point = reliability.best_threshold(probable)
  return Calibration(
    score_map=score_map,
    point=point,
    ece_raw=before,
    ece=after,
    num_pages=num_pages,
    num_objects=raw.num_objects,
    num_detections=len(raw.scores),
    made_with=made_with,
    contradictions=contradictions,
  )


def write(
  folder: pathlib.Path, calibration: Calibration, class_names: Sequence[str]
) -> None:
  """Writes `calibration.json` into the folder of a checkpoint."""
  content = to_json(calibration, class_names)
  text = json.dumps(content, indent=2, allow_nan=False) + "\n"
  files.write_atomic(folder / NAME, text)


def to_json(
  calibration: Calibration, class_names: Sequence[str]
) -> dict[str, Any]:
  """The content of `calibration.json`, see the module's docstring."""
  score_map = calibration.score_map
  offsets = zip(class_names, score_map.offsets.tolist(), strict=True)
  content = {
    "score_map": score_map._asdict()
    | {"offsets": {name: value for name, value in offsets if value}},
    **{k: or_null(v) for k, v in calibration.point._asdict().items()},
    "ece_raw": or_null(calibration.ece_raw),
    "ece": or_null(calibration.ece),
    "num_pages": calibration.num_pages,
    "num_objects": calibration.num_objects,
    "num_detections": calibration.num_detections,
    "made_with": calibration.made_with,
  }
  if calibration.contradictions is not None:
    content["contradictions"] = contradictions_lib.to_json(
      calibration.contradictions, class_names
    )
  return content


def read(
  folder: pathlib.Path, class_names: Sequence[str]
) -> Calibration | None:
  """Reads the calibration of a checkpoint; None if there is none.

  Raises:
    InputError: the file is damaged.
  """
  path = folder / NAME
  try:
    content = files.read_json(path)
    return from_json(content, class_names)
  except FileNotFoundError:
    return None
  except (ValueError, KeyError, TypeError, AttributeError, OSError) as e:
    reason = " ".join(f"{type(e).__name__}: {e}".split())[:120]
    raise InputError(
      f"{path}: damaged ({reason}); remove this file, --mode=eval makes it anew"
    ) from e


def from_json(content: Any, class_names: Sequence[str]) -> Calibration:
  """Reads the content of `calibration.json`.

  Raises:
    ValueError, KeyError, TypeError, AttributeError: it is damaged.
  """
  saved = content["score_map"]
  offsets = {name: _number(value) for name, value in saved["offsets"].items()}
  unknown = set(offsets) - set(class_names)
  if unknown:
    raise ValueError(f"unknown class {min(unknown)!r}")
  slopes = [_number(saved[key]) for key in "ab"]
  if min(slopes) <= 0:
    raise ValueError("a and b must be above 0")
  if not isinstance(content["made_with"], dict):
    raise TypeError("made_with is no object")
  known = content.get("contradictions")
  return Calibration(
    score_map=ScoreMap(
      a=slopes[0],
      b=slopes[1],
      c=_number(saved["c"]),
      offsets=np.array([offsets.get(name, 0.0) for name in class_names]),
    ),
    point=reliability.OperatingPoint(
      _share(content["threshold"]),
      **{key: _or_nan(content[key]) for key in ("precision", "recall", "f1")},
    ),
    ece_raw=_or_nan(content["ece_raw"]),
    ece=_or_nan(content["ece"]),
    num_pages=int(content["num_pages"]),
    num_objects=int(content["num_objects"]),
    num_detections=int(content["num_detections"]),
    made_with=content["made_with"],
    contradictions=None
    if known is None
    else contradictions_lib.from_json(known, class_names),
  )


def _number(value: Any) -> float:
  if not isinstance(value, int | float) or not math.isfinite(value):
    raise ValueError(f"{value!r} is no number")
  return float(value)


def _share(value: Any) -> float:
  if not 0 <= _number(value) <= 1:
    raise ValueError(f"{value!r} is not in 0..1")
  return float(value)


def _or_nan(value: Any) -> float:
  return math.nan if value is None else _share(value)
