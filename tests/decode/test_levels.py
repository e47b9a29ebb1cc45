"""Levels from coarse logits equal those of upsampled ones where it matters."""

import jax
import numpy as np
import pytest

from dwd_jax.decode import basins, config, levels
from dwd_jax.models import refinenet

_HW = (9, 13)


def _logits(seed):
  """Mostly background with some random cells, two pages, two groups."""
  rng = np.random.default_rng(seed)
  shape = (2, *_HW, 2, 20)
  logits = rng.normal(0, 1, shape).astype(np.float32)
  likely = rng.integers(1, 20, shape[:-1])
  likely[rng.random(shape[:-1]) < 0.8] = 0
  return logits + 9 * (likely[..., None] == np.arange(20)).astype(np.float32)


@pytest.mark.parametrize("energy", ["expectation", "argmax"])
@pytest.mark.parametrize("smooth", [0, 1, 3])
@pytest.mark.parametrize("cutoff", [1.0, 10.0])
def test_equals_dense_evaluation(energy, smooth, cutoff):
  cfg = config.DecodeConfig(energy=energy, smooth=smooth, energy_cutoff=cutoff)
  logits = _logits(seed=int(10 * cutoff + smooth))
  dense = levels.from_logits(refinenet.upsample(logits, 4), cfg)
  sparse = levels.from_coarse_logits(logits, 4, cfg)
  filtered = jax.vmap(
    jax.vmap(lambda x: basins.smooth(x, smooth), 2, 2)
  )  # over pages, then groups
  dense, sparse = np.asarray(filtered(dense)), np.asarray(filtered(sparse))
  matters = dense > cutoff + 1e-4
  assert 0 < matters.mean() < 1
  np.testing.assert_allclose(sparse[matters], dense[matters], atol=1e-3)
  assert (sparse[dense < cutoff - 1e-4] <= cutoff).all()


def test_background_is_not_evaluated():
  logits = np.zeros((1, *_HW, 1, 20), np.float32)
  logits[..., 0] = 9
  logits[0, 4, 4, 0, 15] = 30
  found = levels.from_coarse_logits(logits, 4, config.DecodeConfig(smooth=0))
  found = np.asarray(found[0, :, :, 0])
  assert found.max() > 14
  assert not found[:14].any() and not found[:, 22:].any()


def test_logits_that_are_not_finite_hide_nothing_else():
  cfg = config.DecodeConfig(smooth=0)
  logits = _logits(seed=0)
  clean = np.asarray(levels.from_coarse_logits(logits, 4, cfg))
  logits[:, :2] = np.nan
  spoilt = np.asarray(levels.from_coarse_logits(logits, 4, cfg))
  np.testing.assert_array_equal(spoilt[:, 16:], clean[:, 16:])
