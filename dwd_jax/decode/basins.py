"""Energy peaks and their basins, which keep touching discs apart.

Every pixel climbs to its highest neighbour until it reaches a peak; the pixels
of one peak are its basin. A peak barely higher than the pass to a higher one is
noise: its basin joins the higher one. The measure is the peak's height over its
highest pass ("dynamics" in the watershed literature), so the result does not
depend on the order of the work.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dwd_jax.decode import backend, bits, pixel_lists
from dwd_jax.decode.decode_config import DecodeConfig

_AROUND = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]  # raster order
# Rounds of merging; usually two or three. More would only help where passes
# rise in a long row while their peaks fall.
_MAX_ROUNDS = 64


def smooth(
  levels: Float[jax.Array, "*n h w"], passes: int
) -> Float[jax.Array, "*n h w"]:
  """Applies a 3 x 3 binomial filter `passes` times, with repeated edges."""
  for _ in range(passes):
    for axis in (levels.ndim - 2, levels.ndim - 1):
      levels = _blur(levels, axis)
  return levels


def _blur(x, axis):
  """Binomial filter along an axis, without padding, to touch less memory."""
  n = x.shape[axis]
  if n == 1:
    return x

  def part(start, stop):
    return jax.lax.slice_in_dim(x, start, stop, axis=axis)

  first, last = part(0, 1), part(n - 1, n)
  parts = (
    (first + 2 * first + part(1, 2)) / 4,
    (part(0, n - 2) + 2 * part(1, n - 1) + part(2, n)) / 4,
    (part(n - 2, n - 1) + 2 * last + last) / 4,
  )
  blurred = jnp.concatenate(parts, axis)
  # XLA would compute the first axis anew for each use by the second, which is
  # less work than a kernel.
  return jax.lax.optimization_barrier(blurred) if backend.on_cpu() else blurred


def find_basins(
  levels: Float[jax.Array, "h w"],
  mask: bits.Packed,
  pixels: pixel_lists.PixelList,
  cfg: DecodeConfig,
  most: int,
) -> tuple[pixel_lists.Segments, Float[jax.Array, " T"]]:
  """Splits the pixels above a cutoff into one basin for each energy peak.

  Args:
    levels: energy level of each pixel.
    mask: pixels above the cutoff; no others belong to a basin.
    pixels: `mask` as a list.
    cfg: a peak less than its `min_saddle_depth` above its highest pass to a
      higher peak joins that; 0 keeps every local maximum (a plateau is one).
    most: rows T of the result, rounded up.

  Returns:
    basins: seeds are the peaks; rows of basins that joined others have no
      pixels.
    passes: level of the highest pass to another basin; -inf if none.
  """
  places = pixel_lists.first_numbers(pixels.count, pixels.room)
  uphill = _steepest(levels, mask, pixels)
  peaks = pixel_lists.jump_pointers(uphill, places)
  roots = pixel_lists.mark(places, lambda at, peak: peak == at, peaks)
  rows = pixel_lists.map_chunks(
    places, lambda _, peak: bits.rank(roots, peak), peaks
  )
  seeds = pixel_lists.compact(roots, most, pixels.indices).indices
  basins = pixel_lists.Segments(rows, seeds, roots.count, pixels, mask)
  return _merge(basins, levels, cfg)


def _steepest(levels, mask, pixels):
  """Position in the list of the highest pixel in each 3 x 3 neighbourhood.

  Of equally high pixels the first in raster order counts: there are no cycles.
  """
  h, w = levels.shape
  level = levels.reshape(-1)
  last = pixels.indices.shape[0] - 1

  def climb(at):
    y, x = at // w, at % w

    def highest(around):
      """Level and index of the highest pixel, in rounds as at a tournament."""
      if len(around) > 1:
        half = (len(around) + 1) // 2
        first, second = highest(around[:half]), highest(around[half:])
        higher = second[0] > first[0]
        return [
          jnp.where(higher, b, a) for a, b in zip(first, second, strict=True)
        ]
      ((dy, dx),) = around
      ok = (y + dy >= 0) & (y + dy < h) & (x + dx >= 0) & (x + dx < w)
      to = jnp.where(ok, at + (dy * w + dx), at)
      return [jnp.where(ok, backend.take(level, to), -jnp.inf), to]

    _, to = highest(_AROUND)
    return jnp.minimum(bits.look_up(mask, to // w, to % w)[1], last)

  return pixel_lists.map_chunks(pixels, climb)


class _Graph(NamedTuple):
  """Basins and the pixels where two of them touch.

  Attributes:
    border: positions in the list of pixels; on accelerators all of them.
    peak: level of each basin's peak.
    ahead: of `_ahead` for all pixels of the border, on accelerators; each round
      of merging would look it up again.
  """

  basins: pixel_lists.Segments
  border: pixel_lists.PixelList | pixel_lists.Numbers
  level: Float[jax.Array, " n"]
  peak: Float[jax.Array, " T"]
  ahead: tuple[tuple[jax.Array, ...], ...] = ()


def _ahead(basins, place, at):
  """Neighbours to the right of and below the pixels `at`: index, basin, ok.

  In raster order a right neighbour is the next entry, and those below are among
  three consecutive entries.
  """
  h, w = basins.mask.shape
  y, x = at // w, at % w
  below = jnp.minimum(y + 1, h - 1), jnp.maximum(x - 1, 0)
  (_, first), last = bits.look_up(basins.mask, *below), basins.pixels.room - 1
  for dy, entry in ((0, place + 1), *((1, first + i) for i in range(3))):
    number = jnp.minimum(entry, last)
    to = backend.take(basins.pixels.indices, number)
    dx = to - at - dy * w
    ok = (entry < basins.pixels.count) & (y + dy < h) & (x + dx < w)
    yield to, backend.take(basins.rows, number), ok & (jnp.abs(dx) <= 1)


def _edges(graph, owner, place, live):
  """Where pixels touch other merged basins: whether, which, how high."""
  basins, level = graph.basins, graph.level
  at = backend.take(basins.pixels.indices, place)
  one = backend.take(owner, backend.take(basins.rows, place))
  here = backend.take(level, at)
  for to, row, ok in graph.ahead or _ahead(basins, place, at):
    two = backend.take(owner, row)
    height = jnp.minimum(here, backend.take(level, to))
    yield live & ok & (one != two), two, height


def _find_passes(graph, owner):
  """Height of the highest pass out of each merged basin; -inf if none."""
  size, low = owner.shape[0], jnp.array(-jnp.inf, graph.level.dtype)

  def step(passes, place, live):
    highest, updates = jnp.full(place.shape, low), []
    for ok, two, height in _edges(graph, owner, place, live):
      updates.append((pixel_lists.drop_unless(ok, two, size), height))
      highest = jnp.maximum(highest, jnp.where(ok, height, low))
    row = backend.take(graph.basins.rows, place)
    updates.append((backend.take(owner, row), highest))
    return pixel_lists.scatter("max", passes, *updates)

  return pixel_lists.for_chunks(graph.border, step, jnp.full(size, low))


def _ways_out(graph, passes, cfg):
  """Highest passes of basins too shallow to stay; inf for the others."""
  depth = graph.peak - passes
  shallow = (depth < cfg.min_saddle_depth) | (depth <= 0)
  return jnp.where(shallow, passes, jnp.inf)


def _join_higher(graph, owner, way_out):
  """Points shallow basins at a higher one across their highest pass."""
  size, peak = owner.shape[0], graph.peak

  def step(partner, place, live):
    row = backend.take(graph.basins.rows, place)
    one, updates = backend.take(owner, row), []
    for ok, two, height in _edges(graph, owner, place, live):
      # Rows are in raster order: of equal peaks the first is the higher.
      peaks = backend.take(peak, one), backend.take(peak, two)
      tie = (peaks[1] == peaks[0]) & (two < one)
      up = (peaks[1] > peaks[0]) | tie
      low, high = jnp.where(up, one, two), jnp.where(up, two, one)
      # Several may qualify; taking the largest is reproducible.
      to = pixel_lists.drop_unless(
        ok & (height == backend.take(way_out, low)), low, size
      )
      updates.append((to, high))
    return pixel_lists.scatter("max", partner, *updates)

  unset = jnp.full(size, -1, jnp.int32)
  partner = pixel_lists.for_chunks(graph.border, step, unset)
  return jnp.where(partner >= 0, partner, owner)


def _merge(basins, levels, cfg):
  """Joins shallow basins to higher ones; see `find_basins`."""
  size, level = basins.seeds.shape[0], levels.reshape(-1)
  places = pixel_lists.first_numbers(basins.pixels.count, basins.rows.shape[0])

  def on_border(place, at, row):
    ahead = _ahead(basins, place, at)
    return jnp.stack([ok & (other != row) for _, other, ok in ahead]).any(0)

  border, ahead = places, ()
  if not backend.on_cpu():
    number = places.part(0, places.room)
    ahead = tuple(_ahead(basins, number, basins.pixels.indices))
  else:
    border = pixel_lists.compact(
      pixel_lists.mark(places, on_border, basins.pixels.indices, basins.rows)
    )
  graph = _Graph(
    basins, border, level, backend.take(level, basins.seeds), ahead
  )

  def round_(state):
    owner, _, passes, i = state
    joined = _join_higher(graph, owner, _ways_out(graph, passes, cfg))
    joined = pixel_lists.jump_pointers(joined, basins.numbers())
    if backend.on_cpu():
      passes = jax.lax.cond(
        jnp.any(joined != owner),
        lambda: _find_passes(graph, joined),
        lambda: passes,
      )
    else:  # a condition would ask the host
      passes = _find_passes(graph, joined)
    return joined, owner, passes, i + 1

  def unfinished(state):
    owner, before, passes, i = state
    shallow = _ways_out(graph, passes, cfg) < jnp.inf
    return jnp.stack([owner != before, shallow]).any(1).all() & (
      i < _MAX_ROUNDS
    )

  owner = jnp.arange(size, dtype=jnp.int32)
  start = (owner, owner - 1, _find_passes(graph, owner), jnp.int32(0))
  owner, _, passes, _ = backend.loop_while(unfinished, round_, start)
  rows = pixel_lists.map_chunks(
    places, lambda _, row: backend.take(owner, row), basins.rows, after=owner[0]
  )
  return basins._replace(rows=rows), passes
