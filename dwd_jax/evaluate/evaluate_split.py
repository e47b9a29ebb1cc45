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

import collections
import dataclasses
import itertools
import math
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple, TypeAlias

import numpy as np

from dwd_jax.core import files, words
from dwd_jax.core.structs import PageBoxes, PageImage
from dwd_jax.data.pipeline import EvalPage
from dwd_jax.evaluate import output_files
from dwd_jax.evaluate.other_data_sets import OtherSet
from dwd_jax.evaluate.page_store import Page, Pages, PageStore
from dwd_jax.evaluate.report import report_data
from dwd_jax.evaluate.report.report_data import Measured
from dwd_jax.imaging import grey
from dwd_jax.metrics import (
  json_results,
  matching,
  pairs,
  protocols,
  reliability,
)
from dwd_jax.metrics.calibration import Calibration
from dwd_jax.metrics.json_results import SummaryInputs, or_null
from dwd_jax.metrics.matching import RIGHT, OfPage
from dwd_jax.metrics.positions import PositionMeter
from dwd_jax.metrics.protocols import Protocol
from dwd_jax.metrics.reliability import Binning, Bins, Judged, Sample
from dwd_jax.predict import staff_sizes
from dwd_jax.predict.assemble import PagePrediction
from dwd_jax.predict.predict_config import DEFAULT, PredictConfig
from dwd_jax.predict.predict_pages import (
  PredictFn,
  predict_page,
  predict_pages,
)
from dwd_jax.predict.staves import Staves, as_it_lies
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
  dataset_config: str = "",
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
    dataset_config: its edition, as `data.builder_config`; likewise.
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
  said = words.of_set(dataset, bool(cfg.staff_space_px))
  shown = progress.show(pages, f"evaluate {name}", num_pages, log, said)
  pictured = output_files.Pictures(out_dir / name, viewer_pages)
  files.make_dir(out_dir)
  with tempfile.TemporaryFile(dir=out_dir) as boxes:
    predicted = predict_all(
      predict_fn, shown, cfg, boxes=boxes, overlays=overlays, each=pictured
    )
    return evaluate_predicted(
      collect(predicted),
      class_names,
      out_dir=out_dir,
      dataset=dataset,
      split=split,
      dataset_config=dataset_config,
      protocol=protocol,
      checkpoint_step=checkpoint_step,
      min_score=float(min_score),
      viewer_pages=viewer_pages,
      other=other,
      calibration=calibration,
    )


def evaluate_predicted(
  predicted: "Predicted",
  class_names: Sequence[str],
  *,
  out_dir: pathlib.Path,
  dataset: str,
  split: str,
  dataset_config: str = "",
  protocol: Protocol,
  checkpoint_step: int,
  min_score: float,
  viewer_pages: int,
  other: OtherSet | None = None,
  calibration: Calibration | MakeCalibration | None = None,
) -> EvalResult:
  """The part of `evaluate` after the network.

  Pages are read, scored and judged one at a time, in one pass over them, one
  before it to judge raw scores if there is a calibration, and one after it for
  the confusions.
  """
  name = other.name if other else split
  raw = None
  if calibration is not None:
    binning, sample = judged(_Scored(predicted.pages, other, None))
    raw = binning.bins()
    if callable(calibration):
      calibration = calibration(sample.judged(), sample.num_pages)
  scored = _Scored(predicted.pages, other, calibration)
  meter = protocols.meter(protocol, class_names, dataset, dataset_config)
  tally = Tally(meter, min_score)
  scores = _Scores(scored.threshold)
  unmapped: collections.Counter[str] = collections.Counter()
  with output_files.coco_files(out_dir / name, class_names) as write_page:
    for of_run, page in scored.of_run():
      scores.add(page, tally.add(page))
      write_page(page._replace(found=page.found.at_least(min_score)))
      if other:
        unmapped.update(other.unmapped(of_run.at_least(min_score)))
  final = scores.binning.bins()
  facts = {
    "dataset": dataset,
    "split": split,
    "dataset_config": dataset_config,
    "protocol": protocol,
    "checkpoint_step": int(checkpoint_step),
    "min_score": min_score,
    "num_pages": len(predicted.pages),
    "seconds_per_page": predicted.seconds_per_page,
    "overflowing_pages": predicted.overflowing_pages,
    **_score_facts(raw, final, scores.point()),
  }
  if other:
    facts |= other.facts(unmapped)
  bins = (final, None) if raw is None else (raw, final)
  measured = tally.measured(
    name,
    Detected(
      facts=facts,
      pages=scored,
      class_names=class_names,
      saved_from=min_score,
      staff_spaces=predicted.staff_spaces,
      reliability=report_data.reliability_bins(*bins),
    ),
  )
  diagram = drawing.reliability_diagram(
    f"{dataset}, {split}", *bins, scored.threshold
  )
  pictures = {"reliability": diagram} | output_files.draw(
    measured, predicted.shown, scored.threshold
  )
  output_files.write(out_dir, measured, pictures, viewer_pages)
  return EvalResult(measured.metrics, pictures, scored.calibration)


class _Scored:
  """Pages with the scores that count, in classes of the truth.

  Computed when asked for; not kept.
  """

  def __init__(
    self,
    pages: Pages,
    other: OtherSet | None,
    calibration: Calibration | None,
  ):
    self._pages, self._other, self.calibration = pages, other, calibration

  @property
  def threshold(self) -> float | None:
    """That of the calibration."""
    return self.calibration.point.threshold if self.calibration else None

  def of_run(self) -> Iterator[tuple[PageBoxes, Page]]:
    """Detections in classes of the run, and the page."""
    return map(self._scored, self._pages)

  def _scored(self, page: Page) -> tuple[PageBoxes, Page]:
    found = page.found
    if self.calibration is not None:
      # The map is for the classes of the run, so it is applied first.
      found = self.calibration.apply(found)
    relabelled = self._other.relabel(found) if self._other else found
    return found, page._replace(found=relabelled)

  def __len__(self) -> int:
    return len(self._pages)

  def __iter__(self) -> Iterator[Page]:
    return (page for _, page in self.of_run())


def judged(pages: Iterable[Page]) -> tuple[Binning, Sample]:
  """Judges detections with raw scores: bins of all, a sample of single ones."""
  binning, sample = Binning(), Sample()
  for page in pages:
    right, scores = (
      matching.judge_page(*page.upright()).kind == RIGHT,
      _scores(page.found),
    )
    binning.add(scores, right)
    sample.add(scores, right, page.found.labels, len(page.truth.labels))
  return binning, sample


class _Scores:
  """Figures of the scores of all detections, page by page.

  Attributes:
    binning: bins of the scores.
  """

  def __init__(self, threshold: float | None):
    self.binning, self._threshold = Binning(), threshold
    self._counts = np.zeros(3, np.int64)  # kept, right, objects

  def add(self, page: Page, of_page: OfPage) -> None:
    """Adds a page."""
    right, scores = of_page.kind == RIGHT, _scores(page.found)
    self.binning.add(scores, right)
    if self._threshold is not None:
      kept = scores >= self._threshold
      counts = kept.sum(), (kept & right).sum(), len(page.truth.labels)
      self._counts += np.array(counts)

  def point(self) -> reliability.OperatingPoint | None:
    """That at the threshold, if there is one."""
    if self._threshold is None:
      return None
    return reliability.point_of(self._threshold, *self._counts.tolist())


class Detected(NamedTuple):
  """Detections of a split, and what they are measured against.

  Attributes:
    facts: the summary's fields that are not measured here, among them protocol,
      min_score and, for another data set, `OTHER_SET_KEYS`.
    pages: truth and detections, in the classes of the truth.
    saved_from: least score of the detections in predictions.json.
    staff_spaces: px of each page; NaN = unknown.
    reliability: see `report_data`; {} = unknown.
  """

  facts: Mapping[str, Any]
  pages: Pages
  class_names: Sequence[str]
  saved_from: float
  staff_spaces: Sequence[float]
  reliability: dict[str, Any]


class Tally:
  """Measures pages one at a time.

  Keeps 35 bytes of a detection, 52 if it is oriented, 10 of a true box.

  Attributes:
    rotated: measures the AP of oriented boxes; None if the protocol knows none,
      or a page has none.
  """

  def __init__(self, meter: protocols.Meter, min_score: float):
    self._meter = meter
    self.rotated = meter.of_oriented()
    self._positions = PositionMeter(meter.num_classes)
    self._outcomes = matching.Collector()
    self._min_score, self._num_saved = min_score, 0
    self._names: list[str] = []

  def add(self, page: Page) -> OfPage:
    """Adds a page; returns what became of its detections, judged upright."""
    of_page = matching.judge_page(*page.upright())
    kept = _scores(page.found) >= self._min_score
    counted = page.found.keep(kept)
    self._meter.add(page.truth, counted)
    oriented = None
    if not pairs.are_oriented(counted, page.truth):
      self.rotated = None
    elif self.rotated is not None:
      self.rotated.add(page.truth, counted)
      oriented = matching.judge_page(*page).keep(kept)
    judged = of_page.keep(kept)
    self._positions.add(page.truth, counted, judged)
    self._outcomes.add(page.truth, counted, judged, oriented)
    self._num_saved += len(kept)
    self._names.append(page.truth.filename)
    return of_page

  def measured(self, name: str, given: Detected) -> Measured:
    """Everything that the files of a split contain; nothing can follow.

    `name` is that of its files.
    """
    facts, table = given.facts, self._meter.table()
    outcomes, rotated = self._outcomes.outcomes(), None
    by_oriented = self._outcomes.rotated() if len(outcomes.labels) else None
    if self.rotated is not None and by_oriented is not None:
      rotated = self.rotated.table()
    del self._meter, self.rotated  # their memory
    metrics = json_results.summary(
      SummaryInputs(
        table=table,
        outcomes=outcomes,
        class_names=given.class_names,
        rotated=rotated,
        positions=self._positions.table(),
      ),
      facts,
    )
    metrics |= {key: facts[key] for key in OTHER_SET_KEYS if key in facts}
    saved = len(outcomes.labels)
    if given.saved_from < self._min_score:
      saved = self._num_saved
    return Measured(
      name=name,
      metrics=metrics,
      table=table,
      names=self._names,
      pages=given.pages,
      outcomes=outcomes,
      rotated=by_oriented,
      class_names=given.class_names,
      staff_spaces=given.staff_spaces,
      reliability=given.reliability,
      saved={"min_score": given.saved_from, "num_detections": saved},
    )


def _scores(page: PageBoxes) -> np.ndarray:
  assert page.scores is not None
  return page.scores


def _score_facts(
  raw: Bins | None, final: Bins, point: reliability.OperatingPoint | None
) -> dict[str, Any]:
  """Fields of the summary about scores; unknown numbers are None."""
  values: dict[str, Any] = dict.fromkeys(reliability.OperatingPoint._fields)
  if point is not None:
    values = {key: or_null(value) for key, value in point._asdict().items()}
  ece = reliability.expected_calibration_error
  return {
    "calibrated": point is not None,
    "ece_raw": or_null(ece(final if raw is None else raw)),
    "ece": or_null(ece(final)),
    **values,
  }


class Predicted(NamedTuple):
  """Predictions of all pages of a split.

  Attributes:
    pages: truth, and finite detections with raw scores, in classes of the run.
    shown: the first pages, and their predictions with energy levels.
    overflowing_pages: names of pages with more objects than slots.
    seconds_per_page: mean wall time of the pages that did not compile.
    staff_spaces: of each page, px, from `predict.normalise`; NaN = not
      measured.
  """

  pages: Pages
  shown: list[tuple[PageImage, PagePrediction]]
  overflowing_pages: list[str]
  seconds_per_page: float
  staff_spaces: list[float]


def predict_all(
  predict_fn: PredictFn,
  pages: Iterable[EvalPage],
  cfg: PredictConfig = DEFAULT,
  *,
  boxes: IO[bytes],
  overlays: int = 0,
  each: Callable[[EvalPage], None] | None = None,
) -> Predicted:
  """Predicts the pages of a split.

  Symbols on staves of other sizes than the page's are taken from a prediction
  at their scale, as `detect` does.

  Args:
    predict_fn: with its variables bound.
    boxes: file that takes truth and detections, see `PageStore`.
    overlays: number of first pages whose energy levels are kept.
    each: called with every page once it is predicted; pages are not kept.
  """
  store, overflowing, shown = PageStore(boxes), [], []
  seconds, last, staff_spaces = [], [], []
  with_truth, of_images = itertools.tee(_measured(page, cfg) for page in pages)
  predictions = predict_pages(
    predict_fn, (page.image for page, _ in of_images), cfg, overlays
  )
  for (page, staves), prediction in zip(with_truth, predictions, strict=True):
    prediction = staff_sizes.with_others(
      prediction,
      page.image,
      staves.spaces,
      staves.pieces,
      lambda image: predict_page(predict_fn, image, cfg),
    )
    last = [page.image]
    seconds.append(prediction.seconds)
    staff_spaces.append(prediction.staff_space_px or math.nan)
    store.add(page.truth, prediction.detections.finite())
    if prediction.overflow:
      overflowing.append(page.truth.filename)
    if len(store) <= overlays:
      shown.append((page.image, prediction))
    if each is not None:
      each(page)
  mean_s = _mean_seconds(
    seconds, lambda: list(predict_pages(predict_fn, last, cfg))
  )
  return Predicted(store, shown, overflowing, mean_s, staff_spaces)


def _measured(page: EvalPage, cfg: PredictConfig) -> tuple[EvalPage, Staves]:
  """The page with its staff space, if that is asked for, and its staves."""
  ink = page.image.ink
  if not cfg.normalises or ink.dtype != np.uint8 or ink.ndim not in (2, 3):
    return page, Staves()  # the prediction reports what is wrong
  staves = as_it_lies(grey.ink_of(ink))
  if not staves.spaces:
    return page, staves
  image = dataclasses.replace(page.image, staff_space_px=staves.spaces[0])
  return dataclasses.replace(page, image=image), staves


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
