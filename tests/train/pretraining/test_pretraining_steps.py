"""Losses and networks of the pretraining, and steps that learn."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dwd_jax.models import dwd
from dwd_jax.train import optim, stages
from dwd_jax.train import state as state_lib
from dwd_jax.train import step as step_lib
from dwd_jax.train.pretraining import networks
from dwd_jax.train.pretraining.loaders import SymbolBatch

CFG = dwd.ModelConfig(
  num_classes=3,
  num_groups=2,
  backbone_depth=10,
  backbone_width=8,
  filters=8,
  class_hidden=4,
  decoder_norm=True,
  bn_momentum=0.9,
)
HW = (32, 64)


def test_the_symbol_loss_is_the_mean_cross_entropy():
  logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]], np.float32))
  loss, metrics = networks.symbol_loss(logits, np.array([0, 1]))
  assert float(loss) == pytest.approx(-(np.log(0.5) + np.log(0.2)) / 2)
  assert float(metrics["accuracy"]) == 0.5


def test_foreground_and_background_weigh_the_same():
  probs = np.full((1, 2, 4, 2), 0.5, np.float32)
  probs[0, 0, 0] = 0.8, 0.2  # the only foreground cell
  classes = np.zeros((1, 2, 4), np.int16)
  classes[0, 0, 0] = 1
  loss, metrics = networks.pixel_loss(np.log(probs), classes)
  assert float(loss) == pytest.approx(-(np.log(0.2) + np.log(0.5)) / 2)
  assert float(metrics["accuracy_foreground"]) == 0.0
  assert float(metrics["accuracy_background"]) == 1.0


@pytest.mark.parametrize("value", [0, 1])
def test_a_batch_of_one_kind_has_half_the_loss(value):
  logits = np.zeros((1, 2, 2, 4), np.float32)
  classes = np.full((1, 2, 2), value)
  loss, _ = networks.pixel_loss(logits, classes)
  assert float(loss) == pytest.approx(np.log(4) / 2)
  gradient = jax.grad(lambda x: networks.pixel_loss(x, classes)[0])(logits)
  assert np.isfinite(gradient).all()


def _shapes(init):
  found = jax.eval_shape(init)
  leaves = jax.tree_util.tree_leaves_with_path(found)
  return {jax.tree_util.keystr(path): leaf.shape for path, leaf in leaves}


# Caption: network, modules that the detector has too, and one it has not.
NETWORKS = {
  "symbols": (networks.SymbolNet, ("backbone",), "symbol_head"),
  "pixels": (
    networks.PixelNet,
    ("backbone", "refinenet", "class_hidden", "class_head"),
    "background_head",
  ),
}


@pytest.mark.parametrize("caption", NETWORKS)
def test_shared_modules_have_the_detectors_names_and_shapes(caption):
  network, shared, own = NETWORKS[caption]
  mine = _shapes(lambda: dwd.init_variables(network(CFG), 0, HW))
  detector = dwd.make_model(CFG)
  theirs = _shapes(lambda: dwd.init_variables(detector, 0, HW))
  only = {k for k in mine if mine[k] != theirs.get(k)}
  assert only
  assert all(f"['{own}']" in k for k in only)
  for module in shared:
    wanted = {k: v for k, v in theirs.items() if f"['{module}']" in k}
    assert wanted
    assert {k: v for k, v in mine.items() if f"['{module}']" in k} == wanted


def _batch():
  """Two classes of grey levels, in halves of the crops."""
  rng = np.random.default_rng(0)
  image = np.zeros((4, *HW, 1), np.uint8)
  image[:2, :, 32:] = 120
  image[2:, :, 32:] = 250
  image += rng.integers(0, 5, image.shape, np.uint8)
  return SymbolBatch(image, np.array([0, 0, 2, 2], np.int32))


def test_steps_learn():
  """Those of pixels: tests/train/test_pretraining_runs.py."""
  model = networks.SymbolNet(CFG)
  tx = optim.make_optimizer(optim.OptimizerConfig(name="adam", l2=0.0))
  stage = stages.Stage("x", 9, (networks.LOSS,), (1.0,))
  plan = step_lib.make_plan(stage, 1e-2)
  step = functools.partial(
    step_lib.train_step,
    losses_fn=networks.losses_of(model),
    tx=tx,
    cfg=step_lib.UpdateConfig(),
  )
  step = jax.jit(step)
  init = jax.jit(lambda: dwd.init_variables(model, 0, HW))
  state = state_lib.new_state(init(), tx, 5)
  batch, losses = _batch(), []
  for _ in range(8):
    state, metrics = step(state, batch, plan)
    losses.append(float(metrics.compute()["loss"]))
  assert int(state.step) == 8
  assert losses[-1] < 0.7 * losses[0]
  assert "loss_class" in metrics.compute()


def test_losses_stand_where_the_loop_expects_them():
  class Model(nn.Module):
    def __call__(self, image, train):
      del train
      return jnp.zeros((*image.shape[:1], 3))

  losses_fn = networks.losses_of(Model())
  losses, stats, metrics = losses_fn({}, {"kept": 1}, _batch(), False)
  index = stages.LOSSES.index("class")
  assert losses.shape == (len(stages.LOSSES),)
  assert float(losses[index]) == pytest.approx(np.log(3))
  assert float(losses.sum()) == pytest.approx(np.log(3))
  assert stats == {"kept": 1}
  assert float(metrics["loss_class"]) == pytest.approx(np.log(3))
