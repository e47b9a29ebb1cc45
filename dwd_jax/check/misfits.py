"""Pages whose boxes do not belong to their picture, and why."""

import collections
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from dwd_jax.check import fit
from dwd_jax.check.findings import Finding, listed, plural
from dwd_jax.check.measures import Measures, Page

_EXPLAINED = 24  # pages of each kind that are read again
_EXCHANGED = "those of another of these pages fit: annotations are exchanged"
_MIN_POOLED = 30  # boxes on pages that have too few each


def find(
  pages: Sequence[Measures], read: Callable[[int], Page]
) -> list[Finding]:
  """Judges every page by `Measures.fit`, and looks for the reasons.

  Args:
    pages: all of them.
    read: a page by index, again.
  """
  judged = [i for i, p in enumerate(pages) if p.fit.num_boxes >= fit.MIN_BOXES]
  bad = [i for i in judged if pages[i].fit.is_bad()]
  loose = [i for i in judged if pages[i].fit.is_loose()]
  reasons = _reasons(pages, bad, read)
  found = [_finding(pages, text, chosen) for text, chosen in reasons.items()]
  shifts = {
    text: chosen
    for text, chosen in _reasons(pages, loose, read, own=True).items()
    if text
  }
  for text, chosen in shifts.items():
    found.append(_off(pages, text, chosen))
  rest = len(loose) - sum(map(len, shifts.values()))
  if rest:
    found.append(
      Finding(
        "info",
        "loose boxes",
        f"on {plural(rest, 'page')} the boxes do not end at the ink",
        "boxes with a margin cost IoU: make them tight where you can",
      )
    )
  found += _pooled(pages)
  return found


def _finding(pages, reason: str, chosen: list[int]) -> Finding:
  remedy = "correct the coordinates"
  if reason == _EXCHANGED:
    remedy = "give each page its own annotation"
  elif not reason:
    remedy = (
      "look at the overlays: pages or annotations exchanged, axes swapped,"
      " another size of the picture?"
    )
  return Finding(
    "error",
    "boxes of another picture",
    f"on {plural(len(chosen), 'page')} the boxes have nothing to do with the"
    f" ink{f': {reason}' if reason else ''}; {_names(pages, chosen)}",
    remedy,
    tuple(chosen),
  )


def _off(pages, reason: str, chosen: list[int]) -> Finding:
  return Finding(
    "warning",
    "boxes shifted",
    f"on {plural(len(chosen), 'page')} {reason}; {_names(pages, chosen)}",
    "correct the coordinates",
    tuple(chosen),
  )


def _reasons(pages, chosen, read, own: bool = False) -> dict[str, list[int]]:
  """Reason ("" = none found) -> pages; only the first pages are read again."""
  found = collections.defaultdict(list)
  again = chosen[:_EXPLAINED]
  boxes = {i: read(i).boxes_yxyx for i in again}
  for i in again:
    sums = fit.ink_sums(read(i).ink)
    fits = [] if own else [j for j in again if j != i]
    fits = [j for j in fits if fit.is_sound(fit.measure(sums, boxes[j]))]
    if fits:
      found[_EXCHANGED].append(i)
    else:
      found[fit.explain(sums, boxes[i], pages[i].image_hw)].append(i)
  common = max(found, key=lambda text: len(found[text]), default="")
  found[common] += chosen[len(again) :]
  return {text: sorted(where) for text, where in found.items() if where}


def _pooled(pages) -> Iterator[Finding]:
  """Pages with few boxes are judged together."""
  few = [i for i, p in enumerate(pages) if 0 < p.fit.num_boxes < fit.MIN_BOXES]
  counts = [pages[i].fit.num_boxes for i in few]
  if sum(counts) < _MIN_POOLED:
    return
  edge = float(np.average([pages[i].fit.edge for i in few], weights=counts))
  ring = float(np.average([pages[i].fit.ring for i in few], weights=counts))
  if fit.Fit(edge, ring, sum(counts)).is_bad():
    yield Finding(
      "error",
      "boxes of another picture",
      f"on {plural(len(few), 'page')} with few boxes these have, taken"
      " together, nothing to do with the ink",
      "look at the overlays: axes swapped, another size of the picture?",
      tuple(few),
    )


def _names(pages, chosen) -> str:
  return listed(
    (f"{pages[i].split}/{pages[i].filename}" for i in chosen), limit=4
  )
