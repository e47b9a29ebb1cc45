"""Lists of pixels and objects of a page, so that work follows the ink.

A page has a million pixels, of which a few per cent lie above the energy
cutoff. XLA wants fixed shapes, so a list of those pixels has room for the whole
page, but loops walk over its used part only, a chunk at a time.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Int

from dwd_jax.decode import bits

CHUNK = 8192  # the room of a list is a multiple of this
# Entries per step of a loop. On CPUs as many as stay in the cache, more in long
# lists, where the overhead of a step shows; elsewhere that overhead is high, so
# most lists take one step.
_STEP, _LONG_STEP, _STEP_ELSEWHERE = CHUNK, 4 * CHUNK, 32 * CHUNK
_LONG = 2**19


def most_at_once(room: int) -> int:
  """Most entries per step for a list of that room on this backend."""
  if jax.default_backend() != "cpu":
    return _STEP_ELSEWHERE
  return _STEP if room < _LONG else _LONG_STEP


def _rounded(room: int) -> int:
  """Rounds the room of a list up to a multiple of its steps."""
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
  if length == room:  # a loop would ask the host for the number of its steps
    return body(0, length, state)
  steps = (jnp.minimum(used, room) + length - 1) // length
  return jax.lax.fori_loop(
    0, steps, lambda i, state: body(i * length, length, state), state
  )


class PixelList(NamedTuple):
  """Indices of some pixels, in order.

  Attributes:
    indices: valid indices, without meaning beyond `count`; the room is a
      multiple of CHUNK.
    count: used length.
  """

  indices: Int[jax.Array, " room"]
  count: Int[jax.Array, ""]

  def part(self, start: jax.Array | int, length: int) -> jax.Array:
    """`length` entries from `start` on."""
    return jax.lax.dynamic_slice(self.indices, (start,), (length,))

  @property
  def room(self) -> int:
    """Capacity of the list."""
    return self.indices.shape[0]


class Numbers(NamedTuple):
  """The list 0, 1, ... count - 1, which needs no memory.

  Attributes:
    count: used length.
    room: capacity, a Python int and a multiple of CHUNK.
  """

  count: Int[jax.Array, ""]
  room: int

  def part(self, start: jax.Array | int, length: int) -> jax.Array:
    """`length` entries from `start` on."""
    return start + jnp.arange(length, dtype=jnp.int32)


def first_numbers(count: jax.Array | int, room: int) -> Numbers:
  """The list 0, 1, ... count - 1 with capacity for at least `room` entries."""
  return Numbers(jnp.int32(count), _rounded(room))


def zeros(room: int, after: jax.Array) -> Int[jax.Array, " room"]:
  """A column of zeros made only after `after`, an int32 of 0 or more, is known.

  This saves memory: XLA would share one column of zeros among all that start
  as zeros and copy it for each of them long before it is needed.
  """
  return jnp.full(room, jnp.minimum(after, 0), jnp.int32)


def compact(packed: bits.Packed, room: int | None = None) -> PixelList:
  """Lists the pixels of a mask by their raster indices.

  Args:
    room: capacity; None = all pixels.
  """
  words, before, count, (h, w) = packed
  room = _rounded(h * w if room is None else room)
  # Each entry finds its word, then its bit. A word's number marks its first.
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
    step: returns the new state; entries that are not `live` are padding.
    state: initial state, a pytree of arrays.
    beside: columns as long as the list, whose parts `step` also gets.
    most: entries per step, a divisor of the room or more than it; None = the
      backend's default.

  Returns:
    The final state.
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
    fn: also gets the parts of the columns `beside`; returns int32 [m].
    *beside: columns as long as the list.
    after: an int32 of 0 or more that is known as late as all inputs of `fn`,
      where that is later than `beside`; saves memory, see `zeros`.
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
  """Numbers that pass a test, as a mask of one row.

  `bits.rank` counts the marked ones before a number, `compact` lists them.

  Args:
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

  Pointers double in each sweep, so sweeps are logarithmic in the longest path.

  Args:
    parent: of each entry; a root is its own parent.
    numbers: entries in use; n must be their room.
  """

  def step(start, length, state):
    parent, changed = state
    at = numbers.part(start, length)
    # Not a slice, for which XLA would copy the whole column in every step.
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
  """Objects of one energy plane, one per row.

  Attributes:
    rows: object of each pixel in the list `pixels`.
    seeds: raster index of the pixel that represents the object.
    count: objects; if it exceeds T, `most` was too small and the rest of the
      data is without meaning.
    pixels: all pixels of all objects.
    mask: the same pixels as a mask.
  """

  rows: Int[jax.Array, " room"]
  seeds: Int[jax.Array, " T"]
  count: Int[jax.Array, ""]
  pixels: PixelList
  mask: bits.Packed

  def numbers(self) -> Numbers:
    """The rows in use."""
    size = self.seeds.shape[0]
    return first_numbers(jnp.minimum(self.count, size), size)


def most_objects(shape: tuple[int, ...]) -> int:
  """Bound on the objects of a plane of h x w pixels.

  Two objects never have their first pixels in one 2 x 2 block, where they would
  touch.
  """
  return ((shape[0] + 1) // 2) * ((shape[1] + 1) // 2)
