"""Windows of ink around boxes, and boxes that are moved."""

import jax
import numpy as np
import pytest

from dwd_jax.models.ink_windows import SIDE, changes_to, moved, windows_at


@pytest.mark.parametrize("box", [(10, 20, 50, 100), (30.5, 40.25, 38, 72)])
def test_a_window_shows_its_box_and_half_as_much_beside_it(box):
  y0, x0, y1, x1 = box
  y, x = np.mgrid[:120, :120] + 0.5
  ink = ((y > y0) & (y < y1) & (x > x0) & (x < x1)).astype(np.float32)
  window = windows_at(ink, np.float32([box]))[0]
  # Each sample lies this far from the middle, by sides of the box.
  spans = [max(1.5 * side, side + 6) for side in (y1 - y0, x1 - x0)]
  at = np.abs((np.arange(SIDE) + 0.5) / SIDE - 0.5)
  inside = [
    at * span < side / 2 - 1
    for span, side in zip(spans, (y1 - y0, x1 - x0), strict=True)
  ]
  beyond = [
    at * span > side / 2 + 1
    for span, side in zip(spans, (y1 - y0, x1 - x0), strict=True)
  ]
  assert window[np.ix_(*inside)].min() > 0.99
  assert not window[beyond[0]].any() and not window[:, beyond[1]].any()
  assert beyond[0].any() and beyond[1].any()


def test_beyond_the_image_there_is_paper():
  ink = np.ones((20, 30), np.float32)
  far = np.float32([[-1e5, 3, -9e4, 9], [0, 0, 20, 30], [5, 1e5, 9, 1e5]])
  window = windows_at(ink, far)
  assert not window[[0, 2]].any()
  assert window[1, 4:12, 4:12].min() == 1
  assert not window[1, [0, -1]].any() and not window[1, :, [0, -1]].any()


def test_boxes_move_to_what_changes_say():
  rng = np.random.default_rng(0)
  low = rng.uniform(0, 50, (100, 2))
  given = np.concatenate([low, low + rng.uniform(2, 40, (100, 2))], 1)
  wanted = given + rng.normal(size=given.shape) * 0.5
  np.testing.assert_allclose(moved(given, changes_to(given, wanted)), wanted)
  # What is wild stays near.
  most = np.abs(moved(given, np.full((100, 4), 1e6)) - given).max(1)
  assert (most < 8 * (given[:, 2:] - given[:, :2]).max(1)).all()
  assert np.isfinite(changes_to(given, given[:, [2, 3, 0, 1]])).all()


def test_jax_and_numpy_agree():
  rng = np.random.default_rng(0)
  ink = rng.random((90, 120)).astype(np.float32)
  low = rng.uniform(-20, 110, (50, 2))
  given = np.concatenate([low, low + rng.uniform(-1, 60, (50, 2))], 1)
  given = given.astype(np.float32)
  changes = rng.normal(size=(50, 4)).astype(np.float32)
  found = windows_at(ink, given), moved(given, changes)
  assert {x.dtype for x in found} == {np.dtype(np.float32)}
  of_jax = jax.jit(lambda i, b, c: (windows_at(i, b), moved(b, c)))
  for one, other in zip(found, of_jax(ink, given, changes), strict=True):
    np.testing.assert_allclose(one, other, atol=1e-3)
