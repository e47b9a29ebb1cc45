"""Network outputs at single image pixels, without upsampling whole maps."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from dwd_jax.core import boxes
from dwd_jax.core.structs import Array, Params, Predictions
from dwd_jax.models import box_refinement, dwd, ink_windows


def gather_bilinear(
  features: Float[Array, "*B h w F"],
  y: Int[Array, " P"],
  x: Int[Array, " P"],
  page: Int[Array, " P"] | None = None,
) -> Float[Array, "P F"]:
  """Features of image pixels (y, x), equal to those of `upsample`.

  Args:
    features: maps at the stride of the heads.
    page: index into the batch; None: the maps are those of one image. With
      `jax.vmap` over images every device reads its own ones only; an index
      would make it gather those of all devices.
  """
  h, w = features.shape[-3:-1]

  def taps(pos, size):
    center = jnp.clip((pos + 0.5) / dwd.STRIDE - 0.5, 0, size - 1)
    low = jnp.floor(center).astype(jnp.int32)
    return low, jnp.minimum(low + 1, size - 1), center - low

  y0, y1, ty = taps(y, h)
  x0, x1, tx = taps(x, w)
  ty, tx = ty[:, None], tx[:, None]
  at = jnp.stack([y0, y0, y1, y1]), jnp.stack([x0, x1, x0, x1])  # [4, P]
  values = features[at if page is None else (page, *at)]  # [4, P, F]
  top = values[0] * (1 - tx) + values[1] * tx
  bottom = values[2] * (1 - tx) + values[3] * tx
  return top * (1 - ty) + bottom * ty


def class_probs_at(
  params: Params,
  features: Float[Array, "B h w F"],
  group_of_class: Int[np.ndarray, " C"],
  page: Int[Array, " P"],
  y: Int[Array, " P"],
  x: Int[Array, " P"],
  group: Int[Array, " P"],
) -> Float[Array, "P C"]:
  """Class probabilities at image pixels, the decode's `class_fn`.

  Args:
    params: of `DWDNet`.
    features: `Predictions.class_features`.
    page: index into the batch.
    group: energy group of each pixel; classes of other groups get 0.
  """
  logits = dwd.class_logits(params, gather_bilinear(features, y, x, page))
  return jax.nn.softmax(dwd.mask_other_groups(logits, group, group_of_class))


def boxes_at(
  predictions: Predictions,
  page: Int[Array, " P"],
  y: Int[Array, " P"],
  x: Int[Array, " P"],
  group: Int[Array, " P"],
) -> Float[Array, "P n"]:
  """Predicted boxes at image pixels, the decode's `size_fn`.

  Returns:
    (height, width) in px, followed by (y, x) from the middle of the pixel to
    the centre of the box if the network has that head.
  """
  maps = predictions.log_sizes, predictions.offsets
  maps = [m for m in maps if m is not None]
  values = _of_group(jnp.concatenate(maps, -1), page, y, x, group)
  return jnp.concatenate([jnp.exp(values[:, :2]), values[:, 2:]], 1)


def refinements_of(
  params: Params,
  ink: Float[Array, "H W"],
  features: Float[Array, "h w F"],
  boxes_yxyx: Float[Array, "P 4"],
) -> Float[jax.Array, "P values"]:
  """What the refinement head says of boxes of one image.

  Args:
    params: of `DWDNet`, with this head; see `box_refinement.RefinementHead`.
    ink: the image.
    features: `Predictions.class_features`.
  """
  middles = jnp.floor(jnp.asarray(boxes.centers_yx(boxes_yxyx)))
  y, x = (
    jnp.clip(middles[:, i], 0, ink.shape[i] - 1).astype(jnp.int32)
    for i in range(2)
  )
  said = box_refinement.values(
    params,
    ink_windows.windows_at(ink, boxes_yxyx),
    gather_bilinear(features, y, x),
    ink_windows.log_sides(boxes_yxyx),
  )
  return jnp.asarray(said)


def _of_group(maps, page, y, x, group):
  """Values [P, n] of maps [B, h, w, G, n] at pixels of groups."""
  *shape, num_groups, _ = maps.shape
  flat = maps.reshape(*shape, -1)
  groups = gather_bilinear(flat, y, x, page)
  groups = groups.reshape(y.shape[0], num_groups, -1)
  own = jnp.arange(num_groups) == group[:, None]
  return jnp.where(own[..., None], groups, 0).sum(1)
