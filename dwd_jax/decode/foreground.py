"""Lists of the pixels that count, so that work follows the ink, not the page.

A decoded page has a million pixels, of which a few per cent lie above the
energy cutoff. XLA wants fixed shapes, so the list of those pixels is as long
as the page, but loops walk over the used part only, a chunk at a time.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Int

from dwd_jax.decode import bits

CHUNK = 8192  # pixels per step of a loop


class PixelList(NamedTuple):
  """Indices of some pixels, in order.

  Attributes:
    indices: the room is a multiple of CHUNK; beyond `count` the values are
      valid indices without meaning.
    count: used length.
  """

  indices: Int[jax.Array, " room"]
  count: Int[jax.Array, ""]

  def part(self, start: jax.Array, length: int) -> jax.Array:
    """Some entries."""
    return jax.lax.dynamic_slice(self.indices, (start,), (length,))

  @property
  def room(self) -> int:
    """Most entries."""
    return self.indices.shape[0]


class Numbers(NamedTuple):
  """The list 0, 1, ... count - 1, which needs no memory.

  Attributes:
    count: length.
    room: most entries, a Python int and a multiple of CHUNK.
  """

  count: Int[jax.Array, ""]
  room: int

  def part(self, start: jax.Array, length: int) -> jax.Array:
    """Some entries."""
    return start + jnp.arange(length, dtype=jnp.int32)


def first_numbers(count: jax.Array | int, room: int) -> Numbers:
  """The list 0, 1, ... count - 1 with space for at least `room` entries."""
  return Numbers(jnp.int32(count), room + -room % CHUNK)


def compact(packed: bits.Packed, room: int | None = None) -> PixelList:
  """Lists the pixels of a mask by their raster indices.

  Each place of the list looks up its word and its bit.

  Args:
    packed: the mask.
    room: most pixels listed; None = all.
  """
  words, before, count, (h, w) = packed
  room = h * w if room is None else room
  room += -room % CHUNK
  # The number of a word, where its entries begin in the list.
  place = drop_unless(words > 0, before, room)
  word_at = jnp.zeros(room, jnp.int32)
  number = jnp.arange(words.shape[0], dtype=jnp.int32)
  word_at = word_at.at[place].set(number, mode="drop")
  in_row = -(-w // bits.LANES)

  def body(i, state):
    indices, word = state  # `indices` still holds `word_at` from here on
    word = (
      jax.lax.dynamic_slice(indices, (i * CHUNK,), (CHUNK,)).at[0].max(word)
    )
    word = jax.lax.cummax(word)
    place = i * CHUNK + jnp.arange(CHUNK, dtype=jnp.int32)
    bit = bits.nth_bit(words[word], place - before[word])
    at = word // in_row * w + word % in_row * bits.LANES + bit
    at = jnp.minimum(at, h * w - 1)
    indices = jax.lax.dynamic_update_slice(indices, at, (i * CHUNK,))
    return indices, word[-1]

  steps = (jnp.minimum(count, room) + CHUNK - 1) // CHUNK
  start = (word_at, jnp.int32(0))
  return PixelList(jax.lax.fori_loop(0, steps, body, start)[0], count)


def for_chunks(
  pixels: PixelList | Numbers,
  step: Callable[..., Any],
  state: Any,
  chunk: int = CHUNK,
  beside: tuple[jax.Array, ...] = (),
) -> Any:
  """Runs `step(state, at [chunk], live [chunk], ...)` over the used part.

  Args:
    pixels: what to walk over.
    step: returns the new state; entries that are not `live` are padding.
    state: a pytree of arrays.
    chunk: entries at a time, a divisor of CHUNK.
    beside: columns as long as the list; their parts are given to `step`, too.

  Returns:
    The last state.
  """

  def body(i, state):
    at = pixels.part(i * chunk, chunk)
    parts = (jax.lax.dynamic_slice(x, (i * chunk,), (chunk,)) for x in beside)
    live = i * chunk + jnp.arange(chunk, dtype=jnp.int32) < pixels.count
    return step(state, at, live, *parts)

  return jax.lax.fori_loop(0, (pixels.count + chunk - 1) // chunk, body, state)


def map_chunks(
  pixels: PixelList | Numbers, fn: Callable[..., jax.Array], *beside: jax.Array
) -> jax.Array:
  """A column of `fn(at [CHUNK], ...)` for the used part of a list.

  Args:
    pixels: what to walk over.
    fn: also gets the parts of the columns `beside`; gives int32 [CHUNK].
    *beside: columns as long as the list.
  """

  def body(i, column):
    at = pixels.part(i * CHUNK, CHUNK)
    parts = (jax.lax.dynamic_slice(x, (i * CHUNK,), (CHUNK,)) for x in beside)
    return jax.lax.dynamic_update_slice(column, fn(at, *parts), (i * CHUNK,))

  steps = (pixels.count + CHUNK - 1) // CHUNK
  column = jnp.zeros(pixels.room, jnp.int32)
  return jax.lax.fori_loop(0, steps, body, column)


def mark(
  numbers: Numbers, keep: Callable[..., jax.Array], *beside: jax.Array
) -> bits.Packed:
  """Which numbers pass a test, as a mask of one row.

  `bits.rank` counts the marked ones before a number, `compact` lists them.

  Args:
    numbers: to test.
    keep: numbers [CHUNK], and the parts of the columns `beside`, -> bool
      [CHUNK].
    *beside: columns as long as the list.
  """

  def body(i, words):
    at = numbers.part(i * CHUNK, CHUNK)
    parts = (jax.lax.dynamic_slice(x, (i * CHUNK,), (CHUNK,)) for x in beside)
    new = bits.to_words(keep(at, *parts) & (at < numbers.count))
    start = (i * (CHUNK // bits.LANES),)
    return jax.lax.dynamic_update_slice(words, new, start)

  steps = (numbers.count + CHUNK - 1) // CHUNK
  words = jnp.zeros(numbers.room // bits.LANES, jnp.uint32)
  words = jax.lax.fori_loop(0, steps, body, words)
  return bits.count_words(words, (1, numbers.room))


def drop_unless(live: jax.Array, index: jax.Array, size: int) -> jax.Array:
  """`index` where `live`, else an index that scatters drop."""
  return jnp.where(live, index, size)


def jump_pointers(
  parent: Int[jax.Array, " n"], numbers: Numbers
) -> Int[jax.Array, " n"]:
  """Points every entry at the root of its tree.

  Pointers double at each sweep, so the number of sweeps is the logarithm of
  the longest path.

  Args:
    parent: number of the parent; a root is its own parent.
    numbers: entries in use; n must be their room.

  Returns:
    New `parent`.
  """

  def step(i, state):
    parent, changed = state
    at = numbers.part(i * CHUNK, CHUNK)
    # A slice instead: XLA would copy the whole column for every chunk.
    old = parent[at]
    new = jnp.where(at < numbers.count, parent[old], old)
    parent = jax.lax.dynamic_update_slice(parent, new, (i * CHUNK,))
    return parent, changed | jnp.any(new != old)

  def sweep(state):
    steps = (numbers.count + CHUNK - 1) // CHUNK
    return jax.lax.fori_loop(0, steps, step, (state[0], jnp.array(False)))

  return jax.lax.while_loop(
    lambda state: state[1], sweep, (parent, jnp.array(True))
  )[0]
