"""Lists of the pixels that count, so that work follows the ink, not the page.

A decoded page has a million pixels, of which a few per cent lie above the
energy cutoff. XLA wants fixed shapes, so the list of those pixels is as long
as the page, but loops walk over the used part only, a chunk at a time.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int, UInt32

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
    counts: 0 .. 32 each.

  Returns:
    int32 [n].
  """
  (n,) = counts.shape
  # The sums of 32 ** 2 entries and more would pass the integers of float32 on
  # pages of 16 million pixels.
  if n <= _LANES**2:
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


def inclusive_cumsum(mask: Bool[jax.Array, " n"]) -> Int[jax.Array, " n"]:
  """Number of True entries up to and with each entry."""
  counts = mask.astype(jnp.int32)
  return exclusive_cumsum(counts) + counts


def first_numbers(count: jax.Array | int, room: int) -> PixelList:
  """The list 0, 1, ... count - 1 with space for at least `room` entries."""
  room += -room % CHUNK
  return PixelList(jnp.arange(room, dtype=jnp.int32), jnp.int32(count))


class Packed(NamedTuple):
  """A mask in words of 32 bits.

  Attributes:
    words: the lowest bit is the first entry.
    before: True entries before each word.
    count: True entries.
    size: entries of the mask, a Python int.
  """

  words: UInt32[jax.Array, " m"]
  before: Int[jax.Array, " m"]
  count: Int[jax.Array, ""]
  size: int


def pack(mask: Bool[jax.Array, " n"]) -> Packed:
  """Packs a mask and counts its entries."""
  (n,) = mask.shape
  lanes = jnp.pad(mask, (0, -n % _LANES)).reshape(-1, _LANES)
  bit = jnp.uint32(1) << jnp.arange(_LANES, dtype=jnp.uint32)
  words = jnp.where(lanes, bit, 0).sum(1, dtype=jnp.uint32)
  # XLA would pack the words anew for each use.
  words = jax.lax.optimization_barrier(words)
  counts = jax.lax.population_count(words).astype(jnp.int32)
  return Packed(words, exclusive_cumsum(counts), counts.sum(), n)


def compact(packed: Packed, room: int | None = None) -> PixelList:
  """Lists the True entries of a mask.

  Each place of the list looks up its word and its bit.

  Args:
    packed: the mask.
    room: most entries listed; None = all.
  """
  words, before, count, n = packed
  room = n if room is None else room
  room += -room % CHUNK
  # The number of a word, where its entries begin in the list.
  place = drop_unless(words > 0, before, room)
  word_at = jnp.zeros(room, jnp.int32)
  number = jnp.arange(words.shape[0], dtype=jnp.int32)
  word_at = word_at.at[place].set(number, mode="drop")

  def body(i, state):
    indices, word = state  # `indices` still holds `word_at` from here on
    word = (
      jax.lax.dynamic_slice(indices, (i * CHUNK,), (CHUNK,)).at[0].max(word)
    )
    word = jax.lax.cummax(word)
    place = i * CHUNK + jnp.arange(CHUNK, dtype=jnp.int32)
    bit = _nth_bit(words[word], place - before[word])
    at = jnp.minimum(word * _LANES + bit, n - 1)
    indices = jax.lax.dynamic_update_slice(indices, at, (i * CHUNK,))
    return indices, word[-1]

  steps = (jnp.minimum(count, room) + CHUNK - 1) // CHUNK
  start = (word_at, jnp.int32(0))
  return PixelList(jax.lax.fori_loop(0, steps, body, start)[0], count)


def _nth_bit(words, number):
  """Position of the set bit of a word that has `number` set bits below it."""
  bit = jnp.zeros_like(number)
  for half in (16, 8, 4, 2, 1):
    low = jax.lax.population_count(words & jnp.uint32((1 << half) - 1))
    low = low.astype(jnp.int32)
    upper = number >= low
    number = jnp.where(upper, number - low, number)
    words = jnp.where(upper, words >> half, words)
    bit += jnp.where(upper, half, 0)
  return bit


def for_chunks(
  pixels: PixelList,
  step: Callable[[Any, jax.Array, jax.Array], Any],
  state: Any,
  chunk: int = CHUNK,
) -> Any:
  """Runs `step(state, at [chunk], live [chunk])` over the used part.

  Args:
    pixels: what to walk over.
    step: returns the new state; entries that are not `live` are padding.
    state: a pytree of arrays.
    chunk: entries at a time, a divisor of CHUNK.

  Returns:
    The last state.
  """

  def body(i, state):
    at = jax.lax.dynamic_slice(pixels.indices, (i * chunk,), (chunk,))
    live = i * chunk + jnp.arange(chunk, dtype=jnp.int32) < pixels.count
    return step(state, at, live)

  return jax.lax.fori_loop(0, (pixels.count + chunk - 1) // chunk, body, state)


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
