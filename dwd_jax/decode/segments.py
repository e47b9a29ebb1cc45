"""Objects as numbered sets of pixels: the rows of every table of the decode."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Int

from dwd_jax.decode import foreground


class Segments(NamedTuple):
  """Objects of one energy plane of n pixels; an object is a row.

  Attributes:
    rows: the object of each pixel; T or more where there is none.
    seeds: raster index of the pixel that stands for the object.
    count: objects; more than T if `most` was too small, then the rest is
      without meaning.
    pixels: all pixels of all objects.
  """

  rows: Int[jax.Array, " n"]
  seeds: Int[jax.Array, " T"]
  count: Int[jax.Array, ""]
  pixels: foreground.PixelList

  def numbers(self) -> foreground.PixelList:
    """The rows in use, to walk over."""
    size = self.seeds.shape[0]
    return foreground.first_numbers(jnp.minimum(self.count, size), size)


def most_objects(shape: tuple[int, ...]) -> int:
  """Bound on the objects of a plane of h x w pixels.

  Roots of two objects are never in one 2 x 2 block, where they would touch.
  """
  return ((shape[0] + 1) // 2) * ((shape[1] + 1) // 2)


def number_roots(
  roots: Int[jax.Array, " n"],
  pixels: foreground.PixelList,
  most: int,
) -> Segments:
  """Numbers the objects in the raster order of their roots.

  Args:
    roots: at the listed pixels the root of their object, a pixel of it.
    pixels: all pixels of all objects.
    most: T.

  Returns:
    The objects.
  """
  n = roots.shape[0]
  seeds = foreground.select(pixels, lambda at: roots[at] == at)

  def number(state, at, live):
    rows, used = state
    row = used + jnp.arange(at.shape[0], dtype=jnp.int32)
    place = foreground.drop_unless(live, at, n)
    return rows.at[place].set(row, mode="drop"), used + at.shape[0]

  def spread(rows, at, live):
    place = foreground.drop_unless(live, at, n)
    return rows.at[place].set(rows[roots[at]], mode="drop")

  rows = jnp.full(n, n, jnp.int32)
  rows, _ = foreground.for_chunks(seeds, number, (rows, jnp.int32(0)))
  rows = foreground.for_chunks(pixels, spread, rows)
  return Segments(rows, seeds.indices[:most], seeds.count, pixels)
