"""The smallest task that the loop can train: a line through points."""

import dataclasses
import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dwd_jax.checkpoints.checkpointer import ModelCard
from dwd_jax.cluster import sharding
from dwd_jax.train import optim
from dwd_jax.train import state as state_lib
from dwd_jax.train.settings import default
from dwd_jax.train.stages import LOSSES, Stage
from dwd_jax.train.step import UpdateConfig
from dwd_jax.train.task import Task

SLOPE = 3.0
CARD = ModelCard(("point",), (0,), {"width": 1}, {"optimizer": "sgd"})


class Points:
  """Batch n depends on n alone; `spoil` may change it."""

  def __init__(self, spoil=None):
    self.step = 0
    self.closed = False
    self._spoil = spoil

  def __next__(self) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(self.step)
    x = rng.normal(size=(4, 1)).astype(np.float32)
    batch = {"x": x, "y": SLOPE * x}
    if self._spoil is not None:
      batch = self._spoil(self.step, batch)
    self.step += 1
    return batch

  def get_state(self) -> dict[str, int]:
    return {"step": self.step}

  def set_state(self, state: dict[str, int]) -> None:
    self.step = state["step"]

  def close(self) -> None:
    self.closed = True


def losses_fn(params, batch_stats, batch, train=True):
  """Squared error as the energy loss; the others are constants."""
  error = (batch["x"] * params["line"]["kernel"] - batch["y"]) ** 2
  del train
  losses = jnp.stack([error.mean(), jnp.ones(()), jnp.ones(())])
  seen = {"line": {"mean": 0.9 * batch_stats["line"]["mean"] + 0.1}}
  return losses, seen, {"loss_energy": error.mean()}


def variables() -> dict[str, Any]:
  return {
    "params": {"line": {"kernel": jnp.zeros((1, 1))}},
    "batch_stats": {"line": {"mean": jnp.zeros(1)}},
  }


def stages(*steps: int, **changes) -> tuple[Stage, ...]:
  """Stages of the one loss."""
  return tuple(
    Stage(f"stage{i}", n, LOSSES[:1], (1.0,), **changes)
    for i, n in enumerate(steps)
  )


def make(workdir: pathlib.Path, *, spoil=None, **changes) -> Task:
  """A task in a workdir.

  Args:
    workdir: made if missing.
    spoil: changes batches, called with the step's number and the batch.
    **changes: fields of `Task`, or keys of `config.train`.
  """
  workdir.mkdir(parents=True, exist_ok=True)
  config = default()
  config.train.log_every = 1
  config.train.checkpoint_every = 2
  fields = {f.name for f in dataclasses.fields(Task)}
  for key, value in changes.items():
    if key not in fields:
      config.train[key] = value
  cfg = UpdateConfig(
    config.train.accumulate,
    config.train.ema_decay,
    config.train.max_loss_ratio,
  )
  optimizer = optim.OptimizerConfig(
    "sgd", learning_rate=0.05, l2=0.0, momentum=0.0
  )

  task = Task(
    workdir=workdir,
    config=config,
    stages=stages(6),
    optimizer=optimizer,
    card=CARD,
    mesh=sharding.make_mesh(),
    loader=functools.partial(Points, spoil),
    init=lambda _: state_lib.new_state(
      variables(), optim.make_optimizer(optimizer), 5, cfg.ema_decay > 0
    ),
    losses_fn=losses_fn,
    update=cfg,
    validation=Points,
  )
  return dataclasses.replace(
    task, **{k: v for k, v in changes.items() if k in fields}
  )


def slope(state) -> float:
  """The parameter."""
  return float(jax.device_get(state.params["line"]["kernel"])[0, 0])
