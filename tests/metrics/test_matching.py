"""Pairs of detections and truth: the cases behind every count of hits."""

import numpy as np
import pytest
from box_helpers import FAR, A, B, page

from dwd_jax.metrics import matching

# Caption: truth, detections, scores -> hit, found, confused_with.
PAIRS = {
  "right": ([(0, *A)], [(0, *A)], [0.5], [True], [True], [-1]),
  "another class": ([(0, *A)], [(1, *A)], [0.5], [False], [False], [0]),
  "nothing there": ([(0, *A)], [(0, *FAR)], [0.5], [False], [False], [-1]),
  "of two on one box the better score wins": (
    [(0, *A)],
    [(0, *A), (0, *A)],
    [0.25, 0.5],
    [False, True],
    [True],
    [-1, -1],
  ),
  "missed": ([(0, *A), (1, *B)], [(0, *A)], [0.5], [True], [True, False], [-1]),
  "no truth": ([], [(0, *A)], [0.5], [False], [], [-1]),
  "no detections": ([(0, *A)], [], [], [], [False], []),
}


@pytest.mark.parametrize("caption", PAIRS)
def test_match(caption):
  truth, found, scores, hit, true_found, confused = PAIRS[caption]
  matches = matching.match(page(truth), page(found, scores))
  np.testing.assert_array_equal(matches.hit, hit)
  np.testing.assert_array_equal(matches.found, true_found)
  np.testing.assert_array_equal(matches.confused_with, confused)
