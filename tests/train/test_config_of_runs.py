"""The config of a run that goes on: what may change, and old ones."""

import json

import jax
import numpy as np
import pytest

from dwd_jax.core import config_sections
from dwd_jax.core.errors import InputError
from dwd_jax.decode.decode_config import DecodeConfig
from dwd_jax.models import dwd
from dwd_jax.objectives import detection_loss
from dwd_jax.train import resume, settings, setup


def _saved(tmp_path, config):
  path = tmp_path / "config.json"
  path.write_text(settings.to_json(config))
  return path


@pytest.mark.parametrize(
  ("key", "value"), [("data.eval_split", "test"), ("train.validate_batches", 2)]
)
def test_what_validations_are_made_of_counts_where_they_end_stages(
  tmp_path, key, value
):
  config = settings.default()
  config.stages[1].patience = 3
  path = _saved(tmp_path, config)
  config.update_from_flattened_dict({key: value})
  with pytest.raises(InputError, match=rf"another config: {key}: .* -> "):
    resume.check_config(path, config, accept=False)
  assert len(resume.check_config(path, config, accept=True)) == 1


def test_else_validations_may_change(tmp_path):
  config = settings.default()
  path = _saved(tmp_path, config)
  config.data.eval_split, config.train.validate_batches = "test", 2
  assert resume.check_config(path, config, accept=False) == []


def test_a_stage_of_an_older_version_is_filled_up(tmp_path):
  config = settings.default()
  old = json.loads(settings.to_json(config))
  for stage in old["stages"]:
    del stage["patience"]
  path = tmp_path / "config.json"
  path.write_text(json.dumps(old))
  assert resume.check_config(path, config, accept=False) == []
  config.stages[1].patience = 3
  changes = resume.check_config(path, config, accept=True)
  assert changes == ["stages[1].patience: 0 -> 3"]


def test_checkpoints_without_a_loss_are_told_from_damaged_ones(
  tmp_path, monkeypatch
):
  config = settings.default()
  cfg = settings.model_config(config, num_classes=2, num_groups=1)
  run = setup.Run(
    config=config,
    settings=settings.validate(config),
    workdir=tmp_path,
    data_dir=tmp_path,
    class_names=("a", "b"),
    vocabulary="",
    group_of_class=(0, 0),
    model=dwd.make_model(cfg),
    mesh=jax.sharding.Mesh(np.array(jax.devices()[:1]), ("data",)),
  )
  saved = json.loads(json.dumps(run.card.to_json()))
  assert run.card.difference(saved) is None
  del saved["training"]["further_losses"]  # as older versions wrote it
  assert run.card.difference(saved) is None
  monkeypatch.setitem(detection_loss.LOSSES, "more", None)  # pyright: ignore
  wanted = "training: further_losses is None there and ['more'] here"
  assert run.card.difference(saved) == wanted


def test_a_section_of_an_older_version_is_filled_up():
  old = json.loads(settings.to_json(settings.default()))["decode"]
  del old["suppress_iou"]
  old["energy_cutoff"] = 3
  found = config_sections.read(
    DecodeConfig, old, "decode", num_energy_levels=30
  )
  assert found == DecodeConfig(energy_cutoff=3.0, num_energy_levels=30)


def test_a_section_of_another_program_is_refused():
  with pytest.raises(InputError, match=r"unknown key 'decode\.nms'; known:"):
    config_sections.read(DecodeConfig, {"nms": 0.5}, "decode")
