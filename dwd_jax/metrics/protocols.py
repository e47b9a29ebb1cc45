"""The three ways to measure a split.

"coco": 101-point AP of the COCO metric, all detections counted.

"voc": area under the precision envelope, half-open boxes.

"legacy": the original's evaluation as far as it is defined. It differs from
"voc" in that
  * every box is one pixel larger on its far sides;
  * a hit needs IoU > threshold, not >=;
  * detections are shifted by one pixel against the truth;
  * a class without truth counts as AP 0 and lowers the mean;
  * MUSCIMA++ objects of 400 px or more on a side are left out of the truth
    (what finds them is then wrong).

It differs from the original in that scores are confidences (the original
wrote the class id as the score, so that the sort order decided the AP), that
scores are not rounded to three digits and coordinates not to one, and that no
class is left out by name (the original left out 11 to 40).
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from dwd_jax.core import boxes as box_lib
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageBoxes
from dwd_jax.metrics import coco, voc
from dwd_jax.metrics.flat_boxes import APTable

Protocol = Literal["coco", "voc", "legacy"]
PROTOCOLS = ("coco", "voc", "legacy")
# The original's evaluation kept true objects below this size.
_LEGACY_MAX_SIDE_PX = {"muscima_pp": 400}


def check(protocol: str) -> None:
  """Raises InputError where there is no such protocol."""
  if protocol not in PROTOCOLS:
    raise InputError(
      f"eval.protocol: {protocol!r} is unknown; use one of {PROTOCOLS}"
    )


def measure(
  truth: Sequence[PageBoxes],
  detections: Sequence[PageBoxes],
  num_classes: int,
  protocol: Protocol,
  dataset: str = "",
) -> APTable:
  """AP of every class at IoU 0.50 to 0.95 by one of the protocols.

  Args:
    truth: pages in source-image pixels.
    detections: pages with scores.
    num_classes: C, number of classes.
    protocol: see the module's text.
    dataset: decides which large objects the legacy protocol leaves out.

  Returns:
    The table; classes without truth are NaN, in the legacy protocol 0.
  """
  if protocol == "coco":
    return coco.average_precision(truth, detections, num_classes)
  if protocol == "voc":
    return voc.average_precision(truth, detections, num_classes)
  limit = _LEGACY_MAX_SIDE_PX.get(dataset.split("/")[0], math.inf)
  table = voc.average_precision(
    [_smaller_than(page, limit) for page in truth],
    [
      dataclasses.replace(page, boxes_yxyx=page.boxes_yxyx + 1)
      for page in detections
    ],
    num_classes,
    protocol="legacy",
  )
  return dataclasses.replace(table, ap=np.nan_to_num(table.ap, nan=0.0))


def _smaller_than(page: PageBoxes, limit_px: float) -> PageBoxes:
  keep = (box_lib.sizes_hw(page.boxes_yxyx) < limit_px).all(axis=-1)
  return dataclasses.replace(
    page, boxes_yxyx=page.boxes_yxyx[keep], labels=page.labels[keep]
  )
