"""The confusion matrix: by hand, its sums, and simple loops."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_helpers import judge
from scene_helpers import CLASSES, page, scene

from dwd_jax.core import boxes as box_lib
from dwd_jax.metrics import error_analysis, matching

A, B, C = (0, 0, 10, 10), (50, 50, 60, 60), (90, 90, 99, 99)


def test_a_matrix_by_hand():
  truth = [page("a", [A, B, C], [0, 0, 1])]
  # Right; class 1 for 0; on nothing, as A is found already.
  found = [page("a", [A, B, A], [0, 1, 1], [0.9, 0.8, 0.7])]
  got = error_analysis.confusion_matrix(zip(truth, found, strict=True), 2)
  np.testing.assert_array_equal(got, [[1, 1, 0], [0, 0, 1], [0, 1, 0]])


def _reference(true, found):
  matrix = np.zeros((CLASSES + 1, CLASSES + 1), int)
  matches = matching.match(true, found)
  for i in np.flatnonzero(matches.hit):
    matrix[found.labels[i], found.labels[i]] += 1
  iou = np.asarray(
    box_lib.pairwise_iou(
      found.boxes_yxyx.astype(float), true.boxes_yxyx.astype(float)
    )
  )
  pairs = [
    (iou[i, j], i, j)
    for i in np.flatnonzero(~matches.hit)
    for j in np.flatnonzero(~matches.found)
    if iou[i, j] >= 0.5
  ]
  rows, columns = set(), set()
  for _, i, j in sorted(pairs, key=lambda pair: -pair[0]):
    if i not in rows and j not in columns:
      matrix[true.labels[j], found.labels[i]] += 1
      rows.add(i)
      columns.add(j)
  for i in set(np.flatnonzero(~matches.hit)) - rows:
    matrix[CLASSES, found.labels[i]] += 1
  for j in set(np.flatnonzero(~matches.found)) - columns:
    matrix[true.labels[j], CLASSES] += 1
  return matrix


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), crowded=st.booleans())
def test_the_matrix_is_that_of_simple_loops(seed, crowded):
  truth, found = scene(seed, crowded=crowded)
  judged = judge(truth, found)
  got = error_analysis.confusion_matrix(zip(truth, found, strict=True), CLASSES)
  np.testing.assert_array_equal(got, sum(map(_reference, truth, found)))
  counts = np.bincount(judged.true_labels, minlength=CLASSES)
  np.testing.assert_array_equal(got[:-1].sum(axis=1), counts)
  counts = np.bincount(judged.labels, minlength=CLASSES)
  np.testing.assert_array_equal(got[:, :-1].sum(axis=0), counts)
  assert got.diagonal().sum() == judged.right.sum()
  assert got[-1, -1] == 0


def test_no_pages_confuse_nothing():
  assert not error_analysis.confusion_matrix([], CLASSES).any()
