"""Which calibration a checkpoint gets: stored, made, or none."""

import types
from typing import Any

import numpy as np
import pytest
from metric_helpers import judge

from dwd_jax.core import box_index
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageBoxes
from dwd_jax.decode.decode_config import DecodeConfig
from dwd_jax.metrics import calibration as calibration_lib
from dwd_jax.predict.predict_config import PredictConfig
from dwd_jax.train import run_evaluation
from dwd_jax.train.settings import default

STATE: Any = types.SimpleNamespace(step=np.int32(7))
NAMES = ("clef", "rest")


class _FakeRun:
  """As much of a run as calibrating looks at; it has training boxes alone."""

  def __init__(self, workdir, **settings):
    self.config = default()
    self.config.data.builder = "made_up"
    self.class_names = NAMES
    self.settings = types.SimpleNamespace(
      decode=DecodeConfig(**settings), predict=PredictConfig()
    )
    self.workdir = workdir
    (workdir / "checkpoints" / "7").mkdir(parents=True, exist_ok=True)

  def source(self, split):
    if split == "train":
      start = 20 * np.arange(40)
      boxes = np.stack([start, start * 0, start + 9, start * 0 + 9], 1)
      index = box_index.BoxIndex(
        boxes_yxyx=boxes.astype(np.float32),
        labels=np.zeros(40, np.int32),
        page=np.arange(40) // 20,
        page_hw=np.full((2, 2), 800),
        filenames=("0.png", "1.png"),
      )
      return types.SimpleNamespace(box_index=lambda: index)
    raise InputError(f"{split}: no such split; there is train")


def fake_run(workdir, **settings) -> Any:
  return _FakeRun(workdir, **settings)


def pages(count=3):
  """Truth and detections, half of which are right."""
  boxes = np.array([[0, 0, 9, 9], [20, 20, 29, 29]], np.float32)
  labels, scores = np.array([0, 1]), np.array([0.75, 0.5])
  names = [f"{i}.png" for i in range(count)]
  hw = (40, 40)
  return (
    [PageBoxes(name, hw, boxes[:1], labels[:1]) for name in names],
    [PageBoxes(name, hw, boxes, labels, scores) for name in names],
  )


def _made(run):
  make = run_evaluation.calibration_of_checkpoint(run, STATE)
  assert callable(make)
  truth, found = pages()
  return make(judge(truth, found).judged(), len(truth))


def test_what_was_made_is_found_again(tmp_path, capsys):
  made = _made(fake_run(tmp_path))
  assert (
    "Scores calibrated on 3 pages (6 detections)" in capsys.readouterr().out
  )
  again = fake_run(tmp_path, on="host")  # where it runs changes no score
  found = run_evaluation.calibration_of_checkpoint(again, STATE)
  assert isinstance(found, calibration_lib.Calibration)
  assert found.point == made.point
  assert found.made_with == made.made_with
  assert found.made_with["scales"] == [0.5]
  assert found.made_with["decode"]["smooth"] == DecodeConfig().smooth
  known = found.contradictions  # of the training boxes
  assert known is not None
  assert known.counts.tolist() == [40, 0]
  assert np.isfinite(known.limits()).tolist() == [[True, False], [False] * 2]


def test_other_settings_of_the_decode_need_another_one(tmp_path, capsys):
  _made(fake_run(tmp_path))
  other = fake_run(tmp_path, energy_cutoff=2.0)
  made = _made(other)
  assert "calibration.json: of other settings" in capsys.readouterr().out
  assert made.made_with["decode"]["energy_cutoff"] == 2.0
  found = run_evaluation.calibration_of_checkpoint(other, STATE)
  assert isinstance(found, calibration_lib.Calibration)


# Caption: key of config.eval and its value.
RAW = {"by config": ("calibrate", False), "legacy": ("protocol", "legacy")}


@pytest.mark.parametrize("caption", RAW)
def test_scores_stay_raw(caption, tmp_path, capsys):
  run = fake_run(tmp_path)
  _made(run)
  capsys.readouterr()
  key, value = RAW[caption]
  run.config.eval[key] = value
  assert run_evaluation.calibration_of_checkpoint(run, STATE) is None
  assert not capsys.readouterr().out


def test_nothing_is_made_on_the_test_split(tmp_path, capsys):
  run = fake_run(tmp_path)
  run.config.data.eval_split = "test"
  assert run_evaluation.calibration_of_checkpoint(run, STATE) is None
  said = capsys.readouterr().out
  assert said.startswith("Scores are not calibrated: data.eval_split is the")
  assert not (tmp_path / "checkpoints/7/calibration.json").exists()
  # What was made before the test split was named is of other pages.
  run.config.data.eval_split, run.config.data.test_split = "val", "val"
  made = fake_run(tmp_path)
  _made(made)
  assert run_evaluation.calibration_of_checkpoint(run, STATE) is not None


def test_a_training_without_validation_pages_ends_all_the_same(
  tmp_path, capsys
):
  run_evaluation.calibrate(fake_run(tmp_path), STATE)
  assert capsys.readouterr().out == (
    "Scores are not calibrated: val: no such split; there is train\n"
  )


def test_damage_is_said(tmp_path):
  run = fake_run(tmp_path)
  path = tmp_path / "checkpoints/7/calibration.json"
  path.write_text("{")
  with pytest.raises(InputError, match=r"7/calibration\.json: damaged"):
    run_evaluation.calibration_of_checkpoint(run, STATE)
