"""How well the staff space of pages is found.

python -m benchmarks.staff_space [--engraved PAGES ...] [--deepscores=DIR] \
  [--muscima=DIR/v2.0] [--no_staves] [--pages=N] [--json=FILE]

PAGES are folders of `python -m dwd_jax.engrave`. Every set is measured as it is
and degraded like scans and photos (`benchmarks.staff_space_pages`). On a page
whose staves are single lines, and on those of --no_staves, nothing must be
found.
"""

import itertools
import pathlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np

from benchmarks import common
from benchmarks import staff_space_pages as pages_lib
from benchmarks.staff_space_pages import Page
from dwd_jax.core.errors import InputError
from dwd_jax.imaging import staff_space

_CLOSE = 0.05  # relative error


def measure(pages: Iterator[Page], degrade: str, seed: int) -> dict[str, Any]:
  """Errors and times of a set of pages.

  Args:
    pages: with their truth.
    degrade: a key of `DEGRADATIONS`.
    seed: decides the degradations.

  Returns:
    Shares, relative errors, names of pages missed, seconds a page.
  """
  rng = np.random.default_rng(seed)
  errors, missed, seconds = [], [], []
  no_staff, invented = 0, []
  for original in pages:
    page = pages_lib.DEGRADATIONS[degrade](original, rng)
    start = time.perf_counter()
    found = staff_space.estimate(page.ink)
    seconds.append(time.perf_counter() - start)
    if page.truth_px is None:
      no_staff += 1
      invented += [page.name] if found else []
    elif found is None:
      missed.append(page.name)
    else:
      errors.append(abs(found.px / page.truth_px - 1))
  count = len(seconds) - no_staff
  if not count:
    raise InputError("no pages there; check the folders and --pages")
  return {
    "pages": count,
    "within_5_percent": sum(e <= _CLOSE for e in errors) / count,
    "median_error": statistics.median(errors) if errors else None,
    "largest_error": max(errors, default=None),
    "missed": missed,
    "pages_of_single_lines": no_staff,
    "invented": invented,
    "seconds_per_page": statistics.median(seconds),
  }


def _sets(args: Any) -> dict[str, Callable[[], Iterator[Page]]]:
  """What the command line names: name -> pages."""
  sets: dict[str, Callable[[], Iterator[Page]]] = {}
  for folder in map(pathlib.Path, args.engraved):
    sets[folder.name] = lambda folder=folder: pages_lib.engraved(folder)
  if args.deepscores:
    folder = pathlib.Path(args.deepscores)
    sets["deepscores"] = lambda: pages_lib.deepscores(folder)
  if args.muscima:
    root = pathlib.Path(args.muscima)
    sets["muscima_pp"] = lambda: pages_lib.muscima(root)
  return sets


def main(argv: list[str]) -> None:
  """Prints the shares as JSON."""
  parser = common.parser("How well the staff space is found")
  parser.add_argument("--engraved", nargs="*", default=[], help="folders")
  parser.add_argument("--deepscores", default="", help="folder of lg-*.png")
  parser.add_argument("--muscima", default="", help="folder of v2.0")
  parser.add_argument("--no_staves", action="store_true")
  parser.add_argument("--pages", type=int, default=0, help="of a set; 0 = all")
  parser.add_argument("--seed", type=int, default=0)
  args = parser.parse_args(argv)
  cv2.setNumThreads(1)
  results: dict[str, Any] = {"seed": args.seed}
  results["sets"] = rows = {}
  for name, open_set in _sets(args).items():
    for degrade in pages_lib.DEGRADATIONS:
      pages = itertools.islice(open_set(), args.pages or None)
      rows[f"{name}, {degrade}"] = measure(pages, degrade, args.seed)
      print(name, degrade, rows[f"{name}, {degrade}"], file=sys.stderr)
  if args.no_staves:
    results["no_staves"] = pages_lib.wrongly_found(
      lambda ink: staff_space.estimate(ink) is not None,
      args.seed,
      args.repeats,
    )
  common.report("staff_space", results, args.json)


if __name__ == "__main__":
  main(sys.argv[1:])
