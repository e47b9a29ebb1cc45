"""The decode in NumPy finds what dwd_jax.decode does, on maps that it knows."""

import functools

import jax
import numpy as np
import pytest

from dwd_jax.apps.export.standalone import numpy_basins
from dwd_jax.decode import decode_config, watershed
from dwd_jax.objectives import targets

_HW, _CLASSES = (96, 120), 4


@jax.jit
def _render(boxes, labels, mask):
  groups = np.zeros(_CLASSES, np.int32)
  return targets.render(
    boxes, labels, mask, groups, _HW, targets.TargetConfig()
  )


def _maps(offsets):
  """Perfect maps of a crowd, blurred and with noise; discs cut by the edges."""
  rng = np.random.default_rng(3)
  centers = rng.uniform(0, 1, (40, 2)) * _HW
  centers[:4] = [(0, 5), (95, 60), (50, 119.5), (95, 119)]
  half = rng.uniform(3, 14, (40, 2)) / 2
  boxes = np.concatenate((centers - half, centers + half), 1)
  labels = rng.integers(0, _CLASSES, 40)
  maps = _render(
    boxes[None].astype(np.float32),
    labels[None].astype(np.int32),
    np.ones((1, 40), bool),
  )
  energy = np.asarray(maps.energy[0, :, :, 0], np.float32)
  energy = np.clip(energy + rng.normal(0, 0.4, _HW), 0, 19).astype(np.float32)
  sizes = np.asarray(maps.sizes_px[0, :, :, 0], np.float32)
  probs = rng.dirichlet(np.ones(_CLASSES), _HW).astype(np.float32)
  classes = np.asarray(maps.classes[0, :, :, 0])
  probs = (probs + 3 * np.eye(_CLASSES + 1)[classes][..., 1:]) / 4
  if offsets:
    way = rng.normal(0, 2, (*_HW, 2)).astype(np.float32)
    sizes = np.concatenate([sizes, way], -1)
  return energy, sizes, probs.astype(np.float32)


@functools.partial(jax.jit, static_argnames="cfg")
def _decode(energy, sizes, probs, cfg):
  def at_pixels(values):
    return lambda page, y, x, group: values[y, x]

  return watershed.decode_levels(
    energy[None, :, :, None], at_pixels(sizes), at_pixels(probs), cfg
  )


_PLAIN = {"size": "mean", "min_area_px": 120, "energy_cutoff": 1.0}
# Caption: settings of the decode; whether pixels know the way to the centre;
# the share of the energy that is left. Each is compiled, so they are few.
SETTINGS = {
  "default": ({}, False, 1),
  "plain means, offsets, small ones dropped": (_PLAIN, True, 1),
  "nothing is high enough": (_PLAIN, True, 0.2),
  "noise counts, largest sizes, majority of 25": (
    {
      "smooth": 0,
      "min_saddle_depth": 0.0,
      "size": "max",
      "class_pixels": 25,
      "class_vote": "majority",
    },
    False,
    1,
  ),
  "basins are joined, offsets, one pixel votes, too few slots": (
    {
      "smooth": 2,
      "min_saddle_depth": 3.0,
      "class_pixels": 1,
      "max_detections": 16,
    },
    True,
    1,
  ),
}


@pytest.mark.parametrize("caption", SETTINGS)
def test_same_objects(caption):
  options, offsets, share = SETTINGS[caption]
  cfg = decode_config.DecodeConfig(**{"max_detections": 256, **options})
  energy, sizes, probs = _maps(offsets)
  energy *= np.float32(share)
  wanted = _decode(energy, sizes, probs, cfg)
  valid = np.asarray(wanted.valid[0])
  boxes, labels, scores = numpy_basins.decode_plane(
    energy,
    lambda at: sizes[np.divmod(at, _HW[1])],
    lambda at: probs[np.divmod(at, _HW[1])],
    cfg,
  )
  assert (len(boxes) > 10) == (caption != "nothing is high enough")

  def table(boxes, labels, scores):
    rows = np.column_stack((boxes, labels, scores))
    return rows[np.lexsort(np.round(rows[:, :2], 2).T)]

  np.testing.assert_allclose(
    table(boxes, labels, scores),
    table(*(np.asarray(x[0])[valid] for x in _fields(wanted))),
    atol=2e-3,
  )


def _fields(found):
  return found.boxes_yxyx, found.labels, found.scores
