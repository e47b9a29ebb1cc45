"""Connected components of a mask (8 neighbours), exact and jit-able.

Adjacent pixels of a row form runs, found in words of 32 pixels. A run's parent
is the run above its left corner; other touching pairs are edges that join the
trees, by hooking to the smallest neighbour and pointer jumping over the runs.
That takes about log2 rounds for any shape, spirals and serpentines included.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dwd_jax.decode import backend, bits, pixel_lists


class _Runs(NamedTuple):
  """Runs of pixels, numbered in raster order.

  Attributes:
    starts: first pixels of the runs, as a mask.
    first: the same as raster indices.
    parent: [R] a run above that touches the run, else the run itself.
    below: [R] the run that touches this one from below at its first pixel or
      to the left of it; R if none.
    edges: runs that touch the one below and are not its parent; on accelerators
      all runs.
  """

  starts: bits.Packed
  first: pixel_lists.PixelList
  parent: jax.Array
  below: jax.Array
  edges: pixel_lists.PixelList | pixel_lists.Numbers

  def numbers(self) -> pixel_lists.Numbers:
    """All runs."""
    return pixel_lists.first_numbers(self.first.count, self.parent.shape[0])


def find_components(
  mask: bits.Packed, pixels: pixel_lists.PixelList, most: int
) -> pixel_lists.Segments:
  """Finds the 8-connected components, as `scipy.ndimage.label` does.

  Args:
    pixels: `mask` as a list.
    most: rows T of the result, rounded up.

  Returns:
    Components in raster order of their first pixels, the seeds.
  """
  h, w = mask.shape
  runs = _find_runs(mask, min(pixels.indices.shape[0], h * ((w + 1) // 2)))
  parent = _union(runs)
  roots = pixel_lists.mark(
    runs.numbers(), lambda run, parent: parent == run, parent
  )
  row = pixel_lists.map_chunks(
    runs.numbers(), lambda _, parent: bits.rank(roots, parent), parent
  )
  rows = pixel_lists.map_chunks(
    pixels, lambda at: backend.take(row, _run_at(runs.starts, at // w, at % w))
  )
  seeds = pixel_lists.compact(roots, most, runs.first.indices).indices
  return pixel_lists.Segments(rows, seeds, roots.count, pixels, mask)


def _run_at(starts, y, x):
  """Number of the run that holds the pixels; all must be in the mask."""
  is_start, before = bits.look_up(starts, y, x)
  return before - 1 + is_start


def _find_runs(mask, room):
  """Numbers the runs in raster order and finds which of them touch."""
  h, w = mask.shape
  starts = bits.starts_of_runs(mask)
  first = pixel_lists.compact(starts, room)
  none = first.indices.shape[0]
  numbers = pixel_lists.first_numbers(first.count, none)

  def touched(y, x):
    ok = (y >= 0) & (y < h) & (x >= 0)
    y, x = jnp.clip(y, 0, h - 1), jnp.maximum(x, 0)
    inside, _ = bits.look_up(mask, y, x)
    return jnp.where(ok & inside, _run_at(starts, y, x), none)

  # Of two touching runs the upper one covers the left corner of the lower one,
  # or it begins above the lower one or above its right corner.
  def above_corner(run, at):
    above = touched(at // w - 1, at % w - 1)
    return jnp.where(above < none, above, run)

  def below_start(at):
    y, x = at // w + 1, at % w
    return jnp.minimum(touched(y, x), touched(y, x - 1))

  parent = pixel_lists.map_chunks(numbers, above_corner, first.indices)
  below = pixel_lists.map_chunks(first, below_start)

  def hang(parent, run, live, below):
    # A run above the left corner has a smaller number than these.
    place = pixel_lists.drop_unless(live, below, none)
    return parent.at[place].min(run, mode="drop")

  parent = pixel_lists.for_chunks(numbers, hang, parent, beside=(below,))

  def is_edge(run, to):
    return (to < none) & (backend.take(parent, to) != run)

  edges = numbers
  if backend.on_cpu():
    edges = pixel_lists.compact(pixel_lists.mark(numbers, is_edge, below))
  return _Runs(starts, first, parent, below, edges)


def _union(runs):
  """Root of every run: the smallest run of its component."""
  size, numbers = runs.parent.shape[0], runs.numbers()

  def hook(state, run, live):
    parent, new_parent, changed = state
    below = backend.take(runs.below, run)
    one, two = backend.take(parent, run), backend.take(parent, below)
    ok = live & (below < size) & (one != two)
    high = pixel_lists.drop_unless(ok, jnp.maximum(one, two), size)
    low = jnp.minimum(one, two)
    new_parent = new_parent.at[high].min(low, mode="drop")
    return parent, new_parent, changed | jnp.any(ok)

  def round_(state):
    parent = pixel_lists.jump_pointers(state[0], numbers)
    start = (parent, parent, jnp.array(False))
    _, parent, changed = pixel_lists.for_chunks(runs.edges, hook, start)
    return parent, changed

  return backend.loop_while(
    lambda state: state[1], round_, (runs.parent, jnp.array(True))
  )[0]
