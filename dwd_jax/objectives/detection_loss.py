"""What the detector is trained for: boxes -> targets -> network -> losses.

A new loss is a function in a file of this folder and an entry of `LOSSES`; the
stages of a config (`config.stages`) then name it.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dwd_jax.core.structs import Array, Batch, Params, Predictions, Targets
from dwd_jax.models import dwd
from dwd_jax.models.refinenet import upsample
from dwd_jax.objectives import box_losses, class_loss
from dwd_jax.objectives import losses as losses_lib
from dwd_jax.objectives import targets as targets_lib
from dwd_jax.objectives.losses import Metrics


@dataclasses.dataclass(frozen=True)
class DetectionConfig:
  """What the losses of the detector need besides the network.

  Attributes:
    targets: how boxes become maps.
    losses: options of the losses.
    group_of_class: energy group of each class.
    remat: compute the losses' intermediate maps again in the backward pass
      instead of keeping them.
  """

  targets: targets_lib.TargetConfig
  losses: losses_lib.LossConfig
  group_of_class: tuple[int, ...]
  remat: bool = False


# (params, predictions at stride 4, targets at stride 1, padded boxes of an
# image, options) -> loss, metrics.
LossFn = Callable[
  [Params, Predictions, Targets, int, DetectionConfig], tuple[Array, Metrics]
]


def _energy(params, predictions, targets, num_boxes, cfg):
  del params, num_boxes
  return losses_lib.energy_loss(
    dwd.energy_logits_full(predictions),
    targets,
    cfg.losses,
    cfg.targets.energy_strides,
    cfg.targets.stride_reduction,
  )


def _class(params, predictions, targets, num_boxes, cfg):
  return class_loss.sparse_class_loss(
    params, predictions, targets, cfg.losses, cfg.group_of_class, num_boxes
  )


def _box(params, predictions, targets, num_boxes, cfg):
  """Size, and where the network has that head, the way to the centre."""
  del params, num_boxes
  strides, reduction = cfg.targets.size_strides, cfg.targets.stride_reduction
  log_sizes = upsample(predictions.log_sizes, dwd.STRIDE)
  loss, metrics = box_losses.size_loss(
    log_sizes, targets, cfg.losses, strides, reduction
  )
  if predictions.offsets is not None:
    offset, more = box_losses.offset_loss(
      upsample(predictions.offsets, dwd.STRIDE), targets, strides, reduction
    )
    loss, metrics = loss + offset, metrics | more
  return loss, metrics


LOSSES: dict[str, LossFn] = {"energy": _energy, "class": _class, "box": _box}


def compute_losses(
  params: Params,
  predictions: Predictions,
  targets: Targets,
  num_boxes: int,
  cfg: DetectionConfig,
) -> tuple[Array, Metrics]:
  """All losses, in the order of `LOSSES`, and their metrics.

  Args:
    params: of the network, for the class head.
    predictions: at stride 4.
    targets: at stride 1.
    num_boxes: N, padded boxes of an image.
    cfg: targets, losses, groups.
  """
  losses, metrics = [], {}
  for name, loss_fn in LOSSES.items():
    loss, more = loss_fn(params, predictions, targets, num_boxes, cfg)
    losses.append(loss)
    metrics |= more | {f"loss_{name}": loss}
  return jnp.stack(losses), metrics


def detection_losses(
  params: Params,
  batch_stats: Any,
  batch: Batch,
  train: bool = True,
  *,
  model: dwd.DWDNet,
  cfg: DetectionConfig,
) -> tuple[Array, Any, Metrics]:
  """The losses of the detector on a batch.

  Args:
    params: of the network.
    batch_stats: running averages of batch norm.
    batch: crops and padded boxes.
    train: batch norm by the statistics of the batch, which update the averages;
      else by the averages.
    model: the network.
    cfg: targets, losses, groups.

  Returns:
    Losses in the order of `LOSSES`, new averages, metrics.
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
  predictions, batch_stats = dwd.apply(model, variables, batch.image, train)

  def losses_fn(params, predictions):
    num_boxes = batch.labels.shape[1]
    return compute_losses(params, predictions, targets, num_boxes, cfg)

  if cfg.remat:
    losses_fn = jax.checkpoint(losses_fn)
  losses, metrics = losses_fn(params, predictions)
  return losses, batch_stats, metrics
