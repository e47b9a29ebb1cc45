"""One split -> metrics, files and pictures.

`evaluate` writes into `out_dir` (WORKDIR/eval of a run):

  <split>.json            the summary; the fields are a contract, see below
  <split>/res-0.5.txt     AP of every class at IoU 0.5 ... 0.95, one file each
  <split>/predictions.json  COCO results: image_id, category_id, bbox, score
  <split>/truth.json      COCO annotations: the file name of every image_id, the
                          class of every category_id (class id + 1), the truth
  <split>/NAME-overlay.png, NAME-energy.png  the first pages, drawn
  res-0.5.txt ... and predictions.json       copies, of the split that was
                          evaluated last

Boxes are in pixels of the source image. `<split>.json` holds dataset, split,
num_pages, num_objects, num_detections, protocol, mAP (mean of IoU 0.50 to
0.95), mAP_50, AP_by_iou, per_class (AP, AP_50, num_objects), seconds_per_page,
checkpoint_step, and then AP_50_weighted (mean weighted by objects),
mAP_50_min10 (mean over the classes with at least `min_objects` = 10 objects),
min_objects, min_score, overflowing_pages (names of pages with more objects
than the decode has slots). A number that is not defined is null: the AP of a
class without truth, any mean over no class. For another data set than the
run's the files are called <dataset>-<split>, and the summary ends with
`OtherSet.facts` of `transfer`.

`seconds_per_page` is the mean wall time from the page on the host to boxes on
the host (scaling, transfer, network, decode), without reading the page, the
metrics, the pictures, and without compilation: the first pages of each padded
size are not counted. If no page is left, the last one runs once more.

Protocols: see `metrics.protocols`.
"""

import dataclasses
import itertools
import json
import math
import pathlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tqdm

from dwd_jax import files, predict_config, visualize
from dwd_jax.data.pipeline import EvalPage
from dwd_jax.errors import InputError
from dwd_jax.metrics import report
from dwd_jax.metrics.pages import finite
from dwd_jax.metrics.protocols import PROTOCOLS, Protocol, measure
from dwd_jax.predict import PredictFn, predict_pages
from dwd_jax.predict_config import PredictConfig
from dwd_jax.structs import PageBoxes
from dwd_jax.transfer import OtherSet

_LOG_EVERY_S = 10.0
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
)


class EvalResult(NamedTuple):
  """What an evaluation gives back besides its files.

  Attributes:
    metrics: the content of `<split>.json`.
    pictures: RGB pictures by name (NAME-overlay, NAME-energy).
  """

  metrics: dict[str, Any]
  pictures: dict[str, np.ndarray]


def evaluate(
  predict_fn: PredictFn,
  pages: Iterable[EvalPage],
  class_names: Sequence[str],
  cfg: PredictConfig = predict_config.DEFAULT,
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
  predicted = _predict_all(
    predict_fn,
    _progress(pages, name, num_pages, log),
    class_names,
    cfg,
    folder=out_dir / name,
    min_score=min_score,
    overlays=overlays,
    relabel=other.relabel if other else lambda page: page,
  )
  truth, detections = predicted.truth, predicted.detections
  table = measure(truth, detections, len(class_names), protocol, dataset)
  metrics = _summary(
    report.averages(table, class_names, MIN_OBJECTS),
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
  metrics |= other.facts() if other else {}
  _write(out_dir, name, metrics, table, truth, detections, class_names)
  return EvalResult(metrics, predicted.pictures)


class _Predicted(NamedTuple):
  """All pages of a split, predicted."""

  truth: list[PageBoxes]
  detections: list[PageBoxes]
  overflowing_pages: list[str]
  pictures: dict[str, np.ndarray]
  seconds_per_page: float


def _predict_all(
  predict_fn, pages, class_names, cfg, *, folder, min_score, overlays, relabel
) -> _Predicted:
  """Predicts the pages and writes the pictures of the first of them."""
  truth, detections, overflowing, pictures = [], [], [], {}
  seconds, last = [], []
  shown, of_images = itertools.tee(pages)
  predictions = predict_pages(
    predict_fn, (page.image for page in of_images), cfg, overlays
  )
  for page, prediction in zip(shown, predictions, strict=True):
    last = [page.image]
    seconds.append(prediction.seconds)
    truth.append(page.truth)
    found = _at_least(finite(prediction.detections), min_score)
    detections.append(relabel(found))
    if prediction.overflow:
      overflowing.append(page.truth.filename)
    if len(truth) <= overlays:
      drawn = _draw(page.truth, detections[-1], prediction, class_names)
      for name, picture in drawn.items():
        visualize.save_png(folder / f"{name}.png", picture)
      pictures |= drawn
  return _Predicted(
    truth,
    detections,
    overflowing,
    pictures,
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


def _at_least(page: PageBoxes, min_score: float) -> PageBoxes:
  """Without the detections below a score."""
  assert page.scores is not None
  keep = page.scores >= min_score
  return dataclasses.replace(
    page,
    boxes_yxyx=page.boxes_yxyx[keep],
    labels=page.labels[keep],
    scores=page.scores[keep],
  )


def _draw(truth, detections, prediction, class_names) -> dict[str, np.ndarray]:
  stem = pathlib.PurePath(truth.filename).stem
  return {
    f"{stem}-overlay": visualize.overlay(
      prediction.ink, truth, detections, class_names
    ),
    f"{stem}-energy": visualize.energy_picture(
      prediction.ink, prediction.levels
    ),
  }


def _summary(averages: dict[str, Any], **facts: Any) -> dict[str, Any]:
  """The content of `<split>.json`, in the order of the contract."""
  values = averages | facts
  values[f"mAP_50_min{MIN_OBJECTS}"] = values.pop("mAP_50_min")
  values["min_objects"] = MIN_OBJECTS
  return {key: values[key] for key in SUMMARY_KEYS}


def _write(out_dir, name, metrics, table, truth, detections, class_names):
  """Writes the text files; the summary last, when all the others are there."""
  image_ids = {page.filename: i for i, page in enumerate(truth, start=1)}
  texts = report.ap_lists(table, class_names)
  texts["predictions.json"] = json.dumps(
    report.coco_results(detections, image_ids), allow_nan=False
  )
  for file, text in texts.items():
    files.write_atomic(out_dir / name / file, text)
    files.write_atomic(out_dir / file, text)
  files.write_atomic(
    out_dir / name / "truth.json",
    json.dumps(report.coco_truth(truth, class_names), allow_nan=False),
  )
  files.write_atomic(
    out_dir / f"{name}.json",
    json.dumps(metrics, indent=2, allow_nan=False) + "\n",
  )


def _progress(
  pages: Iterable[EvalPage],
  split: str,
  total: int | None,
  log: Callable[[str], None] | None,
) -> Iterator[EvalPage]:
  """The pages, with a bar on a terminal or now and then a line."""
  if log is None:
    yield from pages
    return
  if sys.stderr.isatty():
    yield from tqdm.tqdm(pages, f"evaluate {split}", total, unit="page")
    return
  of_total = "" if total is None else f" of {total}"
  done, last = 0, time.monotonic()
  for done, page in enumerate(pages, start=1):
    yield page
    if time.monotonic() - last >= _LOG_EVERY_S:
      last = time.monotonic()
      log(f"evaluate {split}: {done}{of_total} pages")
  log(f"evaluate {split}: {done} pages done")
