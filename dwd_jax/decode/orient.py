"""Oriented boxes of detections, read from the network's maps at their centres.

The decode finds objects by their energy and measures upright boxes; only then
oriented ones are looked up, at a few pixels of each detection.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from dwd_jax.core import structs
from dwd_jax.decode import backend, corners, suppression
from dwd_jax.decode.decode_config import DecodeConfig
from dwd_jax.decode.watershed import SizeFn


def add_corners(
  found: structs.Detections,
  oriented_fn: SizeFn,
  group_of_class: Int[np.ndarray, " C"],
  hw: Sequence[Any],
) -> structs.Detections:
  """Adds corners to the detections of a batch.

  Args:
    found: K slots for each of B pages.
    oriented_fn: values of `Predictions.oriented` at the pixels (page, y, x,
      group), each int32 [P], as float32 [P, 5].
    group_of_class: energy group of each class.
    hw: height and width of the images, px.

  Returns:
    The same with `oriented_yx`, see `corners`; 0 in empty slots.
  """
  most = jnp.stack([jnp.asarray(side - 1, jnp.float32) for side in hw])
  boxes = jnp.asarray(found.boxes_yxyx)
  at = corners.pixels_of(boxes, most)  # [B, K, n, 2]
  shape = at.shape[:-1]
  page = jnp.broadcast_to(jnp.arange(shape[0])[:, None, None], shape)
  group = jnp.asarray(group_of_class)[found.labels][..., None]
  group = jnp.broadcast_to(group, shape)
  y, x = (at[..., i].astype(jnp.int32).reshape(-1) for i in range(2))
  said = oriented_fn(page.reshape(-1), y, x, group.reshape(-1))
  oriented = corners.mean(boxes, at, said.reshape(*shape, 5))
  valid = jnp.asarray(found.valid)[..., None, None]
  return found.replace(oriented_yx=jnp.where(valid, oriented, 0.0))


def suppress(
  found: structs.Detections, cfg: DecodeConfig
) -> structs.Detections:
  """`suppression.suppress` of each page, if `cfg.suppress_iou` asks for it."""
  if not cfg.suppress_iou:
    return found

  def page(one):
    return suppression.suppress(one, cfg.suppress_iou)

  if backend.on_cpu():
    return jax.lax.map(page, found)
  return jax.vmap(page)(found)
