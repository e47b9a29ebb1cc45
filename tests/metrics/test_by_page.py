"""Scores of pages, and their order."""

import numpy as np
from metric_helpers import judge
from scene_helpers import page, scene

from dwd_jax.metrics import reliability
from dwd_jax.metrics.error_analysis import by_page

A, B, C = (0, 0, 10, 10), (50, 50, 60, 60), (90, 90, 99, 99)


def test_the_worst_come_first():
  truth = [
    page("perfect", [A], [0]),
    page("empty", [], []),
    page("one missed", [A], [0]),
    page("two missed", [A, B], [0, 0]),
    page("half", [A, B], [0, 0]),
  ]
  found = [
    page("perfect", [A], [0], [0.9]),
    page("empty", [], [], []),
    page("one missed", [], [], []),
    page("two missed", [], [], []),
    page("half", [A, C], [0, 0], [0.9, 0.8]),
  ]
  got = by_page(judge(truth, found), len(truth))
  np.testing.assert_array_equal(got.f1, [1, 1, 0, 0, 0.5])
  np.testing.assert_array_equal(got.num_errors, [0, 0, 1, 2, 2])
  names = [truth[i].filename for i in got.worst_first()]
  assert names == ["two missed", "one missed", "half", "perfect", "empty"]


def test_pages_add_up_to_the_whole():
  truth, found = scene(3, pages=6)
  got = by_page(judge(truth, found), 6)
  for i, (true, dets) in enumerate(zip(truth, found, strict=True)):
    point = reliability.operating_point(judge([true], [dets]).judged(), 0.0)
    if len(true.labels) + len(dets.labels):
      assert got.f1[i] == point.f1
  assert got.num_objects.sum() == sum(len(p.labels) for p in truth)
