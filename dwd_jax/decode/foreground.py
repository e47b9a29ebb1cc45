"""Lists of the pixels that count, so that work follows the ink, not the page.

A decoded page has a million pixels, of which a few per cent lie above the
energy cutoff. XLA wants fixed shapes, so the list of those pixels is as long
as the page, but loops walk over the used part only, a chunk at a time.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int

CHUNK = 8192  # pixels per step of a loop
_LANES = 32  # pixels that one row of the triangular product counts


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


def compact(
  mask: Bool[jax.Array, " n"],
) -> tuple[Int[jax.Array, " m"], Int[jax.Array, ""]]:
  """Indices of the True entries, in order.

  Args:
    mask: [n].

  Returns:
    indices: int32 [m], m = n rounded up to a multiple of CHUNK; 0 beyond
      `count`.
    count: number of True entries.
  """
  (n,) = mask.shape
  room = n + -n % CHUNK
  place = jnp.where(mask, exclusive_cumsum(mask.astype(jnp.int32)), room)
  indices = jnp.zeros(room, jnp.int32)
  indices = indices.at[place].set(jnp.arange(n, dtype=jnp.int32), mode="drop")
  return indices, mask.sum(dtype=jnp.int32)


def for_chunks(
  indices: Int[jax.Array, " m"],
  count: Int[jax.Array, ""],
  step: Callable[[Any, jax.Array, jax.Array], Any],
  state: Any,
) -> Any:
  """Runs `step(state, pixels [CHUNK], live [CHUNK])` over the used part.

  Args:
    indices: list made by `compact`.
    count: its used length.
    step: returns the new state; entries that are not `live` are padding.
    state: a pytree of arrays.

  Returns:
    The last state.
  """

  def body(i, state):
    pixels = jax.lax.dynamic_slice(indices, (i * CHUNK,), (CHUNK,))
    live = i * CHUNK + jnp.arange(CHUNK, dtype=jnp.int32) < count
    return step(state, pixels, live)

  return jax.lax.fori_loop(0, (count + CHUNK - 1) // CHUNK, body, state)


def drop_unless(live: jax.Array, index: jax.Array, size: int) -> jax.Array:
  """`index` where `live`, else an index that scatters drop."""
  return jnp.where(live, index, size)


def jump_pointers(
  parent: Int[jax.Array, " n"],
  indices: Int[jax.Array, " m"],
  count: Int[jax.Array, ""],
) -> Int[jax.Array, " n"]:
  """Points every listed entry at the root of its tree.

  Pointers double at each sweep, so the number of sweeps is the logarithm of
  the longest path.

  Args:
    parent: index of the parent; a root is its own parent.
    indices: entries to follow, made by `compact`.
    count: used length of `indices`.

  Returns:
    New `parent`.
  """
  n = parent.shape[0]

  def step(state, pixels, live):
    parent, changed = state
    old = parent[pixels]
    new = parent[old]
    parent = parent.at[drop_unless(live, pixels, n)].set(new, mode="drop")
    return parent, changed | jnp.any(live & (new != old))

  def sweep(state):
    return for_chunks(indices, count, step, (state[0], jnp.array(False)))

  return jax.lax.while_loop(
    lambda state: state[1], sweep, (parent, jnp.array(True))
  )[0]
