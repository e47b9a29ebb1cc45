"""The content of `<split>.json`, in the order of the contract."""

from collections.abc import Sequence
from typing import Any

from dwd_jax.core.structs import PageBoxes
from dwd_jax.metrics import json_results
from dwd_jax.metrics.flat_boxes import APTable

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


def make(
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
  values = facts | json_results.averages(table, class_names, MIN_OBJECTS)
  values["num_objects"] = int(table.num_objects.sum())
  values["num_detections"] = sum(len(page.labels) for page in detections)
  values[f"mAP_50_min{MIN_OBJECTS}"] = values.pop("mAP_50_min")
  values["min_objects"] = MIN_OBJECTS
  return {key: values[key] for key in KEYS}
