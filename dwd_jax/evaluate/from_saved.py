"""Measures saved detections again, without the network.

The detections of `WORKDIR/eval/<split>/predictions.json` are measured against
`truth.json` by another protocol or with a higher `min_score`, in seconds, and
the files that depend on it are rewritten: `<split>.json`, res-*.txt, report and
viewer. The saved detections do not change, so a later call may return to a
lower score.

They are all from the evaluation's `min_score` on, with the scores that counted
there; the numbers equal those of an evaluation with these scores. The saved
summary provides `seconds_per_page`, `checkpoint_step`, `overflowing_pages`, and
figures of all detections, also those below `min_score`: `calibrated`,
`ece_raw`, `ece`, `threshold`, `precision`, `recall`, `f1`, for another data set
also `unmapped_detections`. Pictures, curves.jsonl and TensorBoard do not
change.

An evaluation with the network never calibrates scores in the legacy protocol;
here the saved scores are used. Calibration keeps their order within a class, so
an AP differs only by what `min_score` leaves out, by contradictions that are
dropped, and by ties.
"""

import itertools
import math
import pathlib
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import NO_POSITION, PageBoxes
from dwd_jax.evaluate import output_files
from dwd_jax.evaluate.evaluate_split import Detected, Tally
from dwd_jax.evaluate.page_store import Page
from dwd_jax.metrics import protocols
from dwd_jax.metrics.protocols import Protocol

_MAX_BYTES = 2 << 30
_MAX_SIDE_PX = 1 << 20
_MAX_PX = 1e9  # of an end of a box
_T = TypeVar("_T")
_Id = Annotated[int, msgspec.Meta(gt=-(1 << 31), lt=1 << 31)]
_Box = tuple[float, float, float, float]
_Polygon = Annotated[list[float], msgspec.Meta(min_length=8, max_length=8)]
_Position = Annotated[int, msgspec.Meta(gt=NO_POSITION, lt=-NO_POSITION)]
_Pair = Annotated[list[str], msgspec.Meta(min_length=2, max_length=2)]


class _Image(msgspec.Struct):
  id: int
  file_name: str
  height: int
  width: int


class _Category(msgspec.Struct):
  id: int
  name: str


class _Annotation(msgspec.Struct):
  image_id: _Id
  category_id: _Id
  bbox: _Box
  segmentation: tuple[_Polygon] | msgspec.UnsetType = msgspec.UNSET
  position: _Position | None = None


class _Truth(msgspec.Struct):
  images: list[_Image]
  categories: list[_Category]
  annotations: list[_Annotation]


class _Result(_Annotation, kw_only=True):
  score: float


class _OfReport(msgspec.Struct):
  min_score: float
  num_detections: int


class _ReportPage(msgspec.Struct):
  name: str
  staff_space_px: float | None


class _Bins(msgspec.Struct):
  count: list[int]
  mean_score: list[float | None]
  precision: list[float | None]


class _Reliability(msgspec.Struct):
  raw: _Bins | None = None
  final: _Bins | None = None


class _Report(msgspec.Struct):
  saved: _OfReport
  pages: list[_ReportPage]
  reliability: _Reliability


class _Summary(msgspec.Struct):
  dataset: str
  split: str
  num_pages: int
  num_detections: int
  seconds_per_page: float | None
  checkpoint_step: int
  min_score: float
  overflowing_pages: list[str]
  calibrated: bool
  ece_raw: float | None
  ece: float | None
  threshold: float | None
  precision: float | None
  recall: float | None
  f1: float | None
  dataset_config: str = ""  # older versions wrote none
  vocabularies: _Pair | msgspec.UnsetType = msgspec.UNSET
  unmapped_detections: dict[str, int] | msgspec.UnsetType = msgspec.UNSET


def read(out_dir: pathlib.Path, name: str) -> Detected:
  """Reads the evaluation of a split; `name` is that of its files.

  Raises:
    InputError: a file is missing, damaged or of another evaluation than the
      others.
  """
  folder = out_dir / name
  summary = _decode(out_dir / f"{name}.json", _Summary)
  path, found = folder / output_files.TRUTH, folder / output_files.PREDICTIONS
  truth, results = _decode(path, _Truth), _decode(found, list[_Result])
  names, pages = _checked(path, truth), truth.images
  true = _filled(path, pages, names, truth.annotations, None)
  # Raw scores are float32, probabilities float64, as in the evaluation.
  kind = np.float64 if summary.calibrated else np.float32
  detections = _filled(found, pages, names, results, kind)
  least, spaces = summary.min_score, [math.nan] * len(pages)
  count, reliability = summary.num_detections, {}
  path = folder / output_files.REPORT
  if path.exists():  # older versions wrote none
    report = _decode(path, _Report)
    least, count = report.saved.min_score, report.saved.num_detections
    if report.reliability.raw is not None:
      reliability = msgspec.to_builtins(report.reliability)
    known = {page.name: page.staff_space_px for page in report.pages}
    spaces = [known.get(page.file_name) or math.nan for page in pages]
  if count != len(results) or summary.num_pages != len(pages):
    raise _damaged(folder, "its files are not of one evaluation")
  return Detected(
    facts=msgspec.to_builtins(summary),
    pages=[Page(*pair) for pair in zip(true, detections, strict=True)],
    class_names=names,
    saved_from=least,
    staff_spaces=spaces,
    reliability=reliability,
  )


def _damaged(path: pathlib.Path, reason: str) -> InputError:
  reason = " ".join(reason.split())[:160]
  return InputError(
    f"{path}: {reason}; --mode=eval with the same config and workdir, without"
    " eval.from_saved, makes it"
  )


def _bytes(path: pathlib.Path) -> bytes:
  try:
    if path.stat().st_size > _MAX_BYTES:
      raise InputError(
        f"{path}: more than {_MAX_BYTES >> 20:,} MiB are not measured again;"
        " evaluate without eval.from_saved"
      )
    return path.read_bytes()
  except OSError as e:
    raise _damaged(path, f"cannot be read ({e.strerror})") from None


def _decode(path: pathlib.Path, kind: type[_T]) -> _T:
  try:
    return msgspec.json.decode(_bytes(path), type=kind)
  except (ValueError, RecursionError) as e:  # msgspec and UTF-8 errors
    raise _damaged(path, f"damaged ({e})") from None


def _checked(path: pathlib.Path, truth: _Truth) -> tuple[str, ...]:
  """Checks ids and sizes, and returns the class names."""
  for rows in (truth.images, truth.categories):
    if [row.id for row in rows] != list(range(1, len(rows) + 1)):
      raise _damaged(path, "damaged (ids do not count from 1)")
  if len({image.file_name for image in truth.images}) != len(truth.images):
    raise _damaged(path, "damaged (a page occurs twice)")
  for image in truth.images:
    if not (0 < image.height < _MAX_SIDE_PX and 0 < image.width < _MAX_SIDE_PX):
      raise _damaged(path, f"damaged (size of {image.file_name})")
  names = tuple(category.name for category in truth.categories)
  if not names or len(set(names)) != len(names):
    raise _damaged(path, "damaged (class names)")
  return names


def _filled(
  path: pathlib.Path,
  pages: Sequence[_Image],
  names: Sequence[str],
  rows: Sequence[_Annotation],
  scores: type[np.floating] | None,
) -> list[PageBoxes]:
  """Splits the boxes of the rows by page, in their order."""
  page = np.array([row.image_id for row in rows], np.int64) - 1
  label = np.array([row.category_id for row in rows], np.int64) - 1
  xywh = np.array([row.bbox for row in rows], np.float64).reshape(-1, 4)
  if ((page < 0) | (page >= len(pages))).any():
    raise _damaged(path, "damaged (a box of no page)")
  if ((label < 0) | (label >= len(names))).any():
    raise _damaged(path, "damaged (a box of no class)")
  if not (np.abs(xywh) < _MAX_PX).all():
    raise _damaged(path, "damaged (a box larger than any page)")
  boxes = np.asarray(boxes_lib.xywh_to_yxyx(xywh)).astype(np.float32)
  polygons = [row.segmentation[0] for row in rows if row.segmentation]
  corners = None
  if polygons:
    if len(polygons) != len(rows):
      raise _damaged(path, "damaged (a box without segmentation)")
    corners = np.array(polygons).reshape(-1, 4, 2)[..., ::-1]
    if not (np.abs(corners) < _MAX_PX).all():
      raise _damaged(path, "damaged (a segmentation larger than any page)")
    corners = np.ascontiguousarray(corners, np.float32)
  positions = None
  if any(row.position is not None for row in rows):
    known = (row.position for row in rows)
    positions = np.array(
      [NO_POSITION if p is None else p for p in known], np.int32
    )
  score = None
  if scores is not None:
    given = [row.score for row in rows if isinstance(row, _Result)]
    score = np.array(given, np.float64)
    if not ((score >= 0) & (score <= 1)).all():
      raise _damaged(path, "damaged (a score outside 0..1)")
    score = score.astype(scores)
  order = np.argsort(page, kind="stable")
  edges = np.searchsorted(page[order], np.arange(len(pages) + 1))
  labels = label.astype(np.int32)
  return [
    PageBoxes(
      page.file_name,
      (page.height, page.width),
      boxes_yxyx=boxes,
      labels=labels,
      scores=score,
      oriented_yx=corners,
      positions=positions,
    ).keep(order[first:end])
    for page, (first, end) in zip(pages, itertools.pairwise(edges), strict=True)
  ]


def reevaluate(
  out_dir: str | pathlib.Path,
  name: str,
  *,
  protocol: Protocol = "coco",
  min_score: float = 0.05,
  viewer_pages: int = 0,
) -> dict[str, Any]:
  """Measures the saved detections of a split and writes the results.

  Args:
    out_dir: WORKDIR/eval.
    name: of the split's files.
    min_score: detections below do not count; at least that of the evaluation
      that saved them.
    viewer_pages: see `output_files.write_scores`.

  Returns:
    The content of `<split>.json`.

  Raises:
    InputError: unknown protocol, a score that is too low, a file that is
      missing or damaged.
  """
  protocols.check(protocol)
  out_dir = pathlib.Path(out_dir)
  saved = read(out_dir, name)
  if not saved.saved_from <= min_score <= 1:
    raise InputError(
      f"config: eval.min_score is {min_score:g}, but"
      f" {out_dir / name / output_files.PREDICTIONS} holds detections from"
      f" {saved.saved_from:g} on; use a score from there up to 1, or evaluate"
      " without eval.from_saved"
    )
  changed = {"protocol": protocol, "min_score": float(min_score)}
  facts = {**saved.facts, **changed}
  meter = protocols.meter(
    protocol, saved.class_names, facts["dataset"], facts["dataset_config"]
  )
  tally = Tally(meter, float(min_score))
  for page in saved.pages:
    tally.add(page)
  measured = tally.measured(name, saved._replace(facts=facts))
  output_files.write_scores(out_dir, measured, viewer_pages)
  return measured.metrics
