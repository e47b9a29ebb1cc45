"""Progress over pages: a bar on a terminal, otherwise a line now and then."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import tqdm

T = TypeVar("T")
_LOG_EVERY_S = 10.0


def show(
  pages: Iterable[T],
  doing: str,
  total: int | None,
  log: Callable[[str], None] | None,
) -> Iterator[T]:
  """Yields the pages with a bar on a terminal, or lines to `log`.

  Args:
    doing: what is done with them, such as "detect".
    total: number of pages, if known.
    log: takes the lines; None = neither bar nor lines.
  """
  if log is None:
    yield from pages
    return
  if sys.stderr.isatty():
    yield from tqdm.tqdm(pages, doing, total, unit="page")
    return
  of_total = "" if total is None else f" of {total}"
  done, last = 0, time.monotonic()
  for done, page in enumerate(pages, start=1):
    yield page
    if time.monotonic() - last >= _LOG_EVERY_S:
      last = time.monotonic()
      log(f"{doing}: {done}{of_total} pages")
  log(f"{doing}: {done} pages done")
