"""The same page in two splits, or twice in one."""

import collections
import pathlib
import re
from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
from jaxtyping import Float, Int8, UInt8

from dwd_jax.check.findings import Finding, listed, page_name, plural
from dwd_jax.check.measures import PRINT_GRID, Measures, detail
from dwd_jax.core import words

# Correlation of the fingerprints of a picture and a copy (JPEG quality 30, half
# the size, noise, uneven light, one bit): 0.96 to 1.00. Of different pages: at
# most 0.68 on 240 generated pages, 0.70 on 120 MUSCIMA++ pages (one piece by
# two writers); 0.99 for one DeepScores page in two music fonts.
_SIMILAR = 0.9
# The same at 512 x 512: 0.95 to 1.00, and 0.89 for the two music fonts.
_SAME_PICTURE = 0.93
# Frames of a film, which stands still, reach 0.98.
_SAME_PHOTO = 0.99
_FINE_GRID = 512
_BLOCK = 2048  # pages compared at once
_MAX_PAIRS = 10_000
_MIN_SAME_BOXES = 20  # fewer may be alike by chance, on cut-outs above all
_MAX_COMPARED = 200  # similar pairs that are read again
_JUDGED = {"val", "test", "heldout"}
_OWN_SPLITS = {"train", *_JUDGED}  # no page is in two of them
# The piece of music in the names of pages. The last pattern is for any other
# set: document-page-3, document_p3.
_PIECES = (
  re.compile(r".*_(N-\d\d)_D-.*"),  # MUSCIMA++
  re.compile(r"(lg-\d+)-aug-.*"),  # DeepScores
  re.compile(r"(engraved-\d+-\d+)-.*"),
  re.compile(r"(.+?)[-_ ]*(?:page|p|seite|sheet)[-_ ]?\d+"),
)


def find(
  pages: Sequence[Measures],
  image: Callable[[int], np.ndarray],
  is_print: bool = True,
  said: words.Words = words.MUSIC,
) -> list[Finding]:
  """Compares all pages with each other.

  Args:
    image: reads the ink of a page by index again; called for pages with similar
      fingerprints only.
    is_print: whether pages are ink on paper; photographs of a scene are more
      alike than those.
    said: what pages are called.
  """
  least = _SAME_PICTURE if is_print else _SAME_PHOTO
  same, alike, unread = _same_and_similar(pages, image, least)
  again = {(i, j) for i, j in same if _is_listed_again(pages[i], pages[j])}
  return [
    *_lists(pages, again, said),
    *_pictures(pages, [pair for pair in same if pair not in again], said),
    *_likenesses(pages, alike, unread, said),
    *_annotations(pages, known={*same, *alike}),
    *_names(pages, known=set(same), said=said),
    *_pieces(pages, said),
  ]


def _repeats(keys) -> list[tuple[int, int]]:
  """(index of the first, index of a later one) of equal keys; none if empty."""
  groups = collections.defaultdict(list)
  for i, key in enumerate(keys):
    if key:
      groups[key].append(i)
  return [(group[0], i) for group in groups.values() for i in group[1:]]


def _same_and_similar(pages, image, least: float):
  """Pairs i < j of the same picture, of similar ones, number not compared."""
  # Blank pages are like no other.
  same = _repeats(p.picture if p.print_.any() else b"" for p in pages)
  repeats = {i for _, i in same}
  rest = [i for i in range(len(pages)) if i not in repeats]
  alike, unread = [], 0
  pairs = similar_pairs([pages[i].print_ for i in rest])
  for n, (a, b) in enumerate(pairs):
    i, j = rest[a], rest[b]
    if n >= _MAX_COMPARED:
      unread += 1
      alike.append((i, j))
    elif likeness(image(i), image(j)) >= least:
      same.append((i, j))
    else:
      alike.append((i, j))
  return same, alike, unread


def _across_and_within(pages, pairs):
  """Pairs in two splits, and pairs within one."""
  across = [(i, j) for i, j in pairs if pages[i].split != pages[j].split]
  within = [(i, j) for i, j in pairs if pages[i].split == pages[j].split]
  return across, within


def _of_pairs(
  pages, pairs, level: str, kind: str, noun: str, what: str, remedy: str
) -> Iterator[Finding]:
  """The finding about some pairs of pages; none without pairs."""
  if not pairs:
    return
  names = (f"{page_name(pages[i])} = {page_name(pages[j])}" for i, j in pairs)
  members = dict.fromkeys(i for pair in pairs for i in pair)
  yield Finding(
    level=level,
    kind=kind,
    message=f"{plural(len(pairs), noun)} {what}: {listed(names, limit=4)}",
    remedy=remedy,
    pages=tuple(members) if level != "info" else (),
  )


def _is_listed_again(first: Measures, second: Measures) -> bool:
  """Whether both are one page, which a further list (train100) names again."""
  splits = {first.split, second.split}
  return (
    len(splits) == 2
    and first.filename == second.filename
    and not splits <= _OWN_SPLITS
  )


def _lists(pages, again, said: words.Words) -> Iterator[Finding]:
  """Further lists with pages that are judged."""
  shared = collections.Counter()
  for pair in again:
    splits = {pages[i].split for i in pair}
    for judged in splits & _JUDGED:
      (further,) = splits - {judged}
      shared[further, judged] += 1
  for (further, judged), count in sorted(shared.items()):
    yield Finding(
      level="warning",
      kind=f"list with judged {said.images}",
      message=f"{said.count(count, 'images')} of {judged} are in {further},"
      " too",
      remedy=f"what is trained on {further} cannot be judged on {judged}",
    )


def _pictures(pages, same, said: words.Words) -> Iterator[Finding]:
  across, within = _across_and_within(pages, same)
  yield from _of_pairs(
    pages,
    across,
    level="error",
    kind="leak between splits",
    noun="picture",
    what="in two splits",
    remedy=f"remove it, and the others of its {said.whole}, from one split",
  )
  yield from _of_pairs(
    pages,
    within,
    level="warning",
    kind="same picture twice",
    noun="picture",
    what="twice in a split",
    remedy="keep one of each; compare their annotations first",
  )


def _likenesses(pages, alike, unread, said: words.Words) -> Iterator[Finding]:
  across, within = _across_and_within(pages, alike)
  more = f" ({unread} of them compared by fingerprint only)" if unread else ""
  if unread + _MAX_COMPARED >= _MAX_PAIRS:
    more += ", and there may be many more"
  for level, where, pairs, remedy in (
    (
      "warning",
      "in two splits",
      across,
      f"put all versions of {said.an_image}, and all frames of a scene,"
      " into one split",
    ),
    ("info", "within a split", within, "keep them in one split"),
  ):
    yield from _of_pairs(
      pages,
      pairs,
      level=level,
      kind="similar pictures",
      noun="pair",
      what=f"of {said.images} {where} look alike{more}",
      remedy=remedy,
    )


def _annotations(pages, known) -> Iterator[Finding]:
  keys = (
    p.annotation if len(p.labels) >= _MIN_SAME_BOXES else b"" for p in pages
  )
  yield from _of_pairs(
    pages,
    [pair for pair in _repeats(keys) if pair not in known],
    level="error",
    kind="same annotation twice",
    noun="pair",
    what="of different pictures with the same boxes",
    remedy="one of the two annotations was copied; give it its own",
  )


def _names(pages, known, said: words.Words) -> Iterator[Finding]:
  stems = (pathlib.PurePath(p.filename).stem.lower() for p in pages)
  pairs = [pair for pair in _repeats(stems) if pair not in known]
  across, within = _across_and_within(pages, pairs)
  for where, chosen in (("two splits", across), ("one split", within)):
    yield from _of_pairs(
      pages,
      chosen,
      level="warning",
      kind="same name twice",
      noun=said.image,
      what=f"of different content with a name that occurs twice in {where}",
      remedy="rename them: results are stored by file name",
    )


def piece_of(filename: str) -> str:
  """The piece of music in the name of a page; "" if there is none."""
  stem = pathlib.PurePath(filename).stem
  matches = (pattern.fullmatch(stem) for pattern in _PIECES)
  return next((match[1] for match in matches if match), "")


def _pieces(pages, said: words.Words) -> Iterator[Finding]:
  splits = collections.defaultdict(set)
  for p in pages:
    if p.split in _OWN_SPLITS:
      splits[piece_of(p.filename)].add(p.split)
  splits.pop("", None)
  shared = sorted(piece for piece, where in splits.items() if len(where) > 1)
  if shared:
    yield Finding(
      level="info",
      kind=f"{said.wholes} in two splits",
      message=f"{len(shared)} of {said.count(len(splits), 'wholes')}, by their"
      f" file names, have {said.images} in more than one split:"
      f" {listed(shared)}",
      remedy="right for a test of new writers or fonts; else split by"
      f" {said.whole}",
    )


def similar_pairs(
  prints: list[Int8[np.ndarray, " 2304"]],
) -> Iterator[tuple[int, int]]:
  """Yields pairs i < j of fingerprints that correlate.

  Compares every pair: 100,000 pages take minutes. Stops at `_MAX_PAIRS` pairs.
  """
  found = 0
  for a in range(0, len(prints), _BLOCK):
    left = _unit(prints[a : a + _BLOCK])
    for b in range(a, len(prints), _BLOCK):
      right = left if a == b else _unit(prints[b : b + _BLOCK])
      rows, columns = np.nonzero(left @ right.T >= _SIMILAR)
      for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
        if a + i >= b + j:
          continue
        yield a + i, b + j
        found += 1
        if found >= _MAX_PAIRS:
          return


def _unit(prints) -> Float[np.ndarray, "n 2304"]:
  table = np.stack(prints).astype(np.float32)
  length = np.linalg.norm(table, axis=1, keepdims=True)
  return table / np.maximum(length, 1e-6)


def likeness(a: UInt8[np.ndarray, "H W"], b: UInt8[np.ndarray, "h w"]) -> float:
  """Correlation of two aligned pages in detail."""
  # No finer than the smaller page, which would lack detail when enlarged.
  grid = max(PRINT_GRID, min(_FINE_GRID, *a.shape, *b.shape))
  fine_a, fine_b = (detail(x, grid, 15) for x in (a, b))
  (dx, dy), _ = cv2.phaseCorrelate(fine_a, fine_b)
  if max(abs(dx), abs(dy)) <= 8:
    move = np.array([[1, 0, -dx], [0, 1, -dy]], np.float32)
    fine_b = cv2.warpAffine(fine_b, move, (grid, grid))
  power = float(np.sum(fine_a**2)) * float(np.sum(fine_b**2))
  return float(np.sum(fine_a * fine_b)) / max(power, 1e-9) ** 0.5
