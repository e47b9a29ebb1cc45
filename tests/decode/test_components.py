"""Components equal scipy's, whatever the shape of the mask."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from dwd_jax.decode import bits, components, pixel_lists


@jax.jit  # one compilation for each shape: shapes below are few
def _label(mask):
  """Component of each pixel, from 1, and 0 outside; first pixels; count."""
  packed = bits.pack(mask)
  pixels = pixel_lists.compact(packed)
  most = pixel_lists.most_objects(mask.shape)
  found = components.find_components(packed, pixels, most)

  def paint(ids, at, live, row):
    place = pixel_lists.drop_unless(live, at, mask.size)
    return ids.at[place].set(row + 1, mode="drop")

  ids = pixel_lists.for_chunks(
    pixels, paint, jnp.zeros(mask.size, jnp.int32), beside=(found.rows,)
  )
  return ids.reshape(mask.shape), found.seeds, found.count


def _reference(mask):
  """Scipy's labels, renumbered by first pixel; first pixels; count."""
  found, count = ndimage.label(mask, np.ones((3, 3)))
  flat = found.reshape(-1)
  values, first = np.unique(flat, return_index=True)
  values, first = values[values > 0], first[values > 0]
  rank = np.zeros(count + 1, np.int32)
  rank[values[np.argsort(first)]] = np.arange(1, count + 1)
  return rank[found], np.sort(first), count


def _check(mask):
  ids, first, count = _reference(mask)
  got_ids, got_first, got_count = _label(mask)
  np.testing.assert_array_equal(got_ids, ids)
  np.testing.assert_array_equal(got_first[:count], first)
  assert got_count == count


def _spiral(n):
  """A single arm one pixel wide with gaps of one pixel."""
  mask = np.zeros((n, n), bool)
  y, x, dy, dx = 0, 0, 0, 1
  mask[0, 0] = True
  turns = 0
  while turns < 2:
    ahead = [(y + i * dy, x + i * dx) for i in (1, 2)]
    inside = [0 <= a < n and 0 <= b < n for a, b in ahead]
    blocked = any(i and mask[p] for i, p in zip(inside, ahead, strict=True))
    if inside[0] and not blocked:
      (y, x), turns = ahead[0], 0
      mask[y, x] = True
    else:
      dy, dx, turns = dx, -dy, turns + 1
  return mask


def _maze(n, seed):
  """Walls of a random maze: long thin components with many branches."""
  rng = np.random.default_rng(seed)
  mask = np.zeros((n, n), bool)
  mask[::2, ::2] = True
  sideways = rng.random((n, n)) < 0.5
  mask[1::2, ::2] = ~sideways[1::2, ::2]
  mask[::2, 1::2] = sideways[::2, 1::2]
  return mask


def _serpentine(h, w):
  y, x = np.mgrid[:h, :w]
  turn = np.where(y % 4 == 1, x == w - 1, x == 0)
  return (y % 2 == 0) | turn


def _comb(n):
  mask = np.zeros((n, n), bool)
  mask[:, ::2] = True
  mask[-1] = True
  return mask


@pytest.mark.parametrize(
  "mask",
  [
    pytest.param(np.zeros((65, 64), bool), id="empty"),
    pytest.param(np.ones((65, 64), bool), id="full"),
    pytest.param(np.ones((1, 1), bool), id="one pixel"),
    pytest.param(np.zeros((1, 1), bool), id="one pixel of background"),
    pytest.param(np.arange(7)[None] % 3 > 0, id="one row"),
    pytest.param(np.arange(7)[:, None] % 3 > 0, id="one column"),
    pytest.param(np.eye(65, 64, dtype=bool), id="diagonal"),
    pytest.param(np.eye(65, 64, dtype=bool)[::-1], id="counter-diagonal"),
    pytest.param(np.indices((65, 64)).sum(0) % 2 == 0, id="chess board"),
    pytest.param(np.indices((65, 64)).max(0) % 2 == 0, id="nested corners"),
    pytest.param(_spiral(65)[:, :64], id="spiral"),
    pytest.param(_spiral(65)[::-1, 1:], id="spiral turned"),
    pytest.param(_serpentine(65, 64), id="serpentine"),
    pytest.param(_serpentine(64, 65).T, id="serpentine on its side"),
    pytest.param(_comb(65)[:, :64], id="comb open at the top"),
    pytest.param(_comb(65)[::-1, :64], id="comb open at the bottom"),
    pytest.param(_maze(65, 0)[:, :64], id="maze"),
    pytest.param(
      np.random.default_rng(0).random((300, 417)) < 0.4,
      id="page of noise at the density where one component spans it",
    ),
  ],
)
def test_equals_scipy(mask):
  _check(mask)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
  density=st.floats(0, 1),
  seed=st.integers(0, 2**32 - 1),
  coarse=st.sampled_from((1, 2, 3)),
)
def test_equals_scipy_on_noise(density, seed, coarse):
  rng = np.random.default_rng(seed)
  noise = rng.random((65, 64)).repeat(coarse, 0).repeat(coarse, 1)
  _check(noise[:65, :64] < density)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(bits=st.integers(0, 2**25 - 1))
def test_equals_scipy_on_tiny_masks(bits):
  _check(np.array([bits >> i & 1 for i in range(25)], bool).reshape(5, 5))


def _large_noise(n):
  return np.random.default_rng(1).random((n, n)) < 0.41


def _rings(n):
  """One component: rings around each other, each bound to the next."""
  y, x = np.indices((n, n))
  depth = np.minimum(np.minimum(y, x), np.minimum(n - 1 - y, n - 1 - x))
  mask = depth % 2 == 0
  mask[n // 2, : n // 2] = True
  return mask


@pytest.mark.parametrize("draw", [_large_noise, _rings])
def test_equals_scipy_on_large_pages(draw):
  mask = draw(2048)
  ids, _, count = _label(mask)
  expected, expected_count = ndimage.label(mask, np.ones((3, 3)))
  assert count == expected_count
  # The numbers may differ; the pairs of them show that the parts do not.
  ids, expected = np.asarray(ids)[mask], expected[mask]
  pair = np.unique(ids.astype(np.int64) * (expected_count + 1) + expected)
  assert len(pair) == expected_count == len(np.unique(ids))
