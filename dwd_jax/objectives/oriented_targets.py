"""Oriented boxes as a crop shows them."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core import rectangles
from dwd_jax.core.structs import Array

_EDGE_PX = 1e-3  # points so near to an edge are inside, despite rounding
# Corners of a rectangle, along its longer and its shorter side.
_SIGNS = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32)
_UNIT = np.array([[0, 0], [0, 1], [1, 1], [1, 0]], np.float32)


def clip(
  oriented_yx: Float[Array, "N 4 2"],
  boxes_yxyx: Float[Array, "N 4"],
  hw: tuple[int, int],
) -> Float[Array, "N 4 2"]:
  """The part of each rectangle in the image, as a rectangle of its angle.

  As upright boxes are clipped: what lies beyond the edge cannot be seen. Where
  a rectangle does not touch the image, its upright box counts.
  """
  center = rectangles.centers_yx(jnp.asarray(oriented_yx))[:, None]  # [N, 1, 2]
  axes = rectangles.axes(jnp.asarray(oriented_yx))  # [N, 2, 2]
  length = (axes**2).sum(-1)[:, None]

  # Sums, as products would be rounded at the precision of accelerators.
  def place(points):
    """Points [N, P, 2] along the axes; those of the rectangle are in -1..1."""
    return ((points - center)[:, :, None] * axes[:, None]).sum(-1) / length

  def point(places):
    return center + (places[..., None] * axes[:, None]).sum(-2)

  points, inside = _outline(
    point(jnp.asarray(_SIGNS)), np.array(hw, np.float32)
  )
  of_image = jnp.broadcast_to(
    _UNIT * np.array(hw, np.float32), (len(axes), 4, 2)
  )
  points = jnp.concatenate([points, of_image], 1)
  within = (jnp.abs(place(of_image)) <= 1 + 1e-5).all(-1)
  inside = jnp.concatenate([inside, within], 1)[..., None]
  places = jnp.clip(place(points), -1.0, 1.0)
  low = jnp.where(inside, places, jnp.inf).min(1, keepdims=True)
  high = jnp.where(inside, places, -jnp.inf).max(1, keepdims=True)
  found = point(jnp.where(_SIGNS < 0, low, high))
  touches = inside.any((1, 2))[:, None, None]
  return jnp.where(touches, found, boxes_lib.corners_yx(boxes_yxyx))


def _outline(corners, hw):
  """Corners [N, 4, 2], and where the sides meet the lines of the image's edges.

  Returns points [N, 20, 2], and which are in the image.
  """
  sides = jnp.roll(corners, -1, 1) - corners
  points = [corners]
  inside = [((corners >= -_EDGE_PX) & (corners <= hw + _EDGE_PX)).all(-1)]
  for axis in (0, 1):
    way = sides[..., axis]
    way = jnp.where(jnp.abs(way) < 1e-6, 1e-6, way)
    for edge in (0.0, hw[axis]):
      share = (edge - corners[..., axis]) / way
      points.append(corners + share[..., None] * sides)
      other = points[-1][..., 1 - axis]
      on_side = (share >= 0) & (share <= 1)
      in_image = (other >= -_EDGE_PX) & (other <= hw[1 - axis] + _EDGE_PX)
      inside.append(on_side & in_image)
  return jnp.concatenate(points, 1), jnp.concatenate(inside, 1)
