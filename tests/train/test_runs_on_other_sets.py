"""Runs judged on other data sets."""

import json
import shutil

import pytest
import run_helpers

from dwd_jax import main

# All pages are padded to one size, for which the network is compiled once.
PADDED = "--config.predict.page_multiple=512"


def _curves(workdir):
  """{(name, step): mAP}, in the order of the file."""
  lines = (workdir / "eval" / "curves.jsonl").read_text().splitlines()
  points = [json.loads(line) for line in lines]
  return {(p["name"], p["step"]): p["mAP"] for p in points}


@pytest.mark.slow
def test_other_sets_are_watched_during_the_training(
  smoke_run, tmp_path, repo_dir, parse, capsys
):
  """Trained on generated pages, watched on made-up ones of two other sets."""
  builders = repo_dir / "tfds_builders"
  shutil.copytree(smoke_run / "checkpoints" / "8", tmp_path / "checkpoints/8")
  parse(
    *run_helpers.flags(
      tmp_path,
      PADDED,
      f"--config.data.data_dir={smoke_run / 'data'}",
      "--config.data.test_split=",
      "--config.data.max_pages=1",
      "--config.train.eval_every=9",
      "--config.eval.on_during_training=True",
      "--config.eval.on[0].builder=muscima_pp",
      "--config.eval.on[0].builder_config=v1.0",
      f"--config.eval.on[0].manual_dir={builders / 'muscima_pp/dummy_data'}",
      "--config.eval.on[2].builder=deepscores",
      f"--config.eval.on[2].manual_dir={builders / 'deepscores/dummy_data'}",
      "--config.eval.on[2].name=prints",
      "--config.eval.on[2].eval_scale=0.1",
    )
  )
  main.main([])
  said = capsys.readouterr().out
  names = ["val", "muscima_pp-test", "prints"]
  # The test split is not looked at.
  assert sorted(p.stem for p in (tmp_path / "eval").glob("*.json")) == sorted(
    [*names, "predictions"]
  )
  curves = _curves(tmp_path)
  assert list(curves) == [(name, step) for step in (9, 11) for name in names]
  for name in names:
    scores = json.loads((tmp_path / "eval" / f"{name}.json").read_text())
    assert scores["checkpoint_step"] == 11
    assert scores["mAP"] == curves[name, 11]
    assert said.count(f"\n{name}: mAP ") == 2
  board = b"".join(p.read_bytes() for p in (tmp_path / "tensorboard").iterdir())
  for name in names:
    assert board.count(f"{name}/mAP".encode()) >= 2


def test_a_run_is_judged_on_another_data_set(
  smoke_run, tmp_path, repo_dir, parse, capsys
):
  """Trained on generated pages, judged on made-up MUSCIMA++ v1.0 pages."""
  shutil.copytree(smoke_run / "checkpoints", tmp_path / "checkpoints")
  pages = repo_dir / "tfds_builders/muscima_pp/dummy_data"
  parse(
    *run_helpers.flags(
      tmp_path,
      PADDED,
      "--mode=eval",
      f"--config.data.data_dir={smoke_run / 'data'}",
      "--config.data.test_split=val",
      "--config.data.max_pages=1",
      "--config.eval.on[0].builder=muscima_pp",
      "--config.eval.on[0].builder_config=v1.0",
      f"--config.eval.on[0].manual_dir={pages}",
    )
  )
  main.main([])
  said = capsys.readouterr().out
  assert "muscima_pp-test: 48 classes in common" in said
  own = json.loads((tmp_path / "eval" / "val.json").read_text())
  other = json.loads((tmp_path / "eval" / "muscima_pp-test.json").read_text())
  assert "vocabularies" not in own
  # The calibration of the training is used, not made anew.
  assert "calibrated" not in said
  trained = json.loads((smoke_run / "eval" / "val.json").read_text())
  for scores in (own, other):
    assert scores["calibrated"] is True
    assert scores["threshold"] == trained["threshold"]
  assert other["vocabularies"] == ["deepscores_v1", "muscima_v1"]
  assert (other["dataset"], other["split"]) == ("muscima_pp", "test")
  assert other["checkpoint_step"] == own["checkpoint_step"]
  assert len(other["per_class"]) == 48
  assert other["per_class"]["noteheadBlack"]["num_objects"] > 0
  assert other["num_objects"] > 0
  found = json.loads(
    (tmp_path / "eval" / "muscima_pp-test" / "predictions.json").read_text()
  )
  assert len(found) == other["num_detections"]
  board = b"".join(p.read_bytes() for p in (tmp_path / "tensorboard").iterdir())
  assert b"muscima_pp-test/" in board
