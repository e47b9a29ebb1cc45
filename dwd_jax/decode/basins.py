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
from jaxtyping import Float

from dwd_jax.decode import bits, foreground, segments

_AHEAD = ((0, 1), (1, -1), (1, 0), (1, 1))  # each pair of neighbours once
_AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, -1), *_AHEAD)
# Rounds of merging; usually two or three. Only passes that rise in a long row
# while their peaks fall would need more.
_MAX_ROUNDS = 64


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
  levels: Float[jax.Array, "h w"],
  mask: bits.Packed,
  pixels: foreground.PixelList,
  min_depth: float,
  most: int,
) -> tuple[segments.Segments, Float[jax.Array, " T"]]:
  """Splits the pixels above a cutoff into one basin for each energy peak.

  Args:
    levels: energy level of each pixel.
    mask: pixels above the cutoff; only they belong to a basin.
    pixels: the same as a list.
    min_depth: a peak less than this above its highest pass to a higher peak
      is merged into it; 0 keeps every local maximum (a plateau is one).
    most: rows T of the result.

  Returns:
    basins: seeds are the peaks. Rows of basins that were merged into others
      have no pixels.
    passes: level of the highest pass to another basin; -inf where none is.
  """
  places = foreground.first_numbers(pixels.count, pixels.indices.shape[0])
  uphill = _steepest(levels, mask, pixels)
  peaks = foreground.jump_pointers(uphill, places)
  roots = foreground.select(places, lambda at: peaks[at] == at)
  number = segments.number(roots)
  rows = foreground.map_chunks(places, lambda _, peak: number[peak], peaks)
  seeds = pixels.indices[roots.indices[:most]]
  basins = segments.Segments(rows, seeds, roots.count, pixels, mask)
  return _merge(basins, levels, min_depth)


def _steepest(levels, mask, pixels):
  """Place in the list of the highest of each pixel and its 8 neighbours.

  Among equals the first in raster order, so there are no cycles.
  """
  h, w = levels.shape
  level = levels.reshape(-1)
  last = pixels.indices.shape[0] - 1

  def climb(at):
    y, x = at // w, at % w
    best = jnp.full(at.shape, -jnp.inf, levels.dtype)
    highest = at
    for dy, dx in sorted((*_AROUND, (0, 0))):  # raster order
      ok = (y + dy >= 0) & (y + dy < h) & (x + dx >= 0) & (x + dx < w)
      to = jnp.where(ok, at + (dy * w + dx), at)
      higher = ok & (level[to] > best)
      best = jnp.where(higher, level[to], best)
      highest = jnp.where(higher, to, highest)
    place = bits.look_up(mask, highest // w, highest % w)[1]
    return jnp.minimum(place, last)

  return foreground.map_chunks(pixels, climb)


class _Graph(NamedTuple):
  """Basins and the pixels where two of them touch.

  Attributes:
    basins: as they were found.
    border: places in the list of pixels.
    level: of each pixel of the page.
    peak: level of each basin's peak.
  """

  basins: segments.Segments
  border: foreground.PixelList
  level: Float[jax.Array, " n"]
  peak: Float[jax.Array, " T"]


def _pairs(basins, at, row):
  """Neighbours ahead of the pixels `at`: index, basin, whether another one."""
  h, w = basins.mask.shape
  last = basins.rows.shape[0] - 1
  y, x = at // w, at % w
  for dy, dx in _AHEAD:
    on_page = (y + dy < h) & (x + dx >= 0) & (x + dx < w)
    to = jnp.where(on_page, at + (dy * w + dx), 0)
    inside, place = bits.look_up(basins.mask, to // w, to % w)
    other = basins.rows[jnp.minimum(place, last)]
    yield to, other, on_page & inside & (other != row)


def _edges(graph, owner, place, live):
  """Merged basins on both sides of each pass, and its height."""
  basins, level = graph.basins, graph.level
  at, row = basins.pixels.indices[place], basins.rows[place]
  for to, other, ok in _pairs(basins, at, row):
    one, two = owner[row], owner[other]
    yield live & ok & (one != two), one, two, jnp.minimum(level[at], level[to])


def _find_passes(graph, owner):
  """Height of the highest pass out of each merged basin; -inf if none."""
  size = owner.shape[0]

  def step(passes, at, live):
    for ok, one, two, height in _edges(graph, owner, at, live):
      for row in (one, two):
        place = foreground.drop_unless(ok, row, size)
        passes = passes.at[place].max(height, mode="drop")
    return passes

  low = jnp.full(size, -jnp.inf, graph.level.dtype)
  return foreground.for_chunks(graph.border, step, low)


def _join_higher(graph, owner, passes, min_depth):
  """Points shallow basins at a higher one across their highest pass."""
  size, peak = owner.shape[0], graph.peak

  def step(partner, at, live):
    for ok, one, two, height in _edges(graph, owner, at, live):
      for low, high in ((one, two), (two, one)):
        depth = peak[low] - height
        join = ok & (height == passes[low])
        join &= (depth < min_depth) | (depth <= 0)
        # Rows are in raster order: of equal peaks the first is the higher.
        tie = (peak[high] == peak[low]) & (high < low)
        join &= (peak[high] > peak[low]) | tie
        place = foreground.drop_unless(join, low, size)
        # Several may qualify; any will do, the largest is reproducible.
        partner = partner.at[place].max(high, mode="drop")
    return partner

  nobody = jnp.full(size, -1, jnp.int32)
  partner = foreground.for_chunks(graph.border, step, nobody)
  return jnp.where(partner >= 0, partner, owner)


def _merge(basins, levels, min_depth):
  """Joins shallow basins to higher ones; see `find_basins`."""
  size, level = basins.seeds.shape[0], levels.reshape(-1)
  places = foreground.first_numbers(basins.pixels.count, basins.rows.shape[0])

  def on_border(place):
    at, row = basins.pixels.indices[place], basins.rows[place]
    return jnp.stack([ok for *_, ok in _pairs(basins, at, row)]).any(0)

  border = foreground.select(places, on_border)
  graph = _Graph(basins, border, level, level[basins.seeds])

  def round_(state):
    owner, passes, _, i = state
    joined = _join_higher(graph, owner, passes, min_depth)
    changed = jnp.any(joined != owner)
    joined = foreground.jump_pointers(joined, basins.numbers())
    return joined, _find_passes(graph, joined), changed, i + 1

  def unfinished(state):
    return state[2] & (state[3] < _MAX_ROUNDS)

  owner = jnp.arange(size, dtype=jnp.int32)
  start = (owner, _find_passes(graph, owner), jnp.array(True), jnp.int32(0))
  owner, passes, _, _ = jax.lax.while_loop(unfinished, round_, start)
  rows = foreground.map_chunks(places, lambda _, row: owner[row], basins.rows)
  return basins._replace(rows=rows), passes
