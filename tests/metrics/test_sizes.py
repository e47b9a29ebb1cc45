"""Figures by size: by hand, and against the whole."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_helpers import judge, measure
from scene_helpers import CLASSES, page, scene

from dwd_jax.metrics import error_analysis
from dwd_jax.metrics.protocols import mean_or_nan

SMALL, LARGE = (0, 0, 4, 9), (50, 50, 70, 70)  # 6 px and 20 px


def _made_up():
  truth = [
    page("a", [SMALL, LARGE], [0, 1]),
    page("b", [SMALL], [1]),
  ]
  # The small one of a is found, unsurely; a small one more is wrong.
  found = [
    page("a", [SMALL, (90, 90, 96, 96), LARGE], [0, 0, 1], [0.3, 0.6, 0.9]),
    page("b", [], [], []),
  ]
  return judge(truth, found)


def test_bins_by_hand():
  got = error_analysis.by_size(_made_up(), 0.5, (0, 10, 30, np.inf))
  np.testing.assert_array_equal(got.num_objects, [2, 1, 0])
  np.testing.assert_array_equal(got.num_classes, [2, 1, 0])
  np.testing.assert_array_equal(got.recall, [0.0, 1.0, np.nan])
  # Class 0: precision 1/2 at recall 1; class 1 is missed.
  np.testing.assert_allclose(got.ap_50, [0.25, 1.0, np.nan])
  assert error_analysis.by_size(_made_up(), 0.3, (0, 10)).recall.tolist() == [
    0.5
  ]


def test_sizes_count_in_the_unit_of_their_page():
  unit = np.array([2.0, 6.0])  # 3 and 10 units on a, 1 on b
  got = error_analysis.by_size(_made_up(), 0.3, (0, 2, 5, 11), unit)
  np.testing.assert_array_equal(got.num_objects, [1, 1, 1])
  np.testing.assert_array_equal(got.recall, [0, 1, 1])
  unit[1] = np.nan  # unknown: left out
  got = error_analysis.by_size(_made_up(), 0.3, (0, 2, 5, np.inf), unit)
  np.testing.assert_array_equal(got.num_objects, [0, 1, 1])


def test_a_size_on_an_edge_lies_above_it():
  truth = [page("a", [(0, 0, 10, 10)], [0])]
  judged = judge(truth, [page("a", [], [], [])])
  got = error_analysis.by_size(judged, 0, (0, 10, 20))
  np.testing.assert_array_equal(got.num_objects, [0, 1])


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6))
def test_one_bin_for_all_has_the_figures_of_the_whole(seed):
  truth, found = scene(seed)
  judged = judge(truth, found)
  got = error_analysis.by_size(judged, 0.0, (0, np.inf))
  ap = measure(truth, found, CLASSES, "coco", ious=(0.5,))
  np.testing.assert_allclose(got.ap_50, [mean_or_nan(ap.ap[0])], atol=1e-9)
  assert got.num_objects.sum() == len(judged.true_labels)
  split = error_analysis.by_size(judged, 0.4)
  assert split.num_objects.sum() == len(judged.true_labels)
  found_there = np.nansum(split.recall * split.num_objects)
  np.testing.assert_allclose(found_there, judged.at_least(0.4).found().sum())
