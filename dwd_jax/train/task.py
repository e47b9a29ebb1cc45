"""What the training loop trains: the detector, or a pretraining of it."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import ml_collections
import numpy as np

from dwd_jax.checkpoints import checkpointer
from dwd_jax.cluster import sharding
from dwd_jax.train import optim
from dwd_jax.train import state as state_lib
from dwd_jax.train.logs import Logs
from dwd_jax.train.stages import Stage
from dwd_jax.train.state import TrainState
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
class Task:
  """Everything that the loop has to know of what it trains.

  Attributes:
    workdir: where everything is written.
    config: resolved; its section `train` says how, the rest is kept and
      compared when a run goes on.
    stages: those that have steps.
    optimizer: of all stages.
    card: what the network is, kept with the checkpoints.
    mesh: devices.
    loader: opens the batches at the first one.
    init: makes a fresh state; a pure function.
    losses_fn: what is trained; a pure function.
    update: how its gradients become an update.
    initial: called with a fresh state on the mesh, returns the state to start
      with: with parameters of a pretraining; None = the fresh one.
    announce: says what is trained; gets logs and the state at the start.
    evaluate: score of a state on validation pages, by which checkpoints are
      compared, the higher the better; may log more. None = no scores.
    validation: opens the batches of a validation, the same ones each time; None
      = there are no validation losses.
    pictures: of a state and a batch on the host, by name, uint8 [H, W, 3].
  """

  workdir: pathlib.Path
  config: ml_collections.ConfigDict
  stages: tuple[Stage, ...]
  optimizer: optim.OptimizerConfig
  card: checkpointer.ModelCard
  mesh: jax.sharding.Mesh
  loader: Callable[[], Loader]
  init: Callable[[], TrainState]
  losses_fn: LossesFn
  update: UpdateConfig
  initial: Callable[[TrainState], TrainState] | None = None
  announce: Callable[[Logs, TrainState], None] | None = None
  evaluate: Callable[[TrainState, Logs], float | None] | None = None
  validation: Callable[[], Loader] | None = None
  pictures: Callable[[TrainState, Any], Mapping[str, np.ndarray]] | None = None

  @property
  def rules(self) -> sharding.Rules:
    """Where parameters lie, `train.sharding`."""
    return tuple((p, where) for p, where in self.config.train.sharding)

  def state_shapes(self) -> Any:
    """Shapes and shardings of the state."""
    return state_lib.state_shapes(self.init, self.mesh, self.rules)

  def new_state(self) -> TrainState:
    """A state to start with, on the mesh."""
    state = state_lib.create_state(self.init, self.mesh, self.rules)
    return state if self.initial is None else self.initial(state)

  def checkpoints(self) -> checkpointer.Checkpoints:
    """Those in the workdir."""
    return checkpointer.Checkpoints(
      self.workdir / "checkpoints", self.config.train.keep_checkpoints
    )
