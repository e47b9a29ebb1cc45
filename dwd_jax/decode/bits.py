"""Masks in words of 32 bits: counting, looking up, finding runs."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int, UInt32

from dwd_jax.decode import backend

LANES = 32  # pixels of a word, and of a row of the triangular product
# The same on accelerators, where a sum over all earlier entries is one kernel,
# and how many entries are summed so without rows.
_WIDE, _DIRECT = 256, 8192


def exclusive_cumsum(counts: Int[jax.Array, " n"]) -> Int[jax.Array, " n"]:
  """Sum of all earlier entries, each of which is 0 .. 32."""
  (n,) = counts.shape
  if backend.on_cpu():
    # Sums of 32 ** 2 entries and more would exceed the integers of float32 on
    # pages of 16 million pixels.
    if n <= LANES**2:
      return jnp.cumsum(counts) - counts
    width, sum_before = LANES, _product
  else:
    if n <= _DIRECT:
      return _one_kernel(counts[None])[0]
    width, sum_before = _WIDE, _one_kernel
  rows = jnp.pad(counts, (0, -n % width)).reshape(-1, width)
  within = sum_before(rows)
  before = exclusive_cumsum(within[:, -1] + rows[:, -1])
  return (within + before[:, None]).reshape(-1)[:n]


def _product(rows):
  """Sum of all earlier entries of the same row, by a product with a triangle.

  That is several times faster than jnp.cumsum on CPUs; float32 at full
  precision is exact for these integers.
  """
  upper = jnp.triu(jnp.ones((rows.shape[1],) * 2, jnp.float32), 1)
  rows = rows.astype(jnp.float32)
  highest = jax.lax.Precision.HIGHEST
  return jnp.matmul(rows, upper, precision=highest).astype(jnp.int32)


def _one_kernel(rows):
  """The same as one kernel of accelerators."""
  number = jax.lax.broadcasted_iota(jnp.int32, (rows.shape[1],) * 2, 1)
  earlier = number < jax.lax.broadcasted_iota(jnp.int32, number.shape, 0)
  return jnp.where(earlier, rows[:, None, :], 0).sum(-1)


class Packed(NamedTuple):
  """A mask in words of 32 bits; every row of pixels begins a new word.

  Attributes:
    words: the lowest bit is the leftmost pixel.
    before: pixels of the mask before each word.
    count: pixels of the mask.
    shape: height and width, two Python ints.
  """

  words: UInt32[jax.Array, " m"]
  before: Int[jax.Array, " m"]
  count: Int[jax.Array, ""]
  shape: tuple[int, ...]


def pack(mask: Bool[jax.Array, "h w"]) -> Packed:
  """Packs a mask and counts its pixels."""
  h, w = mask.shape
  mask = jnp.pad(mask, ((0, 0), (0, -w % LANES))).reshape(-1)
  words = to_words(mask)
  if not backend.on_cpu():  # one kernel for both
    counts = mask.reshape(-1, LANES).sum(1, dtype=jnp.int32)
    return _packed(words, counts, (h, w))
  # Without the barrier XLA would pack the words once per use.
  return count_words(jax.lax.optimization_barrier(words), (h, w))


def to_words(mask: Bool[jax.Array, " n"]) -> UInt32[jax.Array, " m"]:
  """Words of 32 entries; n is a multiple of 32."""
  bit = jnp.uint32(1) << jnp.arange(LANES, dtype=jnp.uint32)
  lanes = mask.reshape(-1, LANES)
  return jnp.where(lanes, bit, 0).sum(1, dtype=jnp.uint32)


def count_words(
  words: UInt32[jax.Array, " m"], shape: tuple[int, ...]
) -> Packed:
  """A mask from its words; see `Packed`."""
  counts = jax.lax.population_count(words).astype(jnp.int32)
  return _packed(words, counts, shape)


def _packed(words, counts, shape):
  before = exclusive_cumsum(counts)
  return Packed(words, before, before[-1] + counts[-1], shape)


def starts_of_runs(packed: Packed) -> Packed:
  """The pixels of a mask without one to their left."""
  words = packed.words.reshape(packed.shape[0], -1)
  carry = jnp.pad(words[:, :-1] >> (LANES - 1), ((0, 0), (1, 0)))
  starts = jax.lax.optimization_barrier(words & ~((words << 1) | carry))
  return count_words(starts.reshape(-1), packed.shape)


def look_up(
  packed: Packed, y: Int[jax.Array, "*p"], x: Int[jax.Array, "*p"]
) -> tuple[Bool[jax.Array, "*p"], Int[jax.Array, "*p"]]:
  """Whether pixels are in a mask, and how many of it come before them.

  Args:
    y: rows, 0 .. h-1.
    x: columns, 0 .. w-1.

  Returns:
    inside: whether a pixel is in the mask.
    before: pixels of the mask before it: its position in `compact`'s list.
  """
  word = y * -(-packed.shape[1] // LANES) + x // LANES
  bits, bit = backend.take(packed.words, word), (x % LANES).astype(jnp.uint32)
  below = bits & ((jnp.uint32(1) << bit) - 1)
  before = jax.lax.population_count(below).astype(jnp.int32)
  return (bits >> bit) % 2 > 0, backend.take(packed.before, word) + before


def rank(marked: Packed, number: Int[jax.Array, "*p"]) -> Int[jax.Array, "*p"]:
  """Number of marked entries before each number, in a mask of one row."""
  return look_up(marked, jnp.zeros_like(number), number)[1]


def nth(
  packed: Packed, word: Int[jax.Array, " P"], number: Int[jax.Array, " P"]
) -> Int[jax.Array, " P"]:
  """Raster index of the pixel with `number` pixels of the mask before it.

  Without meaning, but a pixel, for numbers beyond the last.

  Args:
    word: that holds the pixel.
  """
  h, w = packed.shape
  in_row = -(-w // LANES)
  nth = number - backend.take(packed.before, word)
  bit = _nth_bit(backend.take(packed.words, word), nth)
  at = word // in_row * w + word % in_row * LANES + bit
  return jnp.minimum(at, h * w - 1)


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
