"""Lists of pixels and objects of a page, so that work follows the ink.

A page has a million pixels, of which a few per cent lie above the energy
cutoff. XLA wants fixed shapes, so a list of those pixels has room for the whole
page; on CPUs loops walk over its used part only, a chunk at a time.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Int, Shaped

from dwd_jax.decode import backend, bits

CHUNK = 8192  # the room of a list is a multiple of this
# Entries per step of a loop. On CPUs as many as stay in the cache, more in long
# lists, where the overhead of a step shows. On accelerators all, but for steps
# that need much memory for each entry.
_STEP, _LONG_STEP, LARGE_STEP = CHUNK, 4 * CHUNK, 32 * CHUNK
_LONG = 2**19
_FOLLOWED = 128  # most pointers followed at once on accelerators


def _most_at_once(room: int) -> int:
  """Most entries per step for a list of that room on this backend."""
  if not backend.on_cpu():
    return room
  return _STEP if room < _LONG else _LONG_STEP


def _rounded(room: int) -> int:
  """Rounds the room of a list up to a multiple of its steps."""
  room = max(room + -room % CHUNK, CHUNK)
  step = _most_at_once(room) if backend.on_cpu() else LARGE_STEP
  return room + -room % min(room, step)


def _in_steps(
  room: int,
  used: jax.Array,
  body: Callable[..., Any],
  state: Any,
  most: int | None = None,
) -> Any:
  """Runs `body(start, length, state)` over the used part of a list."""
  length = min(room, most or _most_at_once(room))
  if length == room:  # a loop would ask the host for the number of its steps
    return body(0, length, state)
  end = jnp.minimum(used, room) if backend.on_cpu() else room
  steps = (end + length - 1) // length
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

  On CPUs this saves memory: XLA would share one column of zeros among all that
  start as zeros and copy it for each of them long before it is needed.
  """
  if not backend.on_cpu():
    return jnp.zeros(room, jnp.int32)
  return jnp.full(room, jnp.minimum(after, 0), jnp.int32)


def compact(
  packed: bits.Packed,
  room: int | None = None,
  values: jax.Array | None = None,
) -> PixelList:
  """Lists the pixels of a mask by their raster indices.

  Args:
    room: capacity; None = all pixels.
    values: int32, listed instead of the indices; of all pixels.
  """
  h, w = packed.shape
  room = _rounded(h * w if room is None else room)
  if not backend.on_cpu():
    at = jnp.arange(h * w, dtype=jnp.int32)
    inside, before = bits.look_up(packed, at // w, at % w)
    place = drop_unless(inside, before, room)
    if values is not None:
      at = values[: h * w]
    indices = zeros(room, packed.count).at[place].set(at, mode="drop")
    return PixelList(indices, packed.count)
  # Each entry finds its word, then its bit. A word's number marks its first.
  place = drop_unless(packed.words > 0, packed.before, room)
  word_at = zeros(room, packed.count)
  number = jnp.arange(packed.words.shape[0], dtype=jnp.int32)
  word_at = word_at.at[place].set(number, mode="drop")

  def body(start, length, state):
    indices, word = state  # `indices` still holds `word_at` from here on
    word = jax.lax.dynamic_slice(indices, (start,), (length,)).at[0].max(word)
    word = jax.lax.cummax(word)
    place = start + jnp.arange(length, dtype=jnp.int32)
    at = bits.nth(packed, word, place)
    indices = jax.lax.dynamic_update_slice(indices, at, (start,))
    return indices, word[-1]

  start = (word_at, jnp.int32(0))
  indices, _ = _in_steps(room, packed.count, body, start)
  if values is not None:
    indices = backend.take(values, indices)
  return PixelList(indices, packed.count)


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

  if not backend.on_cpu():
    at = numbers.part(0, numbers.room)
    return bits.pack((keep(at, *beside) & (at < numbers.count))[None])

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


def scatter(
  how: str,
  table: jax.Array,
  *updates: tuple[jax.Array, jax.Array],
) -> jax.Array:
  """A table with pairs of indices and values put in; others are dropped.

  Args:
    how: method of `table.at[...]`, for which the order is of no matter.
    *updates: all in one kernel on accelerators.
  """
  if not backend.on_cpu():
    index, value = zip(*updates, strict=True)
    updates = ((jnp.concatenate(index), jnp.concatenate(value)),)
  for index, value in updates:
    table = getattr(table.at[index], how)(value, mode="drop")
  return table


def jump_pointers(
  parent: Int[jax.Array, " n"], numbers: Numbers
) -> Int[jax.Array, " n"]:
  """Points every entry at the root of its tree.

  Pointers double in each sweep, so sweeps are logarithmic in the longest path.
  On accelerators a sweep follows more of them, and as many sweeps are made as
  the longest possible path needs.

  Args:
    parent: of each entry; a root is its own parent.
    numbers: entries in use; n must be their room.
  """
  if not backend.on_cpu():
    used = jnp.arange(numbers.room, dtype=jnp.int32) < numbers.count
    for followed in _sweeps(numbers.room):
      to = parent
      for _ in range(followed - 1):
        to = backend.take(parent, to)
      parent = jax.lax.optimization_barrier(jnp.where(used, to, parent))
    return parent

  def step(start, length, state):
    parent, changed = state
    at = numbers.part(start, length)
    # Not a slice, for which XLA would copy the whole column in every step.
    old = backend.take(parent, at)
    new = jnp.where(at < numbers.count, backend.take(parent, old), old)
    parent = jax.lax.dynamic_update_slice(parent, new, (start,))
    return parent, changed | jnp.any(new != old)

  def sweep(state):
    start = (state[0], jnp.array(False))
    return _in_steps(numbers.room, numbers.count, step, start)

  return jax.lax.while_loop(
    lambda state: state[1], sweep, (parent, jnp.array(True))
  )[0]


def _sweeps(room: int) -> list[int]:
  """Pointers followed in each sweep, so that no path of `room` is too long."""
  count = 1
  while _FOLLOWED**count < room:
    count += 1
  followed = 2
  while followed**count < room:
    followed += 1
  return [followed] * count


class Planes(NamedTuple):
  """Energy planes below each other: one decode finds the objects of all.

  Attributes:
    number: P.
    height: of each; an empty row between two keeps their objects apart.
    width: of each.
    sorts: whether of too many objects the best are kept; else their plane is
      not complete. Must be False for several planes.
  """

  number: int
  height: int
  width: int
  sorts: bool = True

  @property
  def pitch(self) -> int:
    """Rows from one plane to the next."""
    return self.height + (self.number > 1)

  def stack(self, maps: Shaped[jax.Array, "P h w"]) -> Shaped[jax.Array, "H w"]:
    """Planes below each other; the rows between are 0."""
    if self.number == 1:
      return maps[0]
    maps = jnp.pad(maps, ((0, 0), (0, 1), (0, 0)))
    return maps.reshape(-1, self.width)

  def split(
    self, y: Int[jax.Array, "*p"]
  ) -> tuple[Int[jax.Array, "*p"] | int, Int[jax.Array, "*p"]]:
    """Plane, and row in the plane, of rows of all planes."""
    if self.number == 1:
      return 0, y
    return y // self.pitch, y % self.pitch


class Segments(NamedTuple):
  """Objects of energy planes, one per row.

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
