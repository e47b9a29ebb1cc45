"""A finished run judged on another data set, by the program itself."""

import json
import shutil

import run_helpers


def test_a_run_is_judged_on_another_data_set(smoke_run, tmp_path, repo_dir):
  """Trained on generated pages, judged on made-up MUSCIMA++ v1.0 pages."""
  for name in ("checkpoints", "compilation_cache"):
    shutil.copytree(smoke_run / name, tmp_path / name)
  pages = repo_dir / "tfds_builders/muscima_pp/dummy_data"
  done = run_helpers.run(
    tmp_path,
    "--mode=eval",
    f"--config.data.data_dir={smoke_run / 'data'}",
    "--config.data.test_split=val",
    "--config.data.max_pages=1",
    "--config.eval.on.builder=muscima_pp",
    "--config.eval.on.builder_config=v1.0",
    f"--config.eval.on.manual_dir={pages}",
  )
  assert done.returncode == 0, done.stderr
  assert "muscima_pp-test: 48 classes in common" in done.stdout
  own = json.loads((tmp_path / "eval" / "val.json").read_text())
  other = json.loads((tmp_path / "eval" / "muscima_pp-test.json").read_text())
  assert "vocabularies" not in own
  # The calibration of the training is used, not made anew.
  assert "calibrated" not in done.stdout
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
