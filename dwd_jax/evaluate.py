"""One split -> metrics, files and pictures.

`evaluate` writes into `out_dir` (WORKDIR/eval of a run):

```
  <split>.json            the summary; the fields are a contract, see below
  <split>/res-0.5.txt     AP of every class at IoU 0.5 ... 0.95, one file each
  <split>/predictions.json  COCO results: image_id, category_id, bbox, score
  <split>/truth.json      COCO annotations: the file name of every image_id, the
                          class of every category_id (class id + 1), the truth
  <split>/NAME-overlay.png, NAME-energy.png  the first pages, drawn; overlays
                          show the detections from the default threshold on
  <split>/reliability.png what scores are worth, raw and calibrated
  res-0.5.txt ... and predictions.json       copies, of the split that was
                          evaluated last
```

Boxes are in pixels of the source image. `<split>.json` holds dataset, split,
num_pages, num_objects, num_detections, protocol, mAP (mean of IoU 0.50 to
0.95), mAP_50, AP_by_iou, per_class (AP, AP_50, num_objects), seconds_per_page,
checkpoint_step, and then AP_50_weighted (mean weighted by objects),
mAP_50_min10 (mean over the classes with at least `min_objects` = 10 objects),
min_objects, min_score, overflowing_pages (names of pages with more objects
than the decode has slots). Of the scores it says

```
  calibrated  whether they are probabilities, see `calibration`
  ece_raw, ece  expected calibration error of the raw scores, of those in use
  threshold   the default one, stored with the checkpoint
  precision, recall, f1  at the threshold: all classes, IoU 0.5
```

The last four are null where scores are not calibrated; all are of all
detections, whatever `min_score` is. A number that is not defined is null: the
AP of a class without truth, any mean over no class. For another data set than
the run's the files are called `<dataset>-<split>`, and the summary ends with
`OtherSet.facts` of `transfer`.

`seconds_per_page` is the mean wall time from the page on the host to boxes on
the host (scaling, transfer, network, decode), without reading the page, the
metrics, the pictures, and without compilation: the first pages of each padded
size are not counted. If no page is left, the last one runs once more.

Protocols: see `metrics.protocols`.
"""

import itertools
import math
import pathlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from dwd_jax.calibration import Calibration
from dwd_jax.data.eval_pages import EvalPage
from dwd_jax.errors import InputError
from dwd_jax.evaluating import files, progress
from dwd_jax.evaluating import scores as scores_lib
from dwd_jax.metrics import report
from dwd_jax.metrics.pages import at_least, finite
from dwd_jax.metrics.protocols import PROTOCOLS, Protocol, measure
from dwd_jax.pages.assemble import PagePrediction
from dwd_jax.pages.config import DEFAULT, PredictConfig
from dwd_jax.predict import PredictFn, predict_pages
from dwd_jax.structs import PageBoxes
from dwd_jax.transfer import OtherSet

MakeCalibration: TypeAlias = Callable[
  [Sequence[PageBoxes], Sequence[PageBoxes]], Calibration
]
MIN_OBJECTS = 10  # of a class, to count in mAP_50_min10
SUMMARY_KEYS = (
  "dataset",
  "split",
  "num_pages",
  "num_objects",
  "num_detections",
  "protocol",
  "mAP",
  "mAP_50",
  "AP_by_iou",
  "per_class",
  "seconds_per_page",
  "checkpoint_step",
  "AP_50_weighted",
  "mAP_50_min10",
  "min_objects",
  "min_score",
  "overflowing_pages",
  "calibrated",
  "ece_raw",
  "ece",
  "threshold",
  "precision",
  "recall",
  "f1",
)


class EvalResult(NamedTuple):
  """What an evaluation gives back besides its files.

  Attributes:
    metrics: the content of `<split>.json`.
    pictures: RGB pictures by name (NAME-overlay, NAME-energy, reliability).
    calibration: that was applied; None: the scores are raw.
  """

  metrics: dict[str, Any]
  pictures: dict[str, np.ndarray]
  calibration: Calibration | None


def evaluate(
  predict_fn: PredictFn,
  pages: Iterable[EvalPage],
  class_names: Sequence[str],
  cfg: PredictConfig = DEFAULT,
  *,
  out_dir: str | pathlib.Path,
  dataset: str,
  split: str,
  protocol: Protocol = "coco",
  checkpoint_step: int = 0,
  min_score: float = 0.05,
  overlays: int = 4,
  num_pages: int | None = None,
  log: Callable[[str], None] | None = print,
  other: OtherSet | None = None,
  calibration: Calibration | MakeCalibration | None = None,
  collect: Callable[["Predicted"], "Predicted"] = lambda part: part,
) -> EvalResult:
  """Predicts every page of a split, measures, and writes the files above.

  Args:
    predict_fn: images [B, H, W, 1] -> detections, energy levels; variables
      bound.
    pages: the split's pages, each file name once.
    class_names: C names.
    cfg: how pages go through the network.
    out_dir: folder of the results; made if missing.
    dataset: name of the data set, for the summary and the legacy protocol.
    split: name of the split and of its files.
    protocol: one of `PROTOCOLS`.
    checkpoint_step: training step of the variables, for the summary.
    min_score: detections below this score do not count, 0..1.
    overlays: pages to draw.
    num_pages: how many pages there are, for the progress only.
    log: takes lines of progress when stderr is no terminal (there it is a
      bar); None: neither.
    other: the set that the pages are of, if it is not the run's.
    calibration: turns the scores into probabilities; a function makes it of
      the pages' truth and detections with raw scores. None: scores stay raw.
    collect: adds what other processes have predicted, see `train.shares`.

  Returns:
    The summary and the pictures.

  Raises:
    InputError: unknown protocol.
  """
  if protocol not in PROTOCOLS:
    raise InputError(
      f"eval.protocol: {protocol!r} is unknown; use one of {PROTOCOLS}"
    )
  out_dir = pathlib.Path(out_dir)
  name = other.name if other else split
  shown = progress.show(pages, name, num_pages, log)
  predicted = collect(predict_all(predict_fn, shown, cfg, overlays))
  truth = predicted.truth
  if callable(calibration):
    calibration = calibration(truth, predicted.detections)
  relabel = other.relabel if other else lambda page: page
  scores = scores_lib.judge(truth, predicted.detections, relabel, calibration)
  of_run = [at_least(page, min_score) for page in scores.detections]
  detections = [relabel(page) for page in of_run]
  table = measure(truth, detections, len(class_names), protocol, dataset)
  metrics = _summary(
    report.averages(table, class_names, MIN_OBJECTS) | scores.facts(),
    dataset=dataset,
    split=split,
    num_pages=len(truth),
    num_objects=int(table.num_objects.sum()),
    num_detections=sum(len(p.labels) for p in detections),
    protocol=protocol,
    seconds_per_page=report.or_null(predicted.seconds_per_page),
    checkpoint_step=int(checkpoint_step),
    min_score=float(min_score),
    overflowing_pages=predicted.overflowing_pages,
  )
  metrics |= other.facts(of_run) if other else {}
  pictures = {"reliability": scores.diagram(f"{dataset}, {split}")}
  pictures |= files.draw(
    *(truth, detections, predicted.shown, class_names),
    max(min_score, scores.threshold or 0.0),
  )
  files.write(
    *(out_dir, name, metrics, table, truth, detections, class_names, pictures)
  )
  return EvalResult(metrics, pictures, calibration)


class Predicted(NamedTuple):
  """All pages of a split, predicted.

  Attributes:
    truth: true boxes.
    detections: raw scores, classes of the run; finite ones only.
    shown: the first pages, with their energy levels.
    overflowing_pages: names of pages with more objects than slots.
    seconds_per_page: mean time, see the text of the module.
  """

  truth: list[PageBoxes]
  detections: list[PageBoxes]
  shown: list[PagePrediction]
  overflowing_pages: list[str]
  seconds_per_page: float


def predict_all(
  predict_fn: PredictFn,
  pages: Iterable[EvalPage],
  cfg: PredictConfig = DEFAULT,
  overlays: int = 0,
) -> Predicted:
  """Predicts the pages of a split.

  Args:
    predict_fn: with its variables bound.
    pages: the split's pages.
    cfg: how pages go through the network.
    overlays: of so many pages the energy levels are kept, to be drawn.
  """
  truth, detections, overflowing, shown = [], [], [], []
  seconds, last = [], []
  with_truth, of_images = itertools.tee(pages)
  predictions = predict_pages(
    predict_fn, (page.image for page in of_images), cfg, overlays
  )
  for page, prediction in zip(with_truth, predictions, strict=True):
    last = [page.image]
    seconds.append(prediction.seconds)
    truth.append(page.truth)
    detections.append(finite(prediction.detections))
    if prediction.overflow:
      overflowing.append(page.truth.filename)
    if len(truth) <= overlays:
      shown.append(prediction)
  return Predicted(
    truth,
    detections,
    shown,
    overflowing,
    _mean_seconds(seconds, lambda: list(predict_pages(predict_fn, last, cfg))),
  )


def _mean_seconds(seconds: list[float], again: Callable[[], object]) -> float:
  """Mean time of the pages that did not compile; NaN if there was no page.

  If all of them did, the last one runs `again`.
  """
  compiled = [s for s in seconds if not math.isnan(s)]
  if seconds and not compiled:
    start = time.perf_counter()
    again()
    compiled = [time.perf_counter() - start]
  return float(np.mean(compiled)) if compiled else math.nan


def _summary(averages: dict[str, Any], **facts: Any) -> dict[str, Any]:
  """The content of `<split>.json`, in the order of the contract."""
  values = averages | facts
  values[f"mAP_50_min{MIN_OBJECTS}"] = values.pop("mAP_50_min")
  values["min_objects"] = MIN_OBJECTS
  return {key: values[key] for key in SUMMARY_KEYS}
