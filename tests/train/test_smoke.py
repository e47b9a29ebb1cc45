"""The files of a run, as the command-line contract promises them."""

import json
import pathlib
import re
import shutil
import struct

import cv2
import ml_collections
import numpy as np
import pytest
import run_helpers

from configs import smoke
from dwd_jax.checkpoints import finished_run
from dwd_jax.metrics import json_results
from dwd_jax.train import settings as config_lib

STEPS = 11
STAGES = ["energy"] * 2 + ["class"] * 2 + ["box"] * 2 + ["energy_again"]
STAGES += ["combined"] * 4


def _json(path: pathlib.Path):
  def refuse(name):
    raise AssertionError(f"{path.name} holds {name}, which is not JSON")

  return json.loads(path.read_text(), parse_constant=refuse)


def test_the_config_is_kept_with_what_was_resolved(smoke_run):
  config = ml_collections.ConfigDict(_json(smoke_run / "config.json"))
  settings = config_lib.validate(config)
  given = smoke.get_config()
  given.data.staff_space_px = config.data.staff_space_px
  given.data.polarity = config.data.polarity
  assert config.data.polarity == "dark"
  given.data.kind, given.data.channels = "document", "1"  # as is found
  given.groups.by_class = tuple(map(tuple, config.groups.by_class))
  assert settings == config_lib.validate(given)
  assert 8.5 < config.data.staff_space_px < 9.5  # 9, and 5 % more or less
  groups = dict(map(tuple, config.groups.by_class))
  assert len(groups) == 124
  assert set(groups.values()) == {0, 1}


def test_the_detector_of_the_run_knows_how_pages_are_read(smoke_run):
  found = finished_run.weights_of_run(smoke_run)
  assert found.polarity == "dark"
  assert 8.5 < found.staff_space_px < 9.5


def test_metrics_have_a_line_for_every_step(smoke_run):
  text = (smoke_run / "metrics.jsonl").read_text()
  lines = [json.loads(line) for line in text.splitlines()]
  assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
  assert [line["stage"] for line in lines] == STAGES
  for line in lines:
    assert {"loss_energy", "loss_class", "loss_box"} <= set(line)
    assert line["examples_per_second"] > 0
    assert 0 <= line["input_wait_share"] <= 1
    assert np.isfinite(line["loss"])
    assert line["gradient_norm"] > 0


def test_checkpoints_are_whole(smoke_run):
  found = {p.name for p in (smoke_run / "checkpoints").iterdir()}
  assert found == {"8", "10", "11"}  # the last three


def _tags(path: pathlib.Path) -> set[str]:
  """Names of the curves and pictures in an event file.

  A record is its length, a checksum, the data and another checksum; the data
  holds the names as plain text.
  """
  data, tags = path.read_bytes(), set()
  while data:
    (size,) = struct.unpack("<Q", data[:8])
    event = data[12 : 12 + size]
    for name in (b"loss_energy", b"val/mAP_50", b"-overlay", b"-energy"):
      if name in event:
        tags.add(name.decode())
    data = data[16 + size :]
  return tags


def test_tensorboard_gets_curves_scores_and_pictures(smoke_run):
  files = list((smoke_run / "tensorboard").glob("events.out.tfevents.*"))
  assert files
  assert set().union(*map(_tags, files)) == {
    "loss_energy",
    "val/mAP_50",
    "-overlay",
    "-energy",
  }


@pytest.mark.parametrize("split", ["val", "test"])
def test_every_split_has_its_scores(smoke_run, split):
  folder = smoke_run / "eval"
  scores = _json(folder / f"{split}.json")
  assert list(scores) == list(json_results.SUMMARY)
  assert scores["dataset"] == "deepscores"
  assert scores["split"] == split
  assert scores["checkpoint_step"] == STEPS
  assert scores["num_pages"] == 2
  assert scores["num_objects"] > 50
  assert scores["seconds_per_page"] > 0
  assert len(scores["per_class"]) == 124
  counts = [c["num_objects"] for c in scores["per_class"].values()]
  assert sum(counts) == scores["num_objects"]
  results = _json(folder / split / "predictions.json")
  assert len(results) == scores["num_detections"]
  for result in results:
    assert set(result) == {"image_id", "category_id", "bbox", "score"}
  truth = _json(folder / split / "truth.json")
  assert len(truth["annotations"]) == scores["num_objects"]


def test_the_calibration_lies_with_the_checkpoint(smoke_run):
  kept = _json(smoke_run / "checkpoints" / str(STEPS) / "calibration.json")
  assert kept["num_pages"] == 2
  assert kept["made_with"]["split"] == "val"
  for split in ("val", "test"):
    scores = _json(smoke_run / "eval" / f"{split}.json")
    assert scores["calibrated"] is True
    assert scores["threshold"] == kept["threshold"]
    assert (smoke_run / "eval" / split / "reliability.png").is_file()
  # Evaluations during the training have no checkpoint of their own.
  found = (smoke_run / "checkpoints").glob("*/calibration.json")
  assert [path.parent.name for path in found] == [str(STEPS)]


def test_the_lists_of_the_paper_lie_beside_them(smoke_run):
  for i in range(50, 100, 5):
    text = (smoke_run / "eval" / f"res-{i / 100:g}.txt").read_text()
    assert "noteheadBlack" in text
    assert "Mean Average Precision: " in text


# After a few steps the energy is low nearly everywhere, and its colour pale.
@pytest.mark.parametrize(("kind", "colour"), [("overlay", 60), ("energy", 10)])
def test_pictures_show_the_pages(smoke_run, kind, colour):
  found = sorted((smoke_run / "eval").glob(f"*/*-{kind}.png"))
  assert len(found) == 4  # two pages of two splits
  for path in found:
    picture = cv2.imread(str(path))
    assert picture is not None
    assert min(picture.shape[:2]) >= 400
    # Paper, ink and colours.
    assert picture.max() > 240
    assert (picture.max(-1) < 200).mean() > 0.02
    saturation = picture.max(-1).astype(int) - picture.min(-1)
    assert (saturation > colour).mean() > 0.0005


def test_the_run_says_what_it_did_and_where_to_look(smoke_run):
  said = (smoke_run.parent / "smoke_run.out").read_text()
  assert "Generated 6 pages" in said
  assert "Energy groups 0: " in said
  assert f"step {STEPS}/{STEPS} combined: " in said
  assert f"Look at {smoke_run / 'eval'}" in said
  assert f"tensorboard --logdir={smoke_run / 'tensorboard'}" in said
  # Nothing from the libraries.
  errors = (smoke_run.parent / "smoke_run.err").read_text().splitlines()
  assert [e for e in errors if not e.startswith("page ")] == []
  table = (smoke_run / "parameters.txt").read_text()
  assert "backbone/stem/kernel" in table


# Caption: flags, what the line says. Another run reads the checkpoints.
REFUSED = {
  "another network": (
    ["--config.model.filters=16"],
    r"checkpoints/11: .*another model: filters is 8 there and 16 here; use",
  ),
  "another optimizer, to evaluate": (
    ["--mode=eval", "--config.optimizer.name=sgd"],
    r"another training: optimizer is adam there and sgd here; use",
  ),
  "other classes": (
    ["--mode=eval", "--config.data.leave_out=('brace',)"],
    r"checkpoints/11: .*another model: .*(class_names|num_classes)",
  ),
}


@pytest.mark.parametrize("caption", REFUSED)
def test_runs_that_do_not_fit_end_with_one_line(
  smoke_run, tmp_path, refusal, caption
):
  flags, message = REFUSED[caption]
  shutil.copytree(smoke_run / "checkpoints", tmp_path / "checkpoints")
  shutil.copy(smoke_run / "config.json", tmp_path)
  assert re.search(message, _refused(refusal, smoke_run, tmp_path, flags))
  found = (tmp_path / "config.json").read_text()
  assert found == (smoke_run / "config.json").read_text()


def test_evaluation_needs_a_checkpoint(smoke_run, tmp_path, refusal):
  said = _refused(refusal, smoke_run, tmp_path, ["--mode=eval"])
  assert "checkpoints: no checkpoint; train first, or name the workdir" in said
  assert not (tmp_path / "eval").exists()


def _refused(refusal, smoke_run, workdir, flags):
  records = f"--config.data.data_dir={smoke_run / 'data'}"
  said = refusal(*run_helpers.flags(workdir, records, *flags))
  assert not (workdir / "metrics.jsonl").exists()
  return said
