"""A training step to measure: network, state, batch and plan."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks import common
from benchmarks.common import NUM_CLASSES
from dwd_jax.core.structs import Batch
from dwd_jax.models import compiling, dwd
from dwd_jax.objectives import detection_loss
from dwd_jax.train import optim
from dwd_jax.train import settings as config_lib
from dwd_jax.train import state as state_lib
from dwd_jax.train import step as step_lib

VARIANTS = ("dense", "stride4")  # of the peer, see benchmarks/torch_train.py


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
  settings: config_lib.RunSettings
  cfg: detection_loss.DetectionConfig
  step: Callable[..., Any]
  plan: step_lib.StepPlan
  batch_shape: tuple[int, int, int]
  loss_window: int

  def new_state(self, seed: jax.typing.ArrayLike = 0) -> state_lib.TrainState:
    """A fresh state; a pure function."""
    return state_lib.new_state(
      dwd.init_variables(self.model, seed, (64, 64)),
      optim.make_optimizer(self.settings.optimizer),
      self.loss_window,
    )

  def batch(self) -> Batch:
    """Noise with as many boxes as a dense page has; always the same."""
    size, crop, max_boxes = self.batch_shape
    made = common.made_up_batch(size, (crop, crop), max_boxes, NUM_CLASSES)
    return made.replace(image=(made.image * 255).astype(np.uint8))

  def inputs(self) -> tuple[state_lib.TrainState, Batch, step_lib.StepPlan]:
    """Arguments of `step`."""
    state = jax.device_put(state_lib.init_on_host(self.new_state, 0))
    return state, self.batch(), self.plan

  def lower(self, *given: Any) -> Any:
    """The step as training compiles it, lowered for `inputs` or `shapes`."""
    on_gpu = jax.default_backend() != "cpu"
    jitted = jax.jit(
      functools.partial(self.step, flat_update=on_gpu),
      donate_argnums=0,
      compiler_options=compiling.training_options(),
    )
    return jitted.lower(*given)

  def shapes(self) -> tuple[Any, Any, Any]:
    """Arguments of `step` as `jax.ShapeDtypeStruct`: nothing is allocated."""
    size, crop, max_boxes = self.batch_shape
    shape: Any = jax.ShapeDtypeStruct
    batch: Any = Batch(
      image=shape((size, crop, crop, 1), np.uint8),
      boxes_yxyx=shape((size, max_boxes, 4), np.float32),
      labels=shape((size, max_boxes), np.int32),
      box_mask=shape((size, max_boxes), np.bool_),
    )
    plan = jax.tree.map(lambda x: shape(x.shape, x.dtype), self.plan)
    return jax.eval_shape(self.new_state), batch, plan


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
    spec: DEPTHxWIDTHxFILTERS, see `common.network_keys`.
    crop: side of the crops in pixels.
    batch_size: crops of a step.
    max_boxes: padded boxes of a crop.
    dtype: "float32" or "bfloat16", type of the network's computation.
    optimizer: "rmsprop", "adam" or "sgd".
    **overrides: "section.key" -> value of other keys of the config.
  """
  config: Any = config_lib.default()
  config.model.update(common.network_keys(spec), dtype=dtype)
  config.optimizer.name = optimizer
  config.data.crop_hw = (crop, crop)
  config.train.batch_size = batch_size * jax.device_count()  # one is used
  config.update_from_flattened_dict(overrides)
  settings = config_lib.validate(config)
  model = dwd.make_model(config_lib.model_config(config, NUM_CLASSES, 1))
  cfg = detection_loss.DetectionConfig(
    settings.targets,
    settings.losses,
    (0,) * NUM_CLASSES,
    settings.train.remat,
  )
  step = functools.partial(
    step_lib.train_step,
    losses_fn=functools.partial(
      detection_loss.detection_losses, model=model, cfg=cfg
    ),
    tx=optim.make_optimizer(settings.optimizer),
    cfg=settings.train,
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
