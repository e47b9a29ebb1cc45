"""Curves of precision over recall, and the area below."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwd_jax.metrics import error_analysis
from dwd_jax.metrics.reliability import ranked


def test_a_curve_by_hand():
  scores = np.array([0.5, 0.9, 0.5, 0.2])
  correct = np.array([True, True, False, True])
  got = error_analysis.curve(*ranked(scores, correct), 4)
  np.testing.assert_array_equal(got.scores, [0.9, 0.5, 0.2])  # ties together
  np.testing.assert_allclose(got.recall, [1 / 4, 2 / 4, 3 / 4])
  np.testing.assert_allclose(got.precision, [1, 2 / 3, 3 / 4])


@settings(deadline=None, max_examples=50)
@given(
  rows=st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=20),
  missed=st.integers(1, 5),
)
def test_points_are_those_of_every_threshold(rows, missed):
  scores = np.array([s / 8 for s, _ in rows])
  correct = np.array([c for _, c in rows], bool)
  objects = int(correct.sum()) + missed
  got = error_analysis.curve(*ranked(scores, correct), objects)
  assert got.scores.tolist() == sorted(set(scores.tolist()), reverse=True)
  for score, recall, precision in zip(*got, strict=True):
    kept = scores >= score
    assert recall == correct[kept].sum() / objects
    assert precision == correct[kept].mean()


# Caption: right or wrong by falling score, objects, AP.
AREAS = {
  "all right": ([1, 1], 2, 1.0),
  "half found": ([1], 2, 51 / 101),
  "a wrong one first": ([0, 1], 1, 0.5),
  "a wrong one last": ([1, 0], 1, 1.0),
  "nothing found": ([], 3, 0.0),
  "nothing right": ([0, 0], 3, 0.0),
  "nothing there": ([0], 0, np.nan),
}


@pytest.mark.parametrize("caption", AREAS)
def test_areas_by_hand(caption):
  correct, objects, expected = AREAS[caption]
  got = error_analysis.average_precision(np.array(correct, bool), objects)
  assert got == pytest.approx(expected, nan_ok=True)


def test_fewer_points_have_the_ends():
  given = np.linspace(1, 0, 1000), np.arange(1000) % 3 > 0, 900
  curve = error_analysis.curve(*given)
  thin = error_analysis.curve(*given, most=50)
  assert len(thin.scores) == 50
  assert (thin.scores[0], thin.scores[-1]) == (1, 0)
  assert thin.recall[-1] == curve.recall[-1]
  many = error_analysis.curve(*given, most=5000)
  assert many.scores.tolist() == curve.scores.tolist()
