"""Calibration of a checkpoint: its scores as probabilities, its threshold.

Kept as `calibration.json` in the checkpoint's own folder, so that it is copied
and removed with it. It holds

```
  score_map     a, b, c and the classes' offsets, see `metrics.score_map`
  threshold     the probability from which a detection counts by default: the
                best F1
  precision, recall, f1  at the threshold
  ece_raw, ece  expected calibration error before and after
  num_pages, num_objects, num_detections  what it was made from
  made_with     what the scores depend on besides the checkpoint: data set,
                split, scale, settings of the decode
```

All figures but `ece_raw` are cross-validated by page: each page is judged by a
map that was fitted on others. null stands for what is not defined.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dwd_jax.core import files
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageBoxes
from dwd_jax.metrics import reliability, score_map
from dwd_jax.metrics.json_results import or_null

NAME = "calibration.json"


@dataclasses.dataclass(frozen=True)
class Calibration:
  """What makes the scores of a checkpoint mean something.

  Attributes:
    score_map: raw score -> probability.
    point: default threshold, with precision, recall and F1.
    ece_raw: expected calibration error of the raw scores; NaN = no detections.
    ece: the same of the probabilities.
    num_pages: it was made from.
    num_objects: true boxes on them.
    num_detections: on them.
    made_with: see the text of the module; plain JSON values.
  """

  score_map: score_map.ScoreMap
  point: reliability.OperatingPoint
  ece_raw: float
  ece: float
  num_pages: int
  num_objects: int
  num_detections: int
  made_with: dict[str, Any]

  def apply(self, detections: PageBoxes) -> PageBoxes:
    """The detections with probabilities (float64) for scores."""
    assert detections.scores is not None
    scores = self.score_map(detections.scores, np.asarray(detections.labels))
    return dataclasses.replace(detections, scores=scores)

  def describe(self) -> str:
    """One line for people."""
    point = self.point
    return (
      f"Scores calibrated on {self.num_pages} pages"
      f" ({self.num_detections} detections): ECE {self.ece_raw:.3f} ->"
      f" {self.ece:.3f}; threshold {point.threshold:.3f} (precision"
      f" {point.precision:.3f}, recall {point.recall:.3f}, F1 {point.f1:.3f})"
    )


def make(
  truth: Sequence[PageBoxes],
  detections: Sequence[PageBoxes],
  num_classes: int,
  made_with: dict[str, Any],
) -> Calibration:
  """Makes the calibration from pages that were not trained on.

  Args:
    truth: of the pages.
    detections: of the same pages in the same order, with raw scores. The fewer
      there are, the closer the map stays to the identity.
    num_classes: C.
    made_with: see `Calibration`.
  """
  raw = reliability.judge(truth, detections)
  probable = raw._replace(scores=score_map.cross_validated(raw, num_classes))
  ece = reliability.expected_calibration_error
  return Calibration(
    score_map=score_map.fit(raw, num_classes),
    point=reliability.best_threshold(probable),
    ece_raw=ece(raw.scores, raw.correct),
    ece=ece(probable.scores, probable.correct),
    num_pages=len(truth),
    num_objects=raw.num_objects,
    num_detections=len(raw.scores),
    made_with=made_with,
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
  """The content of `calibration.json`, see the text of the module."""
  to_probability = calibration.score_map
  offsets = zip(class_names, to_probability.offsets.tolist(), strict=True)
  return {
    "score_map": {
      "a": to_probability.a,
      "b": to_probability.b,
      "c": to_probability.c,
      "offsets": {name: value for name, value in offsets if value},
    },
    **{k: or_null(v) for k, v in calibration.point._asdict().items()},
    "ece_raw": or_null(calibration.ece_raw),
    "ece": or_null(calibration.ece),
    "num_pages": calibration.num_pages,
    "num_objects": calibration.num_objects,
    "num_detections": calibration.num_detections,
    "made_with": calibration.made_with,
  }


def read(
  folder: pathlib.Path, class_names: Sequence[str]
) -> Calibration | None:
  """Reads the calibration of a checkpoint.

  Args:
    folder: of the checkpoint.
    class_names: C names of the checkpoint.

  Returns:
    The calibration; None if there is none.

  Raises:
    InputError: the file is damaged.
  """
  path = folder / NAME
  try:
    content = json.loads(path.read_text(encoding="utf8"))
    return from_json(content, class_names)
  except FileNotFoundError:
    return None
  except (ValueError, KeyError, TypeError, AttributeError, OSError) as e:
    reason = " ".join(f"{type(e).__name__}: {e}".split())[:120]
    raise InputError(
      f"{path}: damaged ({reason}); remove this file, --mode=eval makes it anew"
    ) from e


def from_json(content: Any, class_names: Sequence[str]) -> Calibration:
  """The calibration of the content of `calibration.json`.

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
  return Calibration(
    score_map=score_map.ScoreMap(
      a=slopes[0],
      b=slopes[1],
      c=_number(saved["c"]),
      offsets=np.array([offsets.get(name, 0.0) for name in class_names]),
    ),
    point=reliability.OperatingPoint(
      threshold=_number(content["threshold"]),
      precision=_or_nan(content["precision"]),
      recall=_or_nan(content["recall"]),
      f1=_or_nan(content["f1"]),
    ),
    ece_raw=_or_nan(content["ece_raw"]),
    ece=_or_nan(content["ece"]),
    num_pages=int(content["num_pages"]),
    num_objects=int(content["num_objects"]),
    num_detections=int(content["num_detections"]),
    made_with=content["made_with"],
  )


def _number(value: Any) -> float:
  if not isinstance(value, int | float) or not math.isfinite(value):
    raise ValueError(f"{value!r} is no number")
  return float(value)


def _or_nan(value: Any) -> float:
  return math.nan if value is None else _number(value)
