"""Staves of several sizes: each symbol is taken at the scale of its staff."""

import numpy as np
import pytest

from dwd_jax.core.structs import PageBoxes
from dwd_jax.imaging.staff_pieces import Pieces
from dwd_jax.predict import staff_sizes


def _pieces(spaces):
  """Pieces one below another, 100 px apart, from y = 100 on."""
  n = len(spaces)
  return Pieces(
    y=100.0 * np.arange(1, n + 1),
    x=np.full(n, 50.0),
    half_width=50.0,
    space=np.array(spaces, float),
    slope=np.zeros(n),
    weight=np.ones(n),
  )


@pytest.mark.parametrize(
  "spaces", [[10] * 8, np.linspace(9.4, 10.6, 9), [10] * 8 + [7], []]
)
def test_spaces_that_differ_little_or_by_chance_are_one(spaces):
  assert staff_sizes.sizes(_pieces(spaces), 9.9) == (9.9,)


def test_a_reduced_staff_is_a_size_of_its_own():
  found = staff_sizes.sizes(_pieces([7] * 4 + [10] * 8), 10)
  np.testing.assert_allclose(found, [10, 7])


def test_sizes_are_few():
  found = staff_sizes.sizes(_pieces(np.geomspace(5, 20, 40)), 10)
  assert 2 <= len(found) <= 3
  assert min(found) < 8 < 12 < max(found)


def test_symbols_come_from_the_scale_of_their_staff():
  pieces = _pieces([10, 7])
  boxes = np.array([[95, 10, 105, 20], [195, 10, 205, 20]], np.float32)
  large, small = (
    PageBoxes("p", (300, 100), boxes, np.array(labels), np.array(scores))
    for labels, scores in (([0, 1], [0.5, 0.9]), ([2, 3], [0.9, 0.8]))
  )
  found = staff_sizes.join([large, small], (10.0, 7.0), pieces)
  assert found.scores is not None
  assert found.labels.tolist() == [3, 0]
  assert found.scores.tolist() == [0.8, 0.5]
  np.testing.assert_array_equal(found.boxes_yxyx, boxes[::-1])
