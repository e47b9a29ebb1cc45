"""Basins equal those of slow flooding; peaks survive by their depth."""

import functools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwd_jax.decode import basins, bits, decode_config, pixel_lists

_HW = (17, 23)  # one size, so that few functions are compiled
_smooth = jax.jit(basins.smooth, static_argnums=1)


@functools.partial(jax.jit, static_argnums=2)
def _find_basins(levels, cutoff, min_depth):
  mask = bits.pack(levels > cutoff)
  pixels = pixel_lists.compact(mask)
  most = pixel_lists.most_objects(levels.shape)
  cfg = decode_config.DecodeConfig(min_saddle_depth=min_depth)
  return basins.find_basins(levels, mask, pixels, cfg, most)


def _find(levels, cutoff, min_depth):
  """Peak of each pixel's basin (-1 = none) and pass of each peak's basin."""
  found, passes = _find_basins(levels, cutoff, min_depth)
  pixels = np.flatnonzero(levels > cutoff)
  rows, seeds = np.array(found.rows)[: len(pixels)], np.array(found.seeds)
  peaks = np.full(levels.size, -1)
  peaks[pixels] = seeds[rows]
  used = np.unique(rows)
  assert (used < found.count).all()
  passes = dict(zip(seeds[used].tolist(), np.array(passes)[used], strict=True))
  return peaks.reshape(levels.shape), passes


def _flood(levels, cutoff, min_depth):
  """Surviving peaks by flooding from the top: union-find over sorted pixels.

  Two basins meet at a pixel; the one with the lower peak ends there unless it
  is deep enough. Of equal peaks the later in raster order is the lower.
  """
  h, w = levels.shape
  flat = levels.reshape(-1)
  order = sorted(np.flatnonzero(flat > cutoff), key=lambda p: (-flat[p], p))
  rank = {p: i for i, p in enumerate(order)}
  parent, survivors = {}, set()

  def root(p):
    while parent[p] != p:
      p = parent[p]
    return p

  for p in order:
    parent[p] = p
    y, x = divmod(p, w)
    for q in (
      (y + dy) * w + x + dx
      for dy in (-1, 0, 1)
      for dx in (-1, 0, 1)
      if 0 <= y + dy < h and 0 <= x + dx < w
    ):
      if q in parent and root(q) != root(p):
        high, low = sorted((root(p), root(q)), key=rank.__getitem__)
        depth = flat[low] - flat[p]
        if depth >= min_depth and depth > 0:
          survivors.add(low)
        parent[low] = high
  survivors |= {p for p in parent if parent[p] == p}
  return survivors


def _passes(levels, peaks):
  """Highest pass from each peak's basin to another one, by brute force."""
  h, w = levels.shape
  best = {}
  for y in range(h):
    for x in range(w):
      for dy, dx in ((0, 1), (1, -1), (1, 0), (1, 1)):
        if not (y + dy < h and 0 <= x + dx < w):
          continue
        one, two = peaks[y, x], peaks[y + dy, x + dx]
        if one >= 0 and two >= 0 and one != two:
          level = min(levels[y, x], levels[y + dy, x + dx])
          for peak in (one, two):
            best[peak] = max(best.get(peak, -np.inf), level)
  return best


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
  seed=st.integers(0, 2**32 - 1),
  steps=st.sampled_from((2, 6, 20, 1000)),
  blur=st.integers(0, 3),
  setting=st.sampled_from(((-1.0, 0.0), (10.0, 1.0), (-1.0, 4.0))),
)
def test_peaks_equal_those_of_flooding(seed, steps, blur, setting):
  cutoff, min_depth = setting  # few depths, so few compilations
  noise = np.random.default_rng(seed).random(_HW) * 19
  levels = np.array(_smooth(noise.astype(np.float32), blur))
  levels = np.floor(levels / 19 * steps) * (19 / steps)  # plateaus
  levels = levels.astype(np.float32)
  peaks, passes = _find(levels, cutoff, min_depth)
  np.testing.assert_array_equal(peaks >= 0, levels > cutoff)
  survivors = _flood(levels, cutoff, min_depth)
  assert set(np.unique(peaks[peaks >= 0])) == survivors
  expected = _passes(levels, peaks)
  for peak in survivors:
    assert passes[peak] == expected.get(peak, -np.inf)


@pytest.mark.parametrize("seed", range(5))
def test_every_basin_has_its_peak(seed):
  noise = np.random.default_rng(seed).random(_HW).astype(np.float32) * 19
  peaks, _ = _find(noise, 8.0, 4.0)
  for peak in np.unique(peaks[peaks >= 0]):
    y, x = divmod(peak, _HW[1])
    assert peaks[y, x] == peak
    assert noise[y, x] == noise[peaks == peak].max()


def _cones(centers, radius=8.5):
  y, x = np.indices(_HW)
  level = np.zeros(_HW)
  for cy, cx in centers:
    level = np.maximum(level, 19 * (1 - np.hypot(y - cy, x - cx) / radius))
  return level.astype(np.float32)


@pytest.mark.parametrize(
  ("centers", "min_depth", "count"),
  [
    pytest.param([(8, 9)], 1.0, 1, id="one disc"),
    pytest.param([(8, 9), (8, 15)], 1.0, 2, id="two touching discs"),
    pytest.param([(8, 9), (8, 12)], 1.0, 2, id="two discs 3 px apart"),
    pytest.param([(8, 9), (8, 10)], 1.0, 1, id="neighbouring centres"),
    pytest.param([(8, 9), (8, 12)], 4.0, 1, id="dip too shallow"),
    pytest.param([(0, 0), (16, 22)], 1.0, 2, id="in the corners"),
    pytest.param([(8, 5), (8, 11), (8, 17)], 1.0, 3, id="a row of three"),
  ],
)
def test_discs(centers, min_depth, count):
  peaks, _ = _find(_cones(centers), 5.0, min_depth)
  assert len(np.unique(peaks[peaks >= 0])) == count


def test_long_ridge_is_one_basin():
  """A serpentine that rises by a hair a step: the worst case of climbing."""
  levels = np.zeros((33, 64), np.float32)
  path = [(y, x) for y in range(0, 33, 2) for x in range(64)[:: 1 - y % 4]]
  for i, (y, x) in enumerate(path):
    levels[y, x] = 10 + i / 512
  for y in range(1, 33, 2):
    x = 63 if y % 4 == 1 else 0
    levels[y, x] = (levels[y - 1, x] + levels[y + 1, x]) / 2
  peaks, _ = _find(levels, 5.0, 1.0)
  assert len(np.unique(peaks[peaks >= 0])) == 1


def test_smooth_keeps_the_mean_and_flattens_noise():
  noise = np.random.default_rng(5).normal(size=(64, 64)).astype(np.float32)
  once = np.array(_smooth(noise, 1))
  assert abs(once.mean() - noise.mean()) < 0.01
  assert once.std() < 0.5 * noise.std()
  np.testing.assert_array_equal(_smooth(noise, 0), noise)
