"""What repairs are worth: pages that are really repaired, measured by COCO."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_helpers import judge, measure
from scene_helpers import CLASSES, page, scene

from dwd_jax.metrics import error_analysis
from dwd_jax.metrics.matching import KINDS


def _ap_50(truth, found):
  return measure(truth, found, CLASSES, "coco", ious=(0.5,)).ap[0]


def _repaired(truth, found, kind):
  """Detections without the errors of a kind, page by page."""
  pages = []
  for true, dets in zip(truth, found, strict=True):
    got = judge([true], [dets])
    boxes, labels = dets.boxes_yxyx.copy(), dets.labels.copy()
    keep, taken = np.ones(len(labels), bool), got.found()
    for i in np.argsort(-dets.scores):
      if got.kind[i] != KINDS.index(kind):
        continue
      j = int(got.of_truth[i])
      if kind not in ("location", "class") or taken[j]:
        keep[i] = False
        continue
      taken[j] = True
      boxes[i], labels[i] = true.boxes_yxyx[j], true.labels[j]
    pages.append(
      page(dets.filename, boxes[keep], labels[keep], dets.scores[keep])
    )
  return pages


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6))
def test_gains_are_those_of_pages_that_are_repaired(seed):
  truth, found = scene(seed)
  gains = error_analysis.error_gains(judge(truth, found), CLASSES)
  plain = _ap_50(truth, found)
  np.testing.assert_allclose(gains.ap_50, plain, atol=1e-9)
  for kind in KINDS:
    after = _ap_50(truth, _repaired(truth, found, kind))
    np.testing.assert_allclose(gains.gain[kind], after - plain, atol=1e-9)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6))
def test_missed_boxes_cost_what_the_ap_gains_without_them(seed):
  truth, found = scene(seed)
  gains = error_analysis.error_gains(judge(truth, found), CLASSES)
  left = []
  for true, dets in zip(truth, found, strict=True):
    keep = ~judge([true], [dets]).missed()
    left.append(
      dataclasses.replace(
        true, boxes_yxyx=true.boxes_yxyx[keep], labels=true.labels[keep]
      )
    )
  after = _ap_50(left, found)
  plain = _ap_50(truth, found)
  after = np.where(np.isnan(after) & ~np.isnan(plain), 1.0, after)
  np.testing.assert_allclose(gains.gain["missed"], after - plain, atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_every_wrong_detection_is_counted_once(seed):
  truth, found = scene(seed, crowded=True)
  got = judge(truth, found)
  counts = error_analysis.error_counts(got, CLASSES)
  assert set(counts) == {*KINDS, error_analysis.MISSED}
  wrong = sum(counts[kind] for kind in KINDS)
  np.testing.assert_array_equal(
    wrong, np.bincount(got.labels[~got.right], minlength=CLASSES)
  )
  missed = counts["missed"].sum()
  assert missed <= (~got.found()).sum()


def test_a_repair_by_hand():
  """Two true boxes; one is found, the other has another class's name."""
  truth = [page("a", [(0, 0, 9, 9), (50, 50, 60, 60)], [0, 1])]
  found = [page("a", [(0, 0, 9, 9), (50, 50, 60, 60)], [0, 0], [0.5, 0.9])]
  gains = error_analysis.error_gains(judge(truth, found), 2)
  # Class 0: right at precision 1/2; class 1: nothing.
  assert gains.ap_50.tolist() == pytest.approx([0.5, 0])
  assert gains.gain["class"].tolist() == pytest.approx([0.5, 1])
  for kind in ("location", "duplicate", "background", "both", "missed"):
    assert gains.gain[kind].tolist() == pytest.approx([0, 0])
