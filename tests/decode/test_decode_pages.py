"""Pages in batches, beyond the usual tables, and without new compilations."""

import jax
import numpy as np
import pytest
from scipy import ndimage

from benchmarks import decode as decode_benchmark
from benchmarks import decode_scenes, numpy_decode
from dwd_jax.decode import decode_config, pixel_lists, votes, watershed

_HW = (384, 512)  # larger than what is decoded with one set of tables


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


def _decoder(cfg):
  """A jit-ed decode, and the shapes that it was traced for."""
  traced = []

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


@pytest.mark.parametrize("method", ["threshold", "watershed"])
def test_batches_equal_single_pages_and_compile_once(method):
  cfg = decode_config.DecodeConfig(method=method, energy_cutoff=10.0, smooth=0)
  decode, traced = _decoder(cfg)
  # Usual pages, and one with far more pixels and objects than the tables of
  # usual pages hold.
  pages = np.stack([_discs(0), _noise(0.3), _discs(1)])[..., None]
  together = jax.tree.map(np.asarray, decode(pages))
  for i, page in enumerate(pages):
    alone = jax.tree.map(lambda x: np.asarray(x)[0], decode(page[None]))
    for name in ("boxes_yxyx", "labels", "scores", "valid", "count"):
      np.testing.assert_array_equal(
        getattr(alone, name), getattr(together, name)[i]
      )
  assert traced == [pages.shape, (1, *pages.shape[1:])]
  assert 20 < together.count[0] <= 40
  if method == "threshold":
    ids, _ = ndimage.label(pages[1, ..., 0] > 10, np.ones((3, 3)))
    areas = np.bincount(ids.reshape(-1))[1:]
    assert together.count[1] == (areas >= cfg.min_area_px).sum()
  assert together.count[1] > cfg.max_detections // 2


@pytest.mark.parametrize("method", ["threshold", "watershed"])
def test_lists_in_one_step_as_on_accelerators_give_the_same(
  monkeypatch, method
):
  cfg = decode_config.DecodeConfig(method=method, energy_cutoff=10.0)
  # The last one needs the large tables, which take several steps even then.
  pages = np.stack([_discs(0), _noise(0.3)])[..., None]
  usual = _decoder(cfg)[0](pages)
  monkeypatch.setattr(pixel_lists, "most_at_once", lambda room: 65_536)
  for ours, theirs in zip(
    jax.tree.leaves(usual),
    jax.tree.leaves(_decoder(cfg)[0](pages)),
    strict=True,
  ):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)


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
