"""configs/boxes.py trains on a made-up folder without a line of code."""

import json

import boxes_helpers
import pytest

from dwd_jax import main

_SHRUNK = {
  "model.backbone_depth": 10,
  "model.backbone_width": 8,
  "model.filters": 8,
  "model.class_hidden": 0,
  "model.decoder_norm": False,
  "data.crop_hw": "(64,64)",
  "data.max_boxes": 16,
  "losses.class_pixels": 64,
  "train.batch_size": 2,
  "train.log_every": 1,
  "losses.class_weights": "none",
  "losses.energy_smoothing": 0.0,
  # What takes long to compile.
  "targets.energy_strides": "(1,)",
  "targets.size_strides": "(1,)",
  "eval.calibrate": False,
}


@pytest.mark.slow
def test_one_command_trains(parse, capsys, tmp_path):
  boxes_helpers.write_coco(tmp_path / "mine", boxes_helpers.pages(4))
  steps = {f"stages[{i}].steps": n for i, n in enumerate((0, 0, 0, 0, 2))}
  parse(
    f"--workdir={tmp_path / 'run'}",
    "--config=configs/boxes.py:runlocal",
    "--mode=train",
    f"--config.data.manual_dir={tmp_path / 'mine'}",
    *(f"--config.{k}={v}" for k, v in (_SHRUNK | steps).items()),
  )
  main.main([])
  said = capsys.readouterr().out
  assert "(train 2, val 1, test 1 images; 24 objects of" in said
  assert "1 images put into val by their name" in said
  lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
  assert [json.loads(line)["step"] for line in lines] == [1, 2]
  config = json.loads((tmp_path / "run/config.json").read_text())
  assert [name for name, _ in config["groups"]["by_class"]] == [
    *boxes_helpers.CLASSES
  ]
  assert (tmp_path / "run/checkpoints/2").is_dir()
