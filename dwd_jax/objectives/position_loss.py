"""The loss of places on the staff, at the middles of symbols that have one."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array as AnyArray
from jaxtyping import Bool, Float

from dwd_jax.core import boxes
from dwd_jax.core.structs import NO_POSITION, Array, Params, Targets
from dwd_jax.models import ink_columns, ink_windows, staff_positions
from dwd_jax.objectives.class_loss import select_pixels
from dwd_jax.objectives.losses import (
  Metrics,
  softmax_cross_entropy,
  weighted_mean,
)

_MOST = 32  # symbols of an image
_STAFF_STEPS = 4  # from the middle line to the outer ones
# Columns lie beside the middles, as those of detections do: -2 .. 2 px, the
# first few as evenly as all of them.
_SLOTS = np.arange(_MOST)
_SHIFTS_PX = np.stack([2 * _SLOTS % 5, (3 * _SLOTS + _SLOTS // 5) % 5], -1) - 2


def position_loss(
  params: Params,
  image: Float[Array, "B H W c"],
  targets: Targets,
  space_px: float,
) -> tuple[Float[AnyArray, ""], Metrics]:
  """Softmax cross-entropy of the position, a mean over symbols.

  At most 32 symbols of an image count, evenly chosen from those whose position
  is known and whose staff the image shows: it cannot be told otherwise.

  Args:
    params: of `DWDNet`, with a position head.
    image: 0 = paper, 1 = ink.
    targets: with positions.
    space_px: distance of two staff lines on the image.
  """
  positions = targets.positions
  assert positions is not None and targets.boxes_yxyx is not None
  centers = boxes.centers_yx(targets.boxes_yxyx)
  shown = staff_is_shown(positions, centers, image.shape[1], space_px)
  budget = min(_MOST, positions.shape[1])
  index, valid = jax.vmap(lambda mask: select_pixels(mask, budget))(shown)
  index = jnp.minimum(index, positions.shape[1] - 1)
  chosen = jnp.take_along_axis(centers, index[..., None], 1)
  chosen += _SHIFTS_PX[:budget]
  # Each image on its own, so that no device needs those of others.
  means = ink_columns.stretches(ink_windows.grey_of(image), space_px)
  columns = jax.vmap(
    lambda means, at: ink_columns.columns_at(means, at, space_px)
  )(means, chosen)
  columns = columns.reshape(-1, *columns.shape[2:])
  logits = jnp.asarray(staff_positions.logits(params, columns))
  most = staff_positions.MAX_POSITION
  labels = jnp.take_along_axis(positions, index, 1).reshape(-1)
  labels = jnp.clip(labels, -most, most) + most
  weights = valid.reshape(-1).astype(jnp.float32)
  each = jnp.asarray(softmax_cross_entropy(logits, labels))
  loss = jnp.asarray(weighted_mean(each, weights))
  right = (logits.argmax(-1) == labels).astype(jnp.float32)
  return loss, {
    "loss_position": loss,
    "position_accuracy": weighted_mean(right, weights),
  }


def staff_is_shown(
  positions: Array, centers_yx: Array, height: int, space_px: float
) -> Bool[AnyArray, "B N"]:
  """Symbols with a known position whose five lines are in the image."""
  step = space_px / 2
  middle = centers_yx[..., 0] + step * positions
  reach = step * _STAFF_STEPS
  shown = (middle - reach >= 0) & (middle + reach <= height)
  return jnp.asarray(shown & (positions != NO_POSITION))
