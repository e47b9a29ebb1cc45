"""A training step to measure: network, state, batch and plan."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax

from benchmarks import common
from configs import default
from dwd_jax import config as config_lib
from dwd_jax import optim
from dwd_jax.models import dwd
from dwd_jax.structs import Batch
from dwd_jax.train import state as state_lib
from dwd_jax.train import step as step_lib

NUM_CLASSES = 124
_WIDE = 256  # filters of the paper's decoder


@dataclasses.dataclass(frozen=True)
class Scene:
  """What a step is made of.

  Attributes:
    model: the network.
    settings: checked parts of the config.
    cfg: targets, losses, groups.
    step: the combined stage's step, a function of state, batch and plan.
    plan: learning rate 1e-3 and factors of the combined stage.
    batch_shape: (examples, side of the crops in px, padded boxes).
    loss_window: steps of the running means.
  """

  model: dwd.DWDNet
  settings: config_lib.Settings
  cfg: step_lib.StepConfig
  step: Callable[..., Any]
  plan: step_lib.StepPlan
  batch_shape: tuple[int, int, int]
  loss_window: int

  def new_state(self) -> state_lib.TrainState:
    """A fresh state; a pure function."""
    tx = optim.make_optimizer(self.settings.optimizer)
    return state_lib.new_state(self.model, tx, 0, (64, 64), self.loss_window)

  def batch(self) -> Batch:
    """Noise with as many boxes as a dense page has; always the same."""
    size, crop, max_boxes = self.batch_shape
    return common.made_up_batch(size, (crop, crop), max_boxes, NUM_CLASSES)

  def inputs(self) -> tuple[state_lib.TrainState, Batch, step_lib.StepPlan]:
    """Arguments of `step`."""
    return jax.jit(self.new_state)(), self.batch(), self.plan

  def shapes(self) -> tuple[Any, Any, Any]:
    """Arguments of `step` as `jax.ShapeDtypeStruct`: nothing is allocated."""
    size, crop, max_boxes = self.batch_shape
    one = common.made_up_batch(1, (32, 32), max_boxes, NUM_CLASSES)
    image = (crop, crop, 1)

    def grow(x):
      inner = image if x.ndim == 4 else x.shape[1:]
      return jax.ShapeDtypeStruct((size, *inner), x.dtype)

    plan = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), self.plan
    )
    return jax.eval_shape(self.new_state), jax.tree.map(grow, one), plan


def make_scene(
  spec: str,
  crop: int,
  batch_size: int,
  *,
  max_boxes: int = 512,
  dtype: str = "float32",
  optimizer: str = "rmsprop",
  **overrides: Any,
) -> Scene:
  """The combined stage of the default config with a network of some size.

  Args:
    spec: DEPTHxWIDTHxFILTERS; with 256 filters the paper's decoder, else the
      default one of this project (batch norm, a hidden layer of 128 in the
      class head).
    crop: side of the crops in pixels.
    batch_size: crops of a step.
    max_boxes: padded boxes of a crop.
    dtype: "float32" or "bfloat16", type of the network's computation.
    optimizer: "rmsprop", "adam" or "sgd".
    **overrides: "section.key" -> value of other keys of the config.
  """
  config = default.get_config()
  depth, width, filters = map(int, spec.split("x"))
  config.model.backbone_depth = depth
  config.model.backbone_width = width
  config.model.filters = filters
  config.model.dtype = dtype
  if filters != _WIDE:
    config.model.decoder_norm = True
    config.model.class_hidden = 128
  config.optimizer.name = optimizer
  config.data.crop_hw = (crop, crop)
  config.update_from_flattened_dict(overrides)
  settings = config_lib.validate(config)
  model = dwd.make_model(config_lib.model_config(config, NUM_CLASSES, 1))
  cfg = step_lib.StepConfig(
    settings.targets, settings.losses, (0,) * NUM_CLASSES
  )
  step = functools.partial(
    step_lib.train_step,
    model=model,
    tx=optim.make_optimizer(settings.optimizer),
    cfg=cfg,
  )
  return Scene(
    model=model,
    settings=settings,
    cfg=cfg,
    step=step,
    plan=step_lib.make_plan(settings.stages[-1], 1e-3),
    batch_shape=(batch_size, crop, max_boxes),
    loss_window=config.train.loss_window,
  )
