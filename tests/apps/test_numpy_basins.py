"""The decode in NumPy finds what dwd_jax.decode does, on maps that it knows."""

import dataclasses

import jax
import numpy as np
import pytest

from dwd_jax.apps.export.standalone import numpy_basins
from dwd_jax.decode import decode_config, watershed
from dwd_jax.objectives import targets

_HW, _CLASSES = (96, 120), 4


def _maps(offsets):
  """Perfect maps of a crowd, blurred and with noise; discs cut by the edges."""
  rng = np.random.default_rng(3)
  centers = rng.uniform(0, 1, (40, 2)) * _HW
  centers[:4] = [(0, 5), (95, 60), (50, 119.5), (95, 119)]
  half = rng.uniform(3, 14, (40, 2)) / 2
  boxes = np.concatenate((centers - half, centers + half), 1)
  labels = rng.integers(0, _CLASSES, 40)
  maps = targets.render(
    boxes[None].astype(np.float32),
    labels[None].astype(np.int32),
    np.ones((1, 40), bool),
    np.zeros(_CLASSES, np.int32),
    _HW,
    targets.TargetConfig(),
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


# Caption: settings of the decode; whether pixels know the way to the centre.
SETTINGS = {
  "default": {},
  "default, offsets": {"offsets": True},
  "plain means, offsets, small ones dropped": {
    "size": "mean",
    "offsets": True,
    "min_area_px": 60,
    "energy_cutoff": 1.0,
  },
  "noise counts": {"smooth": 0, "min_saddle_depth": 0.0},
  "basins are joined, one pixel votes": {
    "smooth": 2,
    "min_saddle_depth": 3.0,
    "class_pixels": 1,
  },
  "largest sizes, majority of 25": {
    "size": "max",
    "class_pixels": 25,
    "class_vote": "majority",
  },
  "too few slots": {"max_detections": 16},
  "nothing is high enough": {"energy_cutoff": 17.9, "min_seed_level": 18.9},
}


@pytest.mark.parametrize("caption", SETTINGS)
def test_same_objects(caption):
  options = {"max_detections": 256, **SETTINGS[caption]}
  offsets = options.pop("offsets", False)
  cfg = dataclasses.replace(decode_config.DecodeConfig(), **options)
  energy, sizes, probs = _maps(offsets)

  def at_pixels(values):
    return lambda page, y, x, group: jax.numpy.asarray(values)[y, x]

  @jax.jit
  def decode(levels):
    return watershed.decode_levels(
      levels, at_pixels(sizes), at_pixels(probs), cfg
    )

  wanted = decode(energy[None, :, :, None])
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
