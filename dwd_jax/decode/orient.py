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

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core import rectangles, structs
from dwd_jax.decode import backend, suppression
from dwd_jax.decode.decode_config import DecodeConfig
from dwd_jax.decode.watershed import SizeFn

_AROUND_PX = (-2, 0, 2)  # rows and columns around the centre that are averaged
_MOST = 7.0  # of the code of an oriented box, whose sides stay finite


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
    The same with `oriented_yx`: means over 3 x 3 pixels around the centre of
    the upright box, two pixels apart. Where the network says nothing finite,
    they are the corners of the upright box; 0 in empty slots.
  """
  shape = found.labels.shape
  n = len(_AROUND_PX) ** 2
  most = jnp.stack([jnp.asarray(side - 1, jnp.float32) for side in hw])
  step = np.stack(np.meshgrid(_AROUND_PX, _AROUND_PX, indexing="ij"), -1)
  boxes = jnp.asarray(found.boxes_yxyx)
  center = jnp.floor(boxes_lib.centers_yx(boxes))  # [B, K, 2]
  at = jnp.clip(center[..., None, :] + step.reshape(n, 2), 0, most)
  page = jnp.broadcast_to(jnp.arange(shape[0])[:, None, None], (*shape, n))
  group = jnp.asarray(group_of_class)[found.labels][..., None]
  group = jnp.broadcast_to(group, (*shape, n))
  y, x = (at[..., i].astype(jnp.int32).reshape(-1) for i in range(2))
  said = oriented_fn(page.reshape(-1), y, x, group.reshape(-1))
  said = said.reshape(*shape, n, 5)
  centers = (at + 0.5 + said[..., 3:]).mean(-2)
  codes = jnp.clip(said[..., :3].mean(-2), -_MOST, _MOST)
  corners = rectangles.decode(codes, centers)
  good = jnp.isfinite(corners).all((-2, -1), keepdims=True)
  corners = jnp.where(good, corners, boxes_lib.corners_yx(boxes))
  valid = jnp.asarray(found.valid)[..., None, None]
  return found.replace(oriented_yx=jnp.where(valid, corners, 0.0))


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
