"""TrainState: everything that a step reads and writes."""

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
    params: parameters of the network.
    batch_stats: running averages of batch norm.
    opt_state: of the current stage's optimizer.
    loss_history: [len(LOSSES), window] last values of each loss, newest first;
      NaN where there is none yet.
    ema_params: running mean of {"params": .., "batch_stats": ..}; {} where none
      is kept. It had the parameters alone once: its name is that in a file.
    skipped: [2] steps that changed nothing: all of them, and those since the
      last one that did.
  """

  step: Array
  params: Params
  batch_stats: Any
  opt_state: Any
  loss_history: Array
  ema_params: Any
  skipped: Array


def new_state(
  variables: Any,
  tx: optax.GradientTransformation,
  window: int,
  ema: bool = False,
) -> TrainState:
  """A fresh state; a pure function, to be jit-ed with its shardings.

  Args:
    variables: {"params": .., "batch_stats": ..} to start from.
    tx: optimizer of the first stage.
    window: steps of the running mean of losses.
    ema: keep a running mean of the variables.
  """
  variables = {key: variables[key] for key in ("params", "batch_stats")}
  params = variables["params"]
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    batch_stats=variables["batch_stats"],
    opt_state=tx.init(params),
    loss_history=jnp.full((len(LOSSES), window), jnp.nan, jnp.float32),
    # Copies: a step is given all of the state's buffers to reuse.
    ema_params=jax.tree.map(jnp.array, variables) if ema else {},
    skipped=jnp.zeros(2, jnp.int32),
  )


def eval_variables(state: TrainState) -> Any:
  """What a network predicts with: the running mean where one is kept."""
  return state.ema_params or {
    "params": state.params,
    "batch_stats": state.batch_stats,
  }


def state_shapes(
  init: Callable[[], TrainState],
  mesh: Mesh,
  rules: sharding.Rules = sharding.RULES,
) -> Any:
  """Shapes of a state with their shardings, to restore a checkpoint into.

  Args:
    init: makes a fresh state, see `new_state`; it is not run.
    mesh: see `sharding.make_mesh`.
    rules: see `sharding.state_shardings`.
  """
  shapes = jax.eval_shape(init)
  return jax.tree.map(
    lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
    shapes,
    sharding.state_shardings(shapes, mesh, rules),
  )


def create_state(
  init: Callable[[], TrainState],
  mesh: Mesh,
  rules: sharding.Rules = sharding.RULES,
) -> TrainState:
  """Initialises a state on the host, then puts it in its place on the mesh.

  So the same seed gives the same parameters on every backend, and nothing waits
  for an accelerator's compiler: hundreds of random arrays cost the one for GPUs
  minutes. The code runs once: optimising it takes three times longer than not,
  and changes nothing but the last bit of some numbers. See `state_shapes`.
  """
  shapes = state_shapes(init, mesh, rules)
  return jax.tree.map(_put, init_on_host(init), shapes)


def init_on_host(init: Callable[[], TrainState]) -> TrainState:
  """A fresh state of NumPy arrays, see `create_state`."""
  hurry = {"xla_backend_optimization_level": 0}
  try:
    cpu = jax.local_devices(backend="cpu")[0]
  except RuntimeError:  # left out by JAX_PLATFORMS
    cpu, hurry = None, None
  with jax.default_device(cpu):
    return jax.device_get(jax.jit(init, compiler_options=hurry)())


def _put(x: np.ndarray, shape: jax.ShapeDtypeStruct) -> jax.Array:
  """Every process puts its own parts, without asking the others."""
  return jax.make_array_from_callback(x.shape, shape.sharding, x.__getitem__)


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
