"""The map from scores to probabilities: monotone, careful, found again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_helpers import judge, measure

from dwd_jax.core.structs import PageBoxes
from dwd_jax.metrics import calibration, reliability
from dwd_jax.metrics.reliability import Judged

LABELS = 3


def judged(scores, correct, labels=None, page=None):
  scores = np.array(scores, np.float64)
  zeros = np.zeros(len(scores), np.int64)
  return Judged(
    scores,
    np.array(correct, bool),
    zeros if labels is None else np.array(labels, np.int64),
    zeros if page is None else np.array(page, np.int64),
    len(scores),
  )


def made_up(n=6000, seed=0):
  """Detections whose probability of being right follows a known map."""
  rng = np.random.default_rng(seed)
  true = calibration.ScoreMap(2.0, 0.5, 2.5, np.array([1.0, -1.0, 0.0]))
  scores, labels = rng.random(n), rng.integers(0, LABELS, n)
  probability = true(scores, labels)
  correct = rng.random(n) < probability
  page = np.arange(n) % 10
  return judged(scores, correct, labels, page), probability


def test_a_known_map_is_found_again():
  data, probability = made_up()
  found = calibration.fit_score_map(data, LABELS)(data.scores, data.labels)
  assert np.abs(found - probability).max() < 0.05

  def ece(scores, correct):
    bins = reliability.reliability(scores, correct)
    return reliability.expected_calibration_error(bins)

  assert ece(data.scores, data.correct) > 0.1
  assert ece(found, data.correct) < 0.02


def test_pages_that_were_left_out_are_calibrated_too():
  data, probability = made_up()
  found = calibration.cross_validated(data, LABELS)
  assert np.abs(found - probability).mean() < 0.02
  # Every page has a map of others: its own answers make no difference.
  turned = data._replace(correct=np.where(data.page == 3, 0, data.correct) > 0)
  again = calibration.cross_validated(turned, LABELS)
  here = data.page == 3
  np.testing.assert_array_equal(again[here], found[here])
  assert np.abs(again[~here] - found[~here]).max() > 0.01


rows = st.lists(
  st.tuples(
    st.floats(0, 1),
    st.booleans(),
    st.integers(0, LABELS - 1),
    st.integers(0, 3),
  ),
  max_size=40,
)


@settings(deadline=None, max_examples=60)
@given(rows=rows)
def test_it_rises_with_the_score_in_every_class(rows):
  table = list(zip(*rows, strict=True)) or [[], [], [], []]
  fitted = calibration.fit_score_map(judged(*table), LABELS)
  grid = np.linspace(0.001, 0.999, 200)
  for label in range(LABELS):
    probability = fitted(grid, np.full(200, label))
    assert ((probability >= 0) & (probability <= 1)).all()
    assert (np.diff(probability) > 0).all()


# Caption: scores, right or wrong, and where the probabilities must lie.
ODD = {
  "no detections: the identity": ([], [], (0.5, 0.5)),
  "one, right: hardly above": ([0.5], [1], (0.5, 0.75)),
  "one, wrong: hardly below": ([0.5], [0], (0.25, 0.5)),
  "a thousand right": ([0.5] * 1000, [1] * 1000, (0.97, 1.0)),
  "a thousand wrong": ([0.5] * 1000, [0] * 1000, (0.0, 0.03)),
  "low scores are right, high ones wrong": (
    [0.1] * 500 + [0.9] * 500,
    [1] * 500 + [0] * 500,
    (0.4, 0.6),
  ),
  "scores of exactly 0 and 1": ([0.0, 1.0] * 50, [0, 1] * 50, (0.3, 0.7)),
}


@pytest.mark.parametrize("caption", ODD)
def test_odd_detections_give_a_map_all_the_same(caption):
  scores, correct, (low, high) = ODD[caption]
  fitted = calibration.fit_score_map(judged(scores, correct), 1)
  (probability,) = fitted(np.array([0.5]), np.array([0]))
  assert low - 1e-9 <= probability <= high + 1e-9
  assert np.isfinite(fitted(np.array([0.0, 1.0]), np.array([0, 0]))).all()
  whole = calibration.cross_validated(judged(scores, correct), 1)
  assert whole.shape == (len(scores),)


def test_scores_that_are_not_finite_stay_as_they_are():
  fitted = calibration.fit_score_map(judged([], []), 1)
  found = fitted(np.array([np.nan, np.inf, 0.25]), np.array([0, 0, 0]))
  np.testing.assert_allclose(found, [np.nan, np.inf, 0.25])


def test_average_precision_stays_as_it_is():
  rng = np.random.default_rng(1)
  truth, found = [], []
  for name in "abcd":
    boxes = rng.uniform(0, 200, (60, 4)).astype(np.float32)
    boxes[:, 2:] = boxes[:, :2] + 12
    labels = rng.integers(0, LABELS, 60)
    scores = rng.random(60)
    truth.append(PageBoxes(name, (220, 220), boxes, labels))
    moved = boxes + rng.normal(0, 2, boxes.shape).astype(np.float32)
    seen = np.where(rng.random(60) < 0.8, labels, 0)
    found.append(PageBoxes(name, (220, 220), moved, seen, scores))
  data = judge(truth, found).judged()
  fitted = calibration.fit_score_map(data, LABELS)
  assert np.ptp(fitted.offsets) > 0.1
  after = [
    PageBoxes(
      p.filename, p.image_hw, p.boxes_yxyx, p.labels, fitted(p.scores, p.labels)
    )
    for p in found
    if p.scores is not None
  ]
  np.testing.assert_array_equal(
    measure(truth, after, LABELS, "coco").ap,
    measure(truth, found, LABELS, "coco").ap,
  )
