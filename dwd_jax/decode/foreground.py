"""Lists of the pixels that count, so that work follows the ink, not the page.

A decoded page has a million pixels, of which a few per cent lie above the
energy cutoff. XLA wants fixed shapes, so the list of those pixels is as long
as the page, but loops walk over the used part only, a chunk at a time.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int

CHUNK = 8192  # pixels per step of a loop
_LANES = 32  # pixels that one row of the triangular product counts


class PixelList(NamedTuple):
  """Indices of some pixels, in order.

  Attributes:
    indices: the room is a multiple of CHUNK; beyond `count` the values are
      valid indices without meaning.
    count: used length.
  """

  indices: Int[jax.Array, " room"]
  count: Int[jax.Array, ""]


def exclusive_cumsum(counts: Int[jax.Array, " n"]) -> Int[jax.Array, " n"]:
  """Sum of all earlier entries.

  Args:
    counts: int32 [n], sum below 2 ** 24 (a page of 16 million pixels).

  Returns:
    int32 [n].
  """
  (n,) = counts.shape
  if n <= _LANES:
    return jnp.cumsum(counts) - counts
  rows = jnp.pad(counts, (0, -n % _LANES)).reshape(-1, _LANES)
  # A product with a triangle is several times faster than jnp.cumsum; float32
  # at full precision is exact for these integers.
  upper = jnp.triu(jnp.ones((_LANES, _LANES), jnp.float32), 1)
  within = jnp.matmul(
    rows.astype(jnp.float32), upper, precision=jax.lax.Precision.HIGHEST
  ).astype(jnp.int32)  # [n / 32, 32]
  before = exclusive_cumsum(rows.sum(1))
  return (within + before[:, None]).reshape(-1)[:n]


def first_numbers(count: jax.Array | int, room: int) -> PixelList:
  """The list 0, 1, ... count - 1 with space for at least `room` entries."""
  room += -room % CHUNK
  return PixelList(jnp.arange(room, dtype=jnp.int32), jnp.int32(count))


def compact(mask: Bool[jax.Array, " n"]) -> PixelList:
  """Lists the True entries of a mask.

  Rows of 32 pixels are listed first; only those with a True entry are looked
  at closely.
  """
  (n,) = mask.shape
  lanes = jnp.pad(mask, (0, -n % _LANES)).reshape(-1, _LANES)
  used = lanes.any(1)
  num_rows = used.shape[0]
  place = drop_unless(used, exclusive_cumsum(used.astype(jnp.int32)), num_rows)
  rows = jnp.zeros(num_rows, jnp.int32)
  rows = rows.at[place].set(jnp.arange(num_rows, dtype=jnp.int32), mode="drop")
  per_step = CHUNK // _LANES
  rows = jnp.pad(rows, (0, -num_rows % per_step))
  num_used = used.sum(dtype=jnp.int32)

  def body(i, chosen):
    start = i * per_step
    row = jax.lax.dynamic_slice(rows, (start,), (per_step,))
    live = start + jnp.arange(per_step, dtype=jnp.int32) < num_used
    at = row[:, None] * _LANES + jnp.arange(_LANES, dtype=jnp.int32)
    keep = lanes[row] & live[:, None]
    return _append(chosen, at.reshape(-1), keep.reshape(-1))

  steps = (num_used + per_step - 1) // per_step
  empty = PixelList(jnp.zeros(n + -n % CHUNK, jnp.int32), jnp.int32(0))
  return jax.lax.fori_loop(0, steps, body, empty)


def for_chunks(
  pixels: PixelList,
  step: Callable[[Any, jax.Array, jax.Array], Any],
  state: Any,
) -> Any:
  """Runs `step(state, at [CHUNK], live [CHUNK])` over the used part.

  Args:
    pixels: what to walk over.
    step: returns the new state; entries that are not `live` are padding.
    state: a pytree of arrays.

  Returns:
    The last state.
  """

  def body(i, state):
    at = jax.lax.dynamic_slice(pixels.indices, (i * CHUNK,), (CHUNK,))
    live = i * CHUNK + jnp.arange(CHUNK, dtype=jnp.int32) < pixels.count
    return step(state, at, live)

  return jax.lax.fori_loop(0, (pixels.count + CHUNK - 1) // CHUNK, body, state)


def select(
  pixels: PixelList, keep: Callable[[jax.Array], jax.Array]
) -> PixelList:
  """The entries of a list that pass a test, in order.

  Args:
    pixels: what to choose from.
    keep: indices [CHUNK] -> bool [CHUNK].
  """

  def step(chosen, at, live):
    return _append(chosen, at, live & keep(at))

  room = pixels.indices.shape[0]
  empty = PixelList(jnp.zeros(room, jnp.int32), jnp.int32(0))
  return for_chunks(pixels, step, empty)


def _append(chosen, at, keep):
  """Adds the indices `at` that are kept to the end of a list."""
  place = chosen.count + exclusive_cumsum(keep.astype(jnp.int32))
  place = drop_unless(keep, place, chosen.indices.shape[0])
  indices = chosen.indices.at[place].set(at, mode="drop")
  return PixelList(indices, chosen.count + keep.sum(dtype=jnp.int32))


def drop_unless(live: jax.Array, index: jax.Array, size: int) -> jax.Array:
  """`index` where `live`, else an index that scatters drop."""
  return jnp.where(live, index, size)


def jump_pointers(
  parent: Int[jax.Array, " n"], pixels: PixelList
) -> Int[jax.Array, " n"]:
  """Points every listed entry at the root of its tree.

  Pointers double at each sweep, so the number of sweeps is the logarithm of
  the longest path.

  Args:
    parent: index of the parent; a root is its own parent.
    pixels: entries to follow.

  Returns:
    New `parent`.
  """
  n = parent.shape[0]

  def step(state, at, live):
    parent, changed = state
    old = parent[at]
    new = parent[old]
    parent = parent.at[drop_unless(live, at, n)].set(new, mode="drop")
    return parent, changed | jnp.any(live & (new != old))

  def sweep(state):
    return for_chunks(pixels, step, (state[0], jnp.array(False)))

  return jax.lax.while_loop(
    lambda state: state[1], sweep, (parent, jnp.array(True))
  )[0]
