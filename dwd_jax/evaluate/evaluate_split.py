"""Evaluates a trained network on a split: pages -> metrics, files, pictures.

`evaluate` writes `<split>.json`, the summary, and a folder `<split>` with COCO
files, overlays and report into `out_dir`, which is WORKDIR/eval of a run. What
each file and field holds is in docs/evaluation.md; the fields are a contract.
Undefined numbers are null: the AP of a class without truth, a mean over no
class, threshold, precision, recall and f1 without calibration. The files of
another data set are called `<dataset>-<split>`, and its summary ends with
`OtherSet.facts`. Boxes are in pixels of the source image.

`evaluate.from_saved` measures saved detections by another protocol.
"""

import itertools
import math
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from dwd_jax.core.structs import PageBoxes
from dwd_jax.data.pipeline import EvalPage
from dwd_jax.evaluate import output_files
from dwd_jax.evaluate.other_data_sets import OtherSet
from dwd_jax.evaluate.report import report_data
from dwd_jax.evaluate.report.report_data import Measured
from dwd_jax.metrics import json_results, matching, protocols, reliability
from dwd_jax.metrics.calibration import Calibration
from dwd_jax.metrics.json_results import SummaryInputs, or_null
from dwd_jax.metrics.matching import Outcomes
from dwd_jax.metrics.protocols import Protocol
from dwd_jax.metrics.reliability import Judged
from dwd_jax.predict.assemble import PagePrediction
from dwd_jax.predict.predict_config import DEFAULT, PredictConfig
from dwd_jax.predict.predict_pages import PredictFn, predict_pages
from dwd_jax.show import drawing, progress

# Detections with raw scores, number of pages -> calibration.
MakeCalibration: TypeAlias = Callable[[Judged, int], Calibration]
# Keys of the summary behind the contract, for a data set other than the run's.
OTHER_SET_KEYS = ("vocabularies", "unmapped_detections")


class EvalResult(NamedTuple):
  """Results of an evaluation besides its files.

  Attributes:
    metrics: the content of `<split>.json`.
    pictures: RGB pictures by name (NAME-overlay, NAME-energy, reliability).
    calibration: the one applied; None: the scores are raw.
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
    dataset: name of the data set, for the summary and the legacy protocol.
    checkpoint_step: of the variables, for the summary.
    min_score: detections below do not count, 0..1.
    viewer_pages: first pages in the viewer; -1 = all.
    num_pages: for the progress only.
    log: takes lines of progress if stderr is no terminal (which gets a bar);
      None: no progress.
    other: the data set, if not the run's.
    calibration: turns scores into probabilities, or makes such a calibration
      from the pages' detections. None: scores stay raw.
    collect: adds the predictions of other processes, see
      `evaluate.among_processes`.

  Raises:
    InputError: unknown protocol.
  """
  protocols.check(protocol)
  out_dir = pathlib.Path(out_dir)
  name = other.name if other else split
  shown = progress.show(pages, f"evaluate {name}", num_pages, log)
  pictured = output_files.Pictures(out_dir / name, viewer_pages)
  predicted = collect(predict_all(predict_fn, shown, cfg, overlays, pictured))
  scored = _score(predicted, other, calibration)
  facts = {
    "dataset": dataset,
    "split": split,
    "protocol": protocol,
    "checkpoint_step": int(checkpoint_step),
    "min_score": float(min_score),
    "num_pages": len(predicted.truth),
    "seconds_per_page": predicted.seconds_per_page,
    "overflowing_pages": predicted.overflowing_pages,
    **_score_facts(scored),
  }
  if other:
    facts |= other.facts([page.at_least(min_score) for page in scored.of_run])
  measured = measure(
    name,
    Detected(
      facts=facts,
      truth=predicted.truth,
      detections=scored.detections,
      class_names=class_names,
      saved_from=float(min_score),
      staff_spaces=predicted.staff_spaces,
      reliability=report_data.reliability_bins(scored.raw, scored.final),
    ),
    scored.outcomes,
  )
  diagram = drawing.reliability_diagram(
    f"{dataset}, {split}", scored.raw, scored.final, scored.threshold
  )
  pictures = {"reliability": diagram} | output_files.draw(
    measured, predicted.shown, scored.threshold
  )
  output_files.write(out_dir, measured, pictures, viewer_pages)
  return EvalResult(measured.metrics, pictures, scored.calibration)


class _Scored(NamedTuple):
  """Detections with the scores that count.

  Attributes:
    of_run: in classes of the run.
    detections: in classes of the truth.
    outcomes: of `detections`.
    raw: right and wrong detections with raw scores.
    final: with probabilities; None = the raw scores count.
    calibration: the one applied.
  """

  of_run: list[PageBoxes]
  detections: list[PageBoxes]
  outcomes: Outcomes
  raw: Judged
  final: Judged | None
  calibration: Calibration | None

  @property
  def threshold(self) -> float | None:
    """That of the calibration."""
    return self.calibration.point.threshold if self.calibration else None


def _score(
  predicted: "Predicted",
  other: OtherSet | None,
  calibration: Calibration | MakeCalibration | None,
) -> _Scored:
  """Matches detections with the truth, and calibrates their scores."""
  truth, of_run = predicted.truth, predicted.detections
  relabel = other.relabel if other else lambda page: page
  detections = list(map(relabel, of_run))
  outcomes = matching.judge(truth, detections)
  raw, final = outcomes.judged(), None
  if callable(calibration):
    calibration = calibration(raw, len(truth))
  if calibration is not None:
    # The map is for the classes of the run, so it is applied first.
    of_run = list(map(calibration.apply, of_run))
    detections = list(map(relabel, of_run))
    outcomes = matching.rejudge(outcomes, truth, detections)
    final = outcomes.judged()
  return _Scored(of_run, detections, outcomes, raw, final, calibration)


class Detected(NamedTuple):
  """Detections of a split, and what they are measured against.

  Attributes:
    facts: the summary's fields that are not measured here, among them protocol,
      min_score and, for another data set, `OTHER_SET_KEYS`.
    detections: of the same pages as `truth`, in its classes.
    saved_from: least score of the detections in predictions.json.
    staff_spaces: px of each page; NaN = unknown.
    reliability: see `report_data`; {} = unknown.
  """

  facts: Mapping[str, Any]
  truth: Sequence[PageBoxes]
  detections: Sequence[PageBoxes]
  class_names: Sequence[str]
  saved_from: float
  staff_spaces: Sequence[float]
  reliability: dict[str, Any]


def measure(name: str, given: Detected, outcomes: Outcomes) -> Measured:
  """Measures detections: everything that the files of a split contain.

  `name` is that of its files, `outcomes` are of all detections.
  """
  facts, least = given.facts, given.facts["min_score"]
  counted = [page.at_least(least) for page in given.detections]
  # By the pages' own scores, like `counted`: they may be of lower precision.
  kept = [_scores(page) >= least for page in given.detections]
  outcomes = outcomes.keep(np.concatenate([np.zeros(0, bool), *kept]))
  table = protocols.measure(
    given.truth,
    counted,
    len(given.class_names),
    protocol=facts["protocol"],
    dataset=facts["dataset"],
  )
  metrics = json_results.summary(
    SummaryInputs(table, outcomes, given.class_names), facts
  )
  metrics |= {key: facts[key] for key in OTHER_SET_KEYS if key in facts}
  saved = [page.at_least(given.saved_from) for page in given.detections]
  return Measured(
    name=name,
    metrics=metrics,
    table=table,
    truth=given.truth,
    detections=counted,
    outcomes=outcomes,
    class_names=given.class_names,
    staff_spaces=given.staff_spaces,
    reliability=given.reliability,
    saved={
      "min_score": given.saved_from,
      "num_detections": sum(len(page.labels) for page in saved),
    },
  )


def _scores(page: PageBoxes) -> np.ndarray:
  assert page.scores is not None
  return page.scores


def _score_facts(scored: _Scored) -> dict[str, Any]:
  """Fields of the summary about scores; unknown numbers are None."""
  raw, threshold = scored.raw, scored.threshold
  used = scored.final or raw
  point: dict[str, Any] = dict.fromkeys(reliability.OperatingPoint._fields)
  if threshold is not None:
    values = reliability.operating_point(used, threshold)
    point = {key: or_null(value) for key, value in values._asdict().items()}
  ece = reliability.expected_calibration_error
  return {
    "calibrated": threshold is not None,
    "ece_raw": or_null(ece(raw.scores, raw.correct)),
    "ece": or_null(ece(used.scores, used.correct)),
    **point,
  }


class Predicted(NamedTuple):
  """Predictions of all pages of a split.

  Attributes:
    detections: finite ones with raw scores, in classes of the run.
    shown: the first pages, with their energy levels.
    overflowing_pages: names of pages with more objects than slots.
    seconds_per_page: mean wall time of the pages that did not compile.
    staff_spaces: of each page, px, from `predict.normalise`; NaN = not
      measured.
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
    overlays: number of first pages whose energy levels are kept.
    each: called with every page once it is predicted; pages are not kept.
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
    detections.append(prediction.detections.finite())
    if prediction.overflow:
      overflowing.append(page.truth.filename)
    if len(truth) <= overlays:
      shown.append(prediction)
    if each is not None:
      each(page)
  mean_s = _mean_seconds(
    seconds, lambda: list(predict_pages(predict_fn, last, cfg))
  )
  return Predicted(truth, detections, shown, overflowing, mean_s, staff_spaces)


def _mean_seconds(seconds: list[float], again: Callable[[], object]) -> float:
  """Mean time of the pages that did not compile; NaN without pages.

  If all of them did, `again` is timed.
  """
  compiled = [s for s in seconds if not math.isnan(s)]
  if seconds and not compiled:
    start = time.perf_counter()
    again()
    compiled = [time.perf_counter() - start]
  return float(np.mean(compiled)) if compiled else math.nan
