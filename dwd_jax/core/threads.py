"""Work on many items in threads, in bounded memory."""

import collections
import concurrent.futures
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")


def in_order(
  work: Callable[[_T], _R], items: Iterable[_T], workers: int
) -> Iterator[_R]:
  """Yields results in the order of the items, computed a little ahead.

  The first error ends the iteration and cancels pending work.

  Args:
    work: should release the GIL most of the time, as image decoders do.
    items: consumed lazily.
    workers: number of threads; below 2, the caller's thread does the work.
  """
  if workers < 2:
    yield from map(work, items)
    return
  rest = iter(items)
  with concurrent.futures.ThreadPoolExecutor(workers) as pool:
    ahead = collections.deque(
      pool.submit(work, item) for item in itertools.islice(rest, 2 * workers)
    )
    try:
      while ahead:
        yield ahead.popleft().result()
        for item in itertools.islice(rest, 1):
          ahead.append(pool.submit(work, item))
    finally:
      pool.shutdown(cancel_futures=True)
