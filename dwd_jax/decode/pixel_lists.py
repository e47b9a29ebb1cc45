"""Lists of the pixels that count, so that work follows the ink, not the page.

A decoded page has a million pixels, of which a few per cent lie above the
energy cutoff. XLA wants fixed shapes, so the list of those pixels is as long
as the page, but loops walk over the used part only, a chunk at a time.

Objects as numbered sets of pixels: the rows of every table of the decode.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Int

from dwd_jax.decode import bits

CHUNK = 8192  # rooms of lists are multiples of this
# Entries per step of a loop: on CPUs what stays in the cache, and more of a
# long list, where the price of a step shows; elsewhere that price is high, so
# that most lists are done in one.
_STEP, _LONG_STEP, _STEP_ELSEWHERE = CHUNK, 4 * CHUNK, 32 * CHUNK
_LONG = 2**19


def most_at_once(room: int) -> int:
  """Most entries of a list of that room per step on this backend."""
  if jax.default_backend() != "cpu":
    return _STEP_ELSEWHERE
  return _STEP if room < _LONG else _LONG_STEP


def _rounded(room: int) -> int:
  """The room of a list that can be walked over in equal steps."""
  room = max(room + -room % CHUNK, CHUNK)
  return room + -room % min(room, most_at_once(room))


def _in_steps(
  room: int,
  used: jax.Array,
  body: Callable[..., Any],
  state: Any,
  most: int | None = None,
) -> Any:
  """Runs `body(start, length, state)` over the used part of a list."""
  length = min(room, most or most_at_once(room))
  if length == room:  # no loop: it would ask the host how often to run
    return body(0, length, state)
  steps = (jnp.minimum(used, room) + length - 1) // length
  return jax.lax.fori_loop(
    0, steps, lambda i, state: body(i * length, length, state), state
  )


class PixelList(NamedTuple):
  """Indices of some pixels, in order.

  Attributes:
    indices: the room is a multiple of CHUNK; beyond `count` the values are
      valid indices without meaning.
    count: used length.
  """

  indices: Int[jax.Array, " room"]
  count: Int[jax.Array, ""]

  def part(self, start: jax.Array | int, length: int) -> jax.Array:
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

  def part(self, start: jax.Array | int, length: int) -> jax.Array:
    """Some entries."""
    return start + jnp.arange(length, dtype=jnp.int32)


def first_numbers(count: jax.Array | int, room: int) -> Numbers:
  """The list 0, 1, ... count - 1 with space for at least `room` entries."""
  return Numbers(jnp.int32(count), _rounded(room))


def zeros(room: int, after: jax.Array) -> Int[jax.Array, " room"]:
  """A column of zeros that waits for another value; keeps the memory low.

  XLA would share one column of zeros among all that begin with zeros, and copy
  it for each of them long before it is needed.

  Args:
    room: entries.
    after: an int32 of 0 or more.
  """
  return jnp.full(room, jnp.minimum(after, 0), jnp.int32)


def compact(packed: bits.Packed, room: int | None = None) -> PixelList:
  """Lists the pixels of a mask by their raster indices.

  Each place of the list looks up its word and its bit.

  Args:
    packed: the mask.
    room: most pixels listed; None = all.
  """
  words, before, count, (h, w) = packed
  room = _rounded(h * w if room is None else room)
  # The number of a word, where its entries begin in the list.
  place = drop_unless(words > 0, before, room)
  word_at = zeros(room, count)
  number = jnp.arange(words.shape[0], dtype=jnp.int32)
  word_at = word_at.at[place].set(number, mode="drop")
  in_row = -(-w // bits.LANES)

  def body(start, length, state):
    indices, word = state  # `indices` still holds `word_at` from here on
    word = jax.lax.dynamic_slice(indices, (start,), (length,)).at[0].max(word)
    word = jax.lax.cummax(word)
    place = start + jnp.arange(length, dtype=jnp.int32)
    bit = bits.nth_bit(words[word], place - before[word])
    at = word // in_row * w + word % in_row * bits.LANES + bit
    at = jnp.minimum(at, h * w - 1)
    indices = jax.lax.dynamic_update_slice(indices, at, (start,))
    return indices, word[-1]

  start = (word_at, jnp.int32(0))
  return PixelList(_in_steps(room, count, body, start)[0], count)


def for_chunks(
  pixels: PixelList | Numbers,
  step: Callable[..., Any],
  state: Any,
  beside: tuple[jax.Array, ...] = (),
  most: int | None = None,
) -> Any:
  """Runs `step(state, at [m], live [m], ...)` over the used part, m at a time.

  Args:
    pixels: what to walk over.
    step: returns the new state; entries that are not `live` are padding.
    state: a pytree of arrays.
    beside: columns as long as the list; their parts are given to `step`, too.
    most: entries at a time, a divisor of the room or more than it; None = as
      the backend likes it.

  Returns:
    The last state.
  """

  def body(start, length, state):
    at = pixels.part(start, length)
    live = start + jnp.arange(length, dtype=jnp.int32) < pixels.count
    return step(state, at, live, *_parts(beside, start, length))

  return _in_steps(pixels.room, pixels.count, body, state, most)


def _parts(columns, start, length):
  return [jax.lax.dynamic_slice(x, (start,), (length,)) for x in columns]


def map_chunks(
  pixels: PixelList | Numbers,
  fn: Callable[..., jax.Array],
  *beside: jax.Array,
  after: jax.Array | None = None,
) -> jax.Array:
  """A column of `fn(at [m], ...)` for the used part of a list, m at a time.

  Args:
    pixels: what to walk over.
    fn: also gets the parts of the columns `beside`; gives int32 [m].
    *beside: columns as long as the list.
    after: an int32 of 0 or more that is known no sooner than all that `fn`
      needs, where that is later than `beside`; keeps the memory low.
  """

  def body(start, length, column):
    at = pixels.part(start, length)
    new = fn(at, *_parts(beside, start, length))
    return jax.lax.dynamic_update_slice(column, new, (start,))

  if after is None:
    after = beside[0][0] if beside else pixels.part(0, 1)[0]
  column = zeros(pixels.room, after)
  return _in_steps(pixels.room, pixels.count, body, column)


def mark(
  numbers: Numbers, keep: Callable[..., jax.Array], *beside: jax.Array
) -> bits.Packed:
  """Which numbers pass a test, as a mask of one row.

  `bits.rank` counts the marked ones before a number, `compact` lists them.

  Args:
    numbers: to test.
    keep: numbers [m], and the parts of the columns `beside`, -> bool [m].
    *beside: columns as long as the list.
  """

  def body(start, length, words):
    at = numbers.part(start, length)
    kept = keep(at, *_parts(beside, start, length)) & (at < numbers.count)
    first = (start // bits.LANES,)
    return jax.lax.dynamic_update_slice(words, bits.to_words(kept), first)

  words = jnp.zeros(numbers.room // bits.LANES, jnp.uint32)
  words = _in_steps(numbers.room, numbers.count, body, words)
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

  def step(start, length, state):
    parent, changed = state
    at = numbers.part(start, length)
    # Not a slice: for that XLA would copy the whole column in every step.
    old = parent[at]
    new = jnp.where(at < numbers.count, parent[old], old)
    parent = jax.lax.dynamic_update_slice(parent, new, (start,))
    return parent, changed | jnp.any(new != old)

  def sweep(state):
    start = (state[0], jnp.array(False))
    return _in_steps(numbers.room, numbers.count, step, start)

  return jax.lax.while_loop(
    lambda state: state[1], sweep, (parent, jnp.array(True))
  )[0]


class Segments(NamedTuple):
  """Objects of one energy plane of n pixels; an object is a row.

  Attributes:
    rows: the object of each pixel in the list `pixels`.
    seeds: raster index of the pixel that stands for the object.
    count: objects; more than T if `most` was too small, then the rest is
      without meaning.
    pixels: all pixels of all objects.
    mask: the same as a mask.
  """

  rows: Int[jax.Array, " room"]
  seeds: Int[jax.Array, " T"]
  count: Int[jax.Array, ""]
  pixels: PixelList
  mask: bits.Packed

  def numbers(self) -> Numbers:
    """The rows in use, to walk over."""
    size = self.seeds.shape[0]
    return first_numbers(jnp.minimum(self.count, size), size)


def most_objects(shape: tuple[int, ...]) -> int:
  """Bound on the objects of a plane of h x w pixels.

  Roots of two objects are never in one 2 x 2 block, where they would touch.
  """
  return ((shape[0] + 1) // 2) * ((shape[1] + 1) // 2)
