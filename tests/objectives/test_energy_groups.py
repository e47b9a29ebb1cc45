"""Energy groups: conflicts are counted right and kept apart."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwd_jax.core.errors import InputError
from dwd_jax.objectives import energy_groups


def _page(objects):
  """(y, x, label) of centres -> boxes of 4 px and labels."""
  y, x, labels = np.array(objects, float).T
  boxes = np.stack([y - 2, x - 2, y + 2, x + 2], 1).astype(np.float32)
  return boxes, labels.astype(np.int32)


def test_conflicts_are_pairs_of_near_centers():
  page = _page([(10, 10, 0), (10, 14, 1), (10, 22, 0), (50, 50, 2)])
  conflicts, frequency = energy_groups.count_conflicts(
    [page, page], 3, disc_px=10.0, scale=1.0
  )
  assert frequency.tolist() == [4, 2, 2]
  assert conflicts.tolist() == [[0, 2, 0], [2, 0, 0], [0, 0, 0]]


def test_scale_brings_centers_together():
  page = _page([(10, 10, 0), (10, 22, 1)])
  far, _ = energy_groups.count_conflicts([page], 2, disc_px=17.0, scale=1.0)
  near, _ = energy_groups.count_conflicts([page], 2, disc_px=17.0, scale=0.5)
  assert not far.any()
  assert near[0, 1] == near[1, 0] == 1


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 60))
def test_conflicts_equal_brute_force(seed, count):
  rng = np.random.default_rng(seed)
  objects = np.column_stack(
    [rng.integers(0, 60, (count, 2)), rng.integers(0, 4, count)]
  )
  got, _ = energy_groups.count_conflicts([_page(objects)], 4, 17.0, 1.0)
  expected = np.zeros((4, 4), int)
  for a, b in itertools.permutations(objects, 2):
    square = ((a[:2] - b[:2]) ** 2).sum()
    expected[a[2], b[2]] += (square < 8.5**2) + 4 * (square < (17 / 6) ** 2)
  np.testing.assert_array_equal(got, expected)


def test_most_frequent_class_comes_first_and_conflicts_are_avoided():
  conflicts = np.zeros((4, 4), int)
  for a, b, n in ((0, 1, 9), (0, 2, 9), (1, 2, 1), (0, 3, 5), (1, 3, 2)):
    conflicts[a, b] = conflicts[b, a] = n
  frequency = np.array([100, 50, 40, 10])
  groups = energy_groups.colour(conflicts, frequency, 2)
  assert groups.tolist() == [0, 1, 1, 1]  # 1 and 2 clash less than with 0
  groups = energy_groups.colour(conflicts, frequency, 3)
  assert groups.tolist() == [0, 1, 2, 2]


def _clashes(conflicts, groups):
  return np.triu(conflicts, 1)[groups[:, None] == groups[None]].sum()


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), num_groups=st.integers(1, 4))
def test_no_move_and_no_swap_would_clash_less(seed, num_groups):
  rng = np.random.default_rng(seed)
  conflicts = rng.integers(0, 9, (7, 7))
  conflicts += conflicts.T
  frequency = rng.integers(0, 99, 7)
  groups = energy_groups.colour(conflicts, frequency, num_groups)
  best = _clashes(conflicts, groups)
  for a, group in itertools.product(range(7), range(num_groups)):
    moved = groups.copy()
    moved[a] = group
    assert _clashes(conflicts, moved) >= best
  for a, b in itertools.combinations(range(7), 2):
    swapped = groups.copy()
    swapped[[a, b]] = groups[[b, a]]
    assert _clashes(conflicts, swapped) >= best


def test_frequent_classes_share_a_group_if_a_third_clashes_with_both():
  conflicts = np.zeros((3, 3), int)
  conflicts[2, :2] = conflicts[:2, 2] = 1
  groups = energy_groups.colour(conflicts, np.array([9, 8, 2]), 2)
  assert _clashes(conflicts, groups) == 0


def test_classes_without_conflicts_share_the_load():
  groups = energy_groups.colour(
    np.zeros((4, 4), int), np.array([9, 7, 5, 4]), 2
  )
  assert groups.tolist() == [0, 1, 1, 0]


def test_one_group_is_the_paper():
  page = _page([(10, 10, 0), (10, 12, 1)])
  groups = energy_groups.assign_groups([page], 5, 1)
  assert groups.dtype == np.int32
  assert groups.tolist() == [0] * 5


def test_pages_without_objects_and_no_pages():
  empty = (np.zeros((0, 4), np.float32), np.zeros(0, np.int32))
  for pages in ([], [empty]):
    assert energy_groups.assign_groups(pages, 3, 2).shape == (3,)


def test_no_group_is_an_error():
  with pytest.raises(ValueError, match="num_groups"):
    energy_groups.assign_groups([], 3, 0)


def test_covered_classes_lie_on_more_frequent_ones_that_stay():
  # 0 stays; 1 lies on it; 2 lies on 1, which leaves; 3 lies on 0 half the time.
  objects = [(20 * i, 10, 0) for i in range(10)]
  objects += [(20 * i, 12, 1) for i in range(8)]
  objects += [(20 * i, 14.5, 2) for i in range(6)]
  objects += [(20 * i, 10 + 40 * (i % 2), 3) for i in range(4)]
  page = _page(objects)

  def of(share, **more):
    pages = [page] * 5
    return energy_groups.covered_classes(pages, 5, share, **more).tolist()

  # 17 px discs: 2 px away is too near, 4.5 px is not.
  assert of(0.5) == [False, True, False, True, False]
  assert of(0.6) == [False, True, False, False, False]
  assert of(0.5, scale=0.5) == [False, True, True, True, False]
  assert of(0.5, disc_px=6.0) == [False, False, False, True, False]
  # Few objects are chance.
  few = energy_groups.covered_classes([page], 5, 0.5)
  assert not few.any()


def test_covered_classes_of_no_pages():
  assert not energy_groups.covered_classes([], 3, 0.3).any()


@pytest.mark.parametrize(("num", "covered"), [(1, 0.3), (3, 0.3), (2, 1.5)])
def test_covered_needs_two_groups_and_a_share(num, covered):
  with pytest.raises(InputError, match=r"groups\.covered"):
    energy_groups.GroupConfig(num=num, covered=covered)
