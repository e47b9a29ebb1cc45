"""The same page in two splits, or twice in one."""

import collections
import pathlib
import re
from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
from jaxtyping import Float, Int8, UInt8

from dwd_jax.check.findings import Finding, listed, plural
from dwd_jax.check.measures import PRINT_GRID, Measures, detail

# Correlation of the fingerprints of one picture encoded anew (JPEG quality 30,
# half the size, noise, uneven light, one bit): 0.96 to 1.00. Of different
# pages: at most 0.68 on 240 generated pages, 0.70 on 120 MUSCIMA++ pages
# (one piece by two writers); 0.99 for one DeepScores page in two music fonts.
_SIMILAR = 0.9
# The same at 512 x 512: 0.95 to 1.00, and 0.89 for the two music fonts.
_SAME_PICTURE = 0.93
_FINE_GRID = 512
_BLOCK = 2048  # pages compared at once
_MAX_PAIRS = 10_000
_MIN_SAME_BOXES = 20  # fewer may be alike by chance, on cut-outs above all
_MAX_COMPARED = 200  # similar pairs that are read again
# How names of pages tell the piece of music. The last is for anything:
# document-page-3, document_p3.
_PIECES = (
  re.compile(r".*_(N-\d\d)_D-.*"),  # MUSCIMA++
  re.compile(r"(lg-\d+)-aug-.*"),  # DeepScores
  re.compile(r"(engraved-\d+-\d+)-.*"),
  re.compile(r"(.+?)[-_ ]*(?:page|p|seite|sheet)[-_ ]?\d+"),
)


def find(
  pages: Sequence[Measures], image: Callable[[int], np.ndarray]
) -> list[Finding]:
  """Compares all pages with each other.

  Args:
    pages: of all splits.
    image: ink of a page by index, read again; only asked for pages that are
      alike from afar.
  """
  same = _equal_pictures(pages)
  same, alike, unread = _similar_pictures(pages, image, same)
  known = {frozenset(pair) for pair in [*same, *alike]}
  found = [*_pictures(pages, same), *_likenesses(pages, alike, unread)]
  found += _annotations(pages, known)
  found += _names(pages, {frozenset(pair) for pair in same})
  found += _pieces(pages)
  return found


def _groups(keys) -> Iterator[list[int]]:
  groups = collections.defaultdict(list)
  for i, key in enumerate(keys):
    if key:
      groups[key].append(i)
  return (group for group in groups.values() if len(group) > 1)


def _equal_pictures(pages) -> list[tuple[int, int]]:
  """Each page with the first of the same pixels; blank ones left out."""
  keys = [p.picture if p.print_.any() else b"" for p in pages]
  return [(group[0], i) for group in _groups(keys) for i in group[1:]]


def _similar_pictures(pages, image, same):
  """Pairs of the same picture, of similar ones, and how many are unread."""
  repeats = {i for _, i in same}
  rest = [i for i in range(len(pages)) if i not in repeats]
  same, alike, unread = list(same), [], 0
  pairs = similar_pairs([pages[i].print_ for i in rest])
  for n, (a, b, _) in enumerate(pairs):
    i, j = rest[a], rest[b]
    if n >= _MAX_COMPARED:
      unread += 1
      alike.append((i, j))
    elif likeness(image(i), image(j)) >= _SAME_PICTURE:
      same.append((i, j))
    else:
      alike.append((i, j))
  return same, alike, unread


def _sort_out(pages, pairs):
  """(pairs in two splits, pairs within one)."""
  across = [(i, j) for i, j in pairs if pages[i].split != pages[j].split]
  within = [(i, j) for i, j in pairs if pages[i].split == pages[j].split]
  return across, within


def _pictures(pages, same) -> Iterator[Finding]:
  across, within = _sort_out(pages, same)
  if across:
    yield Finding(
      "error",
      "leak between splits",
      f"{plural(len(across), 'picture')} in two splits:"
      f" {_pairs(pages, across)}",
      "take the page out of one of the splits, and all of its piece with it",
      _members(across),
    )
  if within:
    yield Finding(
      "warning",
      "same picture twice",
      f"{plural(len(within), 'picture')} twice in a split:"
      f" {_pairs(pages, within)}",
      "keep one of each; compare their annotations first",
      _members(within),
    )


def _likenesses(pages, alike, unread) -> Iterator[Finding]:
  across, within = _sort_out(pages, alike)
  for level, where, pairs in (
    ("warning", "in two splits", across),
    ("info", "within a split", within),
  ):
    if pairs:
      more = f" ({unread} of them compared from afar only)" if unread else ""
      if unread + _MAX_COMPARED >= _MAX_PAIRS:
        more += ", and there may be many more"
      yield Finding(
        level,
        "similar pictures",
        f"{plural(len(pairs), 'pair')} of pages {where} are laid out alike"
        f"{more}: {_pairs(pages, pairs)}",
        "another print, font or scan of one page belongs into the same split",
        _members(pairs) if level == "warning" else (),
      )


def _annotations(pages, known) -> Iterator[Finding]:
  keys = [
    p.annotation if len(p.labels) >= _MIN_SAME_BOXES else b"" for p in pages
  ]
  pairs = [
    (group[0], i)
    for group in _groups(keys)
    for i in group[1:]
    if frozenset((group[0], i)) not in known
  ]
  if pairs:
    yield Finding(
      "error",
      "same annotation twice",
      f"{plural(len(pairs), 'pair')} of different pictures with the same"
      f" boxes: {_pairs(pages, pairs)}",
      "one of the two annotations was copied; give it its own",
      _members(pairs),
    )


def _names(pages, known) -> Iterator[Finding]:
  stems = [pathlib.PurePath(p.filename).stem.lower() for p in pages]
  pairs = [
    (group[0], i)
    for group in _groups(stems)
    for i in group[1:]
    if frozenset((group[0], i)) not in known
  ]
  across, within = _sort_out(pages, pairs)
  for where, chosen in (("two splits", across), ("one split", within)):
    if chosen:
      yield Finding(
        "warning",
        "same name twice",
        f"{plural(len(chosen), 'page')} of different content with a name that"
        f" occurs twice in {where}: {_pairs(pages, chosen)}",
        "rename them: results are stored by file name",
        _members(chosen),
      )


def piece_of(filename: str) -> str:
  """The piece of music that a page's name tells; "" if it tells none."""
  stem = pathlib.PurePath(filename).stem
  for pattern in _PIECES:
    match = pattern.fullmatch(stem)
    if match:
      return match[1]
  return ""


def _pieces(pages) -> Iterator[Finding]:
  splits = collections.defaultdict(set)
  for p in pages:
    splits[piece_of(p.filename)].add(p.split)
  splits.pop("", None)
  shared = sorted(piece for piece, where in splits.items() if len(where) > 1)
  if shared:
    yield Finding(
      "info",
      "pieces in two splits",
      f"{len(shared)} of {plural(len(splits), 'piece')}, told by file names,"
      f" have pages in more than one split: {listed(shared)}",
      "right where writers or fonts are to be new, not pieces; else split by"
      " piece",
    )


def _pairs(pages, pairs) -> str:
  return listed(
    (
      f"{pages[i].split}/{pages[i].filename} ="
      f" {pages[j].split}/{pages[j].filename}"
      for i, j in pairs
    ),
    limit=4,
  )


def _members(pairs) -> tuple[int, ...]:
  return tuple(dict.fromkeys(i for pair in pairs for i in pair))


def similar_pairs(
  prints: list[Int8[np.ndarray, " 2304"]], at_least: float = _SIMILAR
) -> Iterator[tuple[int, int, float]]:
  """Pairs i < j of fingerprints that correlate, with their correlation.

  Every pair is compared: 100,000 pages take minutes. Stops after `_MAX_PAIRS`.
  """
  found = 0
  for a in range(0, len(prints), _BLOCK):
    left = _unit(prints[a : a + _BLOCK])
    for b in range(a, len(prints), _BLOCK):
      right = left if a == b else _unit(prints[b : b + _BLOCK])
      match = left @ right.T
      rows, columns = np.nonzero(match >= at_least)
      for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
        if a + i >= b + j:
          continue
        yield a + i, b + j, float(match[i, j])
        found += 1
        if found >= _MAX_PAIRS:
          return


def _unit(prints) -> Float[np.ndarray, "n 2304"]:
  table = np.stack(prints).astype(np.float32)
  length = np.linalg.norm(table, axis=1, keepdims=True)
  # A blank page is like no other.
  return table / np.maximum(length, 1e-6)


def likeness(a: UInt8[np.ndarray, "H W"], b: UInt8[np.ndarray, "h w"]) -> float:
  """Correlation of two pages in detail, after laying one on the other."""
  # Not finer than the smaller page: enlarged, it would lack detail.
  grid = max(PRINT_GRID, min(_FINE_GRID, *a.shape, *b.shape))
  fine_a, fine_b = (detail(x, grid, 15) for x in (a, b))
  (dx, dy), _ = cv2.phaseCorrelate(fine_a, fine_b)
  if max(abs(dx), abs(dy)) <= 8:
    move = np.array([[1, 0, -dx], [0, 1, -dy]], np.float32)
    fine_b = cv2.warpAffine(fine_b, move, (grid, grid))
  power = float(np.sum(fine_a**2)) * float(np.sum(fine_b**2))
  return float(np.sum(fine_a * fine_b)) / max(power, 1e-9) ** 0.5
