"""Which pixels became one object, against SciPy and against the decode."""

import jax
import numpy as np
import pytest
import scipy.ndimage
from decode_helpers import CLASSES, HW, SLOTS, decode

from dwd_jax.decode.decode_config import DecodeConfig
from dwd_jax.decode.watershed import look_inside
from dwd_jax.objectives import targets

# Three discs of 17 px: the first two touch, the third stands alone.
_CENTERS = [(12, 14), (14, 20), (24, 56)]
_WATERSHED = DecodeConfig(max_detections=SLOTS)
_THRESHOLD = DecodeConfig(
  method="threshold", energy_cutoff=10.0, max_detections=SLOTS
)


@pytest.fixture(scope="module")
def levels():
  boxes = np.array([(y - 4, x - 4, y + 5, x + 5) for y, x in _CENTERS])
  count = len(boxes)
  render = jax.jit(targets.render_energy, static_argnums=(3, 4, 5))
  energy = render(
    boxes.astype(np.float32),
    np.zeros(count, np.int32),
    np.ones(count, bool),
    HW,
    1,
    targets.TargetConfig(),
  )
  return np.asarray(energy[..., 0], np.float32)


def test_touching_discs_are_two_basins_and_one_component(levels):
  basins = look_inside(levels, _WATERSHED)
  parts = look_inside(levels, _THRESHOLD)
  np.testing.assert_array_equal(basins.peaks_yx, _CENTERS)
  np.testing.assert_array_equal(parts.peaks_yx, [_CENTERS[0], _CENTERS[2]])
  touching = parts.object_ids == 0
  assert set(np.unique(basins.object_ids[touching])) == {0, 1}
  np.testing.assert_array_equal(
    basins.object_ids >= 0, basins.levels > _WATERSHED.energy_cutoff
  )


def test_components_are_those_of_scipy(levels):
  rng = np.random.default_rng(0)
  noisy = levels * (rng.random(HW) < 0.4)
  found = look_inside(noisy, _THRESHOLD)
  wanted, count = scipy.ndimage.label(
    noisy > _THRESHOLD.energy_cutoff, np.ones((3, 3))
  )
  assert count == len(found.peaks_yx) > 3
  pairs = np.unique(
    np.stack([wanted - 1, found.object_ids]).reshape(2, -1), axis=1
  )
  assert pairs.shape[1] == count + 1  # the background too: one to one
  highest = scipy.ndimage.maximum(noisy, found.object_ids, range(count))
  np.testing.assert_array_equal(noisy[tuple(found.peaks_yx.T)], highest)


@pytest.mark.parametrize(
  "cfg", [_WATERSHED, _THRESHOLD], ids=lambda c: c.method
)
def test_there_are_as_many_as_the_decode_counts(levels, cfg):
  sizes = np.full((1, *HW, 1, 2), 9, np.float32)
  probs = np.ones((1, *HW, 1, CLASSES), np.float32)
  found = decode(levels[None, ..., None], sizes, probs, cfg)
  assert int(found.count[0]) == len(look_inside(levels, cfg).peaks_yx)


def test_a_plane_without_energy_has_no_objects():
  found = look_inside(np.zeros(HW, np.float32), _WATERSHED)
  assert (found.object_ids == -1).all() and found.peaks_yx.shape == (0, 2)
