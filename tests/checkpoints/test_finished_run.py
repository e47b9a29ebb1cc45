"""Parameters read from the checkpoints of another run."""

import hashlib
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from dwd_jax.checkpoints import checkpointer, finished_run
from dwd_jax.cluster import sharding
from dwd_jax.core.errors import InputError
from dwd_jax.train import state

CARD = checkpointer.ModelCard(("a", "b"), (0, 0), {}, {})


def _state(value, ema=""):
  """With `ema` "whole" there is a running mean, "params" an older run's."""
  params = {"head": {"kernel": jnp.full((4, 2), value, jnp.float32)}}
  mean = {
    "params": {"head": {"kernel": params["head"]["kernel"] * 10}},
    "batch_stats": {"bn": {"mean": jnp.full(4, value + 7.0)}},
  }
  return state.TrainState(
    step=jnp.asarray(3, jnp.int32),
    params=params,
    batch_stats={"bn": {"mean": jnp.full(4, value + 0.5)}},
    opt_state={"moments": jnp.zeros((4, 2))},
    loss_history=jnp.zeros((3, 5)),
    ema_params={"whole": mean, "params": mean["params"], "": {}}[ema],
    skipped=jnp.zeros(2, jnp.int32),
  )


def _saved(folder, *steps, ema=""):
  checkpoints = checkpointer.Checkpoints(folder / "checkpoints")
  for step in steps:
    checkpoints.save(step, _state(step, ema), {"step": step}, CARD)
  checkpoints.close()
  return folder


def _hashes(folder):
  return {
    str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).digest()
    for p in folder.rglob("*")
    if p.is_file()
  }


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  return _saved(tmp_path_factory.mktemp("run"), 9, 10)


def _value(found):
  (value,) = np.unique(found.variables["params"]["head"]["kernel"])
  return value


@pytest.mark.parametrize(
  ("path", "step"),
  [("", 10), ("checkpoints", 10), ("checkpoints/10", 10), ("checkpoints/9", 9)],
)
def test_the_newest_or_the_named_checkpoint_is_read(workdir, path, step):
  before = _hashes(workdir)
  found = finished_run.read(workdir / path, sharding.make_mesh())
  assert found.folder == workdir / "checkpoints" / str(step)
  assert found.class_names == ("a", "b")
  assert _value(found) == step
  assert np.unique(found.variables["batch_stats"]["bn"]["mean"]) == step + 0.5
  assert set(found.variables) == {"params", "batch_stats"}
  assert _hashes(workdir) == before


@pytest.mark.parametrize(("ema", "stats"), [("whole", 9.0), ("params", 2.5)])
def test_the_running_mean_is_taken_where_there_is_one(tmp_path, ema, stats):
  found = finished_run.read(_saved(tmp_path, 2, ema=ema), sharding.make_mesh())
  assert _value(found) == 20
  assert set(found.variables) == {"params", "batch_stats"}
  assert np.unique(found.variables["batch_stats"]["bn"]["mean"]) == stats


@pytest.mark.parametrize("path", ["absent", "."])
def test_no_checkpoint_is_one_line(tmp_path, path):
  with pytest.raises(InputError, match="there; name the workdir of a run"):
    finished_run.read(tmp_path / path, sharding.make_mesh())


def _cut_card(folder):
  path = folder / "card" / "metadata"
  path.write_text(path.read_text()[:-4])


def _lose_arrays(folder):
  for path in (folder / "state").rglob("*"):
    if path.is_file() and path.name != "_METADATA":
      path.unlink()


def _lose_metadata(folder):
  (folder / "state" / "_METADATA").unlink()


# Caption: damage, whether the checksums are there to find it.
DAMAGES = {
  "a cut card": (_cut_card, True),
  "a cut card, no checksums": (_cut_card, False),
  # Without checksums orbax finds it, in threads that outlive the test.
  "lost arrays": (_lose_arrays, True),
  "a lost file, no checksums": (_lose_metadata, False),
}


@pytest.mark.parametrize("caption", DAMAGES)
def test_damage_is_one_line(workdir, tmp_path, caption):
  damage, with_sums = DAMAGES[caption]
  folder = tmp_path / "10"
  shutil.copytree(workdir / "checkpoints" / "10", folder)
  if not with_sums:
    (folder / "checksums.json").unlink()
  damage(folder)
  with pytest.raises(InputError, match=r"10: a damaged checkpoint \(.*another"):
    finished_run.read(folder, sharding.make_mesh())
