"""The task of the training loop: the detector, or its pretraining."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import ml_collections
import numpy as np

from dwd_jax.checkpoints import checkpointer
from dwd_jax.train import optim
from dwd_jax.train.logs import Logs
from dwd_jax.train.stages import Stage
from dwd_jax.train.state import Init, TrainState
from dwd_jax.train.step import LossesFn, UpdateConfig


class Loader(Protocol):
  """Endless batches, see `data.pipeline.TrainLoader`."""

  def __next__(self) -> Any:
    """The next batch: a pytree of NumPy arrays [B of this process, ...]."""
    ...

  def get_state(self) -> dict[str, Any]:
    """JSON from which `set_state` continues."""
    ...

  def set_state(self, state: dict[str, Any]) -> None:
    """Continues where `state` was taken."""
    ...

  def close(self) -> None:
    """Ends threads and worker processes."""
    ...


@dataclasses.dataclass(frozen=True)
class Renewal:
  """Batches that depend on the state, and are made anew now and then.

  Attributes:
    every: steps between two renewals; the first one precedes the training.
    score: metric by which a state is judged, the higher the better: it, instead
      of `Task.evaluate`, decides which checkpoint is best, and it counts for
      the `patience` of a stage.
    run: renews the batches of a loader; gets the state and the number of steps
      done, a multiple of `every`, and returns metrics.
    again: the batches of that renewal, where a run goes on.
  """

  every: int
  score: str
  run: Callable[[TrainState, Any, int], Mapping[str, float]]
  again: Callable[[Any, int], None]


@dataclasses.dataclass(frozen=True)
class Task:
  """What the loop trains.

  Attributes:
    config: resolved; the loop reads its section `train`, and compares the rest
      when a run is resumed.
    stages: only those with steps.
    card: describes the network, saved with the checkpoints.
    loader: opens the training batches, from the first one.
    init: seed -> a new state; a pure function.
    losses_fn: a pure function.
    initial: replaces the new state on the mesh by the one to start with, such
      as with pretrained parameters.
    announce: logs a description of the task at the start.
    evaluate: score of a state on validation pages; the best checkpoint is the
      one with the highest.
    validation: opens the validation batches, the same ones each time.
    pictures: of a state and a batch on the host, by name, uint8 [H, W, 3].
  """

  workdir: pathlib.Path
  config: ml_collections.ConfigDict
  stages: tuple[Stage, ...]
  optimizer: optim.OptimizerConfig
  card: checkpointer.ModelCard
  mesh: jax.sharding.Mesh
  loader: Callable[[], Loader]
  init: Init
  losses_fn: LossesFn
  update: UpdateConfig
  initial: Callable[[TrainState], TrainState] | None = None
  announce: Callable[[Logs, TrainState], None] | None = None
  evaluate: Callable[[TrainState, Logs], float | None] | None = None
  validation: Callable[[], Loader] | None = None
  pictures: Callable[[TrainState, Any], Mapping[str, np.ndarray]] | None = None
  renewal: Renewal | None = None
