"""Columns of ink around points of an image."""

import jax
import numpy as np
import pytest

from dwd_jax.models.ink_columns import ACROSS, ROWS, columns_at, stretches


def _columns(ink, centers_yx, space_px=9.0):
  return columns_at(stretches(ink, space_px), np.float32(centers_yx), space_px)


def test_stretches_are_means_with_paper_beyond_the_edges():
  ink = np.random.default_rng(0).random((2, 5, 30)).astype(np.float32)
  padded = np.pad(ink, ((0, 0), (0, 0), (4, 4)))
  windows = np.lib.stride_tricks.sliding_window_view(padded, 9, axis=2)
  np.testing.assert_allclose(stretches(ink, 9.0), windows.mean(-1), atol=1e-6)


@pytest.mark.parametrize("space_px", [9.0, 18.0])
def test_columns_show_lines_at_their_distance(space_px):
  ink = np.zeros((400, 400), np.float32)
  first = 150
  for line in range(5):
    top = first + round(line * space_px)
    ink[top : top + round(space_px / 9)] = 1
  y = first + 2 * space_px + space_px / 18  # on the middle line
  columns = _columns(ink, [[y, 200], [y - space_px / 2, 200]], space_px)
  assert columns.shape == (2, len(ROWS), len(ACROSS))
  for at, shift in enumerate((0, 4.5)):
    for row in columns[at].T:  # the lines cross the page
      seen = ROWS[row > 0.45]
      wanted = np.arange(-18, 19, 9) + shift
      assert set(np.floor(wanted)) <= set(seen) | set(seen - 1)
      assert np.abs(seen[:, None] - wanted).min(1).max() <= 1


def test_beyond_the_image_there_is_paper():
  columns = _columns(np.ones((20, 20), np.float32), [[10, 10], [1e6, -1e6]])
  assert not columns[1].any()
  assert columns[0, np.abs(ROWS) < 10, len(ACROSS) // 2].min() > 0.9
  assert not columns[0, np.abs(ROWS) > 12].any()


def test_jax_and_numpy_agree():
  rng = np.random.default_rng(0)
  ink = rng.random((90, 120)).astype(np.float32)
  centers = rng.uniform(-5, [105, 135], (40, 2)).astype(np.float32)
  found = _columns(ink, centers, 12.5)
  assert found.dtype == np.float32
  of_jax = jax.jit(lambda ink: _columns(ink, centers, 12.5))(ink)
  np.testing.assert_allclose(found, of_jax, atol=2e-4)
