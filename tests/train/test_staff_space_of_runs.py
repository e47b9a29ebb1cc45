"""What a run knows of its staff space; runs of older versions do not."""

import json

import numpy as np
import pytest
from staff_helpers import staves

from configs import smoke
from dwd_jax.checkpoints.checkpointer import ModelCard
from dwd_jax.core.errors import InputError
from dwd_jax.train import resume, setup
from dwd_jax.train import settings as config_lib


class _Source:
  """Two pages of 18 px staves, one without."""

  folder, split = "", "train"

  def __len__(self):
    return 3

  def image(self, i):
    return staves(18) if i else np.zeros((50, 50), np.uint8)


def test_measured_at_the_scale_of_the_network():
  data_cfg = smoke.get_config().data
  data_cfg.eval_scale = 0.5
  found = setup.resolve_staff_space(data_cfg, _Source())  # pyright: ignore
  assert abs(found / 9 - 1) < 0.02
  data_cfg.staff_space_px = 12.0
  assert setup.resolve_staff_space(data_cfg, _Source()) == 12.0  # pyright: ignore


def _saved(path, config, *missing):
  values = json.loads(config_lib.to_json(config))
  for key in missing:
    section, name = key.split(".")
    del values[section][name]
  path.write_text(json.dumps(values))


def test_a_run_that_knew_nothing_of_staff_spaces_goes_on(tmp_path):
  path, config = tmp_path / "config.json", smoke.get_config()
  _saved(
    path,
    config,
    "data.staff_space_px",
    "data.scale_jitter",
    "data.normalise_staff_space",
    "predict.normalise",
  )
  config.data.staff_space_px = 9.02
  assert resume.check_config(path, config, accept=False) == []
  config.data.scale_jitter = 0.1
  with pytest.raises(InputError, match=r"scale_jitter: 0\.0 -> 0\.1"):
    resume.check_config(path, config, accept=False)


def test_the_staff_space_matters_where_training_pages_are_scaled_to_it(
  tmp_path,
):
  path, config = tmp_path / "config.json", smoke.get_config()
  config.data.normalise_staff_space = True
  config.data.staff_space_px = 9.0
  _saved(path, config)
  config.data.staff_space_px = 10.0
  with pytest.raises(InputError, match=r"staff_space_px: 9\.0 -> 10\.0"):
    resume.check_config(path, config, accept=False)


def test_cards_with_and_without_it_are_of_one_network():
  card = ModelCard(("a",), (0,), {"filters": 8}, {}, 9.02)
  saved = json.loads(json.dumps(card.to_json()))
  assert saved["staff_space_px"] == 9.02
  assert card.difference(saved) is None
  del saved["staff_space_px"]
  assert card.difference(saved) is None
