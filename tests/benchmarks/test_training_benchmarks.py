"""Benchmarks of parts, memory and input of the training: small, but real."""

import argparse

import jax
import numpy as np
import pytest

from benchmarks import input as input_lib
from benchmarks import losses, memory
from benchmarks.train_scene import make_scene

pytestmark = pytest.mark.slow

SPEC = {"spec": "10x4x8", "crop": 64, "batch_size": 2, "max_boxes": 8}


@pytest.fixture(scope="module", autouse=True)
def compile_quickly():
  """Nothing here runs long enough for optimised code to pay."""
  before = jax.config.read("jax_disable_most_optimizations")
  jax.config.update("jax_disable_most_optimizations", True)
  yield
  jax.config.update("jax_disable_most_optimizations", before)


def test_sparse_and_dense_class_loss_are_the_same():
  parts = losses.parts(make_scene(**SPEC))
  (sparse, sparse_gradients), (dense, dense_gradients) = (
    jax.jit(fn)(*given)
    for fn, given in (parts["sparse_class_loss"], parts["dense_class_loss"])
  )
  assert float(sparse) == pytest.approx(float(dense), rel=1e-5)
  features = [g[1].class_features for g in (sparse_gradients, dense_gradients)]
  scale = np.abs(features[1]).max()
  assert scale > 0
  np.testing.assert_allclose(features[0], features[1], atol=1e-5 * scale)


def test_the_dense_loss_is_left_out_where_it_is_too_large():
  scene = make_scene(**SPEC)
  logits_mib = 2 * 64 * 64 * 124 * 4 / 2**20
  assert 2 * logits_mib < losses.dense_mib(scene) < 4 * logits_mib


def test_memory_of_shapes_is_that_of_the_arrays():
  spec = {**SPEC, "train.remat": False, "train.accumulate": 1}
  scene = make_scene(**spec)
  shapes = scene.shapes()
  arrays = scene.inputs()
  for ours, wanted in zip(
    jax.tree.leaves(shapes), jax.tree.leaves(arrays), strict=True
  ):
    assert (ours.shape, ours.dtype) == (wanted.shape, wanted.dtype)
  row = memory.measure({**spec, "dtype": "float32"}, 80.0)
  size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(shapes))
  assert row["mib"]["arguments"] == pytest.approx(size / 2**20, rel=0.01)
  assert row["fits"] and row["parameters"] > 10_000
  assert "| yes |" in memory.table([row])


def test_a_batch_may_be_cut_into_parts():
  scene = make_scene(**SPEC, **{"train.accumulate": 2})
  assert scene.settings.train.accumulate == 2
  assert scene.shapes()[1].image.shape == (2, 64, 64, 1)


def test_rematerialisation_keeps_less():
  kept = [
    memory.residuals_mib(make_scene(**SPEC, **{"train.remat": remat}))
    for remat in (False, True)
  ]
  assert kept[1] < 0.7 * kept[0]


class _Loader:
  """Gives one batch after another, each after a while."""

  def __init__(self, seconds: float):
    self._seconds = seconds

  def __next__(self):
    input_lib.time.sleep(self._seconds)
    return None


def test_waiting_is_the_time_in_the_loader():
  args = argparse.Namespace(step_s=0.02)
  whole, waited = input_lib.waiting(
    _Loader(0.02), lambda _: input_lib.time.sleep(args.step_s), 10
  )
  assert waited / whole == pytest.approx(0.5, abs=0.15)


def test_cores_needed_leave_five_percent():
  assert input_lib.cores_needed(190, 100) == pytest.approx(2.0)
