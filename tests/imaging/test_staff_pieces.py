"""Pieces of staves: places, sizes and slopes, told on drawn staves."""

import cv2
import numpy as np
import pytest
from staff_helpers import staves

from dwd_jax.imaging import staff_pieces, staff_space


def _pieces(ink):
  measured = staff_space.measure(ink)
  assert measured is not None
  return staff_pieces.find(measured)


def _two_sizes():
  """Staves of 10 px above staves of 7 px."""
  return np.concatenate([staves(10, (350, 600)), staves(7, (350, 600))])


@pytest.mark.parametrize("degrees", [-9, -1.5, 0, 4])
def test_skew_is_the_angle_of_the_lines(degrees):
  ink = staves(10, (800, 900), thickness=2)
  matrix = cv2.getRotationMatrix2D((450, 400), -degrees, 1)
  turned = cv2.warpAffine(ink, matrix, (900, 800)).astype(np.uint8)
  assert _pieces(turned).skew() == pytest.approx(degrees, abs=0.15)


def test_each_piece_has_its_own_size():
  found = _pieces(_two_sizes())
  above = found.y < 350
  assert above.any() and not above.all()
  np.testing.assert_allclose(found.space[above], 10, rtol=0.02)
  np.testing.assert_allclose(found.space[~above], 7, rtol=0.02)


def test_points_belong_to_the_staff_that_they_are_nearest_to():
  found = _pieces(_two_sizes())
  last_large = found.y[found.y < 350].max()
  first_small = found.y[found.y > 350].min()
  points = np.array([[last_large + 40, 300], [first_small - 30, 300]])
  large, small = found.space[found.nearest(points)]
  assert large == pytest.approx(10, rel=0.02)
  assert small == pytest.approx(7, rel=0.02)
  over = found.upside_down((700, 600))
  np.testing.assert_array_equal(
    over.nearest(np.array([700, 600]) - points), found.nearest(points)
  )


def test_six_lines_beside_staves_are_no_piece():
  tablature = staves(15, (400, 600), lines=6)
  found = _pieces(np.concatenate([staves(10, (400, 600)), tablature]))
  assert len(found.y) and found.y.max() < 400
