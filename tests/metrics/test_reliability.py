"""What scores are worth: errors by hand, thresholds by brute force."""

import functools
import warnings

import numpy as np
import pytest
import scene_helpers
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_helpers import judge

from dwd_jax.metrics import reliability
from dwd_jax.metrics.reliability import Judged


def judged(scores, correct, num_objects=None):
  scores = np.array(scores, np.float64)
  correct = np.array(correct, bool)
  zeros = np.zeros(len(scores), np.int64)
  count = int(correct.sum()) if num_objects is None else num_objects
  return Judged(scores, correct, zeros, zeros, count)


# Caption: scores, right or wrong, expected calibration error.
ECE = {
  "sure and always right": ([1.0] * 4, [1, 1, 1, 1], 0.0),
  "sure and half wrong": ([1.0] * 4, [1, 1, 0, 0], 0.5),
  # |0.9 - 0.5| for two, |0.2 - 0| for the other two.
  "two bins": ([0.9, 0.9, 0.2, 0.2], [1, 0, 0, 0], 0.3),
  "errors of one bin cancel": ([0.51, 0.52], [1, 0], 0.015),
  "unsure and right": ([0.0, 0.0], [1, 1], 1.0),
  "NaN counts in no bin": ([np.nan, 0.9], [1, 1], 0.1),
  "no detections": ([], [], np.nan),
}


@pytest.mark.parametrize("caption", ECE)
def test_expected_calibration_error_by_hand(caption):
  scores, correct, expected = ECE[caption]
  found = reliability.expected_calibration_error(
    reliability.reliability(
      np.array(scores, np.float64), np.array(correct, bool), num_bins=10
    )
  )
  assert found == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_calibrated_scores_have_little_error_and_overconfident_ones_much():
  rng = np.random.default_rng(0)
  probability = rng.random(50000)
  correct = rng.random(50000) < probability

  def ece(scores, correct):
    bins = reliability.reliability(scores, correct)
    return reliability.expected_calibration_error(bins)

  assert ece(probability, correct) < 0.01
  # E |sqrt(p) - p| over uniform p is 2/3 - 1/2.
  assert ece(np.sqrt(probability), correct) == pytest.approx(1 / 6, abs=0.01)


def test_bins_say_how_many_and_how_right():
  bins = reliability.reliability(
    np.array([0.1, 0.3, 0.4, 1.0]), np.array([False, True, False, True]), 2
  )
  np.testing.assert_array_equal(bins.count, [3, 1])
  np.testing.assert_allclose(bins.mean_score, [0.8 / 3, 1.0])
  np.testing.assert_allclose(bins.precision, [1 / 3, 1.0])
  empty = reliability.reliability(np.zeros(0), np.zeros(0, bool), 2)
  np.testing.assert_array_equal(empty.count, [0, 0])
  assert np.isnan(empty.precision).all()


def _f1_from(scores, correct, num_objects, threshold):
  keep = scores >= threshold
  return 2 * correct[keep].sum() / (keep.sum() + num_objects)


@pytest.mark.parametrize("at_once", [1 << 20, 2])
@settings(deadline=None, max_examples=60)
@given(
  rows=st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=12),
  missed=st.integers(0, 5),
)
def test_no_threshold_is_better_than_the_best(at_once, rows, missed):
  scores = np.array([s / 6 for s, _ in rows])
  correct = np.array([c for _, c in rows], bool)
  num_objects = int(correct.sum()) + missed
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(reliability, "_AT_ONCE", at_once)
    point = reliability.best_threshold(judged(scores, correct, num_objects))
  best = max(
    (_f1_from(scores, correct, num_objects, t) for t in scores if num_objects),
    default=0,
  )
  assert point.f1 == pytest.approx(best)
  if best:
    again = _f1_from(scores, correct, num_objects, point.threshold)
    assert again == pytest.approx(best)
    assert 0 <= point.threshold <= scores.max()


def test_the_threshold_lies_half_way_between_two_scores():
  point = reliability.best_threshold(judged([0.9, 0.7, 0.3], [1, 1, 0], 2))
  assert point == pytest.approx((0.5, 1.0, 1.0, 1.0))


# Caption: scores, right or wrong, objects -> threshold, precision, recall, f1.
ODD = {
  "nothing at all": ([], [], 0, (0.5, np.nan, np.nan, 0)),
  "no detections": ([], [], 3, (0.5, np.nan, 0, 0)),
  "all wrong": ([0.9, 0.2], [0, 0], 3, (0.5, 0, 0, 0)),
  "no truth": ([0.9], [0], 0, (0.5, 0, np.nan, 0)),
  "one, right": ([0.8], [1], 1, (0.4, 1, 1, 1)),
  "all right": ([0.8, 0.6], [1, 1], 2, (0.3, 1, 1, 1)),
  "equal scores stay together": ([0.8, 0.8], [1, 0], 1, (0.4, 0.5, 1, 2 / 3)),
}


@pytest.mark.parametrize("caption", ODD)
def test_odd_cases_have_a_threshold(caption):
  scores, correct, objects, expected = ODD[caption]
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    point = reliability.best_threshold(judged(scores, correct, objects))
  np.testing.assert_allclose(point, expected)


page = functools.partial(scene_helpers.page, hw=(100, 100))


def test_detections_are_judged_page_by_page():
  box, far = (10, 10, 20, 20), (50, 50, 60, 60)
  truth = [
    page("a", [box], [0]),
    page("b", [], []),
    page("c", [box, far], [1, 1]),
  ]
  found = [
    page("a", [box, box], [0, 1], [0.5, 0.75]),
    page("b", [box], [0], [0.25]),
    page("c", [box, far], [1, 1], [np.nan, 0.125]),
  ]
  with pytest.warns(UserWarning, match="c: 1 detections"):
    result = judge(truth, found).judged()
  np.testing.assert_array_equal(result.scores, [0.5, 0.75, 0.25, 0.125])
  np.testing.assert_array_equal(result.correct, [True, False, False, True])
  np.testing.assert_array_equal(result.labels, [0, 1, 0, 1])
  np.testing.assert_array_equal(result.page, [0, 0, 1, 2])
  assert result.num_objects == 3
  assert not len(judge([], []).judged().scores)


@pytest.mark.parametrize("most", [1 << 19, 25, 1])
def test_a_sample_is_of_evenly_chosen_pages(most):
  """All of them, as long as they have few detections."""
  sample, counts = reliability.Sample(most), np.arange(20) % 4
  for i, count in enumerate(counts):
    sample.add(
      np.full(count, i / 20), np.full(count, i % 3 == 0), np.full(count, i), 2
    )
  got = sample.judged()
  pages = np.unique(got.page)
  step = 20 // sample.num_pages
  expected = np.flatnonzero((counts > 0) & (np.arange(20) % step == 0))
  assert len(got.scores) <= most or sample.num_pages == 1
  assert sample.num_pages == 20 or most < counts.sum()
  np.testing.assert_array_equal(pages, expected)
  np.testing.assert_array_equal(got.labels, got.page)
  np.testing.assert_allclose(got.scores, got.page / 20)
  assert got.num_objects == 2 * sample.num_pages
