"""Settings follow from the objects, and flags have the last word."""

import numpy as np
import pytest

from dwd_jax.core.errors import InputError
from dwd_jax.data import box_facts
from dwd_jax.data.box_facts import Objects
from dwd_jax.train import config_file, from_data, open_keys, settings

_CPU = from_data.Machine(on_cpu=True)


def _objects(sizes, *, images=8, hw=(480, 640), apart=40.0, counts=None):
  """A grid of objects on each image; `sizes` is (class, side) of each kind."""
  rng = np.random.default_rng(0)
  counts = counts or [10] * len(sizes)
  labels = np.repeat([c for c, _ in sizes], counts)
  sides = np.repeat([float(s) for _, s in sizes], counts)
  at = np.arange(len(labels))
  columns = max(1, int(hw[1] / apart) - 1)
  centres = apart * (1 + np.stack([at // columns, at % columns], 1))
  jitter = rng.uniform(0.97, 1.03, (images, len(labels), 2))
  return Objects(
    sizes_hw=(sides[:, None] * jitter).reshape(-1, 2),
    labels=np.tile(labels, images).astype(np.int32),
    image_hw=np.tile(np.array([hw]), (images, 1)),
    centres_yx=(centres.astype(np.float32),) * images,
  )


def _chosen(objects, *flags, machine=_CPU, evals=4):
  config = open_keys.copy(config_file.load("configs/boxes.py", flags))
  choices = from_data.fill(config, objects, machine, evals)
  assert not tuple(open_keys.left(config))
  settings.validate(config)
  return config, {c.key: c for c in choices}


def test_open_keys_exist_and_count_as_defaults():
  config = config_file.load("configs/boxes.py")
  assert set(open_keys.left(config)) == {
    *open_keys.OPEN,
    "stages[4].steps",
    "stages[4].patience",
  }
  settings.validate(config)
  assert config.data.eval_scale is None  # it is still open
  config.data.polarity = None
  with pytest.raises(InputError, match=r"data\.polarity is None"):
    settings.validate(config)


# Caption: side of the small class, image, and the scale within limits.
SCALES = {
  "seen well": (16, (480, 640), (1.0, 1.0)),
  "small": (6, (480, 640), (2.6, 2.7)),
  "large": (80, (480, 640), (0.2, 0.2)),
  "tiny on a huge image": (6, (9000, 12000), (0.16, 0.18)),
}


@pytest.mark.parametrize("caption", SCALES)
def test_small_objects_are_large_enough(caption):
  side, hw, (low, high) = SCALES[caption]
  config, found = _chosen(_objects([(0, side), (1, 3 * side)], hw=hw))
  assert low <= config.data.eval_scale <= high
  assert config.data.scales == (config.data.eval_scale,)
  assert f"{side} px" in found["data.eval_scale"].reason


def test_rare_classes_do_not_set_the_scale():
  objects = _objects([(0, 4), (1, 60)], counts=[1, 99])
  config, _ = _chosen(objects)
  assert config.data.eval_scale == pytest.approx(16 / 60, abs=0.01)


def test_crops_and_discs_follow_the_sizes():
  config, found = _chosen(_objects([(0, 16), (1, 100)]))
  assert config.data.crop_hw == (224, 224)
  assert config.targets.large_share == 0.5
  assert config.targets.energy_disc_px == 15
  assert config.groups.num == 1
  assert "factor of 6" in found["targets.large_share"].reason
  config, _ = _chosen(_objects([(0, 16)], apart=6.0))
  assert config.targets.energy_disc_px == 11  # centres are 6 px apart
  assert config.targets.large_share == 0.0
  assert config.data.crop_hw == (160, 160)
  config, found = _chosen(_objects([(0, 16), (1, 17)], apart=1.0))
  assert config.groups.num == 2
  assert "share a centre" in found["groups.num"].reason


def test_slots_hold_the_fullest_crop_and_image():
  config, _ = _chosen(_objects([(0, 16)], counts=[900], apart=16.0))
  assert config.decode.max_detections == 1856
  assert config.data.max_boxes >= 1.25 * (160 / 16) ** 2 - 32
  assert config.data.max_boxes % 32 == 0


def test_runs_are_long_enough_and_stop_by_map():
  few, _ = _chosen(_objects([(0, 16)], images=4))
  many, found = _chosen(_objects([(0, 16)], images=400))
  assert few.stages[-1].steps == 400
  assert many.stages[-1].steps == 3000
  assert many.stages[-1].patience == 4
  assert many.train.eval_every == 300
  assert "400 images" in found["stages[4].steps"].reason
  slow, _ = _chosen(_objects([(0, 16)], images=400), evals=500)
  assert slow.train.eval_every > 300


def test_devices_decide_on_the_network():
  objects = _objects([(0, 16)])
  small, _ = _chosen(objects)
  large, found = _chosen(objects, machine=from_data.Machine(False, 8))
  assert (small.model.backbone_depth, large.model.backbone_depth) == (18, 50)
  assert large.train.batch_size % 8 == 0
  assert found["model.filters"].reason == "a network for accelerators"


def test_flags_have_the_last_word():
  flags = (
    "data.eval_scale=0.5",
    "data.crop_hw=(96,128)",
    "model.class_hidden=0",
    "targets.large_share=0.25",
    "stages[4].steps=7",
    "losses.class_weights=none",
  )
  config, found = _chosen(_objects([(0, 16)]), *flags)
  assert not {flag.partition("=")[0] for flag in flags} & found.keys()
  assert config.data.eval_scale == 0.5
  assert config.data.scales == (0.5,)
  assert config.data.crop_hw == (96, 128)
  assert config.stages[-1].steps == 7
  config, _ = _chosen(_objects([(0, 16)]), "data.scales=(0.5,0.7,1.0)")
  assert config.data.eval_scale == 0.7


def test_images_without_objects_get_settings_too():
  nothing = Objects(
    sizes_hw=np.zeros((0, 2)),
    labels=np.zeros(0, np.int32),
    image_hw=np.array([[1, 1]]),
    centres_yx=(np.zeros((0, 2), np.float32),),
  )
  config, _ = _chosen(nothing)
  assert config.data.eval_scale == 1.0
  assert config.train.batch_size >= 2


def test_one_line_for_each_reason():
  _, found = _chosen(_objects([(0, 16)]))
  lines = from_data.lines(found.values())
  assert len(lines) < len(found)
  (line,) = (x for x in lines if "model.filters" in x)
  assert "model.backbone_depth=18" in line
  assert line.endswith(": a small network, as there are CPUs only")


def test_distances_to_neighbours():
  centres = np.array([[0, 0], [0, 3], [0, 10]], np.float32)
  np.testing.assert_allclose(box_facts.nearest(centres), [3, 3, 7])
