"""The class loss, on foreground pixels only.

Each function returns (loss, metrics), as in `dwd_jax.objectives.losses`.
Reference: Tuggener et al. 2018, section 3.3.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array as AnyArray
from jaxtyping import Bool, Float, Int

from dwd_jax.core.structs import Array, Params, Predictions, Targets
from dwd_jax.models import dwd, pixel_sampling
from dwd_jax.models.refinenet import upsample
from dwd_jax.objectives.losses import (
  LossConfig,
  Metrics,
  softmax_cross_entropy,
  weighted_mean,
)


def sparse_class_loss(
  params: Params,
  predictions: Predictions,
  targets: Targets,
  cfg: LossConfig,
  group_of_class: tuple[int, ...],
  num_boxes: int,
) -> tuple[Float[Array, ""], Metrics]:
  """`class_loss` with the head evaluated on foreground pixels only.

  Equal to `dense_class_loss` as long as no image has more foreground pixels
  than `cfg.class_pixels`.

  Args:
    params: of the network, for the class head.
    predictions: at stride 4.
    targets: at stride 1.
    group_of_class: energy group of each class.
    num_boxes: N, padded boxes of an image.
  """
  batch, _, width, groups = targets.classes.shape
  classes = targets.classes.reshape(batch, -1)
  owner = targets.owner.reshape(batch, -1)
  budget = min(cfg.class_pixels, classes.shape[1])
  select = jax.vmap(lambda mask: select_pixels(mask, budget))
  index, valid = select(classes > 0)  # [B, P]
  index = jnp.minimum(index, classes.shape[1] - 1)
  pixel, group = index // groups, index % groups
  # Each image on its own, so that no device needs the features of others.
  features = jax.vmap(pixel_sampling.gather_bilinear)(
    predictions.class_features, pixel // width, pixel % width
  )
  # Then as one list of pixels, on which CPUs are faster.
  logits = dwd.mask_other_groups(
    dwd.class_logits(params, features.reshape(-1, features.shape[-1])),
    group.reshape(-1),
    np.asarray(group_of_class, np.int32),
  )
  return class_loss(
    logits.reshape(*index.shape, -1),
    jnp.take_along_axis(classes, index, 1),
    jnp.take_along_axis(owner, index, 1),
    valid,
    cfg,
    num_boxes,
  )


def dense_class_loss(
  params: Params,
  predictions: Predictions,
  targets: Targets,
  cfg: LossConfig,
  group_of_class: tuple[int, ...],
  num_boxes: int,
) -> tuple[Float[Array, ""], Metrics]:
  """The reference of `sparse_class_loss`, with class logits at every pixel.

  Needs B x H x W x G x C floats.
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
    np.asarray(group_of_class, np.int32),
  )
  return class_loss(
    logits.reshape(batch, -1, shape[-1]),
    classes.reshape(batch, -1),
    owner.reshape(batch, -1),
    (classes > 0).reshape(batch, -1),
    cfg,
    num_boxes,
  )


def select_pixels(
  mask: Bool[Array, " n"], budget: int
) -> tuple[Int[AnyArray, " p"], Bool[AnyArray, " p"]]:
  """Indices of at most `budget` True elements, evenly chosen.

  Args:
    budget: number of indices returned, 1 .. `losses.MAX_CLASS_PIXELS`.

  Returns:
    Indices, padded with n, and a mask of the real ones.
  """
  seen = jnp.cumsum(mask)
  count = seen[-1]
  slot = jnp.arange(budget, dtype=jnp.uint32)
  # Slot s takes True element number ceil(s * count / budget), in integers below
  # 2 ** 32 as the budget is below 2 ** 16.
  whole, rest = jnp.divmod(count.astype(jnp.uint32), jnp.uint32(budget))
  rank = slot * whole + (slot * rest + jnp.uint32(budget - 1)) // budget
  rank = jnp.where(count <= budget, slot, rank).astype(jnp.int32)
  indices = jnp.searchsorted(seen, rank + 1).astype(jnp.int32)
  return indices, slot < count


def class_loss(
  logits: Float[Array, "B P C"],
  classes: Int[Array, "B P"],
  owners: Int[Array, "B P"],
  valid: Bool[Array, "B P"],
  cfg: LossConfig,
  num_boxes: int,
) -> tuple[Float[Array, ""], Metrics]:
  """Softmax cross-entropy of the class, a weighted mean over pixels.

  Args:
    logits: of the chosen pixels, other groups masked.
    classes: label + 1 of each pixel; 0 = background, ignored.
    owners: index of each pixel's object in its image; any if not valid.
    valid: False for padding.
    num_boxes: more than the largest of `owners`.
  """
  labels = jnp.maximum(classes - 1, 0)
  valid = valid & (classes > 0)
  weights = valid.astype(jnp.float32)
  if cfg.class_weights == "by_class":
    seen = _counts(labels, valid, logits.shape[-1]).sum(0)
    weights /= jnp.maximum(seen[labels], 1.0)
  elif cfg.class_weights == "by_object":
    seen = _counts(owners, valid, num_boxes)
    weights /= jnp.maximum(jnp.take_along_axis(seen, owners, 1), 1.0)
  logits = logits.reshape(-1, logits.shape[-1])
  labels, weights = labels.reshape(-1), weights.reshape(-1)
  loss = softmax_cross_entropy(logits, labels, cfg.class_focal_gamma)
  # As logits.argmax(-1) == labels, which is slow on CPUs, but ties are right.
  own = jnp.take_along_axis(logits, labels[:, None], -1)[:, 0]
  right = weighted_mean((own >= logits.max(-1)).astype(jnp.float32), weights)
  return weighted_mean(loss, weights), {
    "class_accuracy": right,
    "class_pixels": valid.sum(),
  }


def _counts(ids, valid, size):
  """[B, size] number of valid elements with each id."""
  zeros = jnp.zeros(size, jnp.float32)
  count = jax.vmap(lambda ids: zeros.at[ids].add(1.0, mode="drop"))
  return count(jnp.where(valid, ids, size))
