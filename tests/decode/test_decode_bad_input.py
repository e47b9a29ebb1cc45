"""Maps that no sane network gives: defined results, never NaN."""

import jax
import numpy as np
import pytest
from decode_helpers import HW, SLOTS, decode

from dwd_jax.core import errors
from dwd_jax.decode import decode_config, watershed

_METHODS = ("watershed", "threshold")


def _disc(levels, y, x):
  rows, columns = np.indices(HW)
  disc = 19 - 2 * np.hypot(rows - y, columns - x)
  levels[0, :, :, 0] = np.maximum(levels[0, :, :, 0], disc)


def _maps():
  """Two discs of 6 x 8 px; class 1 everywhere."""
  levels = np.zeros((1, *HW, 1), np.float32)
  _disc(levels, 12, 12)
  _disc(levels, 30, 50)
  sizes = np.broadcast_to(np.float32([6, 8]), (1, *HW, 1, 2)).copy()
  probs = np.broadcast_to(np.float32([0, 1, 0]), (1, *HW, 1, 3)).copy()
  return levels, sizes, probs


def _check(found, count):
  found = jax.tree.map(np.asarray, found)
  assert np.isfinite(found.boxes_yxyx).all()
  assert np.isfinite(found.scores).all()
  assert (found.scores >= 0).all() and (found.scores <= 1).all()
  assert found.count.tolist() == [count]
  assert found.valid.sum() == min(count, found.valid.shape[1])
  return found


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize(
  ("spoil", "count"),
  [
    pytest.param(lambda e, s, p: None, 2, id="nothing spoilt"),
    pytest.param(lambda e, s, p: e.fill(np.nan), 0, id="levels are NaN"),
    pytest.param(lambda e, s, p: e.fill(np.inf), 0, id="levels are inf"),
    pytest.param(
      lambda e, s, p: e[:, :24].fill(np.nan), 1, id="half the page is NaN"
    ),
    pytest.param(lambda e, s, p: s.fill(np.nan), 2, id="sizes are NaN"),
    pytest.param(lambda e, s, p: s.fill(np.inf), 2, id="sizes are inf"),
    pytest.param(lambda e, s, p: s.fill(0), 2, id="no size is known"),
    pytest.param(lambda e, s, p: p.fill(np.nan), 2, id="classes are NaN"),
    pytest.param(lambda e, s, p: p.fill(0), 2, id="no class is known"),
    pytest.param(lambda e, s, p: e.fill(19), 1, id="one object, the page"),
    pytest.param(
      lambda e, s, p: e[:, :, 20:].fill(19), 2, id="larger than half a page"
    ),
  ],
)
def test_spoilt_maps(method, spoil, count):
  levels, sizes, probs = _maps()
  spoil(levels, sizes, probs)
  cfg = decode_config.DecodeConfig(method=method, max_detections=SLOTS)
  _check(decode(levels, sizes, probs, cfg), count)


@pytest.mark.parametrize("method", _METHODS)
def test_one_slot_keeps_the_best(method):
  levels, sizes, probs = _maps()
  levels[:, :24] *= 0.9
  cfg = decode_config.DecodeConfig(method=method, max_detections=1)
  found = _check(decode(levels, sizes, probs, cfg), 2)
  np.testing.assert_allclose(
    found.boxes_yxyx[0, 0], [27.5, 46.5, 33.5, 54.5], atol=0.01
  )
  assert found.labels[0, 0] == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("method", _METHODS)
def test_logits_that_are_not_finite_are_background(method, value):
  cfg = decode_config.DecodeConfig(method=method, max_detections=SLOTS)
  logits = np.zeros((1, *HW, 1, 20), np.float32)
  logits[..., 0] = 9
  logits[:, :24, :24, :, 3] = value
  levels = watershed.levels_from_logits(logits, cfg)
  _check(decode(levels, *_maps()[1:], cfg), 0)


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize(
  "shape",
  [
    pytest.param((1, 0, 8), id="no rows"),
    pytest.param((1, 8, 0), id="no columns"),
    pytest.param((0, 8, 8), id="no pages"),
  ],
)
def test_maps_without_pixels_have_no_objects(method, shape):
  cfg = decode_config.DecodeConfig(method=method, max_detections=SLOTS)
  found = decode(
    np.zeros((*shape, 1), np.float32),
    np.zeros((*shape, 1, 2), np.float32),
    np.zeros((*shape, 1, 3), np.float32),
    cfg,
  )
  assert found.boxes_yxyx.shape == (shape[0], SLOTS, 4)
  assert found.count.shape == shape[:1]
  assert not found.valid.any()


@pytest.mark.parametrize("cutoff", [-1.0, 19.0, 25.0, float("nan")])
def test_cutoffs_beyond_the_levels_name_the_key(cutoff):
  with pytest.raises(errors.InputError, match=r"decode\.energy_cutoff"):
    decode_config.DecodeConfig(energy_cutoff=cutoff)
