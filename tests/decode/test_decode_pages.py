"""Pages in batches, beyond the usual tables, and without new compilations."""

import functools

import jax
import numpy as np
import pytest
from scipy import ndimage

from benchmarks import decode as decode_benchmark
from benchmarks import decode_scenes, numpy_decode
from dwd_jax.decode import backend, decode_config, votes, watershed

_HW = (352, 384)  # larger than what is decoded with one set of tables


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
  """Usual pages, and one with too many pixels and objects for their tables."""
  return np.stack([_discs(0), _noise(0.3), _discs(1)])[..., None]


def _config(method):
  return decode_config.DecodeConfig(method=method, energy_cutoff=10.0, smooth=0)


def _make_decoder(method):
  """A jit-ed decode, and the shapes that it was traced for."""
  cfg, traced = _config(method), []

  def decode(levels):
    traced.append(levels.shape)
    sizes = np.full((*_HW, 2), 6, np.float32)

    def class_fn(page, y, x, group):
      del page, group
      return votes.Likeliest((y // 32 + x // 32) % 5, 5)

    def size_fn(page, y, x, group):
      del page, group
      return jax.numpy.asarray(sizes)[y, x]

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
  assert count[1] > cfg.max_detections // 2


@pytest.mark.parametrize("method", ["threshold", "watershed"])
def test_pages_as_one_tall_plane_as_on_accelerators_give_the_same(
  monkeypatch, method
):
  pages = _pages()
  wanted = _columns(_decoder(method)[0](pages))
  monkeypatch.setattr(backend, "on_cpu", lambda: False)
  decode, traced = _make_decoder(method)
  # The first one has more pixels than the tables for usual pages.
  for order, usual in (
    ([1, 1, 0], False),
    ([0, 1, 2], True),
    ([2, 0, 0], True),
  ):
    assert ((pages[order] > 10).sum() <= pages.size // 8) == usual
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
