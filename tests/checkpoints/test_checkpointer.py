"""Checkpoints: what is kept, what comes back, what is refused."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dwd_jax.checkpoints.checkpointer import Checkpoints, ModelCard
from dwd_jax.core.errors import InputError
from dwd_jax.train import optim
from dwd_jax.train.state import TrainState

CARD = ModelCard(
  class_names=("clef", "rest"),
  group_of_class=(0, 1),
  model={"backbone_depth": 18, "filters": 8},
  training={"optimizer": "adam", "loss_window": 5},
)


def _state(step=0):
  """A state with a handful of numbers that depend on the step."""
  params = {
    "stem": {"kernel": jnp.arange(6.0).reshape(2, 3) + step},
    "stem_bn": {"scale": jnp.full(3, 0.5 + step)},
  }
  tx = optim.make_optimizer(optim.OptimizerConfig("adam"))
  return TrainState(
    step=jnp.asarray(step, jnp.int32),
    params=params,
    batch_stats={"stem_bn": {"mean": jnp.full(3, 0.25 * step)}},
    opt_state=jax.tree.map(lambda x: x + step, tx.init(params)),
    loss_history=jnp.full((3, 5), jnp.nan).at[0, 0].set(step),
    ema_params={},
    skipped=jnp.zeros(2, jnp.int32),
  )


SHAPES = jax.tree.map(
  lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
  _state(),
)


@pytest.fixture
def open_run(tmp_path):
  """Opens the checkpoints of one folder; closes them after the test."""
  opened = []

  def open_(keep=3):
    opened.append(Checkpoints(tmp_path / "checkpoints", keep))
    return opened[-1]

  yield open_
  for checkpoints in opened:
    checkpoints.close()


def _save(checkpoints, *steps):
  for step in steps:
    checkpoints.save(step, _state(step), {"step": step}, CARD, {"since": step})
  checkpoints.wait()


def test_everything_comes_back_bit_by_bit(open_run):
  _save(open_run(), 7)
  state, data, progress = open_run().restore(7, SHAPES, CARD)
  jax.tree.map(np.testing.assert_array_equal, state, _state(7))
  assert jax.tree.structure(state) == jax.tree.structure(_state(7))
  assert data == {"step": 7}
  assert progress == {"since": 7, "scores": {}}


def test_the_newest_is_found_and_old_ones_go(open_run):
  first = open_run(keep=2)
  assert first.all_steps() == []
  _save(first, 2, 4, 6)
  again = open_run(keep=2)
  assert again.all_steps() == [6, 4]
  state, *_ = again.restore(4, SHAPES, CARD)
  assert int(state.step) == 4
  with pytest.raises(InputError, match=r"2: no such checkpoint"):
    again.restore(2, SHAPES, CARD)


def test_what_lies_beside_a_checkpoint_stays_and_goes_with_it(open_run):
  first = open_run(keep=2)
  _save(first, 2, 4)
  for step in (2, 4):
    (first.folder(step) / "calibration.json").write_text("{}")
  again = open_run(keep=2)
  assert again.all_steps() == [4, 2]
  state, data, _ = again.restore(2, SHAPES, CARD)
  assert (int(state.step), data) == (2, {"step": 2})
  assert again.card(4)["class_names"] == ["clef", "rest"]
  _save(again, 6)
  assert not again.folder(2).exists()
  assert (again.folder(4) / "calibration.json").read_text() == "{}"
  assert not (again.folder(6) / "calibration.json").exists()


def test_the_best_stays_whatever_is_kept(open_run):
  scores = {2: 0.1, 4: 0.5, 6: None, 8: 0.5, 10: 0.2}
  first = open_run(keep=1)
  assert first.best_step() is None
  for step, score in scores.items():
    first.save(step, _state(step), {"step": step}, CARD, score=score)
  assert first.all_steps() == [10, 4]
  again = open_run(keep=1)
  assert again.best_step() == 4
  again.restore(10, SHAPES, CARD)
  again.save(12, _state(12), {"step": 12}, CARD)
  assert again.all_steps() == [12, 4]
  again.save(14, _state(14), {"step": 14}, CARD, score=0.6)
  assert again.all_steps() == [14]
  assert again.best_step() == 14


def test_a_step_is_saved_once(open_run):
  checkpoints = open_run()
  _save(checkpoints, 3)
  checkpoints.save(3, _state(9), {"step": 9}, CARD)
  checkpoints.wait()
  state, *_ = checkpoints.restore(3, SHAPES, CARD)
  assert int(state.step) == 3


def test_half_a_checkpoint_is_none(open_run, tmp_path):
  _save(open_run(), 3)
  folder = tmp_path / "checkpoints"
  # What a killed process leaves behind.
  shutil.copytree(folder / "3", folder / "5.orbax-checkpoint-tmp")
  (folder / "5.orbax-checkpoint-tmp" / "_CHECKPOINT_METADATA").unlink()
  again = open_run()
  assert again.all_steps() == [3]
  _save(again, 5)
  assert not (folder / "5.orbax-checkpoint-tmp").exists()
  state, *_ = open_run().restore(5, SHAPES, CARD)
  assert int(state.step) == 5


def _other(**changes):
  return ModelCard(**({**vars(CARD)} | changes))


# Caption: the card of the run that reads, what the message says.
OTHERS = {
  "other depth": (
    _other(model={"backbone_depth": 50, "filters": 8}),
    "backbone_depth is 18 there and 50 here",
  ),
  "another key": (
    _other(model={"backbone_depth": 18, "filters": 8, "norm": True}),
    "norm is None there and True here",
  ),
  "other classes": (
    _other(class_names=("clef", "note")),
    "its class_names differ",
  ),
  "another optimizer": (
    _other(training={"optimizer": "sgd", "loss_window": 5}),
    "optimizer is adam there and sgd here",
  ),
  "longer running means": (
    _other(training={"optimizer": "adam", "loss_window": 7}),
    "loss_window is 5 there and 7 here",
  ),
  "other groups": (_other(group_of_class=(0, 0)), "its group_of_class differ"),
}


def test_what_older_cards_lack_was_the_default():
  model = {"filters": 8, "refinenet": "light", "deep_energy_strides": ()}
  older, card = CARD.to_json(), _other(model=model)
  older["model"] = {"filters": 8}
  assert card.difference(older) is None
  assert card.difference(json.loads(json.dumps(card.to_json()))) is None
  other = _other(model=model | {"refinenet": "lin2017"})
  assert "refinenet is light there and lin" in str(other.difference(older))
  other = _other(model=model | {"deep_energy_strides": (8,)})
  assert other.difference(older)
  assert other.difference(json.loads(json.dumps(other.to_json()))) is None


@pytest.mark.parametrize("caption", OTHERS)
def test_checkpoints_of_other_networks_are_refused(open_run, caption):
  card, message = OTHERS[caption]
  checkpoints = open_run()
  _save(checkpoints, 1)
  with pytest.raises(InputError, match=message) as e:
    checkpoints.restore(1, SHAPES, card)
  assert "checkpoints/1: checkpoint of another " in str(e.value)
  assert "use another --workdir" in str(e.value)
  assert "\n" not in str(e.value)


def _flip(path):
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(data)


def _largest(folder):
  # Names of data files are made up anew each time.
  files = [p for p in (folder / "state").rglob("*") if p.is_file()]
  return max(files, key=lambda p: p.stat().st_size)


# Caption: file of the checkpoint, what happens to it.
DAMAGES = {
  "a lost part": ("state", shutil.rmtree),
  "a lost card": ("card", shutil.rmtree),
  "a cut card": ("card/metadata", lambda p: p.write_text('{"model"')),
  "a card of something else": ("card/metadata", lambda p: p.write_text("[]")),
  "a lost file of the state": ("largest", lambda p: p.unlink()),
  "an empty file of the state": ("largest", lambda p: p.write_bytes(b"")),
  "one bit of the state": ("largest", _flip),
  "one bit of the progress": ("progress/metadata", _flip),
  "the checksums": ("checksums.json", lambda p: p.write_text("{")),
}


@pytest.mark.parametrize("caption", DAMAGES)
def test_damaged_checkpoints_are_named(open_run, tmp_path, caption):
  name, damage = DAMAGES[caption]
  _save(open_run(), 1)
  folder = tmp_path / "checkpoints" / "1"
  damage(_largest(folder) if name == "largest" else folder / name)
  with pytest.raises(
    InputError, match=r"checkpoints/1: damaged .*; remove this"
  ) as e:
    open_run().restore(1, SHAPES, CARD)
  assert "\n" not in str(e.value)


# The size of files is limited: a write then fails as on a full disk.
_FULL_DISK = """
import resource, signal
import test_checkpointer as t
from dwd_jax.core.errors import InputError
from dwd_jax.checkpoints.checkpointer import Checkpoints
checkpoints = Checkpoints(%r)
t._save(checkpoints, 1)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
try:
  t._save(checkpoints, 2)
except InputError as e:
  resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  print(e)
t._save(checkpoints, 3)
print(checkpoints.all_steps())
"""


def test_a_full_disk_costs_the_step_and_nothing_else(tmp_path, repo_dir):
  here = str(pathlib.Path(__file__).parent)
  folder = tmp_path / "checkpoints"
  done = subprocess.run(
    [sys.executable, "-c", _FULL_DISK % str(folder)],
    cwd=repo_dir,
    env={**os.environ, "PYTHONPATH": os.pathsep.join([str(repo_dir), here])},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  line, steps = done.stdout.splitlines()
  assert line.startswith(f"{folder}: cannot save step 2: File too large; the")
  assert "start the same command again" in line
  assert steps == "[3, 1]"
  assert sorted(p.name for p in folder.iterdir()) == ["1", "3"]


@pytest.mark.parametrize("left", ["nothing", "an empty file"])
def test_a_checkpoint_without_checksums_is_read(open_run, tmp_path, left):
  # The run was killed before it could write them, or the power failed.
  _save(open_run(), 1)
  path = tmp_path / "checkpoints" / "1" / "checksums.json"
  path.unlink()
  if left != "nothing":
    path.touch()
  state, *_ = open_run().restore(1, SHAPES, CARD)
  assert int(state.step) == 1


def test_cards_are_json():
  card = CARD.to_json()
  assert json.loads(json.dumps(card)) == card
