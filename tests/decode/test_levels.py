"""Energy levels from logits."""

import jax
import numpy as np
import pytest

from dwd_jax.decode import decode_config, watershed


@pytest.mark.parametrize(
  ("settings", "expected"),
  [
    pytest.param({}, (0 * 1 + 1 * 2 + 2 * 5) / 8, id="watershed: the mean"),
    pytest.param({"method": "threshold"}, 2.0, id="threshold: the likeliest"),
    pytest.param({"energy": "argmax"}, 2.0, id="the likeliest if asked for"),
    pytest.param(
      {"method": "threshold", "energy": "expectation"},
      (0 * 1 + 1 * 2 + 2 * 5) / 8,
      id="the mean if asked for",
    ),
  ],
)
@pytest.mark.parametrize("shift", [0.0, 500.0, -500.0])
def test_levels_by_hand(settings, expected, shift):
  logits = np.log([[1.0, 2.0, 5.0]]).astype(np.float32) + np.float32(shift)
  cfg = decode_config.DecodeConfig(
    num_energy_levels=3, energy_cutoff=1.0, min_seed_level=1.0, **settings
  )
  np.testing.assert_allclose(
    watershed.levels_from_logits(logits, cfg), [expected], rtol=1e-4
  )


def test_the_mean_is_that_of_the_softmax():
  logits = np.random.default_rng(0).normal(0, 3, (2, 5, 4, 3, 20))
  expected = jax.nn.softmax(logits.astype(np.float32)) @ np.arange(20.0)
  found = watershed.levels_from_logits(logits, decode_config.DecodeConfig())
  np.testing.assert_allclose(found, expected, rtol=1e-4)
