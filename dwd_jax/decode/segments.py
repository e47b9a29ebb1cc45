"""Objects as numbered sets of pixels: the rows of every table of the decode."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Int

from dwd_jax.decode import bits, pixel_lists


class Segments(NamedTuple):
  """Objects of one energy plane of n pixels; an object is a row.

  Attributes:
    rows: the object of each pixel in the list `pixels`.
    seeds: raster index of the pixel that stands for the object.
    count: objects; more than T if `most` was too small, then the rest is
      without meaning.
    pixels: all pixels of all objects.
    mask: the same as a mask.
  """

  rows: Int[jax.Array, " room"]
  seeds: Int[jax.Array, " T"]
  count: Int[jax.Array, ""]
  pixels: pixel_lists.PixelList
  mask: bits.Packed

  def numbers(self) -> pixel_lists.Numbers:
    """The rows in use, to walk over."""
    size = self.seeds.shape[0]
    return pixel_lists.first_numbers(jnp.minimum(self.count, size), size)


def most_objects(shape: tuple[int, ...]) -> int:
  """Bound on the objects of a plane of h x w pixels.

  Roots of two objects are never in one 2 x 2 block, where they would touch.
  """
  return ((shape[0] + 1) // 2) * ((shape[1] + 1) // 2)
