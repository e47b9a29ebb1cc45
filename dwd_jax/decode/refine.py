"""Boxes of detections, refined by a second look at the ink.

The decode finds objects by their energy and measures their boxes; only then the
refinement head looks at the ink around each.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dwd_jax.core import boxes, structs
from dwd_jax.models import ink_windows, slots

_FAR_PX = 1e5
# Ink [H, W], class features [h, w, F], boxes [P, 4] -> float32 [P, 5 or 10],
# see `models.box_refinement.RefinementHead`.
RefineFn = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def refine(
  found: structs.Detections,
  refine_fn: RefineFn,
  image: Float[structs.Array, "B H W c"],
  features: Float[structs.Array, "B h w F"],
  oriented: bool,
) -> structs.Detections:
  """Changes the boxes of detections, and weighs scores by how well they fit.

  Work follows the detections, not the slots.

  Args:
    found: best first; K slots for each of B pages.
    features: `Predictions.class_features`.
    oriented: with the corners of oriented boxes.

  Returns:
    The detections, best first. Scores are multiplied by the root of the IoU
    that is expected. What is not finite changes nothing, and the upright box
    stands in for an oriented one.
  """
  given, scores = jnp.asarray(found.boxes_yxyx), jnp.asarray(found.scores)
  valid = jnp.asarray(found.valid)

  def look(page, boxes_yxyx):
    # What is not finite is read off the page.
    at = jnp.nan_to_num(boxes_yxyx, nan=-_FAR_PX)
    at = jnp.clip(at, -_FAR_PX, _FAR_PX)
    ink, features = page
    said = refine_fn(ink, features, at)
    better = ink_windows.moved(at, said[:, :4])
    result = [better, jnp.sqrt(jax.nn.sigmoid(said[:, 4:5]))]
    if oriented:
      corners = ink_windows.oriented(at, said[:, 5:])
      result.append(corners.reshape(len(at), 8))
    return jnp.concatenate(result, -1)

  ink = ink_windows.grey_of(jnp.asarray(image))
  pages = ink, jnp.asarray(features)
  said = slots.each_used(
    look, pages, given, valid, jnp.zeros(13 if oriented else 5)
  )
  good = valid & jnp.isfinite(said).all(-1)
  boxes_yxyx = jnp.where(good[..., None], said[..., :4], given)
  scores = jnp.where(good, scores * said[..., 4], scores)
  if oriented:
    corners = said[..., 5:].reshape(*said.shape[:-1], 4, 2)
    upright = jnp.asarray(boxes.corners_yx(boxes_yxyx))
    corners = jnp.where(good[..., None, None], corners, upright)
    corners = jnp.where(valid[..., None, None], corners, 0.0)
    found = found.replace(oriented_yx=corners)
  # Empty slots have 0, and stay behind.
  order = jnp.argsort(-scores, axis=-1, stable=True)

  def sort(x):
    axes = tuple(range(2, x.ndim))
    return jnp.take_along_axis(x, jnp.expand_dims(order, axes), 1)

  per_slot = found.replace(boxes_yxyx=boxes_yxyx, scores=scores, count=None)
  return jax.tree.map(sort, per_slot).replace(count=found.count)
