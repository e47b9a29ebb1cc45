"""Oriented boxes as the pixels of a crop see them."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core import rectangles
from dwd_jax.core.structs import Array

_EDGE_PX = 1e-3  # points so near to an edge are inside, despite rounding
# Corners of a rectangle, along its longer and its shorter side.
_SIGNS = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32)
_UNIT = np.array([[0, 0], [0, 1], [1, 1], [1, 0]], np.float32)


def render(
  oriented_yx: Float[Array, "N 4 2"],
  boxes_yxyx: Float[Array, "N 4"],
  owner: Int[Array, "H W G"],
  middles_yx: Float[Array, "H W 1 2"],
) -> Float[Array, "H W G 5"]:
  """`Targets.oriented` of one image.

  Args:
    oriented_yx: corners, which may reach over the edges of the image.
    boxes_yxyx: upright boxes, clipped to the image.
    owner: index of the box whose size disc covers a pixel; -1 = none.
    middles_yx: of the pixels.
  """
  corners = clip(oriented_yx, boxes_yxyx, (owner.shape[0], owner.shape[1]))
  codes = rectangles.encode(corners)[owner]
  to_center = rectangles.centers_yx(corners)[owner] - middles_yx
  values = jnp.concatenate([codes, to_center], -1)
  return jnp.where((owner >= 0)[..., None], values, 0.0)


def clip(
  oriented_yx: Float[Array, "N 4 2"],
  boxes_yxyx: Float[Array, "N 4"],
  hw: tuple[int, int],
) -> Float[Array, "N 4 2"]:
  """The part of each rectangle in the image, as a rectangle of its angle.

  As upright boxes are clipped: what lies beyond the edge cannot be seen. Where
  a rectangle does not touch the image, its upright box counts.
  """
  corners = jnp.asarray(oriented_yx)
  center = rectangles.centers_yx(corners)[:, None]
  codes = rectangles.encode(corners)
  # Its own axes, scaled so that the rectangle is |u|, |v| <= 1.
  frame = rectangles.decode(codes, jnp.zeros_like(center[:, 0]))
  axes = jnp.stack([frame[:, 1] - frame[:, 0], frame[:, 3] - frame[:, 0]], 1)
  axes = axes / 2  # [N, 2, 2]: half of the longer side, of the shorter one
  length = (axes**2).sum(-1, keepdims=True)

  def seen(points):  # [N, P, 2] -> [N, P, 2] along both axes
    return jnp.einsum("npi,nki->npk", points - center, axes / length)

  high = np.array(hw, np.float32)
  whole = center + jnp.einsum("pk,nki->npi", _SIGNS, axes)  # [N, 4, 2]
  edges = jnp.roll(whole, -1, 1) - whole
  points = [whole]
  inside = [((whole >= -_EDGE_PX) & (whole <= high + _EDGE_PX)).all(-1)]
  of_image = jnp.broadcast_to(_UNIT * high, whole.shape)
  points.append(of_image)
  inside.append((jnp.abs(seen(of_image)) <= 1 + 1e-5).all(-1))
  for axis in (0, 1):
    way = edges[..., axis]
    way = jnp.where(jnp.abs(way) < 1e-6, 1e-6, way)
    for edge in (0.0, high[axis]):
      share = (edge - whole[..., axis]) / way
      cut = whole + share[..., None] * edges
      other = cut[..., 1 - axis]
      points.append(cut)
      inside.append(
        (share >= 0)
        & (share <= 1)
        & (other >= -_EDGE_PX)
        & (other <= high[1 - axis] + _EDGE_PX)
      )
  mask = jnp.concatenate(inside, 1)[..., None]
  places = jnp.clip(seen(jnp.concatenate(points, 1)), -1.0, 1.0)
  low = jnp.where(mask, places, jnp.inf).min(1)
  top = jnp.where(mask, places, -jnp.inf).max(1)  # [N, 2]
  middle, half = (low + top) / 2, (top - low) / 2
  center = center[:, 0] + (middle[..., None] * axes).sum(1)
  half = half[..., None] * axes
  found = center[:, None] + jnp.einsum("pk,nki->npi", _SIGNS, half)
  touches = mask.any((1, 2))[:, None, None]
  return jnp.where(touches, found, boxes_lib.corners_yx(boxes_yxyx))
