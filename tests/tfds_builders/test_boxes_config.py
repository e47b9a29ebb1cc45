"""configs/boxes.py trains on made-up folders without a line of code."""

import json
import os
import subprocess
import sys

import boxes_helpers

_SHRUNK = {
  "model.backbone_width": 8,
  "model.filters": 8,
  "model.class_hidden": 0,
  "model.decoder_norm": False,
  "data.crop_hw": "(64,64)",
  "data.max_boxes": 16,
  "losses.class_pixels": 64,
  "train.batch_size": 2,
  "train.log_every": 1,
  "decode.max_detections": 64,
  "eval.overlays": 1,
  "data.eval_split": "test",
  "losses.class_weights": "none",
  "losses.energy_smoothing": 0.0,
}


def test_one_command_trains_and_evaluates(repo_dir, tmp_path):
  boxes_helpers.write_coco(tmp_path / "mine", boxes_helpers.pages(4))
  steps = {f"stages[{i}].steps": n for i, n in enumerate((0, 0, 0, 0, 2))}
  done = subprocess.run(
    [
      *(sys.executable, "-m", "dwd_jax.main", f"--workdir={tmp_path / 'run'}"),
      "--config=configs/boxes.py:runlocal",
      f"--config.data.manual_dir={tmp_path / 'mine'}",
      *(f"--config.{k}={v}" for k, v in (_SHRUNK | steps).items()),
    ],
    cwd=repo_dir,
    env={
      **os.environ,
      "JAX_PLATFORMS": "cpu",
      "XLA_FLAGS": "--xla_backend_optimization_level=0",
    },
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stdout + done.stderr
  assert "(train 2, val 1, test 1 pages)" in done.stdout
  assert "1 pages put into val by their name" in done.stdout
  lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
  assert [json.loads(line)["step"] for line in lines] == [1, 2]
  scores = json.loads((tmp_path / "run/eval/test.json").read_text())
  assert scores["num_objects"] == 6
  assert set(scores["per_class"]) == set(boxes_helpers.CLASSES)
  truth = json.loads((tmp_path / "run/eval/test/truth.json").read_text())
  drawn = {
    f"page{i}.png": page for i, page in enumerate(boxes_helpers.pages(4))
  }
  shapes = drawn[truth["images"][0]["file_name"]].shapes
  assert [a["bbox"] for a in truth["annotations"]] == [
    [x0, y0, x1 - x0, y1 - y0] for _, (y0, x0, y1, x1) in shapes
  ]
  overlays = list((tmp_path / "run/eval/test").glob("page*-overlay.png"))
  assert len(overlays) == 1
