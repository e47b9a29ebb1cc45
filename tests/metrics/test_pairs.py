"""Pairs of boxes against tables, and their assignment against plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.metrics import pairs as pairs_lib

quick = settings(max_examples=40, deadline=None, derandomize=True)


def _boxes(rng, n, whole):
  corners = rng.uniform(0, 40, (n, 2))
  sides = rng.uniform(-1, 25, (n, 2)) * rng.choice([1, 1, 4], (n, 1))
  boxes = np.concatenate([corners, corners + sides], 1)
  return boxes.round() if whole else boxes


scenes = st.builds(
  lambda seed, n, m, whole: tuple(
    _boxes(np.random.default_rng([seed, i]), size, whole)
    for i, size in enumerate((n, m))
  ),
  seed=st.integers(0, 10**6),
  n=st.integers(0, 30),
  m=st.integers(0, 30),
  whole=st.booleans(),
)


@pytest.mark.parametrize("at_once", [1 << 20, 7])
@quick
@given(scene=scenes, least=st.sampled_from((0.01, 0.1, 0.5, 1.0)))
def test_pairs_are_those_of_the_table(at_once, scene, least):
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(pairs_lib, "_AT_ONCE", at_once)
    found = pairs_lib.overlapping(*scene, least)
  table = np.asarray(boxes_lib.pairwise_iou(*scene))
  rows, columns = np.nonzero(table >= least)
  np.testing.assert_array_equal(found.row, rows)
  np.testing.assert_array_equal(found.column, columns)
  np.testing.assert_array_equal(found.iou, table[rows, columns])


def _in_turn(table, least, last):
  """Rows choose one after the other."""
  free, taken = np.ones(table.shape[1], bool), []
  for row in table:
    choices = np.flatnonzero(free & (row >= least))
    if not len(choices):
      taken.append(-1)
      continue
    best = choices[row[choices] == row[choices].max()]
    taken.append(int(best[-1 if last else 0]))
    free[taken[-1]] = False
  return taken


@quick
@given(scene=scenes, last=st.booleans())
def test_rows_choose_as_if_in_turn(scene, last):
  ious = (0.1, 0.5, 0.75)
  table = np.asarray(boxes_lib.pairwise_iou(*scene))
  found = pairs_lib.one_to_one(
    pairs_lib.overlapping(*scene, 0.1),
    *table.shape,
    ious,
    last_of_equals=last,
  )
  expected = [_in_turn(table, iou, last) for iou in ious]
  np.testing.assert_array_equal(found, np.reshape(expected, found.shape))


def test_the_best_of_a_row():
  pairs = pairs_lib.Pairs(
    np.array([0, 0, 2]), np.array([3, 1, 2]), np.array([0.5, 0.5, 0.2])
  )
  iou, column = pairs_lib.best(pairs, 4)
  np.testing.assert_array_equal(iou, [0.5, 0, 0.2, 0])
  np.testing.assert_array_equal(column, [1, -1, 2, -1])
