"""A tiny network, a tiny batch, and what a step needs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from dwd_jax.core.boxes import corners_yx
from dwd_jax.core.structs import Batch
from dwd_jax.models import dwd
from dwd_jax.objectives import detection_loss
from dwd_jax.objectives.losses import LossConfig
from dwd_jax.objectives.targets import TargetConfig
from dwd_jax.train import optim, stages
from dwd_jax.train import state as state_lib
from dwd_jax.train import step as step_lib

NUM_CLASSES = 4
GROUP_OF_CLASS = (0, 1, 0, 1)
CROP_PX = 64

LOSSES = detection_loss.DetectionConfig(
  TargetConfig(),
  LossConfig(size_loss="log_l1", class_pixels=256),
  GROUP_OF_CLASS,
)
COMBINED = stages.Stage(
  "combined", 20, ("energy", "class", "box"), (2.0, 1.0, 1.0), balance=True
)
OPTIMIZER = optim.OptimizerConfig(name="adam", learning_rate=3e-3, l2=0.0)


def tiny_model(**changes) -> dwd.DWDNet:
  """ResNet-10 of width 8, 8 filters, two groups, oriented boxes."""
  fields = {
    "num_classes": NUM_CLASSES,
    "num_groups": 2,
    "backbone_depth": 10,
    "backbone_width": 8,
    "filters": 8,
    "oriented": True,
    "bn_momentum": 0.9,
  }
  return dwd.make_model(dwd.ModelConfig(**(fields | changes)))


def made_up_variables(model: dwd.DWDNet, seed: int = 0):
  """Variables of the right size; initialising takes longer than most tests."""
  hw = (CROP_PX, CROP_PX)
  shapes = jax.eval_shape(lambda: dwd.init_variables(model, 0, hw))
  rng = np.random.default_rng(seed)

  def made_up(path, x):
    module, name = (part.key for part in path[-2:])
    if name in ("scale", "var"):
      return rng.uniform(0.5, 1.5, x.shape).astype(x.dtype)
    if module.endswith("_head") or module == "out":
      start = np.log(12) if module == "size_head" else 0
      spread = 0.01 if name == "kernel" else 0
      return rng.normal(start * (name == "bias"), spread, x.shape).astype(
        x.dtype
      )
    spread = (2 / np.prod(x.shape[:-1])) ** 0.5 if x.ndim > 1 else 0.1
    return rng.normal(0, spread, x.shape).astype(x.dtype)

  return jax.tree_util.tree_map_with_path(made_up, shapes)


def tiny_batch(
  size: int = 2, boxes: int = 6, seed: int = 0, px: int = CROP_PX
) -> Batch:
  """Crops: a grey level and a size for each class; the last box is padded.

  Oriented boxes are the upright ones, turned by an angle for each class.
  """
  rng = np.random.default_rng(seed)
  image = np.zeros((size, px, px, 1), np.float32)
  top_left = rng.integers(2, px - 20, (size, boxes, 2))
  labels = rng.integers(0, NUM_CLASSES, (size, boxes)).astype(np.int32)
  hw = np.stack([6 + 3 * labels, 8 + 2 * labels], -1)
  mask = np.ones((size, boxes), bool)
  mask[:, -1] = False
  for i, j in np.argwhere(mask):
    (y, x), (h, w) = top_left[i, j], hw[i, j]
    image[i, y : y + h, x : x + w] = (labels[i, j] + 1) / NUM_CLASSES
  boxes_yxyx = np.concatenate([top_left, top_left + hw], -1)
  boxes_yxyx = (boxes_yxyx * mask[..., None]).astype(np.float32)
  corners = corners_yx(boxes_yxyx)
  middles = corners.mean(-2, keepdims=True)
  cos, sin = np.cos(labels / 2), np.sin(labels / 2)
  turn = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
  return Batch(
    image=image,
    boxes_yxyx=boxes_yxyx,
    labels=labels * mask,
    box_mask=mask,
    oriented_yx=(middles + (corners - middles) @ turn).astype(np.float32),
  )


def tiny_state(
  model: dwd.DWDNet, tx, window: int = 5, ema: bool = False, seed: int = 0
) -> state_lib.TrainState:
  """A state at step 0 with made-up parameters."""
  variables = jax.tree.map(jnp.asarray, made_up_variables(model, seed))
  return state_lib.TrainState(
    step=jnp.zeros((), jnp.int32),
    params=variables["params"],
    batch_stats=variables["batch_stats"],
    opt_state=tx.init(variables["params"]),
    # With its type, or the second step would be compiled anew.
    loss_history=jnp.full((len(stages.LOSSES), window), jnp.nan, jnp.float32),
    ema_params=jax.tree.map(jnp.array, variables) if ema else {},
    skipped=jnp.zeros(2, jnp.int32),
  )


def losses_fn(
  model: dwd.DWDNet, cfg: detection_loss.DetectionConfig = LOSSES
) -> step_lib.LossesFn:
  """The losses of parameters, batch statistics and batch."""
  return functools.partial(
    detection_loss.detection_losses, model=model, cfg=cfg
  )


def step_fn(
  model: dwd.DWDNet,
  tx,
  cfg: detection_loss.DetectionConfig = LOSSES,
):
  """`train_step` of state, batch and plan, not compiled."""
  return functools.partial(
    step_lib.train_step,
    losses_fn=losses_fn(model, cfg),
    tx=tx,
    cfg=step_lib.UpdateConfig(),
  )
