"""A training step: losses -> gradients -> optimizer -> new state.

Pure functions; the loop adds jit, shardings and donation.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Protocol

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from clu import metrics as clu_metrics

from dwd_jax.core.structs import Array, Params
from dwd_jax.train import optim
from dwd_jax.train.stages import LOSSES, Stage
from dwd_jax.train.state import TrainState, eval_variables

_ROW = 16  # arrays of a norm in one kernel, which has room for some 90 operands


class LossesFn(Protocol):
  """Losses to train, such as `objectives.detection_loss.detection_losses`."""

  def __call__(
    self, params: Params, batch_stats: Any, batch: Any, train: bool = True
  ) -> tuple[Array, Any, dict[str, Array]]:
    """Losses in the order of `stages.LOSSES`, new batch_stats, metrics.

    Batch norm uses the batch's statistics if `train`, else `batch_stats`.
    """
    ...


@dataclasses.dataclass(frozen=True)
class UpdateConfig:
  """How gradients become an update; keys of `config.train`.

  Attributes:
    accumulate: number of parts of a batch that are computed one after the
      other, to save memory; their gradients are averaged. Each part has its own
      batch norm statistics and loss normalisers.
    ema_decay: decay of a running mean of parameters and batch statistics, with
      which pages are predicted; below 1, 0 = none.
    max_loss_ratio: a step is skipped where a trained loss is more than this
      many times its running mean, above 1; 0 = only where something is not
      finite.
  """

  accumulate: int = 1
  ema_decay: float = 0.0
  max_loss_ratio: float = 1e4


class StepPlan(flax.struct.PyTreeNode):
  """What changes from stage to stage, as inputs of the compiled step.

  Attributes:
    learning_rate: of the step; [steps] for `train_steps`.
    factors: [len(LOSSES)] weights of the losses; 0 = not trained.
    balance: divide each loss by its running mean.
  """

  learning_rate: Array
  factors: Array
  balance: Array


def make_plan(stage: Stage, learning_rate: float | np.ndarray) -> StepPlan:
  """The plan of one step of a stage, or of several."""
  weights = dict(zip(stage.losses, stage.factors, strict=True))
  return StepPlan(
    learning_rate=np.asarray(learning_rate, np.float32),
    factors=np.asarray([weights.get(k, 0.0) for k in LOSSES], np.float32),
    balance=np.asarray(stage.balance),
  )


@functools.cache
def metrics_class(names: tuple[str, ...]) -> type[clu_metrics.Collection]:
  """A clu collection of the mean of each named metric."""
  return clu_metrics.Collection.create(
    **{name: clu_metrics.Average.from_output(name) for name in names}
  )


def combine(
  losses: Array, history: Array, plan: StepPlan
) -> tuple[Array, Array]:
  """The stage's loss, and the history with the new values in front.

  Args:
    losses: of this step, in the order of `stages.LOSSES`.
    history: [len(LOSSES), window] values of the last steps, NaN = none.
    plan: with `balance`, each loss is divided by the mean of its last values,
      this step's included; no gradient passes through the mean.

  Reference: section 4 (combined stage).
  """
  values = jax.lax.stop_gradient(losses)
  history = jnp.concatenate([values[:, None], history[:, :-1]], axis=1)
  means = jnp.maximum(jnp.nanmean(history, axis=1), 1e-8)
  weights = jnp.where(plan.balance, plan.factors / means, plan.factors)
  # An untrained loss may overflow, and 0 * inf is NaN.
  total = jnp.where(plan.factors > 0, weights * losses, 0.0).sum()
  return total, history


def _gradients_fn(losses_fn: LossesFn, history: Array, plan: StepPlan, still):
  """Makes a function of (params, batch_stats, batch), the loss's gradient.

  It returns ((loss, (batch_stats, losses, metrics)), gradients); the gradients
  of parameters that are `still` are 0.
  """

  def loss_fn(params, batch_stats, batch):
    params = jax.tree.map(
      lambda x, fixed: jax.lax.stop_gradient(x) if fixed else x, params, still
    )
    losses, stats, metrics = losses_fn(params, batch_stats, batch)
    total, _ = combine(losses, history, plan)
    return total, (stats, losses, metrics)

  return jax.value_and_grad(loss_fn, has_aux=True)


def _accumulated(state, batch, gradients_fn, parts: int):
  """The mean of `gradients_fn` over the parts of a batch, in sequence."""

  def cut(x):
    # Part i has rows i, i + parts, ..., so that every device keeps its rows.
    if x.shape[0] % parts:
      raise ValueError(f"a batch of {x.shape[0]} does not make {parts} parts")
    rows = x.reshape(x.shape[0] // parts, parts, *x.shape[1:])
    return jnp.moveaxis(rows, 1, 0)

  def body(carry, part):
    batch_stats, total = carry
    (loss, (stats, losses, metrics)), grads = gradients_fn(
      state.params, batch_stats, part
    )
    total = jax.tree.map(jnp.add, total, grads)
    return (stats, total), (loss, losses, metrics)

  start = state.batch_stats, jax.tree.map(jnp.zeros_like, state.params)
  (stats, total), seen = jax.lax.scan(body, start, jax.tree.map(cut, batch))
  loss, losses, metrics = jax.tree.map(lambda x: x.mean(0), seen)
  grads = jax.tree.map(lambda x: x / parts, total)
  return (loss, (stats, losses, metrics)), grads


def _norm(tree: Any, flat: bool) -> Array:
  """Euclidean norm of all numbers; `flat`: many arrays to a kernel."""
  leaves = jax.tree.leaves(tree)
  if flat:
    # Else XLA would sum every array on its own, in two kernels.
    leaves = [
      jax.lax.optimization_barrier(jnp.concatenate(leaves[i : i + _ROW]))
      for i in range(0, len(leaves), _ROW)
    ]
  return jnp.sqrt(sum(jnp.sum(x * x) for x in leaves))


def _vectors(tree: Any) -> Any:
  """Every array as a vector."""
  return jax.tree.map(jnp.ravel, tree)


def _sane(losses, history, plan, ratio: float) -> Array:
  """Whether no trained loss is far above its mean over a whole window."""
  if not ratio:
    return jnp.asarray(True)
  limit = ratio * history.mean(axis=1)  # NaN until the window is full
  return ~jnp.any((plan.factors > 0) & (losses > limit))


def _moving_average(average: Any, variables: Any, step, decay: float):
  """Running mean of all variables, faster in the first steps."""
  rate = 1 - jnp.minimum(decay, (1.0 + step) / (10.0 + step))
  return jax.tree.map(lambda a, x: a + rate * (x - a), average, variables)


def train_step(
  state: TrainState,
  batch: Any,
  plan: StepPlan,
  *,
  losses_fn: LossesFn,
  tx: optax.GradientTransformation,
  cfg: UpdateConfig,
  frozen: tuple[str, ...] = (),
  flat_update: bool = False,
) -> tuple[TrainState, clu_metrics.Collection]:
  """One training step; returns the new state and its metrics.

  A step whose loss, gradient or update is not finite, or whose loss explodes
  (`UpdateConfig.max_loss_ratio`), is skipped: it changes only the counters, and
  its metrics are masked. Batch norm uses the statistics of the whole batch over
  all devices (of a part of it with `cfg.accumulate`).

  Args:
    batch: pytree of arrays [B, ...].
    tx: optimizer, without the learning rate.
    frozen: patterns of the paths of frozen parameters, the same as in `tx`.
      Their gradient is 0, so it counts neither for clipping nor as not finite.
    flat_update: update vectors instead of arrays with axes, and take norms of
      many at once: a GPU runs fewer kernels, transposes and copies less.
      Results differ by rounding. Not for parameters that are sharded, nor for a
      `tx` that looks at shapes.
  """
  still = optim.frozen_mask(state.params, frozen)
  gradients_fn = _gradients_fn(losses_fn, state.loss_history, plan, still)
  if cfg.accumulate > 1:
    found = _accumulated(state, batch, gradients_fn, cfg.accumulate)
  else:
    found = gradients_fn(state.params, state.batch_stats, batch)
  (loss, (batch_stats, losses, metrics)), grads = found
  _, history = combine(losses, state.loss_history, plan)
  whole = state
  if flat_update:
    grads, batch_stats = _vectors(grads), _vectors(batch_stats)
    state = state.replace(
      params=_vectors(state.params),
      opt_state=_vectors(state.opt_state),
      batch_stats=_vectors(state.batch_stats),
      ema_params=_vectors(state.ema_params),
    )
  updates, opt_state = tx.update(grads, state.opt_state, state.params)
  updates = jax.tree.map(lambda u: -plan.learning_rate * u, updates)
  sizes = {
    "gradient_norm": _norm(grads, flat_update),
    "update_norm": _norm(updates, flat_update),
  }
  ok = jnp.isfinite(loss) & _sane(
    losses, state.loss_history, plan, cfg.max_loss_ratio
  )
  for size in sizes.values():
    ok &= jnp.isfinite(size)
  params = optax.apply_updates(state.params, updates)
  ema = state.ema_params
  if cfg.ema_decay:
    variables = {"params": params, "batch_stats": batch_stats}
    ema = _moving_average(ema, variables, state.step, cfg.ema_decay)
  after = state.replace(
    params=params,
    batch_stats=batch_stats,
    opt_state=opt_state,
    loss_history=history,
    ema_params=ema,
  )
  after = jax.tree.map(
    lambda new, old, x: jnp.where(ok, new, old).reshape(x.shape),
    after,
    state,
    whole,
  )
  # Also keep exploded values: a loss that stays high is the new level.
  known = ok | jnp.isfinite(jnp.where(plan.factors > 0, losses, 0.0)).all()
  history = jnp.where(known, history, state.loss_history)
  total, in_row = state.skipped
  skipped = jnp.where(ok, jnp.stack([total, 0 * in_row]), state.skipped + 1)
  after = after.replace(
    step=state.step + 1, skipped=skipped, loss_history=history
  )
  metrics = metrics | sizes | {"loss": loss}
  means = jnp.nanmean(history, axis=1)
  metrics |= {f"mean_{k}": m for k, m in zip(LOSSES, means, strict=True)}
  collection = metrics_class(tuple(sorted(metrics)))
  return after, collection.single_from_model_output(
    mask=ok[None], **{k: jnp.reshape(v, (1,)) for k, v in metrics.items()}
  )


def train_steps(
  state: TrainState,
  batches: Any,
  plan: StepPlan,
  *,
  step: Callable[..., tuple[TrainState, clu_metrics.Collection]],
) -> tuple[TrainState, clu_metrics.Collection]:
  """Several training steps, one after the other.

  Args:
    batches: pytree of arrays [steps, B, ...].
    plan: with the learning rate of each step.
    step: `train_step` with its options.

  Returns:
    The new state, and the metrics of all steps merged.
  """

  def body(state, given):
    batch, rate = given
    return step(state, batch, plan.replace(learning_rate=rate))

  given = batches, plan.learning_rate
  if len(plan.learning_rate) == 1:
    return body(state, jax.tree.map(lambda x: x[0], given))
  state, metrics = jax.lax.scan(body, state, given)
  return state, metrics.reduce()


def eval_step(
  state: TrainState, batch: Any, *, losses_fn: LossesFn
) -> dict[str, Array]:
  """Metrics of `losses_fn`, such as `loss_energy`, with `eval_variables`."""
  return losses_fn(**eval_variables(state), batch=batch, train=False)[2]
