"""Lists of pixels: sums, order, padding, pointer jumping."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dwd_jax.decode import bits, pixel_lists

_cumsum = jax.jit(bits.exclusive_cumsum)


@pytest.mark.parametrize("n", [1, 32, 33, 1025, 70_000])
def test_exclusive_cumsum_is_exact(n):
  counts = np.random.default_rng(n).integers(0, 9, n).astype(np.int32)
  np.testing.assert_array_equal(_cumsum(counts), np.cumsum(counts) - counts)


def test_sums_beyond_the_integers_of_float32_are_exact():
  counts = np.full(2**19 + 45, 32, np.int32)  # words of 16.8 million pixels
  counts[::7] = 31
  np.testing.assert_array_equal(_cumsum(counts), np.cumsum(counts) - counts)


@pytest.mark.parametrize("width", [31, 32, 33, 200])
def test_look_up_and_starts_of_runs(width):
  mask = np.random.default_rng(0).random((40, width)) < 0.6
  starts = mask & ~np.pad(mask, ((0, 0), (1, 0)))[:, :-1]
  y, x = np.indices(mask.shape)

  @jax.jit
  def found(mask, y, x):
    packed = bits.pack(mask)
    runs = bits.starts_of_runs(packed)
    return bits.look_up(packed, y, x), bits.look_up(runs, y, x)

  for wanted, (inside, before) in zip(
    (mask, starts), found(mask, y, x), strict=True
  ):
    np.testing.assert_array_equal(inside, wanted)
    earlier = np.cumsum(wanted).reshape(mask.shape) - wanted
    np.testing.assert_array_equal(before, earlier)


@jax.jit
def _compact(row):
  return pixel_lists.compact(bits.pack(row[None]))


@pytest.mark.parametrize("density", [0.0, 0.001, 0.03, 0.5, 1.0])
def test_compact_lists_the_true_entries_in_order(density):
  mask = np.random.default_rng(0).random(30_011) < density
  listed = _compact(mask)
  assert listed.count == mask.sum()
  assert listed.indices.shape[0] % pixel_lists.CHUNK == 0
  np.testing.assert_array_equal(
    listed.indices[: listed.count], np.flatnonzero(mask)
  )


@jax.jit
def _mark(count, column):
  """Marked numbers, how many, the list of them, the ranks of all numbers."""
  marked = pixel_lists.mark(
    pixel_lists.first_numbers(count, 30_000),
    lambda at, value: (at % 5 > 0) & (value > 0),
    column,
  )
  numbers = jnp.arange(30_000)
  return marked.count, pixel_lists.compact(marked), bits.rank(marked, numbers)


@pytest.mark.parametrize("count", [0, 1, 8192, 30_000])
def test_marked_numbers_are_ranked_and_listed(count):
  column = np.random.default_rng(0).integers(0, 3, 32_768).astype(np.int32)
  num_marked, listed, ranks = _mark(count, column)
  number = np.arange(count)
  wanted = (number % 5 > 0) & (column[:count] > 0)
  assert num_marked == listed.count == wanted.sum()
  np.testing.assert_array_equal(
    listed.indices[: listed.count], np.flatnonzero(wanted)
  )
  np.testing.assert_array_equal(ranks[:count], np.cumsum(wanted) - wanted)


def test_for_chunks_visits_each_entry_once():
  mask = np.random.default_rng(1).random(30_000) < 0.6

  def step(visits, at, live):
    return visits.at[at].add(live)

  visits = jax.jit(
    lambda mask: pixel_lists.for_chunks(
      pixel_lists.compact(bits.pack(mask[None])),
      step,
      jnp.zeros(30_000, jnp.int32),
    )
  )(mask)
  np.testing.assert_array_equal(visits, mask)


def test_jump_pointers_ends_at_roots_of_long_chains():
  n, room = 50_000, 57_344
  order = np.random.default_rng(2).permutation(n)
  parent = np.roll(np.arange(room, dtype=np.int32), 1)  # a cycle after n
  parent[order[1:]] = order[:-1]  # two chains of 30,000 and 20,000 pixels
  parent[order[0]], parent[order[30_000]] = order[0], order[30_000]
  roots = jax.jit(
    lambda parent: pixel_lists.jump_pointers(
      parent, pixel_lists.first_numbers(n, room)
    )
  )(parent)
  expected = np.empty(n, np.int32)
  expected[order[:30_000]] = order[0]
  expected[order[30_000:]] = order[30_000]
  np.testing.assert_array_equal(roots[:n], expected)
