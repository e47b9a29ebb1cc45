"""Discs of large objects, beside a plain rendering by NumPy."""

import functools

import jax
import numpy as np
import pytest

from dwd_jax.core.errors import InputError
from dwd_jax.objectives import targets

_HW = (96, 160)
_BOXES = np.float32(
  [
    [20, 10, 41, 150],  # a slur
    [10, 120, 90, 127],  # a brace
    [40, 30, 50, 41],  # a small one
    [22, 70, 32, 80],  # a small one on the slur
    [60, 10, 64, 100],  # one of another group, on nothing
    [0, 0, 0, 0],
  ]
)
_LABELS = np.int32([0, 0, 1, 1, 2, 0])
_MASK = np.array([1, 1, 1, 1, 1, 0], bool)
_GROUPS = np.int32([0, 0, 1])


@functools.cache
def _rendered(share=0.5):
  cfg = targets.TargetConfig(large_share=share)
  render = jax.jit(lambda *args: targets.render(*args, _GROUPS, _HW, cfg))
  maps = render(_BOXES[None], _LABELS[None], _MASK[None])
  return jax.tree.map(lambda x: np.asarray(x[0]), maps)


def _distance(box, share, least_px):
  """From the centre of an oval, 1 at its edge."""
  y, x = np.mgrid[: _HW[0], : _HW[1]] + 0.5
  radii = [
    max(share * (box[i + 2] - box[i]), least_px - 1) / 2 for i in range(2)
  ]
  cy, cx = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
  return np.hypot((y - cy) / radii[0], (x - cx) / radii[1])


def test_energy_is_that_of_ovals():
  wanted = np.zeros((*_HW, 2), np.int32)
  for box, label in zip(_BOXES[:5], _LABELS, strict=False):
    far = _distance(box, 0.5, 17)
    level = np.round(19 * np.clip(1 - far, 0, 1)).astype(int)
    group = _GROUPS[label]
    wanted[..., group] = np.maximum(wanted[..., group], level)
  # float32 rounds the last digit of a few levels otherwise.
  off = np.abs(_rendered().energy - wanted)
  assert off.max() <= 1 and (off > 0).mean() < 1e-3
  assert (_rendered(0.0).energy <= _rendered().energy).all()


def test_small_discs_lie_above_large_ones():
  fixed, maps = _rendered(0.0), _rendered()
  has = fixed.owner >= 0
  np.testing.assert_array_equal(maps.owner[has], fixed.owner[has])
  for i, group in ((0, 0), (1, 0), (4, 1)):
    far = _distance(_BOXES[i], 0.25, 9)
    alone = (far < 0.99) & ~has[..., group]
    for j in {0, 1} - {i}:  # and nearer than to the other one
      alone &= far < _distance(_BOXES[j], 0.25, 9)
    assert alone.sum() > 50
    assert (maps.owner[..., group][alone] == i).all()
    assert (maps.classes[..., group][alone] == _LABELS[i] + 1).all()
    size = _BOXES[i, 2:] - _BOXES[i, :2]
    np.testing.assert_allclose(
      maps.sizes_px[..., group, :][alone], size[None].repeat(alone.sum(), 0)
    )
    center = (_BOXES[i, :2] + _BOXES[i, 2:]) / 2
    y, x = np.argwhere(alone)[0]
    wanted = center - (y + 0.5, x + 0.5)
    np.testing.assert_allclose(maps.offsets_px[y, x, group], wanted)


@pytest.mark.parametrize(
  "options", [{"large_share": 1.5}, {"energy_disc": "box"}]
)
def test_bad_shares_are_named(options):
  with pytest.raises(InputError, match=r"targets\.large_share"):
    targets.TargetConfig(**{"large_share": 0.5} | options)


def test_unknown_objects_are_as_large_as_others():
  render = jax.jit(
    lambda energy, cfg: targets.render_unknown(
      _BOXES[None],
      _LABELS[None],
      _MASK[None],
      _GROUPS,
      energy,
      cfg,
    ),
    static_argnums=1,
  )
  nothing = np.zeros((1, *_HW, 2), np.int32)
  unknown = render(nothing, targets.TargetConfig(large_share=0.5))
  np.testing.assert_array_equal(unknown[0], _rendered().energy > 0)
