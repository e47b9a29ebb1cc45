"""Runs that start with a pretraining, of every level."""

import contextlib
import io
import json
import re

import pretraining_levels
import pytest
import run_helpers

from dwd_jax import main
from dwd_jax.checkpoints import finished_run, weights
from dwd_jax.predict import packaged

STEPS = pretraining_levels.STEPS
pytestmark = pytest.mark.slow  # a training of each level


@pytest.fixture(scope="module")
def done(smoke_run, tmp_path_factory):
  """(facts, output, folder of the runs)."""
  out = tmp_path_factory.mktemp("pretraining")
  with contextlib.redirect_stdout(io.StringIO()) as said:
    facts = pretraining_levels.levels(smoke_run, out)
  return facts, said.getvalue(), out


def _alike(a, b):
  """Modules that are the same in both, without those of the optimizer."""
  return {k for k in a if k != "optimizer" and a[k] == b.get(k)}


BACKBONE = {"params/backbone", "batch_stats/backbone"}
DECODER = {"params/refinenet"}
HEAD = {"params/class_head"}
OTHER_HEADS = {
  "params/energy_head",
  "params/offset_head",
  "params/size_head",
}


def test_an_interrupted_pretraining_goes_on(done):
  """With the same bits: test_loop.py, and tests of loaders in pretraining/."""
  facts, said, _ = done
  half = f"step {STEPS // 2} of {STEPS}"
  assert f"pretraining: stopped and saved at {half}" in facts["interrupted"]
  assert f"Continuing at {half}" in said


def test_a_finished_one_is_used_again(done):
  facts, said, out = done
  assert facts["semseg again"] == facts["semseg"]
  lines = (out / "semseg/pretraining/metrics.jsonl").read_text().splitlines()
  steps = [json.loads(line)["step"] for line in lines]
  assert steps == list(range(1, STEPS + 1))
  assert f"Continuing at step {STEPS} of {STEPS}" in said


def test_the_loss_falls(done):
  lines = (done[2] / "semseg/pretraining/metrics.jsonl").read_text()
  losses = [json.loads(line)["loss_class"] for line in lines.splitlines()]
  assert sum(losses[-2:]) < sum(losses[:2])


# Caption: level, what it replaces, what is left as initialised.
TAKEN = {
  "semseg": (BACKBONE | DECODER | HEAD, OTHER_HEADS),
  "class": (BACKBONE, DECODER | HEAD | OTHER_HEADS),
  "imagenet": (BACKBONE, DECODER | HEAD | OTHER_HEADS),
}


@pytest.mark.parametrize("level", TAKEN)
def test_the_detector_starts_with_what_fits(done, level):
  facts, _, _ = done
  taken, left = TAKEN[level]
  assert _alike(facts[level], facts["none"]) == left
  assert taken | left == {k for k in facts[level] if k != "optimizer"}
  assert facts[level]["optimizer"] == facts["none"]["optimizer"]


def test_classes_of_another_run_go_by_name(done):
  facts, said, _ = done
  assert _alike(facts["run"], facts["semseg"]) >= BACKBONE | DECODER
  assert facts["run rows"] is True
  classes = facts["run classes"]
  assert classes == 24
  assert f"class head: {classes} of {classes} classes by name" in said


def test_the_report_is_printed(done):
  said = done[1]
  assert "Pretraining, level semseg, 6 steps: classes of pixels from" in said
  assert "Pretraining, level class, 6 steps: " in said
  heads = "energy_head 2, offset_head 2, size_head 2"
  assert f"initialised anew: 6 arrays ({heads})" in said
  assert "ignored: 2 arrays (background_head 2)" in said
  assert "ignored: 2 arrays (symbol_head 2)" in said


def test_a_run_without_a_checkpoint_is_named(done):
  assert (
    "semseg: no checkpoint there; name the workdir of a run"
    in (done[0]["no run there"])
  )


@pytest.fixture
def one_step(smoke_run, tmp_path, parse, capsys):
  """Trains one step with the flags that are given; returns what it says."""

  def run(*flags):
    parse(
      *run_helpers.flags(
        tmp_path,
        "--mode=train",
        f"--config.data.data_dir={smoke_run / 'data'}",
        "--config.eval.calibrate=False",
        "--config.train.eval_every=0",
        *(f"--config.stages[{i}].steps=0" for i in range(1, 5)),
        "--config.stages[0].steps=1",
        *(f"--config.{flag}" for flag in flags),
      )
    )
    main.main([])
    return capsys.readouterr().out

  return run


def test_one_line_starts_a_run_with_another(smoke_run, one_step):
  def said(path):
    return one_step(
      "data.polarity=light",
      "pretraining.level=run",
      f"pretraining.path={path}",
    )

  first = said(smoke_run)
  assert f"Parameters from {smoke_run / 'checkpoints' / '11'}:" in first
  assert "initialised anew" not in first
  assert "11: trained with data.polarity=dark, these pages are light" in first
  assert "Polarity light: objects are lighter than what is around" in first
  assert "step 1/1 energy: " in first
  # It has a checkpoint now: the pretraining is not looked for any more.
  again = said("/absent")
  assert "Continuing at step 1 of 1" in again
  assert "Parameters from" not in again


def test_a_file_of_weights_starts_a_run(smoke_run, tmp_path, one_step):
  file = tmp_path / "smoke.safetensors"
  weights.write(file, finished_run.weights_of_run(smoke_run))
  said = one_step("pretraining.level=run", f"pretraining.path={file}")
  assert f"Parameters from {file}:" in said
  assert "initialised anew" not in said


def test_the_packaged_detector_starts_a_run(one_step):
  said = one_step(
    "pretraining.level=packaged",
    "model.backbone_depth=18",
    "model.backbone_width=32",
  )
  assert f"Parameters from {packaged.PRINTED}:" in said
  loaded = re.search(r"^  loaded: .*", said, re.M)
  assert loaded and "backbone/stage4" in loaded[0]


def test_a_wrong_file_is_one_line(smoke_run, tmp_path, refusal):
  (tmp_path / "x.pth").write_bytes(b"not a checkpoint")
  line = refusal(
    *run_helpers.flags(
      tmp_path / "run",
      f"--config.data.data_dir={smoke_run / 'data'}",
      "--config.pretraining.level=imagenet",
      f"--config.pretraining.path={tmp_path / 'x.pth'}",
    )
  )
  assert line.startswith(f"dwd_jax: {tmp_path / 'x.pth'}: ")
  assert "damaged" in line or "dwd_jax[torch]" in line
