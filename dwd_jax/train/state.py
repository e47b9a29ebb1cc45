"""TrainState, the device mesh and how arrays lie on it."""

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dwd_jax.errors import InputError
from dwd_jax.models import dwd
from dwd_jax.stages import LOSSES
from dwd_jax.structs import Array, Params

_MIN_SHARDED_SIZE = 2**14  # smaller parameters are replicated


class TrainState(flax.struct.PyTreeNode):
  """Everything a step reads and writes; the content of a checkpoint.

  Attributes:
    step: steps done so far, over all stages.
    params: parameters of the network.
    batch_stats: running averages of batch norm.
    opt_state: of the current stage's optimizer.
    loss_history: [len(LOSSES), window] last values of each loss, newest first;
      NaN where there is none yet.
  """

  step: Array
  params: Params
  batch_stats: Any
  opt_state: Any
  loss_history: Array


def make_mesh(fsdp: int = 1) -> Mesh:
  """All devices as a mesh with the axes `data` and `fsdp`.

  Args:
    fsdp: devices over which parameters are sharded; the rest is `data`.

  Raises:
    InputError: the number of devices is no multiple of `fsdp`.
  """
  devices = jax.device_count()
  if fsdp < 1 or devices % fsdp:
    raise InputError(
      f"train.fsdp: {devices} devices are no multiple of {fsdp}; use a divisor"
    )
  return jax.make_mesh(
    (devices // fsdp, fsdp), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2
  )


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Batches are split over all devices along their first axis."""
  return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def state_shardings(shapes: Any, mesh: Mesh) -> Any:
  """Shards the last axis of large arrays over `fsdp`, replicates the others.

  Args:
    shapes: pytree of arrays or `jax.ShapeDtypeStruct`.
    mesh: see `make_mesh`.
  """
  fsdp = mesh.shape["fsdp"]

  def rule(x):
    large = x.ndim > 0 and np.prod(x.shape) >= _MIN_SHARDED_SIZE
    if fsdp > 1 and large and x.shape[-1] % fsdp == 0:
      axes = [None] * (x.ndim - 1) + ["fsdp"]
      return NamedSharding(mesh, PartitionSpec(*axes))
    return NamedSharding(mesh, PartitionSpec())

  return jax.tree.map(rule, shapes)


def new_state(
  model: dwd.DWDNet,
  tx: optax.GradientTransformation,
  seed: int,
  hw: tuple[int, int],
  window: int,
) -> TrainState:
  """A fresh state; a pure function, to be jit-ed with its shardings.

  Args:
    model: the network.
    tx: optimizer of the first stage.
    seed: of the initialisation.
    hw: (height, width) of an image.
    window: steps of the running mean of losses.
  """
  variables = dwd.init_variables(model, seed, hw)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=variables["params"],
    batch_stats=variables["batch_stats"],
    opt_state=tx.init(variables["params"]),
    loss_history=jnp.full((len(LOSSES), window), jnp.nan, jnp.float32),
  )


def state_shapes(init: Callable[[], TrainState], mesh: Mesh) -> Any:
  """Shapes of a state with their shardings, to restore a checkpoint into.

  Args:
    init: makes a fresh state, see `new_state`; it is not run.
    mesh: see `make_mesh`.
  """
  shapes = jax.eval_shape(init)
  return jax.tree.map(
    lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
    shapes,
    state_shardings(shapes, mesh),
  )


def create_state(init: Callable[[], TrainState], mesh: Mesh) -> TrainState:
  """Initialises a state directly in its place on the mesh; see `state_shapes`.

  It runs once: optimising this code takes three times longer than not, and
  changes nothing but the last bit of some numbers.
  """
  hurry = {"xla_backend_optimization_level": 0}
  return jax.jit(
    init,
    out_shardings=jax.tree.map(lambda x: x.sharding, state_shapes(init, mesh)),
    compiler_options=hurry if jax.default_backend() == "cpu" else None,
  )()


def start_stage(
  state: TrainState, tx: optax.GradientTransformation, reset: bool
) -> TrainState:
  """The state at the first step of a stage.

  Args:
    state: at the end of the stage before.
    tx: optimizer of the new stage.
    reset: fresh optimizer state.
  """
  history = jnp.full_like(state.loss_history, jnp.nan)
  opt_state = tx.init(state.params) if reset else state.opt_state
  return state.replace(opt_state=opt_state, loss_history=history)
