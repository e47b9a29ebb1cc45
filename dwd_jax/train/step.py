"""A step: losses -> gradients -> optimizer -> new state.

Pure functions; what is trained comes in as a function of parameters and batch,
the loop adds jit, shardings and donation.
"""

import dataclasses
import functools
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


class LossesFn(Protocol):
  """What is trained, such as `objectives.detection_loss.detection_losses`."""

  def __call__(
    self, params: Params, batch_stats: Any, batch: Any, train: bool = True
  ) -> tuple[Array, Any, dict[str, Array]]:
    """Losses in the order of `stages.LOSSES`, new batch_stats, metrics.

    Batch norm goes by the batch where `train` is set, else by `batch_stats`.
    """
    ...


@dataclasses.dataclass(frozen=True)
class UpdateConfig:
  """How gradients become an update; keys of `config.train`.

  Attributes:
    accumulate: parts that a batch is cut into; their gradients are averaged.
      A part has its own batch norm statistics and its own loss normalisers.
    ema_decay: of the running mean of parameters and batch statistics; 0 = none
      is kept.
    max_loss_ratio: a step is skipped where a trained loss exceeds its running
      mean this many times; 0 = only where something is not finite.
  """

  accumulate: int = 1
  ema_decay: float = 0.0
  max_loss_ratio: float = 1e4


class StepPlan(flax.struct.PyTreeNode):
  """What changes from stage to stage: inputs of the one compiled step.

  Attributes:
    learning_rate: of this step.
    factors: [len(LOSSES)] weights of the losses; 0 = not trained.
    balance: divide each loss by its running mean.
  """

  learning_rate: Array
  factors: Array
  balance: Array


def make_plan(stage: Stage, learning_rate: float) -> StepPlan:
  """The plan of one step of a stage."""
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
    plan: factors of the losses; with `balance` each loss is divided by the mean
      of its last values, this step's included, which is no part of the
      gradient.

  Reference: section 4 (combined stage).
  """
  values = jax.lax.stop_gradient(losses)
  history = jnp.concatenate([values[:, None], history[:, :-1]], axis=1)
  means = jnp.maximum(jnp.nanmean(history, axis=1), 1e-8)
  weights = jnp.where(plan.balance, plan.factors / means, plan.factors)
  # A loss that is not trained may grow without limit: 0 times it may be NaN.
  total = jnp.where(plan.factors > 0, weights * losses, 0.0).sum()
  return total, history


def _gradients_fn(losses_fn: LossesFn, history: Array, plan: StepPlan, still):
  """Of (params, batch_stats, batch), differentiates the stage's loss.

  The function made gives ((loss, (batch_stats, losses, metrics)), gradients),
  which are 0 for parameters that are `still`.
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
  """Of `_gradients_fn`, the mean over parts of a batch, one after another."""

  def cut(x):
    # Part i has rows i, i + parts, ...: every device keeps its own rows.
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


def _norm(tree: Any) -> Array:
  return jnp.sqrt(sum(jnp.sum(x * x) for x in jax.tree.leaves(tree)))


def _sane(losses, history, plan, ratio: float) -> Array:
  """Whether no trained loss is far above its running mean.

  The mean must be of a whole window: a stage begins without one.
  """
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
) -> tuple[TrainState, clu_metrics.Collection]:
  """One step of training, whatever is trained.

  A step whose loss, gradient or update is not finite, or whose loss explodes
  (`UpdateConfig.max_loss_ratio`), changes nothing but the counters: it is
  skipped, and so are its metrics.

  Args:
    state: before the step.
    batch: pytree of arrays [B, ...].
    plan: which losses are trained, how they are weighed, the learning rate.
    losses_fn: the losses of parameters, batch statistics and batch.
    tx: optimizer, without the learning rate.
    cfg: accumulation, running mean of the variables, what is skipped.
    frozen: patterns of the paths of parameters whose gradient is 0, so that
      they count neither for the clipping nor as not finite; as `tx` has them.

  Returns:
    The state after the step, and its metrics. Batch norm uses the statistics of
    the whole batch, over all devices (of a part of it with `cfg.accumulate`).
  """
  still = optim.frozen_mask(state.params, frozen)
  gradients_fn = _gradients_fn(losses_fn, state.loss_history, plan, still)
  if cfg.accumulate > 1:
    found = _accumulated(state, batch, gradients_fn, cfg.accumulate)
  else:
    found = gradients_fn(state.params, state.batch_stats, batch)
  (loss, (batch_stats, losses, metrics)), grads = found
  _, history = combine(losses, state.loss_history, plan)
  updates, opt_state = tx.update(grads, state.opt_state, state.params)
  updates = jax.tree.map(lambda u: -plan.learning_rate * u, updates)
  sizes = {"gradient_norm": _norm(grads), "update_norm": _norm(updates)}
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
  after = jax.tree.map(lambda new, old: jnp.where(ok, new, old), after, state)
  # A loss that explodes once is an outlier; one that stays there is the level.
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


def eval_step(
  state: TrainState, batch: Any, *, losses_fn: LossesFn
) -> dict[str, Array]:
  """The losses on a batch as the network is used: running averages.

  Args:
    state: its variables, or their running mean where there is one, are used.
    batch: see `train_step`.
    losses_fn: see `train_step`.

  Returns:
    The metrics of `losses_fn`, `loss_energy` and the others among them.
  """
  return losses_fn(**eval_variables(state), batch=batch, train=False)[2]
