"""rmsprop / adam / sgd, learning-rate schedules, L2, clipping, freezing.

The state of an optimizer has the same structure in every stage, so a checkpoint
of any stage can be read by any other.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Literal

import jax
import numpy as np
import optax

from dwd_jax.core.config_sections import check_choices
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import Params
from dwd_jax.train.stages import Stage


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """The optimizer.

  Attributes:
    name: the optimizer: rmsprop (the paper), adam, or sgd (with momentum).
    learning_rate: highest learning rate of the schedule.
    schedule: the learning rate after the warm-up: constant, or cosine (falls to
      0 at the end of the stage).
    warmup_steps: number of steps in which the learning rate rises at the start
      of every stage, at most a quarter of them.
    l2: factor of the L2 penalty on kernels, whose gradient is added.
    weight_decay: share of the kernels that is taken off at each step, times the
      learning rate (decoupled, as in AdamW).
    clip_norm: largest global norm of the gradient, to which larger ones are
      scaled down; 0 = no clipping.
    rmsprop_decay: rmsprop: share of the running mean of squared gradients that
      a step keeps, 0..1.
    rmsprop_start: rmsprop: that running mean before the first step, 0 or more.
      With 0 the first steps are long whatever the gradients; with 1, as in the
      original (TensorFlow 1), small gradients make short steps at first.
    momentum: sgd: share of the running sum of gradients that a step keeps,
      0..1.
  """

  name: Literal["rmsprop", "adam", "sgd"] = "rmsprop"
  learning_rate: float = 5e-5
  schedule: Literal["constant", "cosine"] = "constant"
  warmup_steps: int = 0
  l2: float = 5e-7
  weight_decay: float = 0.0
  clip_norm: float = 0.0
  rmsprop_decay: float = 0.995
  rmsprop_start: float = 0.0
  momentum: float = 0.9

  def __post_init__(self):
    check_choices(self, "optimizer")
    if not 0 <= self.rmsprop_start < float("inf"):
      raise InputError(
        f"config: optimizer.rmsprop_start is {self.rmsprop_start}; use 0 or"
        " more"
      )


def learning_rate(
  cfg: OptimizerConfig, stage: Stage, steps: np.ndarray
) -> np.ndarray:
  """Learning rates of steps of a stage, on the host: nothing waits for it.

  Args:
    steps: numbers of steps, 0 = the stage's first.

  Returns:
    float32, of the same shape.
  """
  peak = stage.learning_rate or cfg.learning_rate
  # A stage of a few steps still gets most of them at full rate.
  warmup = min(cfg.warmup_steps, stage.steps // 4)
  rates = peak * np.minimum((steps + 1) / (warmup + 1), 1.0)
  if cfg.schedule == "cosine":
    share = (steps - warmup) / max(stage.steps - warmup, 1)
    rates = rates * 0.5 * (1 + np.cos(np.pi * np.clip(share, 0.0, 1.0)))
  return rates.astype(np.float32)


def path_names(params: Params) -> Params:
  """The same tree with each leaf's path, such as "backbone/stem/kernel"."""
  return jax.tree_util.tree_map_with_path(
    lambda path, _: "/".join(str(part.key) for part in path), params
  )


def _kernels(params: Params) -> Params:
  return jax.tree.map(lambda name: name.endswith("kernel"), path_names(params))


def frozen_mask(params: Params, patterns: tuple[str, ...]) -> Params:
  """True where a pattern matches the parameter's path (`re.search`).

  Raises:
    InputError: a pattern that matches nothing.
  """
  names = path_names(params)
  for pattern in patterns:
    if not any(re.search(pattern, name) for name in jax.tree.leaves(names)):
      raise InputError(
        f"config.stages: frozen pattern '{pattern}' matches no parameter;"
        f" paths look like {jax.tree.leaves(names)[0]}"
      )
  return jax.tree.map(
    lambda name: any(re.search(pattern, name) for pattern in patterns), names
  )


OPTIMIZERS: dict[
  str, Callable[[OptimizerConfig], optax.GradientTransformation]
] = {
  "rmsprop": lambda cfg: optax.scale_by_rms(
    cfg.rmsprop_decay, eps=1e-8, initial_scale=cfg.rmsprop_start
  ),
  "adam": lambda cfg: optax.scale_by_adam(),
  "sgd": lambda cfg: optax.trace(cfg.momentum),
}


def make_optimizer(
  cfg: OptimizerConfig, frozen: tuple[str, ...] = ()
) -> optax.GradientTransformation:
  """Everything of the optimizer but the learning rate.

  `train_step` multiplies by minus the learning rate, an input, so that stages
  share one compiled step.

  Args:
    cfg: options.
    frozen: patterns of the paths of parameters that get no update. Their
      gradients would count for the clipping: `step.train_step` makes them 0.

  Reference: the original's README (rmsprop, learning rate close to 5e-5, L2 to
  5e-7). Differs from the original: L2 is added once (its combined stage adds it
  with every loss, and once more).
  """
  clip = optax.clip_by_global_norm(cfg.clip_norm)
  return optax.chain(
    clip if cfg.clip_norm else optax.identity(),
    optax.add_decayed_weights(cfg.l2, mask=_kernels),
    OPTIMIZERS[cfg.name](cfg),
    optax.add_decayed_weights(cfg.weight_decay, mask=_kernels),
    optax.masked(
      optax.set_to_zero(), lambda params: frozen_mask(params, frozen)
    ),
  )
