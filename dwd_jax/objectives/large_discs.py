"""Discs of large objects, which grow with their boxes.

The centre of a slur cannot be told to a few pixels, as a small disc asks for.
Its own disc is an oval like its box. The work follows the number of large
objects: each is one pass over the map.

Reference: ours; the paper's discs are all of one size.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core.structs import Array


def add_energy(
  energy: Int[Array, "H W G"],
  boxes_yxyx: Float[Array, "N 4"],
  groups: Int[Array, " N"],
  box_mask: Bool[Array, " N"],
  *,
  share: float,
  least_px: int,
  level_of: Callable[[Array], Array],
) -> Int[Array, "H W G"]:
  """Energy levels with the discs of large objects; the highest stays.

  Args:
    energy: with fixed discs.
    groups: energy group of each box.
    box_mask: True for real boxes.
    share: of the sides of a box, 0..1; its disc is as large.
    least_px: diameter of the fixed discs; only larger ones are painted.
    level_of: from 0 at the edge of a disc to 1 at its centre -> level.
  """
  discs = _Discs(energy.shape, boxes_yxyx, groups, box_mask, share, least_px)

  def paint(i, levels):
    own, distance = discs.of_box(i)
    level = level_of(jnp.clip(1 - distance, 0, 1))
    return jnp.where(own, jnp.maximum(levels, level), levels)

  return jax.lax.fori_loop(0, discs.count, discs.in_turn(paint), energy)


def add_owners(
  owner: Int[Array, "H W G"],
  boxes_yxyx: Float[Array, "N 4"],
  groups: Int[Array, " N"],
  box_mask: Bool[Array, " N"],
  *,
  share: float,
  least_px: int,
) -> Int[Array, "H W G"]:
  """Index of the box whose disc covers a pixel, with large discs; -1 = none.

  Fixed discs lie above larger ones; of these, the one whose centre is nearest
  by shares of the disc. For the arguments see `add_energy`.
  """
  discs = _Discs(owner.shape, boxes_yxyx, groups, box_mask, share, least_px)

  def paint(i, state):
    owner, nearest = state
    own, distance = discs.of_box(i)
    own &= distance < nearest
    return jnp.where(own, i, owner), jnp.where(own, distance, nearest)

  state = owner, jnp.where(owner < 0, 1.0, 0.0)
  return jax.lax.fori_loop(0, discs.count, discs.in_turn(paint), state)[0]


class _Discs:
  """The discs that are larger than fixed ones, `count` of them."""

  def __init__(self, shape, boxes_yxyx, groups, box_mask, share, least_px):
    sides = boxes_lib.sizes_hw(boxes_yxyx)
    large = box_mask & (share * sides > least_px).any(-1)
    self.count = large.sum()
    self._order = jnp.argsort(~large, stable=True)
    self._centers = boxes_lib.centers_yx(boxes_yxyx)
    # A fixed disc of 17 px reaches 8 px far.
    self._radii = jnp.maximum(share * sides, least_px - 1) / 2
    self._groups, self._shape = groups, shape

  def in_turn(self, paint):
    """`paint` of the index of a large box -> of its number among these."""
    return lambda i, state: paint(self._order[i], state)

  def of_box(self, i):
    """Where a disc is [H, W, G], and how far from its centre [H, W, 1]."""
    height, width, num_groups = self._shape
    dy, dx = (
      ((jnp.arange(size) + 0.5) - self._centers[i, axis]) / self._radii[i, axis]
      for axis, size in enumerate((height, width))
    )
    distance = jnp.sqrt(dy[:, None] ** 2 + dx**2)[..., None]
    own = jnp.arange(num_groups) == self._groups[i]
    return own & (distance < 1), distance
