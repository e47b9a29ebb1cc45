"""Work in threads: in order, bounded, errors come out."""

import pytest

from dwd_jax.core import threads


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
def test_results_come_in_the_order_of_the_items(workers):
  assert list(threads.in_order(str, range(20), workers)) == [
    *map(str, range(20))
  ]


def test_only_a_little_is_made_ahead():
  taken = []

  def items():
    for i in range(100):
      taken.append(i)
      yield i

  made = threads.in_order(lambda i: i, items(), 3)
  assert next(made) == 0
  assert len(taken) <= 2 * 3 + 1
  made.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_comes_after_the_results_before_it(workers):
  def work(i):
    if i == 4:
      raise ValueError("four")
    return i

  made = threads.in_order(work, range(10), workers)
  assert [next(made) for _ in range(4)] == [0, 1, 2, 3]
  with pytest.raises(ValueError, match="four"):
    next(made)
