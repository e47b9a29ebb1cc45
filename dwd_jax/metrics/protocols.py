"""Average precision of a split, by one of three protocols.

"coco": 101-point AP of the COCO metric, all detections counted.

"voc": area under the precision envelope, half-open boxes.

"legacy": the original's evaluation as far as it is defined. It differs from
"voc" in that
  * every box is one pixel larger on its far sides;
  * a hit needs IoU > threshold, not >=;
  * detections are shifted by one pixel against the truth;
  * a class without truth counts as AP 0 and lowers the mean;
  * MUSCIMA++ objects of 400 px or more on a side are left out of the truth
    (detections of them are wrong).
It differs from the original as docs/evaluation.md says.

To add a protocol, write a function, and add it to `Protocol` and `PROTOCOLS`.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageBoxes

IOUS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))  # 0.5 .. 0.95
# The original's evaluation left out true objects from this size on.
_LEGACY_MAX_SIDE_PX = {"muscima_pp": 400}


class FlatBoxes(NamedTuple):
  """The boxes of all pages, page by page.

  Attributes:
    page: index of the box's page in the list of file names.
    boxes_yxyx: the far edge never lies before the near one.
    scores: 0 for truth.
  """

  page: Int[np.ndarray, " n"]
  boxes_yxyx: Float[np.ndarray, "n 4"]
  labels: Int[np.ndarray, " n"]
  scores: Float[np.ndarray, " n"]


@dataclasses.dataclass(frozen=True)
class APTable:
  """Average precision of every class at every IoU threshold.

  Attributes:
    ious: the T thresholds.
    ap: 0..1; NaN for classes without truth.
    num_objects: true objects of each class.
  """

  ious: tuple[float, ...]
  ap: Float[np.ndarray, "T C"]
  num_objects: Int[np.ndarray, " C"]

  def per_class(self) -> Float[np.ndarray, " C"]:
    """Mean AP of each class over the thresholds."""
    return self.ap.mean(axis=0)

  def per_iou(self) -> Float[np.ndarray, " T"]:
    """Mean AP over the classes with truth, at each threshold."""
    return np.array([mean_or_nan(row) for row in self.ap])

  def at(self, iou: float) -> Float[np.ndarray, " C"]:
    """AP of each class at one of the thresholds."""
    return self.ap[self.ious.index(iou)]

  def weighted_at(self, iou: float) -> float:
    """Mean of `at`, weighted by `num_objects`; NaN without objects."""
    present = self.num_objects > 0
    if not present.any():
      return float("nan")
    weights = self.num_objects[present]
    return float(np.average(self.at(iou)[present], weights=weights))


def mean_or_nan(values: Float[np.ndarray, " n"]) -> float:
  """Mean of the values that are not NaN; NaN if there are none."""
  known = values[~np.isnan(values)]
  return float(known.mean()) if known.size else float("nan")


Protocol: TypeAlias = Literal["coco", "voc", "legacy"]
PageList: TypeAlias = Sequence[PageBoxes]


def measure(
  truth: PageList,
  detections: PageList,
  num_classes: int,
  protocol: Protocol,
  dataset: str = "",
) -> APTable:
  """Measures AP of every class at IoU 0.50 to 0.95 by one of the protocols.

  For truth and detections see `join`. Classes without truth are NaN, in the
  legacy protocol 0; `dataset` decides which large objects it leaves out.
  """
  return PROTOCOLS[protocol](truth, detections, num_classes, dataset)


def check(protocol: str) -> None:
  """Raises InputError for an unknown protocol."""
  if protocol not in PROTOCOLS:
    raise InputError(
      f"eval.protocol: {protocol!r} is unknown; use one of {tuple(PROTOCOLS)}"
    )


def coco(
  truth: PageList,
  detections: PageList,
  num_classes: int,
  *,
  ious: Sequence[float] = IOUS,
) -> APTable:
  """COCO AP (101 recall points) of every class at every IoU threshold.

  All detections count: COCO's limit, the best 100 of a class on a page, would
  remove most noteheads of a page of music. Args as of `measure`.

  Reference: Lin et al., Microsoft COCO (2014).
  """
  gt, dt, names = join(truth, detections, num_classes)
  num_objects = np.bincount(gt.labels, minlength=num_classes)
  ap = np.full((len(ious), num_classes), np.nan)
  present = np.flatnonzero(num_objects)
  if present.size:
    ap[:, present] = _run(gt, dt, len(names), present, ious)
  return APTable(tuple(ious), ap, num_objects)


def _run(gt, dt, num_pages, present, ious):
  """Runs the library on the classes with truth; -> AP [T, present]."""
  if not dt.page.size:
    return np.zeros((len(ious), len(present)))
  # Imported late: prediction imports this module but does not measure.
  from faster_coco_eval import COCO, COCOeval_faster

  evaluation = COCOeval_faster(
    COCO(_dataset(gt, num_pages, present)),
    COCO(_dataset(dt, num_pages, present)),
    iouType="bbox",
    print_function=lambda *_: None,
  )
  params = evaluation.params
  params.iouThrs = np.array(ious)
  # The limit is per page and class, so a page's total suffices.
  params.maxDets = [int(np.bincount(dt.page).max())]
  params.areaRng = [[0.0, np.inf]]
  params.areaRngLbl = ["all"]
  evaluation.evaluate()
  evaluation.accumulate()
  precision = np.asarray(evaluation.eval["precision"])  # [T, R, K, 1, 1]
  return precision[:, :, :, 0, 0].mean(axis=1)


def _dataset(flat: FlatBoxes, num_pages: int, present) -> dict[str, Any]:
  """Converts boxes to the library's data set, whose ids are one-based."""
  boxes_xywh = np.asarray(boxes_lib.yxyx_to_xywh(flat.boxes_yxyx)).tolist()
  areas = np.asarray(boxes_lib.areas(flat.boxes_yxyx)).tolist()
  pages, labels, scores = (
    column.tolist() for column in (flat.page, flat.labels, flat.scores)
  )
  columns = zip(pages, labels, boxes_xywh, areas, scores, strict=True)
  annotations = [
    {
      "id": i,
      "image_id": page + 1,
      "category_id": label + 1,
      "bbox": box,
      "area": area,
      "score": score,
      "iscrowd": 0,
    }
    for i, (page, label, box, area, score) in enumerate(columns, start=1)
  ]
  return {
    "images": [{"id": page + 1} for page in range(num_pages)],
    "categories": [{"id": int(c) + 1, "name": str(c)} for c in present],
    "annotations": annotations,
  }


def voc(
  truth: PageList,
  detections: PageList,
  num_classes: int,
  *,
  ious: Sequence[float] = IOUS,
  original: bool = False,
) -> APTable:
  """VOC AP of every class at every IoU threshold.

  A detection is assigned to the true box of its class and page that it overlaps
  most. It is right if that IoU reaches the threshold and no better-scored
  detection took the box before.

  Args: as of `measure`. `original` adds a pixel to the far sides of every box
    and requires IoU > threshold, not >=.

  Reference: Everingham et al., The Pascal Visual Object Classes Challenge
  (2010). Differs from the original: it counted classes without truth as 0.
  """
  gt, dt, _ = join(truth, detections, num_classes)
  if original:
    pixel = np.array([0.0, 0.0, 1.0, 1.0])
    gt = gt._replace(boxes_yxyx=gt.boxes_yxyx + pixel)
    dt = dt._replace(boxes_yxyx=dt.boxes_yxyx + pixel)
  num_objects = np.bincount(gt.labels, minlength=num_classes)
  ap = np.full((len(ious), num_classes), np.nan)
  for label in np.flatnonzero(num_objects).tolist():
    best_iou, best_truth = _best_truth(
      _take(gt, gt.labels == label), _take(dt, dt.labels == label)
    )
    for t, iou in enumerate(ious):
      hit = best_iou > iou if original else best_iou >= iou
      ap[t, label] = _area(_first_hits(hit, best_truth), num_objects[label])
  return APTable(tuple(ious), ap, num_objects)


def _take(flat: FlatBoxes, rows: np.ndarray) -> FlatBoxes:
  return FlatBoxes._make(column[rows] for column in flat)


def _best_truth(gt: FlatBoxes, dt: FlatBoxes):
  """IoU and index of the true box that each detection overlaps most."""
  best_iou = np.full(len(dt.page), -1.0)  # -1: no truth on this page
  best_truth = np.zeros(len(dt.page), np.int64)
  for page in np.intersect1d(gt.page, dt.page):
    rows = np.flatnonzero(dt.page == page)
    columns = np.flatnonzero(gt.page == page)
    iou = np.asarray(
      boxes_lib.pairwise_iou(dt.boxes_yxyx[rows], gt.boxes_yxyx[columns])
    )  # [n, m]
    best_iou[rows] = iou.max(axis=1)
    best_truth[rows] = columns[iou.argmax(axis=1)]
  return best_iou, best_truth


def _first_hits(hit, best_truth):
  """Keeps only the first hit of each true box; rows are by falling score."""
  rows = np.flatnonzero(hit)
  _, first = np.unique(best_truth[rows], return_index=True)
  kept = np.zeros(len(hit), bool)
  kept[rows[first]] = True
  return kept


def _area(true_positive: np.ndarray, num_objects: int) -> float:
  """Area under the precision envelope over recall."""
  if not true_positive.size:
    return 0.0
  found = np.cumsum(true_positive)
  precision = found / np.arange(1, len(found) + 1)
  envelope: Float[np.ndarray, " n"] = np.maximum.accumulate(precision[::-1])
  return float(np.sum(envelope[::-1] * true_positive) / num_objects)


def legacy(
  truth: PageList, detections: PageList, num_classes: int, dataset: str
) -> APTable:
  """The original's evaluation, see the module's docstring."""
  limit_px = _LEGACY_MAX_SIDE_PX.get(dataset.split("/")[0], math.inf)
  small = [
    page.keep(np.all(boxes_lib.sizes_hw(page.boxes_yxyx) < limit_px, axis=-1))
    for page in truth
  ]
  shifted = [
    dataclasses.replace(page, boxes_yxyx=page.boxes_yxyx + 1)
    for page in detections
  ]
  table = voc(small, shifted, num_classes, original=True)
  return dataclasses.replace(table, ap=np.nan_to_num(table.ap, nan=0.0))


# Name -> function of truth, detections, number of classes, data set.
PROTOCOLS: Mapping[
  Protocol, Callable[[PageList, PageList, int, str], APTable]
] = {
  "coco": lambda truth, found, classes, _: coco(truth, found, classes),
  "voc": lambda truth, found, classes, _: voc(truth, found, classes),
  "legacy": legacy,
}


def join(
  truth: PageList, detections: PageList, num_classes: int
) -> tuple[FlatBoxes, FlatBoxes, list[str]]:
  """Joins truth and detections by file name, independent of the input's order.

  Pages are sorted by name, detections by falling score, then position.

  Args:
    truth: the pages to judge; each file name once.
    detections: pages with scores, all in the truth; a page missing here has no
      detections. Detections with a score or box that is not finite are left
      out, with a warning that names the page.

  Returns:
    The truth, the detections, and the file names by page index.

  Raises:
    ValueError: duplicate names, detections of a page without truth, a label
      outside 0 .. C-1, or detections without scores.
  """
  names = sorted(page.filename for page in truth)
  if len(set(names)) != len(names):
    raise ValueError("a file name occurs twice in the truth")
  index = {name: i for i, name in enumerate(names)}
  strangers = [p.filename for p in detections if p.filename not in index]
  if strangers:
    raise ValueError(f"{strangers[0]}: detections of a page without truth")
  if len({p.filename for p in detections}) != len(detections):
    raise ValueError("a file name occurs twice in the detections")
  if any(p.scores is None for p in detections):
    raise ValueError("detections need scores")
  gt = _flatten(truth, index, num_classes)
  dt = _flatten([p.finite() for p in detections], index, num_classes)
  corners = dt.boxes_yxyx.T[::-1]
  order = np.lexsort((dt.labels, *corners, dt.page, -dt.scores))
  return gt, _take(dt, order), names


def _flatten(
  pages: PageList, index: dict[str, int], num_classes: int
) -> FlatBoxes:
  def column(parts, shape, dtype):
    return np.concatenate([np.zeros(shape, dtype), *parts]).astype(dtype)

  pages = sorted(pages, key=lambda p: p.filename)
  boxes = column([p.boxes_yxyx for p in pages], (0, 4), np.float64)
  boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
  labels = column([p.labels for p in pages], 0, np.int64)
  if labels.size and (labels.min() < 0 or labels.max() >= num_classes):
    raise ValueError(f"a label lies outside 0 .. {num_classes - 1}")
  numbers = [np.full(len(p.labels), index[p.filename]) for p in pages]
  scores = [
    np.zeros(len(p.labels)) if p.scores is None else p.scores for p in pages
  ]
  return FlatBoxes(
    page=column(numbers, 0, np.int64),
    boxes_yxyx=boxes,
    labels=labels,
    scores=column(scores, 0, np.float64),
  )
