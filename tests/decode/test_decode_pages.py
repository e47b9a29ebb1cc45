"""Pages in batches, beyond the usual tables, and without new compilations."""

import functools

import jax
import numpy as np
import pytest
from scipy import ndimage

from benchmarks import decode as decode_benchmark
from benchmarks import decode_scenes, numpy_decode
from dwd_jax.decode import (
  backend,
  decode_config,
  pixel_lists,
  votes,
  watershed,
)

_HW = (353, 383)  # larger than what is decoded with one set of tables


def _discs(seed):
  rng = np.random.default_rng(seed)
  levels = np.zeros(_HW, np.float32)
  y, x = np.indices(_HW) + 0.5
  for cy, cx in rng.uniform(0, 1, (40, 2)) * _HW:
    levels = np.maximum(levels, 19 - 2 * np.hypot(y - cy, x - cx))
  return levels.astype(np.float32)


def _noise(density):
  rng = np.random.default_rng(7)
  return np.where(rng.random(_HW) < density, 15, 0).astype(np.float32)


@functools.cache
def _pages():
  """Two energy groups; a plane is too full for usual tables, some are empty."""
  empty = np.zeros(_HW, np.float32)
  planes = [[_discs(0), empty], [_noise(0.3), empty], [empty, _discs(1)]]
  return np.moveaxis(np.array(planes), 1, 3)


def _config(method):
  return decode_config.DecodeConfig(method=method, energy_cutoff=10.0, smooth=0)


def _make_decoder(method):
  """A jit-ed decode, and the shapes that it was traced for."""
  cfg, traced = _config(method), []

  def decode(levels):
    traced.append(levels.shape)
    sizes = np.full((*_HW, 2), 6, np.float32)

    def class_fn(page, y, x, group):
      del page
      return votes.Likeliest((y // 32 + x // 32 + 2 * group) % 5, 5)

    def size_fn(page, y, x, group):
      del page
      return jax.numpy.asarray(sizes)[y, x] + group[:, None]

    return watershed.decode_levels(levels, size_fn, class_fn, cfg)

  return jax.jit(decode), traced


_decoder = functools.cache(_make_decoder)


def _columns(found):
  """What is found, as arrays of the pages."""
  names = ("boxes_yxyx", "labels", "scores", "valid", "count")
  return {name: np.asarray(getattr(found, name)) for name in names}


@pytest.mark.parametrize("method", ["threshold", "watershed"])
def test_pages_do_not_depend_on_their_batch_and_compile_once(method):
  decode, traced = _decoder(method)
  pages = _pages()
  together, turned = _columns(decode(pages)), _columns(decode(pages[::-1]))
  for name, column in together.items():
    np.testing.assert_array_equal(turned[name][::-1], column)
  assert traced == [pages.shape]
  count = together["count"]
  assert 20 < count[0] <= 40
  cfg = _config(method)
  if method == "threshold":
    ids, _ = ndimage.label(pages[1, ..., 0] > 10, np.ones((3, 3)))
    areas = np.bincount(ids.reshape(-1))[1:]
    assert count[1] == (areas >= cfg.min_area_px).sum()
  assert count[1] > cfg.max_detections


@pytest.mark.parametrize(
  ("method", "step"), [("threshold", 8192), ("watershed", 2**18)]
)
def test_pages_as_one_tall_plane_as_on_accelerators_give_the_same(
  monkeypatch, method, step
):
  pages = _pages()
  wanted = _columns(_decoder(method)[0](pages))
  monkeypatch.setattr(backend, "on_cpu", lambda: False)
  monkeypatch.setattr(pixel_lists, "LARGE_STEP", step)
  at_once = 3 * pages[0, ..., 0].size  # half of the planes
  monkeypatch.setattr(backend, "_MOST_PX", at_once)
  decode, traced = _make_decoder(method)
  # The first half of the first one has too many pixels for the usual tables.
  for order, usual in (
    ([1, 1, 0], False),
    ([0, 1, 2], True),
    ([2, 0, 0], True),
  ):
    planes = np.moveaxis(pages[order], 3, 1).reshape(6, -1)
    assert ((planes[:3] > 10).sum() <= at_once // 8) == usual
    together = _columns(decode(pages[order]))
    for name, column in wanted.items():
      # The energy that is summed comes in another order.
      close = {"boxes_yxyx": 1e-3, "scores": 1e-5}.get(name, 0)
      np.testing.assert_allclose(together[name], column[order], atol=close)
  assert traced == [pages.shape]


@pytest.mark.parametrize("method", ["threshold", "watershed"])
def test_the_peer_of_the_benchmark_finds_the_same(method):
  maps = decode_scenes.symbols((160, 192), 60, "fixed")
  host = (maps.energy.astype(np.float32), maps.sizes_px, maps.classes - 1)
  cfg = decode_benchmark.CFGS[method]
  ours, _ = decode_benchmark.compile_decode(cfg, *map(jax.numpy.asarray, host))
  expected = decode_benchmark.peer_of_maps(cfg, host, 0)
  assert len(expected[0]) > 30
  found = ours()
  numpy_decode.check_equal(found, 0, expected)
  wrong = (expected[0] + 1, *expected[1:])
  with pytest.raises(ValueError, match="not among"):
    numpy_decode.check_equal(found, 0, wrong)
