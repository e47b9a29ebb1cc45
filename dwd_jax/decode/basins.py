"""Energy peaks and their basins: what keeps touching discs apart.

Every pixel climbs to its highest neighbour until it stands on a peak; the
pixels that end on one peak are its basin. A peak that is hardly higher than
the pass to a higher one is noise: its basin joins the higher one. The measure
is the peak's height over its highest pass ("dynamics" in the watershed
literature), so the result does not depend on the order of the work.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dwd_jax.decode import foreground, segments

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
  levels: Float[jax.Array, "h w"], cutoff: float, min_depth: float
) -> tuple[segments.Segments, Float[jax.Array, " T"]]:
  """Splits the pixels above the cutoff into one basin for each energy peak.

  Args:
    levels: energy level of each pixel.
    cutoff: only pixels above this level belong to a basin.
    min_depth: a peak less than this above its highest pass to a higher peak
      is merged into it; 0 keeps every local maximum (a plateau is one).

  Returns:
    basins: seeds are the peaks. Rows of basins that were merged into others
      have no pixels.
    passes: level of the highest pass to another basin; -inf where none is.
  """
  mask = (levels > cutoff).reshape(-1)
  pixels = foreground.compact(mask)
  peaks = foreground.jump_pointers(_steepest(levels).reshape(-1), pixels)
  basins = segments.number_roots(peaks, pixels, levels.shape)
  return _merge(basins, levels, min_depth)


def _steepest(levels):
  """Raster index of the highest of each pixel and its 8 neighbours.

  Among equals the first in raster order, so there are no cycles.
  """
  h, w = levels.shape
  padded = jnp.pad(levels, 1, constant_values=-jnp.inf)
  here = jnp.arange(h * w, dtype=jnp.int32).reshape(h, w)
  best = jnp.full((h, w), -jnp.inf, levels.dtype)
  target = here
  for dy, dx in sorted((*_AROUND, (0, 0))):  # raster order
    level = padded[1 + dy : 1 + dy + h, 1 + dx : 1 + dx + w]
    higher = level > best
    best = jnp.where(higher, level, best)
    target = jnp.where(higher, here + (dy * w + dx), target)
  return target


def _pairs(basins, shape, at):
  """Neighbours of the pixels `at` that are in another basin.

  Yields:
    to: raster index of the neighbour, 0 if it is off the page.
    ok: bool, the pair joins two different basins.
  """
  h, w = shape
  rows, none = basins.rows, basins.seeds.shape[0]
  y, x = at // w, at % w
  for dy, dx in _AHEAD:
    on_page = (y + dy < h) & (x + dx >= 0) & (x + dx < w)
    to = jnp.where(on_page, at + (dy * w + dx), 0)
    yield to, on_page & (rows[to] < none) & (rows[to] != rows[at])


def _merge(basins, levels, min_depth):
  """Joins shallow basins to higher ones; see `find_basins`."""
  rows, size = basins.rows, basins.seeds.shape[0]
  level, peak = levels.reshape(-1), levels.reshape(-1)[basins.seeds]
  numbers = basins.numbers()

  def on_border(at):
    pairs = _pairs(basins, levels.shape, at)
    return jnp.stack([ok for _, ok in pairs]).any(0)

  border = foreground.select(basins.pixels, on_border)

  def edges(owner, at, live):
    """Merged basins and height of the passes between `at` and neighbours."""
    for to, ok in _pairs(basins, levels.shape, at):
      one, two = owner[rows[at]], owner[rows[jnp.where(ok, to, at)]]
      yield live & (one != two), one, two, jnp.minimum(level[at], level[to])

  def find_passes(owner):
    def step(passes, at, live):
      for ok, one, two, height in edges(owner, at, live):
        for row in (one, two):
          place = foreground.drop_unless(ok, row, size)
          passes = passes.at[place].max(height, mode="drop")
      return passes

    low = jnp.full(size, -jnp.inf, levels.dtype)
    return foreground.for_chunks(border, step, low)

  def join_higher(owner, passes):
    """Points shallow basins at a higher one across their highest pass."""

    def step(partner, at, live):
      for ok, one, two, height in edges(owner, at, live):
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
    partner = foreground.for_chunks(border, step, nobody)
    return jnp.where(partner >= 0, partner, owner)

  def round_(state):
    owner, passes, _, i = state
    joined = join_higher(owner, passes)
    changed = jnp.any(joined != owner)
    joined = foreground.jump_pointers(joined, numbers)
    return joined, find_passes(joined), changed, i + 1

  def unfinished(state):
    return state[2] & (state[3] < _MAX_ROUNDS)

  owner = jnp.arange(size, dtype=jnp.int32)
  start = (owner, find_passes(owner), jnp.array(True), jnp.int32(0))
  owner, passes, _, _ = jax.lax.while_loop(unfinished, round_, start)

  def spread(rows, at, live):
    place = foreground.drop_unless(live, at, rows.shape[0])
    return rows.at[place].set(owner[rows[at]], mode="drop")

  rows = foreground.for_chunks(basins.pixels, spread, rows)
  return basins._replace(rows=rows), passes
