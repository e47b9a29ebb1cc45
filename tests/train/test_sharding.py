"""The state and the step over many devices equal those on one."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
import train_helpers as helpers
from jax.sharding import AbstractMesh

from dwd_jax.cluster import sharding
from dwd_jax.core.errors import InputError
from dwd_jax.train import optim

DATA, FSDP = 2, 4


@pytest.fixture(scope="module")
def found(repo_dir):
  """What sharding_program.py found."""
  here = pathlib.Path(__file__).parent
  flags = os.environ.get("XLA_FLAGS", "")
  flags += " --xla_force_host_platform_device_count=8"
  path = os.pathsep.join([str(repo_dir), str(here)])
  done = subprocess.run(
    [sys.executable, str(here / "sharding_program.py"), f"{DATA}x{FSDP}"],
    env={
      **os.environ,
      "XLA_FLAGS": flags,
      "PYTHONPATH": path,
      "JAX_PLATFORMS": "cpu",
    },
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout.splitlines()[-1])


def test_a_sharded_step_equals_the_step_on_one_device(found):
  # Sums in another order: float32 noise, as a share of the largest change.
  assert found["params"] < 3e-3, found
  assert found["averages"] < 1e-4, found
  assert found["losses"] < 1e-5, found
  assert found["step"] == 1


def test_the_state_is_really_sharded(found):
  assert found["kernel"] == [3, 3, 64, 64]
  assert found["shard"] == [3, 3, 64, 64 // FSDP]
  assert found["share_of_a_device"] < 0.55 + 0.55 / FSDP


def test_devices_send_parameters_and_small_statistics(found):
  """Nothing of the size of images: each device computes its own."""
  sent = found["sent"]
  assert set(sent) == {"all-reduce", "all-gather"}
  # Gradients; sums over the batch, forward and backward, of batch norm.
  room = 2 * found["statistics_bytes"]
  assert sent["all-reduce"]["bytes"] <= found["parameter_bytes"] + room
  # Once, not again for the backward pass.
  assert sent["all-gather"]["bytes"] == found["split_bytes"]


def _shape(*shape):
  return jax.ShapeDtypeStruct(shape, np.float32)


def _spec(shape, name="kernel", rules=sharding.RULES):
  mesh = AbstractMesh((2, 4), ("data", "fsdp"))
  tree = {"stem": {name: _shape(*shape)}}
  return sharding.state_shardings(tree, mesh, rules)["stem"][name].spec


# Caption: shape of a kernel, axis that is sharded over 4 devices or None.
KERNELS = {
  "a large kernel": ((3, 3, 64, 64), 3),
  "a small kernel": ((3, 3, 8, 8), None),
  "an odd number of outputs": ((3, 3, 64, 63), 2),
  "odd numbers all over": ((3, 3, 65, 129), None),
}


@pytest.mark.parametrize("caption", KERNELS)
def test_large_kernels_are_sharded_along_an_axis_that_can_be(caption):
  shape, axis = KERNELS[caption]
  cut = [i for i, name in enumerate(_spec(shape)) if name]
  assert cut == ([] if axis is None else [axis])


def test_rules_say_what_is_sharded():
  large = (2**10, 2**10)
  assert "fsdp" in _spec(large)
  assert "fsdp" not in _spec(large, "bias")
  assert "fsdp" not in _spec(large, rules=[("stem", "replicate")])
  first = [("stem/bias", "fsdp"), *sharding.RULES]
  assert "fsdp" in _spec(large, "bias", first)


def test_a_parameter_that_no_rule_covers_is_an_error():
  with pytest.raises(
    InputError, match=r"train\.sharding: no rule covers 'stem/embedding'; add"
  ):
    _spec((64,), "embedding")


@pytest.mark.parametrize("name", ["rmsprop", "adam", "sgd"])
def test_rules_cover_every_array_of_a_state(name):
  model = helpers.tiny_model()
  tx = optim.make_optimizer(optim.OptimizerConfig(name))
  state = helpers.tiny_state(model, tx, ema=True)
  mesh = AbstractMesh((2, 4), ("data", "fsdp"))
  found = sharding.state_shardings(state, mesh)
  # The optimizer's copies and the running mean lie where their parameter does.
  wanted = jax.tree.map(lambda s: s.spec, found.params)
  assert wanted == jax.tree.map(lambda s: s.spec, found.ema_params["params"])
  specs = jax.tree.leaves(jax.tree.map(lambda s: s.spec, found.opt_state))
  copies = {"rmsprop": 1, "adam": 2, "sgd": 1}[name]
  cut = sum("fsdp" in s for s in jax.tree.leaves(wanted))
  assert cut and sum("fsdp" in s for s in specs) == copies * cut


def test_devices_must_divide(monkeypatch):
  for fsdp in (0, 3):
    with pytest.raises(
      InputError, match=rf"train\.fsdp: .* multiple of {fsdp}"
    ):
      monkeypatch.setattr(jax, "device_count", lambda: 8)
      sharding.make_mesh(fsdp)
