"""The evaluation's files as data: the JSON summary, AP lists, COCO results.

The content of `<split>.json`, in the order of the contract.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dwd_jax.core import boxes as box_lib
from dwd_jax.core.structs import PageBoxes
from dwd_jax.metrics.flat_boxes import APTable, mean_or_nan


def or_null(value: float) -> float | None:
  """The number, or None (JSON's null) where it is not finite."""
  return float(value) if math.isfinite(value) else None


def averages(
  table: APTable, class_names: Sequence[str], min_objects: int
) -> dict[str, Any]:
  """The numbers of a table as JSON, unknown ones as None.

  Args:
    table: APs of C classes; holds the IoU threshold 0.5.
    class_names: C names.
    min_objects: the classes of `mAP_50_min` have at least so many objects.

  Returns:
    mAP, mAP_50, AP_by_iou, per_class; AP_50_weighted is the mean of the
    classes' AP_50 weighted by their objects, mAP_50_min the plain mean over
    the classes that are not too rare to say anything.
  """
  ap_50, per_class = table.at(0.5), table.per_class()
  counts = table.num_objects
  present = counts > 0
  weighted = math.nan
  if present.any():
    weighted = float(np.average(ap_50[present], weights=counts[present]))
  return {
    "mAP": or_null(mean_or_nan(per_class)),
    "mAP_50": or_null(mean_or_nan(ap_50)),
    "AP_by_iou": {
      f"{iou:.2f}": or_null(ap)
      for iou, ap in zip(table.ious, table.per_iou(), strict=True)
    },
    "per_class": {
      name: {
        "AP": or_null(per_class[i]),
        "AP_50": or_null(ap_50[i]),
        "num_objects": int(counts[i]),
      }
      for i, name in enumerate(class_names)
    },
    "AP_50_weighted": or_null(weighted),
    "mAP_50_min": or_null(mean_or_nan(ap_50[counts >= min_objects])),
  }


def ap_lists(table: APTable, class_names: Sequence[str]) -> dict[str, str]:
  """File name -> text, one per IoU: res-0.5.txt, res-0.55.txt, ...

  The lines are the original's: "AP for NAME = 0.1234" and last "Mean AP =
  0.1234"; "nan" for a class without truth, which the mean leaves out.
  """
  texts = {}
  for iou, row in zip(table.ious, table.ap, strict=True):
    lines = [
      f"AP for {name} = {ap:.4f}"
      for name, ap in zip(class_names, row, strict=True)
    ]
    lines.append(f"Mean AP = {mean_or_nan(row):.4f}")
    texts[f"res-{iou:g}.txt"] = "\n".join(lines) + "\n"
  return texts


def coco_truth(
  truth: Sequence[PageBoxes], class_names: Sequence[str]
) -> dict[str, Any]:
  """COCO annotations: file names by image id, categories, true boxes.

  Image ids count the pages from 1 in the order given; category ids are class
  ids + 1 (in COCO files 0 is not used). Boxes keep all their digits.
  """
  annotations = []
  for image_id, page in enumerate(truth, start=1):
    for row in _rows(image_id, page, exact=True):
      width, height = row["bbox"][2:]
      row |= {"area": width * height, "iscrowd": 0, "id": len(annotations) + 1}
      annotations.append(row)
  return {
    "images": [
      {
        "id": i,
        "file_name": page.filename,
        "height": int(page.image_hw[0]),
        "width": int(page.image_hw[1]),
      }
      for i, page in enumerate(truth, start=1)
    ],
    "categories": [
      {"id": i, "name": name} for i, name in enumerate(class_names, start=1)
    ],
    "annotations": annotations,
  }


def coco_results(
  detections: Sequence[PageBoxes],
  image_ids: Mapping[str, int],
  *,
  exact: bool = False,
) -> list[dict[str, Any]]:
  """COCO results: a list of image_id, category_id, bbox (xywh, px), score.

  Args:
    detections: pages with scores, in source-image pixels.
    image_ids: file name -> image id of `coco_truth`.
    exact: boxes and scores keep all their digits, so that whoever measures
      them gets the evaluation's numbers; else a box has hundredths of a pixel.

  Returns:
    One entry for each detection whose score and box are finite.
  """
  results = []
  for page in detections:
    scores = np.zeros(0) if page.scores is None else page.scores
    rows = _rows(image_ids[page.filename], page, exact)
    for row, score in zip(rows, scores.tolist(), strict=True):
      if math.isfinite(score) and all(map(math.isfinite, row["bbox"])):
        results.append(row | {"score": score if exact else round(score, 8)})
  return results


def _rows(image_id: int, page: PageBoxes, exact: bool) -> list[dict[str, Any]]:
  boxes_xywh = np.asarray(
    box_lib.yxyx_to_xywh(page.boxes_yxyx.astype(np.float64))
  )
  return [
    {
      "image_id": image_id,
      "category_id": label + 1,
      "bbox": box if exact else [round(v, 2) for v in box],
    }
    for label, box in zip(
      page.labels.tolist(), boxes_xywh.tolist(), strict=True
    )
  ]


MIN_OBJECTS = 10  # of a class, to count in mAP_50_min10
KEYS = (
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


def summary(
  table: APTable,
  detections: Sequence[PageBoxes],
  class_names: Sequence[str],
  **facts: Any,
) -> dict[str, Any]:
  """The summary, see `dwd_jax.evaluate.evaluate_split`.

  Args:
    table: APs of C classes.
    detections: that the table is about.
    class_names: C names.
    **facts: all fields that do not follow from these.
  """
  values = facts | averages(table, class_names, MIN_OBJECTS)
  values["num_objects"] = int(table.num_objects.sum())
  values["num_detections"] = sum(len(page.labels) for page in detections)
  values[f"mAP_50_min{MIN_OBJECTS}"] = values.pop("mAP_50_min")
  values["min_objects"] = MIN_OBJECTS
  return {key: values[key] for key in KEYS}
