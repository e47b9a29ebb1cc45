"""Runs that adapt a trained one to pages without boxes."""

import json
import shutil

import pytest
import run_helpers

from dwd_jax import main


def _flags(smoke_run, workdir, *more):
  return run_helpers.flags(
    workdir,
    "--mode=train",
    f"--config.data.data_dir={smoke_run / 'data'}",
    "--config.pretraining.level=run",
    f"--config.pretraining.path={smoke_run}",
    f"--config.adapt.pages={smoke_run / 'data' / 'engraved'}",
    "--config.adapt.every=2",
    "--config.adapt.patience=0",
    "--config.adapt.scales=(0.9,)",
    "--config.adapt.min_score=0.02",
    "--config.adapt.ignore_score=0.01",
    "--config.eval.calibrate=False",
    *more,
  )


@pytest.mark.slow
def test_a_run_adapts_and_goes_on(smoke_run, tmp_path, parse, capsys):
  for steps in (3, 5):
    more = f"--config.adapt.steps={steps}", "--config.train.accept_changes=True"
    parse(*_flags(smoke_run, tmp_path, *more))
    main.main([])
  said = capsys.readouterr().out
  assert "Adaptation to 5 pages of" in said
  assert "Continuing at step 3 of 5" in said
  lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
  agreement = {
    line["step"]: line["agreement"]
    for line in map(json.loads, lines)
    if "agreement" in line
  }
  assert list(agreement) == [0, 2, 4]
  assert all(0 <= value <= 1 for value in agreement.values())
  made = {path.name for path in (tmp_path / "adaptation").glob("*.npz")}
  assert made == {"boxes-0.npz", "boxes-2.npz", "boxes-4.npz"}
  assert json.loads((tmp_path / "config.json").read_text())["train"][
    "ema_decay"
  ]


@pytest.mark.slow
def test_a_run_without_calibration_or_of_other_classes_is_refused(
  smoke_run, tmp_path, refusal
):
  newest = smoke_run / "checkpoints" / "11"
  there = tmp_path / "there" / "checkpoints" / "11"
  shutil.copytree(newest, there)
  (there / "calibration.json").unlink()
  path = f"--config.pretraining.path={there}"
  line = refusal(*_flags(smoke_run, tmp_path / "run", path))
  assert f"{there}: not calibrated, so that its scores say little" in line
  more = "--config.data.leave_out=('brace',)"
  line = refusal(*_flags(smoke_run, tmp_path / "run", more))
  assert f"{newest}: has other classes; adapt with the config.data" in line
