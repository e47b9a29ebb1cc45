"""Maps of pages: undone exactly, and the same for pixels and for points."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwd_jax.imaging import degrade
from dwd_jax.imaging.degrade import warps

_SPACE = 9.0


def _bend(recipe, seed, hw=(300, 400), severity=1.0, space=_SPACE):
  return degrade.RECIPES[recipe][0](
    np.random.default_rng(seed), hw, severity, space
  )


@settings(max_examples=40, deadline=None)
@given(
  recipe=st.sampled_from(["scan", "photo"]),
  seed=st.integers(0, 10_000),
  severity=st.floats(0, 2.4),
  height=st.integers(1, 3000),
  width=st.integers(1, 3000),
  space=st.floats(1, 60),
)
def test_forward_undoes_inverse(recipe, seed, severity, height, width, space):
  warp = _bend(recipe, seed, (height, width), severity, space).warp
  rng = np.random.default_rng(seed)
  points = rng.uniform(0, 1, (50, 2)) * (height, width)
  back = warp.forward(warp.inverse(points))
  np.testing.assert_allclose(back, points, atol=1e-6)
  assert (np.diff(warp.moved_x) > 0).all()


@settings(max_examples=20, deadline=None)
@given(recipe=st.sampled_from(["scan", "photo"]), seed=st.integers(0, 10_000))
def test_pixels_go_where_points_go(recipe, seed):
  hw = (300, 400)
  warp = _bend(recipe, seed, hw, 2.0).warp
  rows, columns = warps.pixel_map(warp, hw, (-7.0, 5.0))
  assert rows.shape == columns.shape == hw
  y, x = np.mgrid[0 : hw[0], 0 : hw[1]] + 0.5
  exact = warp.inverse(np.stack([y, x], axis=-1)) - (-7.0, 5.0) - 0.5
  assert np.abs(exact - np.stack([rows, columns], axis=-1)).max() < 0.2


@settings(max_examples=20, deadline=None)
@given(recipe=st.sampled_from(["scan", "photo"]), seed=st.integers(0, 10_000))
def test_the_extent_holds_all_that_is_seen(recipe, seed):
  hw = (200, 300)
  warp = _bend(recipe, seed, hw, 2.0).warp
  top, left, bottom, right = warp.source_extent(hw)
  rows, columns = warps.pixel_map(warp, hw, (0.0, 0.0))
  assert top <= rows.min() - 0.5 and rows.max() + 1.5 <= bottom
  assert left <= columns.min() - 0.5 and columns.max() + 1.5 <= right


@pytest.mark.parametrize("recipe", ["scan", "photo"])
def test_no_severity_changes_no_pixel(recipe):
  pixels = np.random.default_rng(0).integers(0, 256, (90, 130), np.uint8)
  warp = _bend(recipe, 3, pixels.shape, 0.0).warp
  np.testing.assert_array_equal(
    warps.move_pixels(pixels, warp, pixels.shape), pixels
  )


def test_the_middle_stays():
  for recipe in ("scan", "photo"):
    middle = np.array([[150.0, 200.0]])
    warp = _bend(recipe, 1).warp
    np.testing.assert_allclose(warp.forward(middle), middle, atol=1e-6)


def test_lengths_follow_the_staff_space():
  # The same page at twice the resolution is bent alike.
  points = np.random.default_rng(0).uniform(0, 300, (40, 2))
  small = _bend("photo", 5, (300, 400), 1.0, 9.0).warp.forward(points)
  large = _bend("photo", 5, (600, 800), 1.0, 18.0).warp.forward(2 * points)
  np.testing.assert_allclose(large, 2 * small, atol=0.05)


def test_class_ids_are_not_mixed():
  values = np.zeros((120, 160), np.uint8)
  values[40:80, 40:80], values[60:100, 90:120] = 17, 101
  warp = _bend("photo", 2, values.shape, 2.0).warp
  moved = warps.move_pixels(values, warp, values.shape, nearest=True)
  assert set(np.unique(moved)) == {0, 17, 101}
