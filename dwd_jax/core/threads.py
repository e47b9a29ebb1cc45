"""Work on many items in threads, in bounded memory."""

import collections
import concurrent.futures
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")


def in_order(
  work: Callable[[_T], _R],
  items: Iterable[_T],
  workers: int,
  ahead: int | None = None,
) -> Generator[_R, None, None]:
  """Yields results in the order of the items, computed a little ahead.

  The first error ends the iteration and cancels pending work.

  Args:
    work: should release the GIL most of the time, as image decoders do.
    items: consumed lazily.
    workers: number of threads; below 2, the caller's thread does the work
      unless `ahead` is given.
    ahead: most items in work or waiting for the caller; None = two a thread.
  """
  if workers < 2 and ahead is None:
    yield from map(work, items)
    return
  with concurrent.futures.ThreadPoolExecutor(workers) as pool:
    row = collections.deque()
    try:
      for item in items:
        row.append(pool.submit(work, item))
        if len(row) == (ahead or 2 * workers):
          yield row.popleft().result()
      while row:
        yield row.popleft().result()
    finally:
      pool.shutdown(cancel_futures=True)
