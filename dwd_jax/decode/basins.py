"""Energy peaks and their basins: what keeps touching discs apart.

Every pixel climbs to its highest neighbour until it stands on a peak; the
pixels that end on one peak are its basin. A peak that is hardly higher than
the pass to a higher one is noise: its basin joins the higher one. The measure
is the peak's height over its highest pass ("dynamics" in the watershed
literature), so the result does not depend on the order of the work.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from dwd_jax.decode import foreground

_AHEAD = ((0, 1), (1, -1), (1, 0), (1, 1))  # each pair of neighbours once
_AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, -1), *_AHEAD)
_MAX_MERGE_ROUNDS = 64


class Basins(NamedTuple):
  """Basins of one energy plane; pixels are raster indices y * w + x.

  Attributes:
    peaks: for each pixel above the cutoff the peak of its basin, else -1.
    passes: at a peak, the level of the highest pass to another basin; -inf
      where there is none.
    pixels: list of the pixels above the cutoff.
    num_pixels: its used length.
  """

  peaks: Int[jax.Array, " n"]
  passes: Float[jax.Array, " n"]
  pixels: Int[jax.Array, " m"]
  num_pixels: Int[jax.Array, ""]


def smooth(
  levels: Float[jax.Array, "h w"], passes: int
) -> Float[jax.Array, "h w"]:
  """Applies a 3 x 3 binomial filter `passes` times; edges are repeated."""
  for _ in range(passes):
    p = jnp.pad(levels, 1, mode="edge")
    p = (p[:-2] + 2 * p[1:-1] + p[2:]) / 4
    levels = (p[:, :-2] + 2 * p[:, 1:-1] + p[:, 2:]) / 4
  return levels


def find_basins(
  levels: Float[jax.Array, "h w"], cutoff: float, min_depth: float
) -> Basins:
  """Splits the pixels above the cutoff into one basin for each energy peak.

  Args:
    levels: energy level of each pixel.
    cutoff: only pixels above this level belong to a basin.
    min_depth: a peak less than this above its highest pass to a higher peak
      is merged into it; 0 keeps every local maximum (a plateau is one).

  Returns:
    The basins.
  """
  mask = levels > cutoff
  pixels, num_pixels = foreground.compact(mask.reshape(-1))
  parent = _steepest(levels).reshape(-1)
  parent = foreground.jump_pointers(parent, pixels, num_pixels)
  border, num_border = _border(parent, mask)
  peaks, passes = _merge(
    parent, levels, mask, border, num_border, pixels, num_pixels, min_depth
  )
  peaks = jnp.where(mask.reshape(-1), peaks, -1)
  return Basins(peaks, passes, pixels, num_pixels)


def _shifted(x, dy, dx, fill):
  """x[i + dy, j + dx], `fill` beyond the border."""
  h, w = x.shape
  padded = jnp.pad(x, 1, constant_values=fill)
  return padded[1 + dy : 1 + dy + h, 1 + dx : 1 + dx + w]


def _steepest(levels):
  """Raster index of the highest of each pixel and its 8 neighbours.

  Among equals the first in raster order, so there are no cycles.
  """
  h, w = levels.shape
  here = jnp.arange(h * w, dtype=jnp.int32).reshape(h, w)
  best = jnp.full((h, w), -jnp.inf, levels.dtype)
  target = here
  for dy, dx in sorted((*_AROUND, (0, 0))):  # raster order
    level = _shifted(levels, dy, dx, -jnp.inf)
    higher = level > best
    best = jnp.where(higher, level, best)
    target = jnp.where(higher, here + (dy * w + dx), target)
  return target


def _border(parent, mask):
  """List of the pixels with a neighbour ahead in another basin."""
  h, w = mask.shape
  peaks = jnp.where(mask, parent.reshape(h, w), -1)
  border = jnp.zeros((h, w), bool)
  for dy, dx in _AHEAD:
    other = _shifted(peaks, dy, dx, -1)
    border |= (other >= 0) & (other != peaks)
  return foreground.compact((border & mask).reshape(-1))


def _merge(
  parent, levels, mask, border, num_border, pixels, num_pixels, min_depth
):
  """Joins shallow basins; returns the peaks and their highest passes."""
  w, n = levels.shape[1], parent.shape[0]
  level, inside = levels.reshape(-1), mask.reshape(-1)

  def edges(parent, at, live):
    """Both peaks and the pass of every edge that starts at `at`."""
    y, x = at // w, at % w
    for dy, dx in _AHEAD:
      ok = live & (x + dx >= 0) & (x + dx < w) & (y + dy < levels.shape[0])
      to = jnp.where(ok, at + dy * w + dx, 0)
      one, two = parent[at], parent[to]
      ok &= inside[to] & (one != two)
      yield ok, one, two, jnp.minimum(level[at], level[to])

  def find_passes(parent):
    def step(passes, at, live):
      for ok, one, two, height in edges(parent, at, live):
        for peak in (one, two):
          place = foreground.drop_unless(ok, peak, n)
          passes = passes.at[place].max(height, mode="drop")
      return passes

    low = jnp.full(n, -jnp.inf, levels.dtype)
    return foreground.for_chunks(border, num_border, step, low)

  def find_partners(parent, passes):
    """A higher basin across the highest pass of each shallow basin."""

    def step(partner, at, live):
      for ok, one, two, height in edges(parent, at, live):
        for low, high in ((one, two), (two, one)):
          tie = (level[high] == level[low]) & (high < low)
          join = ok & (height == passes[low])
          join &= (level[high] > level[low]) | tie
          depth = level[low] - height
          join &= (depth < min_depth) | (depth <= 0)
          place = foreground.drop_unless(join, low, n)
          partner = partner.at[place].max(high, mode="drop")
      return partner

    nobody = jnp.full(n, -1, jnp.int32)
    return foreground.for_chunks(border, num_border, step, nobody)

  def round_(state):
    parent, passes, _, i = state
    partner = find_partners(parent, passes)
    parent = jnp.where(partner >= 0, partner, parent)
    parent = foreground.jump_pointers(parent, pixels, num_pixels)
    return parent, find_passes(parent), jnp.any(partner >= 0), i + 1

  def unfinished(state):
    return state[2] & (state[3] < _MAX_MERGE_ROUNDS)

  start = (parent, find_passes(parent), jnp.array(True), jnp.int32(0))
  parent, passes, _, _ = jax.lax.while_loop(unfinished, round_, start)
  return parent, passes
