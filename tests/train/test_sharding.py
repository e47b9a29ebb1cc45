"""The state and the step over many devices equal those on one."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh

from dwd_jax.errors import InputError
from dwd_jax.train import sharding


@pytest.fixture(scope="module")
def meshes(repo_dir):
  """What sharding_program.py found on meshes of 8 x 1 and 4 x 2 devices."""
  here = pathlib.Path(__file__).parent
  flags = "--xla_force_host_platform_device_count=8"
  flags += " --xla_backend_optimization_level=0"  # compiles twice as fast
  path = os.pathsep.join([str(repo_dir), str(here)])
  done = subprocess.run(
    [sys.executable, str(here / "sharding_program.py")],
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


def test_sharded_steps_equal_the_step_on_one_device(meshes):
  assert [m["mesh"] for m in meshes] == [
    {"data": 8, "fsdp": 1},
    {"data": 4, "fsdp": 2},
  ]
  for found in meshes:
    # Sums in another order: float32 noise, as a share of the largest change.
    assert found["params"] < 3e-3, found
    assert found["averages"] < 1e-4, found
    assert abs(found["loss"]) < 1e-5, found
    assert found["step"] == 1


def test_the_state_is_really_sharded(meshes):
  replicated, sharded = meshes
  assert replicated["shard"] == replicated["kernel"] == [3, 3, 64, 64]
  assert replicated["share_of_a_device"] == 1
  assert sharded["shard"] == [3, 3, 64, 32]
  assert sharded["share_of_a_device"] < 0.75


def _shape(*shape):
  return jax.ShapeDtypeStruct(shape, np.float32)


# Caption: shape of an array, axis that is sharded over 4 devices or None.
RULES = {
  "a large kernel": ((3, 3, 64, 64), 3),
  "a small kernel": ((3, 3, 8, 8), None),
  "an odd number of channels": ((3, 3, 64, 63), None),
  "a vector": ((64,), None),
  "a number": ((), None),
}


@pytest.mark.parametrize("caption", RULES)
def test_large_arrays_are_sharded_along_their_last_axis(caption):
  shape, axis = RULES[caption]
  mesh = AbstractMesh((2, 4), ("data", "fsdp"))
  spec = sharding.state_shardings(_shape(*shape), mesh).spec
  sharded = [i for i, name in enumerate(spec) if name]
  assert sharded == ([] if axis is None else [axis])


def test_devices_must_divide(monkeypatch):
  for fsdp in (0, 3):
    with pytest.raises(
      InputError, match=rf"train\.fsdp: .* multiple of {fsdp}"
    ):
      monkeypatch.setattr(jax, "device_count", lambda: 8)
      sharding.make_mesh(fsdp)
