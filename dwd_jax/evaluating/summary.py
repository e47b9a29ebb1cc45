"""The content of `<split>.json`, in the order of the contract."""

from typing import Any

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


def make(averages: dict[str, Any], **facts: Any) -> dict[str, Any]:
  """The summary, see `dwd_jax.evaluate`.

  Args:
    averages: of `metrics.report.averages`, with `MIN_OBJECTS`.
    **facts: all the other fields.
  """
  values = averages | facts
  values[f"mAP_50_min{MIN_OBJECTS}"] = values.pop("mAP_50_min")
  values["min_objects"] = MIN_OBJECTS
  return {key: values[key] for key in KEYS}
