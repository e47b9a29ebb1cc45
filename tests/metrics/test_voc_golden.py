"""Parity of the legacy protocol with the original's evaluation."""

import json

import numpy as np
import pytest
from metric_helpers import measure

from dwd_jax.core.structs import PageBoxes
from dwd_jax.metrics import protocols


@pytest.fixture(scope="module")
def reference(golden_dir):
  """Made-up detections on two MUSCIMA++ v1.0 pages, APs by the 2018 code."""
  return json.loads((golden_dir / "reference_voc_ap.json").read_text())


def _page(name, rows, scores=None):
  boxes_xyxy = np.array([row[1:] for row in rows], np.float32).reshape(-1, 4)
  return PageBoxes(
    filename=name,
    image_hw=(3000, 4000),
    boxes_yxyx=boxes_xyxy[:, [1, 0, 3, 2]],
    labels=np.array([row[0] for row in rows], np.int32),
    scores=scores,
  )


def _pages(reference, class_names):
  ids = {name: i for i, name in enumerate(class_names)}
  truth = [
    _page(image, [(ids[name], *box) for name, *box in rows])
    for image, rows in reference["ground_truth"].items()
  ]
  found = {image: [] for image in reference["ground_truth"]}
  for name, rows in reference["detections"].items():
    for image, score, *box in rows:
      found[image].append((score, ids[name], *box))
  detections = [
    _page(image, [r[1:] for r in rows], np.array([r[0] for r in rows]))
    for image, rows in found.items()
  ]
  return truth, detections


def test_legacy_equals_the_original(reference):
  class_names = sorted(reference["ap"]["0.5"])
  truth, detections = _pages(reference, class_names)
  table = measure(truth, detections, len(class_names), protocols.VOC_2018)
  assert len(reference["ap"]) == 10
  assert len(class_names) == 57
  for iou, expected in reference["ap"].items():
    np.testing.assert_allclose(
      table.at(float(iou)), [expected[c] for c in class_names], atol=1e-12
    )


def test_clean_differs_from_the_original(reference):
  """The protocols are not the same thing under two names."""
  class_names = sorted(reference["ap"]["0.5"])
  truth, detections = _pages(reference, class_names)
  table = measure(truth, detections, len(class_names), "voc")
  differences = [
    abs(table.at(float(iou))[i] - expected[name])
    for iou, expected in reference["ap"].items()
    for i, name in enumerate(class_names)
  ]
  assert sum(d > 1e-6 for d in differences) == 50  # of 570, at high IoUs
