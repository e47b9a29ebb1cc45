"""train_step: targets -> network -> losses -> gradients -> new state.

A pure function; the loop adds jit, shardings and donation.
"""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from clu import metrics as clu_metrics

from dwd_jax.core.structs import Array, Batch, Params, Predictions, Targets
from dwd_jax.models import dwd, pixel_sampling
from dwd_jax.models.refinenet import upsample
from dwd_jax.objectives import box_losses
from dwd_jax.objectives import losses as losses_lib
from dwd_jax.objectives import targets as targets_lib
from dwd_jax.train import update as update_lib
from dwd_jax.train.stages import LOSSES
from dwd_jax.train.state import TrainState, eval_variables
from dwd_jax.train.update import StepPlan


@dataclasses.dataclass(frozen=True)
class StepConfig:
  """What a step needs besides model, optimizer and stage.

  Attributes:
    targets: how boxes become maps.
    losses: options of the losses.
    group_of_class: energy group of each class.
    update: accumulation, running mean of the parameters, skipped steps.
    remat: compute the losses' intermediate maps again in the backward pass
      instead of keeping them.
  """

  targets: targets_lib.TargetConfig
  losses: losses_lib.LossConfig
  group_of_class: tuple[int, ...]
  update: update_lib.UpdateConfig = dataclasses.field(
    default_factory=update_lib.UpdateConfig
  )
  remat: bool = False


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
  features = pixel_sampling.gather_bilinear(
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
  box, box_metrics = box_losses.size_loss(
    upsample(predictions.log_sizes, dwd.STRIDE),
    targets,
    cfg.losses,
    cfg.targets.size_strides,
    cfg.targets.stride_reduction,
  )
  if predictions.offsets is not None:
    offset, offset_metrics = box_losses.offset_loss(
      upsample(predictions.offsets, dwd.STRIDE),
      targets,
      cfg.targets.size_strides,
      cfg.targets.stride_reduction,
    )
    box, box_metrics = box + offset, box_metrics | offset_metrics
  losses = jnp.stack([energy, classes, box])
  metrics = energy_metrics | class_metrics | box_metrics
  names = [f"loss_{name}" for name in LOSSES]
  return losses, metrics | dict(zip(names, losses, strict=True))


def network_input(image: Array) -> Array:
  """uint8 ink 0..255, as it travels to the device, -> float32 ink 0..1."""
  if image.dtype != jnp.uint8:
    return image
  return image.astype(jnp.float32) * np.float32(1 / 255)


def apply(
  model: nn.Module, variables: Any, image: Array, train: bool
) -> tuple[Any, Any]:
  """Outputs of a network on a batch, and its batch statistics after it.

  Args:
    model: called with (image, train).
    variables: {"params": .., "batch_stats": ..}.
    image: see `network_input`.
    train: batch norm by the batch, which updates the averages; else by them.
  """
  ink = network_input(image)
  if not train:
    return model.apply(variables, ink, train=False), variables["batch_stats"]
  outputs, updates = model.apply(
    variables, ink, train=True, mutable=["batch_stats"]
  )
  return outputs, updates["batch_stats"]


def detection_losses(
  params: Params,
  batch_stats: Any,
  batch: Batch,
  *,
  model: dwd.DWDNet,
  cfg: StepConfig,
  train: bool = True,
) -> tuple[Array, Any, dict[str, Array]]:
  """The losses of the detector on a batch.

  Args:
    params: of the network.
    batch_stats: running averages of batch norm.
    batch: crops and padded boxes.
    model: the network.
    cfg: targets, losses, groups.
    train: batch norm by the statistics of the batch, which update the averages;
      else by the averages.

  Returns:
    Losses in the order of `stages.LOSSES`, new averages, metrics.
  """
  targets = targets_lib.render(
    batch.boxes_yxyx,
    batch.labels,
    batch.box_mask,
    np.asarray(cfg.group_of_class, np.int32),
    (batch.image.shape[1], batch.image.shape[2]),
    cfg.targets,
  )
  variables = {"params": params, "batch_stats": batch_stats}
  predictions, batch_stats = apply(model, variables, batch.image, train)

  def losses_fn(params, predictions):
    return compute_losses(
      params, predictions, targets, cfg, batch.labels.shape[1]
    )

  if cfg.remat:
    losses_fn = jax.checkpoint(losses_fn)
  losses, metrics = losses_fn(params, predictions)
  return losses, batch_stats, metrics


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
    The state after the step, and its metrics; see `update.update` for steps
    that are skipped. Batch norm uses the statistics of the whole batch, over
    all devices (of a part of it, where `update.accumulate` cuts it into parts).
  """
  losses_fn = functools.partial(detection_losses, model=model, cfg=cfg)
  return update_lib.update(
    state, batch, plan, losses_fn=losses_fn, tx=tx, cfg=cfg.update
  )


def eval_step(
  state: TrainState, batch: Batch, *, model: dwd.DWDNet, cfg: StepConfig
) -> dict[str, Array]:
  """The losses on a batch as the network is used: running averages.

  Args:
    state: its parameters, or their running mean where there is one, are used.
    batch: crops and padded boxes.
    model: the network.
    cfg: targets, losses, groups.

  Returns:
    `loss_energy` and the others, and their metrics.
  """
  _, _, metrics = detection_losses(
    **eval_variables(state), batch=batch, model=model, cfg=cfg, train=False
  )
  return metrics
