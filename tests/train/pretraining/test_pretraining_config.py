"""What `config.pretraining` may say."""

import re

import pytest

from configs import engraved
from dwd_jax.core.errors import InputError
from dwd_jax.train import settings as config_lib
from dwd_jax.train.pretraining_config import PretrainingConfig


def test_the_default_is_none():
  settings = config_lib.validate(engraved.get_config())
  assert settings.pretraining == PretrainingConfig()
  assert settings.pretraining.level == "none"


@pytest.mark.parametrize(
  ("level", "path"),
  [
    ("class", ""),
    ("class", "folder"),
    ("semseg", ""),
    ("imagenet", "resnet18.pth"),
    ("run", "runs/deepscores"),
    ("packaged", ""),
  ],
)
def test_each_level_is_one_line(level, path):
  config = engraved.get_config()
  config.pretraining.level, config.pretraining.path = level, path
  assert config_lib.validate(config).pretraining.level == level


# Caption: values, what the line says.
BAD = {
  "unknown level": ({"level": "imagnet"}, "level is 'imagnet'; use one of"),
  "imagenet without a file": (
    {"level": "imagenet"},
    "path is empty; for level imagenet it is a .pth or .safetensors",
  ),
  "run without a folder": ({"level": "run"}, "for level run it is the workdir"),
  "a path that nobody reads": (
    {"level": "semseg", "path": "x"},
    "path is set, but level semseg reads no files",
  ),
  "a path to the packaged one": (
    {"level": "packaged", "path": "x"},
    "path is set, but level packaged reads no files",
  ),
  "a path and no level": ({"path": "x"}, "path is set, but level none"),
  "no steps": ({"level": "class", "steps": 0}, "steps must be at least 1"),
  "no batch": ({"batch_size": 0}, "batch_size must be at least 1"),
  "backwards": ({"learning_rate": -1.0}, "learning_rate must be 0 or more"),
  "odd crops": ({"crop_hw": (64, 50)}, "crop_hw (64, 50): use (height, width)"),
  "a side missing": ({"crop_hw": (64,)}, "multiples of 32, or ()"),
}


@pytest.mark.parametrize("caption", BAD)
def test_mistakes_are_one_line(caption):
  values, line = BAD[caption]
  config = engraved.get_config()
  config.pretraining.update(values)
  with pytest.raises(InputError, match=re.escape(line)):
    config_lib.validate(config)


def test_crops_are_small_for_symbols_and_the_detectors_for_pixels():
  assert PretrainingConfig("class").crop_size((480, 480)) == (64, 64)
  assert PretrainingConfig("semseg").crop_size((480, 320)) == (480, 320)
  chosen = PretrainingConfig("class", crop_hw=(96, 32))
  assert chosen.crop_size((480, 480)) == (96, 32)
