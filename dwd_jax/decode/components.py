"""Connected components of a mask (8 neighbours), exact and jit-able.

Pixels side by side form runs. A run hangs on the run above its first pixel;
where it touches more runs of the row above, edges join their trees: hooking to
the smallest neighbour and pointer jumping over the runs, which needs about log2
rounds for any shape (spirals and serpentines included).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int

from dwd_jax.decode import foreground, segments


class _Edges(NamedTuple):
  """Pairs of runs that touch: a list with two columns.

  Attributes:
    below: run of the lower row.
    above: run of the upper row.
    count: used length.
  """

  below: jax.Array
  above: jax.Array
  count: jax.Array


class _Runs(NamedTuple):
  """Runs of pixels, numbered in raster order.

  Attributes:
    of_pixel: [n] run of each pixel; the number of rows R where there is none.
    first: [R] raster index of each run's first pixel.
    parent: [R] run that touches the first pixel from above, else itself.
    count: of the runs.
    edges: with all other runs above.
  """

  of_pixel: jax.Array
  first: jax.Array
  parent: jax.Array
  count: jax.Array
  edges: _Edges


def find_components(
  pixels: foreground.PixelList, shape: tuple[int, ...], most: int
) -> segments.Segments:
  """Finds the 8-connected components, as `scipy.ndimage.label` does.

  Args:
    pixels: raster indices of the pixels to label.
    shape: height and width of the plane.
    most: rows T of the result.

  Returns:
    The components in the raster order of their first pixels, the seeds.
  """
  runs = _find_runs(pixels, shape)
  return _number(_union(runs), runs, pixels, most)


def label_components(
  mask: Bool[jax.Array, "h w"],
) -> tuple[Int[jax.Array, "h w"], Int[jax.Array, ""]]:
  """Labels 8-connected components, as `scipy.ndimage.label` does.

  Args:
    mask: pixels to label.

  Returns:
    component_ids: int32, 0 outside the mask, else 1 .. count in the raster
      order of the components' first pixels.
    count: number of components.
  """
  if not mask.size:
    return jnp.zeros(mask.shape, jnp.int32), jnp.int32(0)
  pixels = foreground.compact(foreground.pack(mask.reshape(-1)))
  most = segments.most_objects(mask.shape)
  found = find_components(pixels, mask.shape, most)
  ids = jnp.where(mask.reshape(-1), found.rows + 1, 0)
  return ids.reshape(mask.shape), found.count


def _find_runs(pixels, shape):
  """Numbers the runs in raster order and lists the edges between rows."""
  h, w = shape
  n = h * w
  room = min(pixels.indices.shape[0], h * ((w + 1) // 2))
  room += -room % foreground.CHUNK

  def step(state, at, live):
    runs, last = state
    x = at % w
    before = jnp.concatenate([last[None], at[:-1]])
    starts = live & ((before + 1 != at) | (x == 0))
    run = runs.count - 1 + foreground.inclusive_cumsum(starts)
    place = foreground.drop_unless(live, at, n)
    of_pixel = runs.of_pixel.at[place].set(run, mode="drop")

    def above(dx, ok):
      ok &= live & (at >= w)
      return jnp.where(ok, of_pixel[jnp.where(ok, at - w + dx, 0)], room)

    up, left, right = above(0, True), above(-1, x > 0), above(1, x < w - 1)
    # All runs above touch a run for the first time at its first pixel, or
    # begin to the upper right of one of its pixels.
    parent = jnp.where(up < room, up, left)
    parent = jnp.where(parent < room, parent, run)
    own = foreground.drop_unless(starts, run, room)
    runs = _Runs(
      of_pixel,
      runs.first.at[own].set(at, mode="drop"),
      runs.parent.at[own].set(parent, mode="drop"),
      runs.count + starts.sum(dtype=jnp.int32),
      _append(runs.edges, run, right, (up == room) & (right < room)),
    )
    return runs, at[-1]

  empty = jnp.zeros(room, jnp.int32)
  nothing = _Runs(
    jnp.full(n, room, jnp.int32),
    empty,
    empty,
    jnp.int32(0),
    _Edges(empty, empty, jnp.int32(0)),
  )
  return foreground.for_chunks(pixels, step, (nothing, jnp.int32(-2)))[0]


def _append(edges, below, above, new):
  place = edges.count - 1 + foreground.inclusive_cumsum(new)
  place = foreground.drop_unless(new, place, edges.below.shape[0])
  return _Edges(
    edges.below.at[place].set(below, mode="drop"),
    edges.above.at[place].set(above, mode="drop"),
    edges.count + new.sum(dtype=jnp.int32),
  )


def _union(runs):
  """Root of every run: the smallest run of its component."""
  size = runs.first.shape[0]
  numbers = foreground.first_numbers(runs.count, size)
  edges = foreground.first_numbers(runs.edges.count, size)

  def hook(state, at, live):
    parent, new_parent, changed = state
    one, two = parent[runs.edges.below[at]], parent[runs.edges.above[at]]
    ok = live & (one != two)
    high = foreground.drop_unless(ok, jnp.maximum(one, two), size)
    low = jnp.minimum(one, two)
    new_parent = new_parent.at[high].min(low, mode="drop")
    return parent, new_parent, changed | jnp.any(ok)

  def round_(state):
    parent = foreground.jump_pointers(state[0], numbers)
    start = (parent, parent, jnp.array(False))
    _, parent, changed = foreground.for_chunks(edges, hook, start)
    return parent, changed

  return jax.lax.while_loop(
    lambda state: state[1], round_, (runs.parent, jnp.array(True))
  )[0]


def _number(parent, runs, pixels, most):
  """Components in raster order from the roots of the runs."""
  size = runs.first.shape[0]
  numbers = foreground.first_numbers(runs.count, size)
  roots = foreground.select(numbers, lambda run: parent[run] == run)

  def rank(number, at, live):
    place = foreground.drop_unless(live, roots.indices[at], size)
    return number.at[place].set(at, mode="drop")

  number = foreground.for_chunks(
    foreground.first_numbers(roots.count, size), rank, parent
  )

  def spread(rows, at, live):
    place = foreground.drop_unless(live, at, rows.shape[0])
    row = number[parent[rows[at]]]
    return rows.at[place].set(row, mode="drop")

  rows = foreground.for_chunks(pixels, spread, runs.of_pixel)
  seeds = runs.first[roots.indices[:most]]
  return segments.Segments(rows, seeds, roots.count, pixels)
