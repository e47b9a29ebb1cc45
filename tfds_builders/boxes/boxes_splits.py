"""Assigns pages to splits, and unique names to pages."""

import collections
import hashlib
import pathlib
import re

from dwd_jax.core.errors import InputError
from tfds_builders import checks
from tfds_builders.boxes import boxes_pages
from tfds_builders.boxes.boxes_pages import Page

# Beginnings of the splits' parts of the hash's range; the rest is train.
_FROM = {"val": 0.8, "test": 0.9}
_SHARE = 0.1
_MOST = 0.15  # of the pages; with few pages the hash may choose many more
_LEAST = 0.05  # where pages stay together
_LEAST_SEQUENCES = 3  # pages of one book all differ in their last number only


def share(name: str) -> float:
  """A number in 0..1 that depends on the name of a page or group alone."""
  digest = hashlib.sha256(name.encode()).digest()
  return int.from_bytes(digest[:8], "big") / 2**64


def assign(
  root: pathlib.Path,
  pages: list[Page],
  keep_splits: bool,
  report: checks.BuildReport,
) -> dict[str, list[Page]]:
  """Splits according to the files; missing val and test come from train.

  Args:
    pages: with the splits according to the files.
    keep_splits: take nothing from train if the files tell what train is.

  Returns:
    Pages of each split in the order of their names; an empty split is absent.

  Raises:
    InputError: there are no pages, several splits without train, or a path that
      cannot be printed.
  """
  given = {page.split for page in pages}
  if not given:
    raise InputError(f"{root}: no image has an annotation; add annotations")
  for page in pages:
    if not page.relative.isprintable():
      raise InputError(
        f"{root}: the path {page.relative[:200]!r} is not UTF-8, or has what"
        " cannot be printed; rename the file or its folder"
      )
  if len(given) > 1 and "train" not in given:
    raise InputError(
      f"{root}: only {' and '.join(sorted(given))}, nothing to train on; name a"
      " part of it train"
    )
  splits = collections.defaultdict(list)
  for page in sorted(pages, key=lambda p: p.relative):
    splits[page.split if len(given) > 1 else "train"].append(page)
  missing = [name for name in _FROM if not splits[name]]
  if missing and (not keep_splits or given == {""}):
    for split, moved in _taken(splits["train"], missing, report).items():
      splits[split] = moved
      for page in moved:
        report.add(f"images put into {split} by their name", page.relative)
    gone = {*splits["val"], *splits["test"]}
    splits["train"] = [p for p in splits["train"] if p not in gone]
  return {name: splits[name] for name in boxes_pages.SPLITS if splits[name]}


def _taken(
  train: list[Page], missing: list[str], report: checks.BuildReport
) -> dict[str, list[Page]]:
  """Pages of train that move to the splits without pages.

  Frames of a film and versions of a picture stay together where that leaves
  train at least half of the pages and most of what the others show: else a
  score would say less, not more.
  """
  stems = {page: _stem(page.relative) for page in train}
  versions = _versions(stems)
  divided: dict[str, list[Page]] = {}
  for group_of, least in (
    (_sequences(versions), _LEAST_SEQUENCES),
    (versions, 1),
  ):
    groups = _grouped(group_of)
    alike = [
      name
      for name, pages in groups.items()
      if len({stems[page] for page in pages}) > 1
    ]
    taken = {}
    if len(alike) >= least:
      taken = _choose(groups, missing, int(_LEAST * len(train)))
    if _leaves_enough(train, groups, taken):
      for name in alike:
        report.add("groups of images with like names kept in one split", name)
      break
    if len(alike) > 1:
      divided |= {name: groups[name] for name in alike}
  else:
    alone = {page: page.relative for page in train}
    taken = _choose(_grouped(alone), missing, least=0)
  split_of = {page: name for name, pages in taken.items() for page in pages}
  for name, pages in divided.items():
    if len({split_of.get(page) for page in pages}) > 1:
      report.add("groups of images with like names divided among splits", name)
  return taken


def _grouped(group_of: dict[Page, str]) -> dict[str, list[Page]]:
  groups = collections.defaultdict(list)
  for page, name in group_of.items():
    groups[name.split(".rf.")[0]].append(page)
  return groups


def _stem(relative: str) -> str:
  """A path without ending, and without what Roboflow puts behind the name."""
  name, mark, _ = relative.partition(".rf.")
  return re.sub(r"_(jpe?g|png|tiff?|bmp)$" if mark else r"\.[^./]*$", "", name)


def _versions(stems: dict[Page, str]) -> dict[Page, str]:
  """The page that each is a version of: page1.png for page1_flip.png."""
  plain = {stem: page.relative for page, stem in stems.items()}
  found = {}
  for page, stem in stems.items():
    # More digits count on: page1_2 is no version of page1.
    ends = [m.start() for m in re.finditer(r"[ _.(-]+(?=[A-Za-z])", stem)]
    longer = (plain[stem[:end]] for end in ends if stem[:end] in plain)
    found[page] = next(longer, page.relative)
  return found


def _sequences(versions: dict[Page, str]) -> dict[Page, str]:
  """The names of pages without their last number: film1 for film1_0025.png."""
  names = {
    picture: re.sub(r"[ _.(-]*\d+\)?$", "", stem)
    for picture, stem in {p: _stem(p) for p in versions.values()}.items()
  }
  # Versions by Roboflow are one picture.
  stems = {_stem(picture): name for picture, name in names.items()}
  times = collections.Counter(stems.values())
  return {
    page: names[picture] if times[names[picture]] > 1 else picture
    for page, picture in versions.items()
  }


def _choose(
  groups: dict[str, list[Page]], missing: list[str], least: int
) -> dict[str, list[Page]]:
  """Pages of the groups that the hash of their names puts into each split.

  Args:
    least: pages of each split, more than those of the hash if need be.

  Returns:
    {} if there are too few groups.
  """
  if len(groups) < 1 + len(missing):
    return {}
  most = int(_MOST * sum(map(len, groups.values())))
  by_share = {share(name): pages for name, pages in groups.items()}
  # At least one picture with objects each, those nearest to the split's range
  # first: scores of empty pages alone say nothing.
  full = {
    at for at, of in by_share.items() if any(p.objects.names for p in of)
  } or set(by_share)
  chosen: dict[str, list[float]] = {name: [] for name in missing}
  for name, own in chosen.items():
    number = 0
    for at in sorted(by_share):
      inside = 0 <= at - _FROM[name] < _SHARE
      if inside and number + len(by_share[at]) <= most:
        own.append(at)
        number += len(by_share[at])
  for own in chosen.values():
    while full.isdisjoint(own) or _size(by_share, own) < least:
      rest = full.difference(*chosen.values())
      if len(rest) < 2:
        break
      fitting = [at for at in rest if _size(by_share, [*own, at]) <= most]
      smallest = min(len(by_share[at]) for at in rest)
      fitting = fitting or [at for at in rest if len(by_share[at]) == smallest]
      own.append(max(fitting))
  return {
    name: sorted(
      (page for at in own for page in by_share[at]), key=lambda p: p.relative
    )
    for name, own in chosen.items()
  }


def _size(by_share: dict[float, list[Page]], chosen: list[float]) -> int:
  return sum(len(by_share[at]) for at in chosen)


def _leaves_enough(
  train: list[Page],
  groups: dict[str, list[Page]],
  taken: dict[str, list[Page]],
) -> bool:
  """Whether groups can be split: none is most of the pages, no class leaves."""
  moved = {page for part in taken.values() for page in part}
  largest = max(map(len, groups.values()))
  if not moved or 2 * max(len(moved), largest) > len(train):
    return False
  known = {n for p in train if p not in moved for n in p.objects.names}
  for part in taken.values():
    names = [name for page in part for name in page.objects.names]
    if not names or 2 * sum(name in known for name in names) < len(names):
      return False
  return True


def unique_names(splits: dict[str, list[Page]]) -> dict[Page, str]:
  """A plain name for each page, unique in the data set.

  The image's name without ending; if it is not unique, with its subfolders,
  then also with the split, then also with the ending.

  Raises:
    InputError: a picture is listed twice.
  """
  seen: dict[pathlib.Path, str] = {}
  for split, pages in splits.items():
    for page in pages:
      if page.image in seen:
        raise InputError(
          f"{page.image}: in {page.annotation} it is in {split}, but it is"
          f" already in {seen[page.image]}; keep it once"
        )
      seen[page.image] = split
  names: dict[Page, str] = {}
  counts = collections.Counter(
    option
    for split, pages in splits.items()
    for page in pages
    for option in set(_options(split, page))
  )
  for split, pages in splits.items():
    for page in pages:
      options = _options(split, page)
      name = next((o for o in options if counts[o] == 1), None)
      if name is None:
        raise InputError(
          f"{page.image}: its name can be confused with that of another image;"
          " rename one of them"
        )
      names[page] = name
  return names


def _options(split: str, page: Page) -> tuple[str, ...]:
  flat = page.relative.replace("/", "__")
  short = pathlib.PurePosixPath(flat).stem
  stem = pathlib.PurePosixPath(page.relative).stem
  return stem, short, f"{split}__{short}", f"{split}__{flat}"
