"""The losses of the detector: boxes -> targets -> network -> losses.

To add a loss, write a function in this folder and add it to `LOSSES`; then the
stages of a config (`config.stages`) can name it.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dwd_jax.core.structs import Array, Batch, Params, Predictions, Targets
from dwd_jax.models import box_refinement, dwd, staff_positions
from dwd_jax.models.refinenet import upsample
from dwd_jax.objectives import (
  box_losses,
  class_loss,
  position_loss,
  refinement_loss,
)
from dwd_jax.objectives import losses as losses_lib
from dwd_jax.objectives import targets as targets_lib
from dwd_jax.objectives.losses import Metrics


@dataclasses.dataclass(frozen=True)
class DetectionConfig:
  """Options of the losses of the detector.

  Attributes:
    targets: how boxes become maps.
    group_of_class: energy group of each class.
    remat: recompute the losses' intermediate maps in the backward pass.
    position_space_px: see `models.dwd.ModelConfig`.
    seed_level: see `losses.energy_loss`.
  """

  targets: targets_lib.TargetConfig
  losses: losses_lib.LossConfig
  group_of_class: tuple[int, ...]
  remat: bool = False
  position_space_px: float = 0.0
  seed_level: float = 5.0


# (params, predictions at stride 4, targets at stride 1, padded boxes of an
# image, options) -> loss, metrics.
LossFn = Callable[
  [Params, Predictions, Targets, int, DetectionConfig], tuple[Array, Metrics]
]


def _energy(params, predictions, targets, num_boxes, cfg):
  """Only at pixels that a stride meets."""
  del params, num_boxes
  strides, reduction = cfg.targets.energy_strides, cfg.targets.stride_reduction
  step = math.gcd(dwd.STRIDE, *strides)
  unknown = targets.unknown
  loss, metrics = losses_lib.energy_loss(
    dwd.energy_logits_full(predictions, step),
    losses_lib.subsample(targets.energy, step),
    cfg.losses,
    tuple(stride // step for stride in strides),
    reduction,
    None if unknown is None else losses_lib.subsample(unknown, step),
    cfg.seed_level,
  )
  if not predictions.deep_energy:
    return loss, metrics
  by_stride = {dwd.STRIDE: loss}
  for stride, logits in predictions.deep_energy.items():
    by_stride[stride], _ = losses_lib.energy_loss(
      logits,
      _in_cells(targets.energy, stride),
      cfg.losses,
      unknown=None if unknown is None else _in_cells(unknown, stride),
    )
  loss = losses_lib.reduce_strides(list(by_stride.values()), reduction)
  return loss, metrics | _by_level("energy", by_stride)


def _in_cells(maps: Array, stride: int) -> Array:
  """The pixel in the middle of each cell of a coarser level of RefineNet.

  The original takes the first one, where its maps have the cell's centre.
  """
  return losses_lib.subsample(maps, stride, first=stride // 2)


def _by_level(name: str, by_stride: dict[int, Array]) -> Metrics:
  return {f"{name}_stride_{s}": loss for s, loss in by_stride.items()}


def _with_gradient(loss: Array, further: Array) -> Array:
  """Adds the gradient of a further loss, not its value.

  A stage that divides losses by their running means would otherwise train what
  the network has in common with others less because of the further head.
  """
  return loss + further - jax.lax.stop_gradient(further)


def _class(params, predictions, targets, num_boxes, cfg):
  """Class, plus the place on the staff if the network has that head."""
  loss, metrics = class_loss.sparse_class_loss(
    params, predictions, targets, cfg.losses, cfg.group_of_class, num_boxes
  )
  if staff_positions.NAME in params and targets.positions is not None:
    position, more = position_loss.position_loss(
      params, predictions.image, targets, cfg.position_space_px
    )
    loss, metrics = _with_gradient(loss, position), metrics | more
  return loss, metrics


def _box(params, predictions, targets, num_boxes, cfg):
  """Size, plus what further heads say of boxes where there are any."""
  del num_boxes
  strides, reduction = cfg.targets.size_strides, cfg.targets.stride_reduction
  log_sizes = upsample(predictions.log_sizes, dwd.STRIDE)
  loss, metrics = box_losses.size_loss(
    log_sizes, targets, cfg.losses, strides, reduction
  )
  if predictions.deep_sizes:
    by_stride = {dwd.STRIDE: loss}
    used = [(targets.sizes_px > 0).any()]
    for stride, coarse in predictions.deep_sizes.items():
      sizes_px = _in_cells(targets.sizes_px, stride)
      cells = targets.replace(sizes_px=sizes_px)
      by_stride[stride], _ = box_losses.size_loss(coarse, cells, cfg.losses)
      used.append((sizes_px > 0).any())
    found = list(by_stride.values())
    loss = losses_lib.reduce_strides(found, reduction, used)
    metrics |= _by_level("size", by_stride)
  if predictions.offsets is not None:
    offset, more = box_losses.offset_loss(
      upsample(predictions.offsets, dwd.STRIDE), targets, strides, reduction
    )
    loss, metrics = loss + offset, metrics | more
  if box_refinement.NAME in params and targets.boxes_yxyx is not None:
    groups = jnp.asarray(np.asarray(cfg.group_of_class, np.int32))
    refinement, more = refinement_loss.refinement_loss(
      params,
      predictions,
      targets.boxes_yxyx,
      groups[targets.labels],
      targets.oriented_yx,
    )
    loss, metrics = _with_gradient(loss, refinement), metrics | more
  return loss, metrics


LOSSES: dict[str, LossFn] = {"energy": _energy, "class": _class, "box": _box}


def compute_losses(
  params: Params,
  predictions: Predictions,
  targets: Targets,
  num_boxes: int,
  cfg: DetectionConfig,
) -> tuple[Array, Metrics]:
  """All losses, in the order of `LOSSES`, and metrics; see `LossFn`."""
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
    batch_stats: running averages of batch norm.
    train: batch norm uses and updates with the statistics of the batch, else it
      uses the averages.

  Returns:
    Losses in the order of `LOSSES`, new averages, metrics.
  """
  groups = np.asarray(cfg.group_of_class, np.int32)
  hw = batch.image.shape[1], batch.image.shape[2]
  targets = targets_lib.render(
    batch.boxes_yxyx,
    batch.labels,
    batch.box_mask,
    groups,
    hw,
    cfg.targets,
    batch.masks,
  )
  if batch.ignored is not None:
    unknown = targets_lib.render_unknown(
      batch.boxes_yxyx,
      batch.labels,
      batch.ignored,
      groups,
      targets.energy,
      cfg.targets,
    )
    targets = targets.replace(unknown=unknown)
  targets = targets.replace(
    boxes_yxyx=jnp.where(batch.box_mask[..., None], batch.boxes_yxyx, 0),
    labels=batch.labels,
    positions=batch.positions,
    oriented_yx=batch.oriented_yx,
  )
  num_boxes = batch.labels.shape[1]
  variables = {"params": params, "batch_stats": batch_stats}
  predictions, batch_stats = dwd.apply(model, variables, batch.image, train)

  def losses_fn(params, predictions):
    return compute_losses(params, predictions, targets, num_boxes, cfg)

  if cfg.remat:
    losses_fn = jax.checkpoint(losses_fn)
  losses, metrics = losses_fn(params, predictions)
  return losses, batch_stats, metrics
