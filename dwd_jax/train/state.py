"""TrainState: creation, shapes and shardings, the start of a stage."""

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from dwd_jax.cluster import sharding
from dwd_jax.core.structs import Array, Params
from dwd_jax.train.stages import LOSSES


class TrainState(flax.struct.PyTreeNode):
  """Everything a step reads and writes; the content of a checkpoint.

  Attributes:
    step: steps done so far, over all stages.
    batch_stats: running averages of batch norm.
    opt_state: of the current stage's optimizer.
    loss_history: [len(LOSSES), window] last values of each loss, newest first;
      NaN = none yet.
    ema_params: running mean of {"params": .., "batch_stats": ..}; {} = off. The
      name dates from files that held the mean of the parameters alone.
    skipped: [2] skipped steps: in total, and in a row up to now.
  """

  step: Array
  params: Params
  batch_stats: Any
  opt_state: Any
  loss_history: Array
  ema_params: Any
  skipped: Array


Init = Callable[[jax.typing.ArrayLike], TrainState]  # seed -> a new state


def new_state(
  variables: Any,
  tx: optax.GradientTransformation,
  window: int,
  ema: bool = False,
) -> TrainState:
  """A new state; a pure function, to be jit-ed with its shardings.

  Args:
    variables: {"params": .., "batch_stats": ..}.
    tx: optimizer of the first stage.
    window: steps of the running mean of losses.
    ema: keep a running mean of the variables.
  """
  variables = {key: variables[key] for key in ("params", "batch_stats")}
  return TrainState(
    **variables,
    step=jnp.zeros((), jnp.int32),
    opt_state=tx.init(variables["params"]),
    loss_history=jnp.full((len(LOSSES), window), jnp.nan, jnp.float32),
    # Copies, as a step donates all buffers of the state.
    ema_params=jax.tree.map(jnp.array, variables) if ema else {},
    skipped=jnp.zeros(2, jnp.int32),
  )


def eval_variables(state: TrainState) -> Any:
  """Variables to predict with: the running mean if there is one."""
  return state.ema_params or {
    "params": state.params,
    "batch_stats": state.batch_stats,
  }


def state_shapes(init: Init, mesh: Mesh, rules: sharding.Rules) -> Any:
  """Shapes and shardings of the state that `init` would make."""
  shapes = jax.eval_shape(init, np.uint32(0))
  return jax.tree.map(
    lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
    shapes,
    sharding.state_shardings(shapes, mesh, rules),
  )


def create_state(init: Init, seed: int, shapes: Any) -> TrainState:
  """Initialises a state on the host, then places it as `state_shapes` says.

  Every process places its own parts.
  """

  def put(x: np.ndarray, shape: jax.ShapeDtypeStruct) -> jax.Array:
    return jax.make_array_from_callback(x.shape, shape.sharding, x.__getitem__)

  return jax.tree.map(put, init_on_host(init, seed), shapes)


def init_on_host(init: Init, seed: int) -> TrainState:
  """A new state of NumPy arrays.

  The same seed gives the same parameters on every backend, and hundreds of
  random arrays would cost the compiler for GPUs minutes. Compiled without
  optimisation, which would triple the time and change only last bits. The seed
  is an input, so that runs with other seeds find what was compiled.
  """
  cpu = sharding.host_cpu()
  hurry = {"xla_backend_optimization_level": 0} if cpu else None
  with jax.default_device(cpu):
    return jax.device_get(
      jax.jit(init, compiler_options=hurry)(np.uint32(seed))
    )


def start_stage(
  state: TrainState, tx: optax.GradientTransformation, reset: bool
) -> TrainState:
  """The state at the first step of a stage; `reset` clears the optimizer's."""
  history = jnp.full_like(state.loss_history, jnp.nan)
  opt_state = tx.init(state.params) if reset else state.opt_state
  return state.replace(opt_state=opt_state, loss_history=history)
