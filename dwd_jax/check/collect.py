"""Reads all pages once and keeps what the checks need."""

import dataclasses
import heapq
import time
from collections.abc import Callable

import numpy as np

from dwd_jax.check import measures
from dwd_jax.check.measures import Measures
from dwd_jax.check.page_sets import PageSet
from dwd_jax.core import threads
from dwd_jax.core.errors import InputError

EXAMPLES = 8  # of each class


@dataclasses.dataclass(frozen=True)
class Collected:
  """What one reading of all pages gave.

  Attributes:
    pages: in the order of the data set, those that could be read.
    at: (index of `PageSet.read`, place in its list) of each.
    bad: (split, reason) of each page that could not be read.
    examples: class id -> pictures.
    seconds: of wall time.
  """

  pages: list[Measures]
  at: list[tuple[int, int]]
  bad: list[tuple[str, str]]
  examples: dict[int, list[np.ndarray]]
  seconds: float


def collect(
  page_set: PageSet,
  *,
  crop_px: float,
  keep_going: bool = True,
  workers: int = 1,
  progress: Callable[[int, int], None] | None = None,
) -> Collected:
  """Reads and measures all pages.

  Args:
    page_set: to read.
    crop_px: side of a training crop in px of a page.
    keep_going: list bad pages instead of stopping at the first.
    workers: threads.
    progress: is told the pages done and all pages.

  Raises:
    InputError: a bad page, unless `keep_going`.
  """
  start = time.monotonic()
  pages, at, bad = [], [], []
  sample = _Sample()

  def work(index: int):
    try:
      made = page_set.read(index)
    except (InputError, OSError) as e:
      if not keep_going:
        raise
      return str(e)
    return [
      (
        measures.measure(page, crop_px),
        measures.class_examples(page, seed=index),
      )
      for page in made
    ]

  total = len(page_set.splits)
  results = threads.in_order(work, range(total), workers)
  for index, result in enumerate(results):
    if isinstance(result, str):
      bad.append((page_set.splits[index], result))
    else:
      for place, (measured, examples) in enumerate(result):
        pages.append(measured)
        at.append((index, place))
        sample.add(examples)
    if progress:
      progress(index + 1, total)
  seconds = time.monotonic() - start
  return Collected(pages, at, bad, sample.pictures(), seconds)


class _Sample:
  """Of each class the examples with the lowest numbers."""

  def __init__(self):
    self._heaps: dict[int, list] = {}
    self._count = 0

  def add(self, examples: dict[int, tuple[float, np.ndarray]]) -> None:
    for label, (key, picture) in examples.items():
      heap = self._heaps.setdefault(label, [])
      self._count += 1  # so that pictures are never compared
      entry = (-key, self._count, picture)
      if len(heap) < EXAMPLES:
        heapq.heappush(heap, entry)
      else:
        heapq.heappushpop(heap, entry)

  def pictures(self) -> dict[int, list[np.ndarray]]:
    return {
      label: [picture for _, _, picture in sorted(heap, reverse=True)]
      for label, heap in sorted(self._heaps.items())
    }
