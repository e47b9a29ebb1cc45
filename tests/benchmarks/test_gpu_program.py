"""What the compiler for GPUs makes of small programs; needs its packages.

`.ci/run` installs them; `benchmarks/gpu_program.py` says how.
"""

import functools
import importlib.util
import math

import jax
import jax.numpy as jnp
import pytest

from benchmarks import gpu_program, hlo_kernels
from benchmarks.common import NUM_CLASSES
from dwd_jax.models import compiling

pytestmark = [
  pytest.mark.slow,
  pytest.mark.skipif(
    importlib.util.find_spec("jax_plugins") is None,
    reason="the compiler for GPUs is not installed",
  ),
]
NETWORK = "10x8x8"  # a block a stage less than ResNet-18
CROP, BATCH = 64, 2
PAGE = (128, 96)


@functools.cache
def _train():
  return gpu_program.train_program(
    NETWORK,
    CROP,
    BATCH,
    **{"targets.energy_strides": (2,), "losses.class_pixels": 256},
  )


@functools.cache
def _predict():
  return gpu_program.predict_program(NETWORK, PAGE, 1)


def _arrays(compiled):
  """Element type and shape of everything in a program."""
  module = hlo_kernels.parse(compiled.as_text())
  for computation in module.computations.values():
    for instruction in computation.values():
      yield from instruction.arrays


def test_a_training_step_is_one_program_without_full_maps():
  found = gpu_program.describe(_train())
  assert not found["decisions"]  # the host waits for nothing
  assert not found["host_copies"]
  assert found["kernels"] < 950  # 866 in November 2026
  assert found["gigabytes"] < 0.1
  pixels = BATCH * CROP**2
  most = {NUM_CLASSES: 0, 20: 0}  # classes, energy levels
  for _, shape in _arrays(_train()):
    if shape and shape[-1] in most:
      most[shape[-1]] = max(most[shape[-1]], math.prod(shape))
  # At single pixels, and at every second row and column.
  assert 0 < most[NUM_CLASSES] < pixels * NUM_CLASSES
  assert 0 < most[20] <= pixels // 4 * 20


@pytest.mark.parametrize("version", ["lin2017", "dwd2018"])
def test_other_structures_are_one_program_too(version):
  found = gpu_program.describe(
    gpu_program.train_program(
      NETWORK,
      CROP,
      BATCH,
      **{
        "model.refinenet": version,
        "model.deep_energy_strides": (8, 16, 32),
        "model.deep_size_strides": (8,),
        "targets.energy_strides": (2,),
        "losses.class_pixels": 256,
      },
    )
  )
  assert not found["decisions"]
  assert not found["host_copies"]


def test_a_page_asks_the_host_rarely():
  found = gpu_program.describe(_predict())
  assert not found["host_copies"]
  assert len(found["decisions"]) < 6, found["decisions"]
  assert found["kernels"] < 340  # 305 in November 2026


def test_sums_in_one_order():
  rows = jax.ShapeDtypeStruct((1000, 8), jnp.float32)
  index = jax.ShapeDtypeStruct((5000,), jnp.int32)
  added = jax.ShapeDtypeStruct((5000, 8), jnp.float32)

  def count(options):
    compiled = gpu_program.compile_for_gpu(
      lambda rows, index, added: rows.at[index].add(added),
      rows,
      index,
      added,
      options=options,
    )
    return len(hlo_kernels.kernels(hlo_kernels.parse(compiled.as_text())))

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(jax, "default_backend", lambda: "gpu")
    options = compiling.training_options(deterministic=True)
  # It sorts instead of adding atomically.
  assert count(options) > count({})
