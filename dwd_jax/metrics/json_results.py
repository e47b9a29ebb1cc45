"""Results of an evaluation as data: the JSON summary, AP lists, COCO files.

To add a number to the summary, write a function and enter it in `SUMMARY`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core.structs import NO_POSITION, PageBoxes
from dwd_jax.metrics.matching import Outcomes
from dwd_jax.metrics.positions import PositionTable
from dwd_jax.metrics.protocols import APTable, mean_or_nan

MIN_OBJECTS = 10  # of a class, to count in mAP_50_min10


def or_null(value: float) -> float | None:
  """The number, or None (JSON null) if it is not finite."""
  return float(value) if math.isfinite(value) else None


class SummaryInputs(NamedTuple):
  """Measurements that the numbers of a summary are computed from.

  Attributes:
    table: APs of C classes by the protocol; includes the IoU threshold 0.5.
    rotated: those of oriented boxes, if detections and truth have them.
    positions: of the detections from `min_score` on, if they and the truth have
      positions.
    outcomes: of the detections from `min_score` on.
  """

  table: APTable
  outcomes: Outcomes
  class_names: Sequence[str]
  rotated: APTable | None = None
  positions: PositionTable | None = None


def _per_class(of: SummaryInputs) -> dict[str, dict[str, Any]]:
  """AP, AP_50 and number of objects of every class."""
  columns: dict[str, Any] = {
    "AP": map(or_null, of.table.per_class()),
    "AP_50": map(or_null, of.table.at(0.5)),
    "num_objects": of.table.num_objects.tolist(),
  }
  if of.rotated is not None:
    columns["AP_rotated"] = map(or_null, of.rotated.per_class())
    columns["AP_50_rotated"] = map(or_null, of.rotated.at(0.5))
  if of.positions is not None:
    columns["position_accuracy"] = map(or_null, of.positions.per_class())
  rows = zip(*columns.values(), strict=True)
  return {
    name: dict(zip(columns, row, strict=True))
    for name, row in zip(of.class_names, rows, strict=True)
  }


def _ap_by_iou(table: APTable) -> dict[str, float | None]:
  """Mean AP at each IoU threshold."""
  means = zip(table.ious, table.per_iou(), strict=True)
  return {f"{iou:.2f}": or_null(ap) for iou, ap in means}


def _rotated(table: APTable) -> dict[str, Any]:
  """Means of the APs of oriented boxes."""
  return {
    "mAP": or_null(mean_or_nan(table.per_class())),
    "mAP_50": or_null(mean_or_nan(table.at(0.5))),
    "AP_by_iou": _ap_by_iou(table),
  }


def _map_50_without_rare(of: SummaryInputs) -> float:
  """Mean AP_50 over the classes with at least `MIN_OBJECTS` objects."""
  enough = of.table.num_objects >= MIN_OBJECTS
  return mean_or_nan(of.table.at(0.5)[enough])


# The content of <split>.json in the order of the contract: a function computes
# the number; None marks a fact that the evaluation passes in, and that
# `evaluate.from_saved` takes from the saved summary.
SUMMARY: Mapping[str, Callable[[SummaryInputs], Any] | None] = {
  "dataset": None,
  "split": None,
  "num_pages": None,
  "num_objects": lambda of: int(of.table.num_objects.sum()),
  "num_detections": lambda of: len(of.outcomes.labels),
  "protocol": None,
  "mAP": lambda of: mean_or_nan(of.table.per_class()),
  "mAP_50": lambda of: mean_or_nan(of.table.at(0.5)),
  "AP_by_iou": lambda of: _ap_by_iou(of.table),
  "per_class": _per_class,
  "seconds_per_page": None,
  "checkpoint_step": None,
  "AP_50_weighted": lambda of: of.table.weighted_at(0.5),
  f"mAP_50_min{MIN_OBJECTS}": _map_50_without_rare,
  "min_objects": lambda _: MIN_OBJECTS,
  "min_score": None,
  "overflowing_pages": None,
  "calibrated": None,
  "ece_raw": None,
  "ece": None,
  "threshold": None,
  "precision": None,
  "recall": None,
  "f1": None,
  "dataset_config": None,
}


def summary(inputs: SummaryInputs, facts: Mapping[str, Any]) -> dict[str, Any]:
  """The content of <split>.json, see `dwd_jax.evaluate.evaluate_split`.

  `facts` has all that is None in `SUMMARY`. Numbers that are not finite become
  None. `rotated` and `position_accuracy` come last, if they are measured.
  """
  values = {
    key: facts[key] if number is None else number(inputs)
    for key, number in SUMMARY.items()
  }
  if inputs.rotated is not None:
    values["rotated"] = _rotated(inputs.rotated)
  if inputs.positions is not None:
    values["position_accuracy"] = inputs.positions.overall()
  return {
    key: or_null(value) if isinstance(value, float) else value
    for key, value in values.items()
  }


def ap_lists(table: APTable, class_names: Sequence[str]) -> dict[str, str]:
  """Texts by file name, one per IoU: res-0.5.txt, res-0.55.txt, ...

  As the original's (lib/datasets/deep_scores.py at commit 5c314f1): lines
  "NAME 0.123", three empty ones, and "Mean Average Precision: x", the mean of
  the values before they are rounded. Classes without truth have no line.
  """
  texts = {}
  for iou, row in zip(table.ious, table.ap, strict=True):
    lines = [
      f"{name} {ap:.3f}\n"
      for name, ap in zip(class_names, row, strict=True)
      if not math.isnan(ap)
    ]
    mean = f"Mean Average Precision: {mean_or_nan(row)}"
    texts[f"res-{iou:g}.txt"] = "".join(lines) + "\n\n\n" + mean
  return texts


def coco_annotations(
  truth: PageBoxes, image_id: int, first_id: int
) -> list[dict[str, Any]]:
  """COCO annotations of the true boxes of a page, which are not rounded.

  Some have a `segmentation` or `position`, see `coco_results`. `first_id` is
  the id of the first; category ids are class ids + 1.
  """
  rows = _rows(image_id, truth, exact=True)
  for number, row in enumerate(rows, start=first_id):
    width, height = row["bbox"][2:]
    row |= {"area": width * height, "iscrowd": 0, "id": number}
  return rows


def coco_image(image_id: int, name: str, hw: tuple[int, int]) -> dict[str, Any]:
  """An entry of COCO's images."""
  height, width = map(int, hw)
  return {"id": image_id, "file_name": name, "height": height, "width": width}


def coco_categories(class_names: Sequence[str]) -> list[dict[str, Any]]:
  """COCO's categories; their ids are class ids + 1."""
  return [{"id": i, "name": name} for i, name in enumerate(class_names, 1)]


def coco_results(
  found: PageBoxes, image_id: int, *, exact: bool = False
) -> list[dict[str, Any]]:
  """COCO results: a list of image_id, category_id, bbox (xywh, px), score.

  Oriented boxes have a `segmentation`, too: a list with the polygon of their
  corners; symbols with a place on the staff have a `position`. Detections with
  a score or box that is not finite are left out.

  Args:
    found: detections of a page.
    exact: keep all digits, so that measuring them gives the evaluation's
      numbers; otherwise boxes have hundredths of a pixel.
  """
  scores = np.zeros(0) if found.scores is None else found.scores
  rows = _rows(image_id, found, exact)
  return [
    row | {"score": score if exact else round(score, 8)}
    for row, score in zip(rows, scores.tolist(), strict=True)
    if all(map(math.isfinite, (score, *row["bbox"], *_polygon(row))))
  ]


def _polygon(row: dict[str, Any]) -> list[float]:
  return row.get("segmentation", [[]])[0]


def _rows(image_id: int, page: PageBoxes, exact: bool) -> list[dict[str, Any]]:
  boxes_xywh = np.asarray(
    boxes_lib.yxyx_to_xywh(page.boxes_yxyx.astype(np.float64))
  )

  def digits(values: list[float]) -> list[float]:
    return values if exact else [round(v, 2) for v in values]

  rows: list[dict[str, Any]] = [
    {"image_id": image_id, "category_id": label + 1, "bbox": digits(box)}
    for label, box in zip(
      page.labels.tolist(), boxes_xywh.tolist(), strict=True
    )
  ]
  if page.oriented_yx is not None:
    corners = page.oriented_yx.astype(np.float64)
    polygons_xy = corners[..., ::-1].reshape(-1, 8)
    for row, polygon in zip(rows, polygons_xy.tolist(), strict=True):
      row["segmentation"] = [digits(polygon)]
  if page.positions is not None:
    for row, position in zip(rows, page.positions.tolist(), strict=True):
      if position != NO_POSITION:
        row["position"] = position
  return rows
