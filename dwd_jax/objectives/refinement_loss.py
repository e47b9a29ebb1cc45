"""The loss of the head that refines boxes, see `models.box_refinement`.

It learns from the boxes that the network itself says, as these are what it will
have to refine.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array as AnyArray
from jaxtyping import Float, Int

from dwd_jax.core import boxes, rectangles
from dwd_jax.core.structs import Array, Params, Predictions
from dwd_jax.models import box_refinement, ink_windows, pixel_sampling
from dwd_jax.objectives import oriented_targets
from dwd_jax.objectives.class_loss import select_pixels
from dwd_jax.objectives.losses import Metrics, weighted_mean

# Objects of an image: as many in crops of 256 x 256 px, more in larger ones.
_MOST, _PX_EACH = 64, 1024
_FIT_WEIGHT = 0.5  # of the expected IoU, beside the box
# The decode takes the mean of the pixels around a peak, which lies beside the
# centre: here 3 x 3 pixels around one that is moved by -1 .. 1 px.
_AROUND_PX = np.stack(np.meshgrid((-3, 0, 3), (-3, 0, 3)), -1).reshape(9, 2)


def refinement_loss(
  params: Params,
  predictions: Predictions,
  boxes_yxyx: Float[Array, "B N 4"],
  groups: Int[Array, "B N"],
  oriented_yx: Float[Array, "B N 4 2"] | None = None,
) -> tuple[Float[AnyArray, ""], Metrics]:
  """Error of boxes after their refinement, and of the IoU that it expects.

  The sum of the errors of the centre, by sides of the true box, and of the
  logarithms of the sides; half the cross-entropy of the IoU; the same errors
  of the upright box around the oriented one; and the error of its slant. A mean
  over objects of each image, evenly chosen: one per 1,024 px of its area, and
  64 at least.

  Args:
    params: of `DWDNet`, with this head.
    predictions: with the image.
    boxes_yxyx: true ones; padding has no area.
    groups: energy group of each; padding: any.
    oriented_yx: corners of oriented boxes, if the head tells these, too.
  """
  assert predictions.image is not None
  hw = predictions.image.shape[1], predictions.image.shape[2]
  budget = min(max(_MOST, hw[0] * hw[1] // _PX_EACH), boxes_yxyx.shape[1])
  there = boxes.areas(boxes_yxyx) > 0
  index, valid = jax.vmap(lambda mask: select_pixels(mask, budget))(there)
  index = jnp.minimum(index, boxes_yxyx.shape[1] - 1)
  wanted = jnp.take_along_axis(boxes_yxyx, index[..., None], 1)  # [B, P, 4]
  group = jnp.take_along_axis(groups, index, 1)

  # Each image on its own, so that no device needs those of others.
  def one(predictions, wanted, group):
    given = _said(predictions, wanted, group)
    ink = ink_windows.grey_of(predictions.image)
    features = jax.lax.stop_gradient(predictions.class_features)
    said = pixel_sampling.refinements_of(params, ink, features, given)
    return given, said

  maps = predictions.replace(deep_energy=None, deep_sizes=None)
  given, said = jax.vmap(one)(maps, wanted, group)
  error = _error(given, wanted, said)
  iou = boxes.iou(ink_windows.moved(given, said[..., :4]), wanted)
  iou = jax.lax.stop_gradient(iou)
  fit = said[..., 4]
  fit_loss = jax.nn.softplus(fit) - iou * fit
  loss = error + _FIT_WEIGHT * fit_loss
  weights = valid.astype(jnp.float32)
  metrics = {
    "given_iou": weighted_mean(boxes.iou(given, wanted), weights),
    "refined_iou": weighted_mean(iou, weights),
  }
  if box_refinement.has_oriented(params) and oriented_yx is not None:
    cut = jax.vmap(lambda o, b: oriented_targets.clip(o, b, hw))
    codes = rectangles.encode(cut(oriented_yx, boxes_yxyx))
    codes = jnp.take_along_axis(codes, index[..., None], 1)
    loss += _error(given, codes[..., :4], said[..., 5:])
    loss += jnp.abs(said[..., 9] - codes[..., 4])
    corners = ink_windows.oriented(given, said[..., 5:])
    metrics["oriented_iou"] = weighted_mean(
      rectangles.iou(corners, rectangles.decode(codes)), weights
    )
  loss = jnp.asarray(weighted_mean(loss, weights))
  return loss, {"loss_refinement": loss, **metrics}


def _error(given, wanted, said):
  """Error of changes, [B, P]; by sides of the box that is wanted, as IoU is."""
  by = ink_windows.changes_to(given, wanted)
  error = jnp.abs(said[..., :4] - by)
  moves = error[..., :2] / jnp.exp(by[..., 2:])
  return moves.sum(-1) + error[..., 2:].sum(-1)


def _said(predictions, boxes_yxyx, group):
  """Boxes [P, 4] that the network says around the middles of true ones.

  Not so far from these that a window could not show them.
  """
  predictions = jax.tree.map(
    lambda x: jax.lax.stop_gradient(x)[None], predictions
  )
  h, w = predictions.image.shape[1:3]
  slots = np.arange(len(group))
  shifts_px = np.stack([slots % 3, (slots // 3 + slots) % 3], -1) - 1
  middles = jnp.floor(boxes.centers_yx(boxes_yxyx)) + shifts_px
  at = middles[:, None] + _AROUND_PX  # [P, 9, 2]
  at = jnp.clip(at, 0, jnp.array([h - 1, w - 1])).astype(jnp.int32)
  y, x = (at[..., i].reshape(-1) for i in range(2))
  groups = jnp.repeat(group, len(_AROUND_PX))
  said = pixel_sampling.boxes_at(predictions, jnp.zeros_like(y), y, x, groups)
  said = said.reshape(*at.shape[:2], -1)
  centers = at + 0.5
  centers = (centers + said[..., 2:] if said.shape[-1] > 2 else centers).mean(1)
  given = boxes.from_centers(centers, said[..., :2].mean(1))
  by = ink_windows.changes_to(boxes_yxyx, given)
  return ink_windows.moved(boxes_yxyx, by)
