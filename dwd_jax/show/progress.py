"""Progress over pages: a bar on a terminal, otherwise a line now and then."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import tqdm

from dwd_jax.core import words

T = TypeVar("T")
_LOG_EVERY_S = 10.0


def show(
  pages: Iterable[T],
  doing: str,
  total: int | None,
  log: Callable[[str], None] | None,
  said: words.Words = words.MUSIC,
) -> Iterator[T]:
  """Yields the pages with a bar on a terminal, or lines to `log`.

  Args:
    doing: what is done with them, such as "detect".
    total: number of pages, if known.
    log: takes the lines; None = neither bar nor lines.
    said: what pages are called.
  """
  if log is None:
    yield from pages
    return
  if sys.stderr.isatty():
    yield from tqdm.tqdm(pages, doing, total, unit=said.image)
    return
  of_total = "" if total is None else f" of {total}"
  done, logged, last = 0, 0, time.monotonic()
  for done, page in enumerate(pages, start=1):
    yield page
    now = time.monotonic()
    if now - last >= _LOG_EVERY_S:
      # Of late: pages done by an earlier run pass in no time.
      rate = (done - logged) / max(now - last, 1e-9)
      logged, last = done, now
      left = "" if total is None else f", {_time((total - done) / rate)} left"
      many = said.images
      log(f"{doing}: {done}{of_total} {many}, {rate:.3g} {many}/s{left}")
  log(f"{doing}: {said.count(done, 'images')} done")


def _time(seconds: float) -> str:
  """Seconds in the unit that suits them."""
  units = ((86_400, "days"), (3600, "h"), (60, "min"))
  for length, unit in units:
    if seconds >= 1.5 * length:
      return f"{seconds / length:.1f} {unit}"
  return f"{seconds:.0f} s"
