"""COCO average precision, computed by faster-coco-eval."""

from collections.abc import Sequence

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from dwd_jax.core import boxes as box_lib
from dwd_jax.core.structs import PageBoxes
from dwd_jax.metrics.flat_boxes import IOUS, APTable, FlatBoxes, join


def average_precision(
  truth: Sequence[PageBoxes],
  detections: Sequence[PageBoxes],
  num_classes: int,
  *,
  ious: Sequence[float] = IOUS,
) -> APTable:
  """COCO AP (101 recall points) of every class at every IoU threshold.

  All detections count. COCO's own limit, the best 100 of a class on a page,
  would cut most of the noteheads of a page of music.

  Args:
    truth: pages in source-image pixels.
    detections: pages with scores (see `pages.join`).
    num_classes: C, number of classes.
    ious: T thresholds, 0..1.

  Returns:
    The table; classes without truth are NaN.

  Raises:
    ValueError: see `pages.join`.

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
  """Runs the library on the classes that occur; -> AP [T, present]."""
  if not dt.page.size:
    return np.zeros((len(ious), len(present)))
  evaluation = COCOeval_faster(
    _dataset(gt, num_pages, present),
    _dataset(dt, num_pages, present),
    iouType="bbox",
    print_function=lambda *_: None,
  )
  params = evaluation.params
  params.iouThrs = np.array(ious)
  # The limit counts per page and class, so a page's total is enough.
  params.maxDets = [int(np.bincount(dt.page).max())]
  params.areaRng = [[0.0, np.inf]]
  params.areaRngLbl = ["all"]
  evaluation.evaluate()
  evaluation.accumulate()
  precision = np.asarray(evaluation.eval["precision"])  # [T, R, K, 1, 1]
  return precision[:, :, :, 0, 0].mean(axis=1)


def _dataset(flat: FlatBoxes, num_pages: int, present) -> COCO:
  """Boxes -> the library's data set; ids are one-based, as it demands."""
  boxes_xywh = np.asarray(box_lib.yxyx_to_xywh(flat.boxes_yxyx)).tolist()
  areas = np.asarray(box_lib.areas(flat.boxes_yxyx)).tolist()
  columns = zip(
    flat.page.tolist(),
    flat.labels.tolist(),
    boxes_xywh,
    areas,
    flat.scores.tolist(),
    strict=True,
  )
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
  return COCO(
    {
      "images": [{"id": page + 1} for page in range(num_pages)],
      "categories": [{"id": int(c) + 1, "name": str(c)} for c in present],
      "annotations": annotations,
    }
  )
