"""train_step: targets -> network -> losses -> gradients -> new state.

A pure function; the loop adds jit, shardings and donation.
"""

import dataclasses
import functools

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from clu import metrics as clu_metrics

from dwd_jax import losses as losses_lib
from dwd_jax import targets as targets_lib
from dwd_jax.models import dwd
from dwd_jax.models.refinenet import upsample
from dwd_jax.stages import LOSSES, Stage
from dwd_jax.structs import Array, Batch, Params, Predictions, Targets
from dwd_jax.train.state import TrainState


@dataclasses.dataclass(frozen=True)
class StepConfig:
  """What a step needs besides model, optimizer and stage.

  Attributes:
    targets: how boxes become maps.
    losses: options of the losses.
    group_of_class: energy group of each class.
  """

  targets: targets_lib.TargetConfig
  losses: losses_lib.LossConfig
  group_of_class: tuple[int, ...]


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


def sparse_class_loss(
  params: Params,
  predictions: Predictions,
  targets: Targets,
  cfg: StepConfig,
  num_boxes: int,
) -> tuple[Array, dict[str, Array]]:
  """Class loss with the head evaluated on foreground pixels only.

  Args:
    params: of the network, for the class head.
    predictions: at stride 4.
    targets: at stride 1.
    cfg: see `StepConfig`; `losses.class_pixels` is the budget of an image.
    num_boxes: N, padded boxes of an image.

  Returns:
    (loss, metrics), see `losses.class_loss`. Equal to `dense_class_loss` as
    long as no image has more foreground pixels than the budget.
  """
  batch, _, width, groups = targets.classes.shape
  classes = targets.classes.reshape(batch, -1)
  owner = targets.owner.reshape(batch, -1)
  budget = min(cfg.losses.class_pixels, classes.shape[1])
  index, valid = jax.vmap(lambda mask: losses_lib.select_pixels(mask, budget))(
    classes > 0
  )  # [B, P]
  index = jnp.minimum(index, classes.shape[1] - 1)
  page = jnp.broadcast_to(jnp.arange(batch)[:, None], index.shape)
  group = index % groups
  features = dwd.gather_bilinear(
    predictions.class_features,
    page.reshape(-1),
    (index // groups // width).reshape(-1),
    (index // groups % width).reshape(-1),
  )
  logits = dwd.mask_other_groups(
    dwd.class_logits(params, features),
    group.reshape(-1),
    np.asarray(cfg.group_of_class, np.int32),
  )
  # Boxes of different images are different objects.
  owners = page * num_boxes + jnp.take_along_axis(owner, index, 1)
  return losses_lib.class_loss(
    logits,
    jnp.take_along_axis(classes, index, 1).reshape(-1),
    owners.reshape(-1),
    valid.reshape(-1),
    cfg.losses,
    batch * num_boxes,
  )


def dense_class_loss(
  params: Params,
  predictions: Predictions,
  targets: Targets,
  cfg: StepConfig,
  num_boxes: int,
) -> tuple[Array, dict[str, Array]]:
  """The oracle of `sparse_class_loss`: class logits at every pixel.

  Needs B x H x W x G x C floats; for tests and small crops only.
  """
  classes, owner = targets.classes, targets.owner
  batch, _, _, groups = classes.shape
  logits = dwd.class_logits(
    params, upsample(predictions.class_features, dwd.STRIDE)
  )  # [B, H, W, C]
  shape = (*classes.shape, logits.shape[-1])
  logits = dwd.mask_other_groups(
    jnp.broadcast_to(logits[..., None, :], shape),
    jnp.broadcast_to(jnp.arange(groups), classes.shape),
    np.asarray(cfg.group_of_class, np.int32),
  )
  page = jnp.arange(batch)[:, None, None, None]
  return losses_lib.class_loss(
    logits.reshape(-1, shape[-1]),
    classes.reshape(-1),
    (page * num_boxes + owner).reshape(-1),
    (classes > 0).reshape(-1),
    cfg.losses,
    batch * num_boxes,
  )


def compute_losses(
  params: Params,
  predictions: Predictions,
  targets: Targets,
  cfg: StepConfig,
  num_boxes: int,
) -> tuple[Array, dict[str, Array]]:
  """All losses, in the order of `stages.LOSSES`, and their metrics."""
  energy, energy_metrics = losses_lib.energy_loss(
    dwd.energy_logits_full(predictions),
    targets,
    cfg.losses,
    cfg.targets.energy_strides,
    cfg.targets.stride_reduction,
  )
  classes, class_metrics = sparse_class_loss(
    params, predictions, targets, cfg, num_boxes
  )
  box, box_metrics = losses_lib.size_loss(
    upsample(predictions.log_sizes, dwd.STRIDE),
    targets,
    cfg.losses,
    cfg.targets.size_strides,
    cfg.targets.stride_reduction,
  )
  losses = jnp.stack([energy, classes, box])
  metrics = energy_metrics | class_metrics | box_metrics
  names = [f"loss_{name}" for name in LOSSES]
  return losses, metrics | dict(zip(names, losses, strict=True))


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


def train_step(
  state: TrainState,
  batch: Batch,
  plan: StepPlan,
  *,
  model: dwd.DWDNet,
  tx: optax.GradientTransformation,
  cfg: StepConfig,
) -> tuple[TrainState, clu_metrics.Collection]:
  """One step of training.

  Args:
    state: before the step.
    batch: crops and padded boxes.
    plan: which losses are trained, how they are weighed, the learning rate.
    model: the network.
    tx: optimizer, without the learning rate.
    cfg: targets, losses, groups.

  Returns:
    The state after the step, and its metrics. Batch norm uses the
    statistics of the whole batch, over all devices.
  """
  targets = targets_lib.render(
    batch.boxes_yxyx,
    batch.labels,
    batch.box_mask,
    np.asarray(cfg.group_of_class, np.int32),
    (batch.image.shape[1], batch.image.shape[2]),
    cfg.targets,
  )

  def loss_fn(params):
    predictions, updates = model.apply(
      {"params": params, "batch_stats": state.batch_stats},
      batch.image,
      train=True,
      mutable=["batch_stats"],
    )
    losses, metrics = compute_losses(
      params, predictions, targets, cfg, batch.labels.shape[1]
    )
    total, history = combine(losses, state.loss_history, plan)
    return total, (updates["batch_stats"], history, metrics)

  grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
  (loss, (batch_stats, history, metrics)), grads = grad_fn(state.params)
  updates, opt_state = tx.update(grads, state.opt_state, state.params)
  updates = jax.tree.map(lambda u: -plan.learning_rate * u, updates)
  squares = sum(jnp.sum(x * x) for x in jax.tree.leaves(grads))
  metrics |= {"loss": loss, "gradient_norm": jnp.sqrt(squares)}
  new_state = TrainState(
    step=state.step + 1,
    params=optax.apply_updates(state.params, updates),
    batch_stats=batch_stats,
    opt_state=opt_state,
    loss_history=history,
  )
  collection = metrics_class(tuple(sorted(metrics)))
  return new_state, collection.single_from_model_output(**metrics)
