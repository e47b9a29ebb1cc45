"""Benchmark of the training step: it runs, and its peer trains the same."""

import importlib.util
import warnings

import jax
import numpy as np
import optax
import pytest

from benchmarks import device, train_peer
from benchmarks.train_scene import VARIANTS, make_scene
from dwd_jax.train.stages import LOSSES

pytestmark = pytest.mark.slow

SPEC = {"crop": 96, "batch_size": 3, "max_boxes": 8, "optimizer": "sgd"}


@pytest.fixture(scope="module", autouse=True)
def compile_quickly():
  """Nothing here runs long enough for optimised code to pay."""
  before = jax.config.read("jax_disable_most_optimizations")
  jax.config.update("jax_disable_most_optimizations", True)
  yield
  jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module", autouse=True)
def without_onednn():
  """With 4 to 16 channels, oneDNN of PyTorch 2.13 corrupts its memory."""
  if not importlib.util.find_spec("torch"):
    yield
    return
  import torch

  warnings.filterwarnings("ignore", "TF32 acceleration")
  with torch.backends.mkldnn.flags(enabled=False):
    yield


@pytest.fixture(scope="module")
def first_step():
  """The scene, its variables, losses and gradients of our first step."""
  plain = {"model.decoder_norm": False, "optimizer.l2": 0.0}
  scene = make_scene("10x4x8", **SPEC, **plain)
  state, batch, plan = scene.inputs()
  state = state.replace(params=_calm(state.params))
  variables = jax.device_get(
    {"params": state.params, "batch_stats": state.batch_stats}
  )
  state, metrics = jax.jit(scene.step)(state, batch, plan)
  # The first momentum of sgd is the gradient.
  gradients = optax.tree.get(state.opt_state, "trace")
  values = metrics.compute()
  losses = [float(values[f"loss_{name}"]) for name in LOSSES]
  return scene, variables, np.array(losses), jax.device_get(gradients)


def _calm(params):
  """A decoder whose maps do not grow: noise stays as small as it is."""

  def smaller(path, x):
    names = [part.key for part in path]
    return x * 0.3 if "refinenet" in names and names[-1] == "kernel" else x

  return jax.tree_util.tree_map_with_path(smaller, params)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_peer_has_the_same_losses_and_gradients(first_step, variant):
  pytest.importorskip("torch")
  from benchmarks import torch_network, torch_train

  scene, variables, losses, gradients = first_step
  trainer = torch_train.Trainer(scene, variables, variant, "")
  maps = torch_train.host_maps(scene, scene.batch())
  found = trainer.step(scene.batch().image, maps)
  np.testing.assert_allclose(found.cpu(), losses, rtol=1e-5)
  wanted = torch_network.to_state(trainer.net, {"params": gradients})
  for name, parameter in trainer.net.named_parameters():
    assert parameter.grad is not None
    error = float((parameter.grad.cpu() - wanted[name]).norm())
    assert error < 1e-3 * float(wanted[name].norm()) + 1e-7, name


def test_class_logits_may_come_before_the_upsampling():
  """Without a hidden layer the dense variant has them at stride 4."""
  pytest.importorskip("torch")
  from benchmarks import torch_train

  scene = make_scene("10x4x8", **SPEC, **{"model.class_hidden": 0})
  maps = torch_train.host_maps(scene, scene.batch())
  dense, sparse = (
    torch_train.Trainer(scene, None, name, "") for name in VARIANTS
  )
  sparse.net.load_state_dict(dense.net.state_dict())
  image = scene.batch().image
  np.testing.assert_allclose(
    dense.step(image, maps).cpu(), sparse.step(image, maps).cpu(), rtol=1e-5
  )


def test_a_peer_with_other_losses_stops_the_run():
  ours = np.array([1.0, 2.0, 3.0])
  train_peer.check("it", ours, ours * 1.0001, "float32")
  train_peer.check("it", ours, ours * 1.01, "bfloat16")
  for other in (ours * 1.01, ours[::-1], ours * np.nan):
    with pytest.raises(ValueError, match="it: losses"):
      train_peer.check("it", ours, other, "float32")


def test_what_the_peer_cannot_do_is_refused():
  pytest.importorskip("torch")
  from benchmarks import torch_train

  for key, value in (
    ("losses.energy_smoothing", 1.0),
    ("losses.class_weights", "by_class"),
    ("optimizer.weight_decay", 0.1),
  ):
    scene = make_scene("10x4x8", **SPEC, **{key: value})
    with pytest.raises(ValueError, match="the paper's losses"):
      torch_train.Trainer(scene, None, "dense", "")


def test_a_row_has_what_the_tables_need(monkeypatch):
  monkeypatch.setattr(device, "_side", lambda _: 64)
  peer = "torch" if importlib.util.find_spec("torch") else ""
  row = train_peer.measure({"spec": "10x4x8", **SPEC}, peer, "", 1, False)
  names = ["jax"] + ["torch_dense", "torch_stride4"] * bool(peer)
  for name in names:
    ceiling = max(row["ceiling_gflops_per_second"].values())
    share = row[name]["gflops_per_second"] / ceiling
    assert row[name]["ceiling_share"] == pytest.approx(share)
    assert row[name]["examples_per_second"] > 0
  for name in names[1:]:
    times = row[name]["median_s"] / row["jax"]["median_s"]
    assert row[name]["ours_times_faster"] == pytest.approx(times)
  memory = row["jax"]["compiled_mib"]
  assert memory["total"] > memory["temporaries"] > 0


def _holder(mib: int):
  """For `test_peak_memory`: a step that needs `mib` MiB for a moment."""

  def step():
    np.ones((mib, 2**20), np.uint8).sum()

  return step


def test_peak_memory_is_that_of_the_steps():
  small, large = (device.peak_memory(_holder, mib=m) for m in (8, 160))
  grown = large["peak_mib"] - small["peak_mib"]
  assert grown == pytest.approx(152, abs=16)
