"""The scores of a split: calibrated or raw, and what they are worth.

One split -> metrics, files and pictures.

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
  <split>/report.html     the report, for people; see docs/report.md
  <split>/report.json     all its numbers, see `evaluating.report_data`
  <split>/index.html      the first pages with truth and detections, to look
                          at; their pictures are <split>/pages/NAME.jpg
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

Protocols: see `metrics.protocols`. `reevaluate` measures what was saved by
another one.
"""

import itertools
import math
import pathlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from dwd_jax.core.structs import PageBoxes
from dwd_jax.data.pipeline import EvalPage
from dwd_jax.evaluate import output_files
from dwd_jax.evaluate.other_data_sets import OtherSet
from dwd_jax.evaluate.report import report_data
from dwd_jax.evaluate.report.report_data import Measured
from dwd_jax.metrics import json_results, protocols, reliability
from dwd_jax.metrics import json_results as summary_lib
from dwd_jax.metrics.calibration import Calibration
from dwd_jax.metrics.flat_boxes import at_least, finite
from dwd_jax.metrics.json_results import or_null
from dwd_jax.metrics.protocols import Protocol
from dwd_jax.predict.assemble import PagePrediction
from dwd_jax.predict.predict_config import DEFAULT, PredictConfig
from dwd_jax.predict.predict_pages import PredictFn, predict_pages
from dwd_jax.show import drawing, progress
from dwd_jax.show.drawing import Picture


class Scores(NamedTuple):
  """Detections with the scores that count, judged.

  Attributes:
    detections: classes of the run.
    raw: the detections judged with the scores of the decode.
    final: the same with the scores of `detections`.
    threshold: default threshold; None: the scores are not calibrated.
  """

  detections: list[PageBoxes]
  raw: reliability.Judged
  final: reliability.Judged
  threshold: float | None

  def facts(self) -> dict[str, Any]:
    """The summary's fields on scores, unknown numbers as None."""
    ece = reliability.expected_calibration_error
    point: dict[str, Any] = dict.fromkeys(reliability.OperatingPoint._fields)
    if self.threshold is not None:
      values = reliability.operating_point(self.final, self.threshold)
      point = {key: or_null(value) for key, value in values._asdict().items()}
    return {
      "calibrated": self.threshold is not None,
      "ece_raw": or_null(ece(self.raw.scores, self.raw.correct)),
      "ece": or_null(ece(self.final.scores, self.final.correct)),
      **point,
    }

  def bins(self) -> dict[str, Any]:
    """The diagram's numbers, see `report_data`."""
    final = None if self.threshold is None else self.final
    return report_data.reliability_bins(self.raw, final)

  def diagram(self, title: str) -> Picture:
    """The picture `reliability`."""
    final = None if self.threshold is None else self.final
    return drawing.reliability_diagram(title, self.raw, final, self.threshold)


def judge_scores(
  truth: Sequence[PageBoxes],
  detections: Sequence[PageBoxes],
  relabel: Callable[[PageBoxes], PageBoxes],
  calibration: Calibration | None,
) -> Scores:
  """Calibrates the scores of a split and judges them.

  Args:
    truth: of the pages.
    detections: of the same pages in the same order: raw scores, classes of the
      run.
    relabel: gives them the classes of the truth.
    calibration: None: scores stay raw.
  """
  raw = reliability.judge(truth, [relabel(page) for page in detections])
  if calibration is None:
    return Scores(list(detections), raw, raw, None)
  # The map knows the classes of the run, so it comes before the relabelling.
  scored = [calibration.apply(page) for page in detections]
  final = reliability.judge(truth, [relabel(page) for page in scored])
  return Scores(scored, raw, final, calibration.point.threshold)


MakeCalibration: TypeAlias = Callable[
  [Sequence[PageBoxes], Sequence[PageBoxes]], Calibration
]


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
  viewer_pages: int = 0,
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
    protocol: one of `protocols.PROTOCOLS`.
    checkpoint_step: training step of the variables, for the summary.
    min_score: detections below this score do not count, 0..1.
    overlays: pages to draw.
    viewer_pages: so many of the first pages are in the viewer; -1 = all.
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
  protocols.check(protocol)
  out_dir = pathlib.Path(out_dir)
  name = other.name if other else split
  shown = progress.show(pages, name, num_pages, log)
  pictured = output_files.Pictures(out_dir / name, viewer_pages)
  predicted = collect(predict_all(predict_fn, shown, cfg, overlays, pictured))
  truth = predicted.truth
  if callable(calibration):
    calibration = calibration(truth, predicted.detections)
  relabel = other.relabel if other else lambda page: page
  scores = judge_scores(truth, predicted.detections, relabel, calibration)
  facts = {
    "dataset": dataset,
    "split": split,
    "protocol": protocol,
    "checkpoint_step": int(checkpoint_step),
    "min_score": float(min_score),
  }
  judged = _measure(name, predicted, scores, class_names, facts, other)
  pictures = {"reliability": scores.diagram(f"{dataset}, {split}")}
  pictures |= output_files.draw(
    *(truth, judged.detections, predicted.shown, class_names),
    max(min_score, scores.threshold or 0.0),
  )
  output_files.write(out_dir, judged, pictures, viewer_pages)
  return EvalResult(judged.metrics, pictures, calibration)


def _measure(
  name: str,
  predicted: "Predicted",
  scores: Scores,
  class_names: Sequence[str],
  facts: dict[str, Any],
  other: OtherSet | None,
) -> Measured:
  """Everything that the files say; `facts` are fields of the summary."""
  least, truth = facts["min_score"], predicted.truth
  of_run = [at_least(page, least) for page in scores.detections]
  detections = [other.relabel(p) for p in of_run] if other else of_run
  table = protocols.measure(
    truth, detections, len(class_names), facts["protocol"], facts["dataset"]
  )
  metrics = summary_lib.summary(
    table,
    detections,
    class_names,
    **facts,
    **scores.facts(),
    num_pages=len(truth),
    seconds_per_page=json_results.or_null(predicted.seconds_per_page),
    overflowing_pages=predicted.overflowing_pages,
  )
  metrics |= other.facts(of_run) if other else {}
  return Measured(
    *(name, metrics, table, truth, detections, class_names),
    staff_spaces=predicted.staff_spaces,
    reliability=scores.bins(),
    saved={"min_score": least, "num_detections": metrics["num_detections"]},
  )


class Predicted(NamedTuple):
  """All pages of a split, predicted.

  Attributes:
    truth: true boxes.
    detections: raw scores, classes of the run; finite ones only.
    shown: the first pages, with their energy levels.
    overflowing_pages: names of pages with more objects than slots.
    seconds_per_page: mean time, see the text of the module.
    staff_spaces: of each page, px, as `pages.normalise` has measured it; NaN
      where it is off, or has found no staves.
  """

  truth: list[PageBoxes]
  detections: list[PageBoxes]
  shown: list[PagePrediction]
  overflowing_pages: list[str]
  seconds_per_page: float
  staff_spaces: list[float]


def predict_all(
  predict_fn: PredictFn,
  pages: Iterable[EvalPage],
  cfg: PredictConfig = DEFAULT,
  overlays: int = 0,
  each: Callable[[EvalPage], None] | None = None,
) -> Predicted:
  """Predicts the pages of a split.

  Args:
    predict_fn: with its variables bound.
    pages: the split's pages.
    cfg: how pages go through the network.
    overlays: of so many pages the energy levels are kept, to be drawn.
    each: is given every page, once it is predicted; no page is kept.
  """
  truth, detections, overflowing, shown = [], [], [], []
  seconds, last, staff_spaces = [], [], []
  with_truth, of_images = itertools.tee(pages)
  predictions = predict_pages(
    predict_fn, (page.image for page in of_images), cfg, overlays
  )
  for page, prediction in zip(with_truth, predictions, strict=True):
    last = [page.image]
    seconds.append(prediction.seconds)
    staff_spaces.append(prediction.staff_space_px or math.nan)
    truth.append(page.truth)
    detections.append(finite(prediction.detections))
    if prediction.overflow:
      overflowing.append(page.truth.filename)
    if len(truth) <= overlays:
      shown.append(prediction)
    if each is not None:
      each(page)
  return Predicted(
    truth,
    detections,
    shown,
    overflowing,
    _mean_seconds(seconds, lambda: list(predict_pages(predict_fn, last, cfg))),
    staff_spaces,
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
