"""A search with real runs: scores of a training that goes on."""

import json
import subprocess
import sys

import pytest
import run_helpers


@pytest.mark.slow
def test_a_trial_is_judged_during_its_training(smoke_run, tmp_path):
  flags = "--config=configs/smoke.py --trials=1 --rungs=2 --eta=2 --steps=16"
  flags += " --set=optimizer.learning_rate=log_uniform(1e-3,5e-3)"
  flags += " --config.data.max_pages=1 --config.train.checkpoint_every=100"
  flags += " --config.eval.overlays=0 --config.eval.viewer_pages=0"
  command = [sys.executable, "-m", "launch.sweep", *flags.split()]
  command += [f"--out={tmp_path}"]
  command += [f"--config.data.data_dir={smoke_run / 'data'}"]
  done = subprocess.run(
    command,
    cwd=run_helpers.REPO,
    env=run_helpers.environment(),
    capture_output=True,
    text=True,
    check=False,
  )
  log = (tmp_path / "trial_000/trial.log").read_text()
  assert done.returncode == 0, done.stderr + log
  lines = (tmp_path / "trial_000/metrics.jsonl").read_text().splitlines()
  assert [json.loads(line)["step"] for line in lines] == list(range(1, 17))
  content = json.loads((tmp_path / "sweep.json").read_text())
  (trial,) = content["trials"]
  assert [point["steps"] for point in trial["history"]] == [8, 16]
  scores = json.loads((tmp_path / "trial_000/eval/val.json").read_text())
  assert trial["state"] == "complete"
  assert trial["score"] == scores["mAP"]
  # The pages of the test are never looked at.
  found = (tmp_path / "trial_000/eval").glob("*.json")
  assert sorted(p.name for p in found) == ["predictions.json", "val.json"]
