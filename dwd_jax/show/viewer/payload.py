"""Boxes of pages as compact JSON for the viewer's scripts."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from dwd_jax.core.structs import PageBoxes
from dwd_jax.metrics.flat_boxes import finite
from dwd_jax.metrics.matching import sane


def boxes(page: PageBoxes, num_classes: int) -> dict[str, Any]:
  """The arrays of a page, best score first, as base64 (little-endian).

  Args:
    page: truth or detections; detections that are not finite are left out
      with a warning.
    num_classes: C.

  Returns:
    `n`; `boxes`, float32 [n, 4] (ymin, xmin, ymax, xmax); `labels`, uint16;
    `scores`, float32, where the page has them.

  Raises:
    ValueError: a label lies outside 0 .. C-1.
  """
  if page.scores is not None:
    page = finite(page)
  labels = np.asarray(page.labels)
  if labels.size and (labels.min() < 0 or labels.max() >= num_classes):
    raise ValueError(
      f"{page.filename}: a label lies outside 0 .. {num_classes - 1}"
    )
  order = np.arange(len(labels))
  if page.scores is not None:
    # As `metrics.matching` orders them; the scripts rely on it.
    order = np.argsort(-page.scores, kind="stable")
  result = {
    "n": len(labels),
    "boxes": _base64(sane(page.boxes_yxyx)[order], "<f4"),
    "labels": _base64(labels[order], "<u2"),
  }
  if page.scores is not None:
    result["scores"] = _base64(page.scores[order], "<f4")
  return result


def to_json(data: Mapping[str, Any]) -> str:
  """JSON that may stand in a <script> element, whatever the strings hold."""
  text = json.dumps(data, separators=(",", ":"), allow_nan=False)
  for sign in "<>&":
    text = text.replace(sign, f"\\u{ord(sign):04x}")
  return text


def _base64(array: np.ndarray, dtype: str) -> str:
  return base64.b64encode(array.astype(dtype).tobytes()).decode()
