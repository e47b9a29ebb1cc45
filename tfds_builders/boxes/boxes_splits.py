"""Assigns pages to splits, and unique names to pages."""

import collections
import hashlib
import pathlib

from dwd_jax.core.errors import InputError
from tfds_builders import checks
from tfds_builders.boxes import boxes_pages
from tfds_builders.boxes.boxes_pages import Page

# Beginnings of the splits' parts of the hash's range; the rest is train.
_FROM = {"val": 0.8, "test": 0.9}
_SHARE = 0.1
_MOST = 0.15  # of the pages; with few pages the hash may choose many more


def share(relative: str) -> float:
  """A number in 0..1 that depends on the image's name alone.

  Roboflow's versions of a picture (NAME.rf.HASH.jpg) get the same number.
  """
  digest = hashlib.sha256(relative.split(".rf.")[0].encode()).digest()
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
    InputError: there are no pages, or several splits without train.
  """
  given = {page.split for page in pages}
  if not given:
    raise InputError(f"{root}: no page has an annotation; add annotations")
  if len(given) > 1 and "train" not in given:
    raise InputError(
      f"{root}: only {' and '.join(sorted(given))}, nothing to train on; name a"
      " part of it train"
    )
  splits = collections.defaultdict(list)
  for page in sorted(pages, key=lambda p: p.relative):
    splits[page.split if len(given) > 1 else "train"].append(page)
  if not keep_splits or given == {""}:
    for split, moved in _taken(splits).items():
      splits[split] = moved
      for page in moved:
        report.add(f"pages put into {split} by their name", page.relative)
    gone = {*splits["val"], *splits["test"]}
    splits["train"] = [p for p in splits["train"] if p not in gone]
  return {name: splits[name] for name in boxes_pages.SPLITS if splits[name]}


def _taken(splits: dict[str, list[Page]]) -> dict[str, list[Page]]:
  """Pages that move from train to the splits without pages."""
  missing = [name for name in _FROM if not splits[name]]
  pictures = collections.defaultdict(list)  # with their versions
  for page in splits["train"]:
    pictures[share(page.relative)].append(page)
  if len(pictures) < 1 + len(missing):
    return {}
  most = int(_MOST * len(splits["train"]))
  chosen: dict[str, list[float]] = {}
  for name in missing:
    number = 0
    chosen[name] = []
    for at in sorted(pictures):
      inside = 0 <= at - _FROM[name] < _SHARE
      number += len(pictures[at]) if inside else 0
      if inside and number <= most:
        chosen[name].append(at)
  # At least one picture with objects each, those nearest to the split's range
  # first: scores of empty pages alone say nothing.
  full = {at for at, of in pictures.items() if any(p.objects.names for p in of)}
  full = full or set(pictures)
  for name in missing:
    if full.isdisjoint(chosen[name]):
      rest = full.difference(*chosen.values())
      chosen[name] += [max(rest)] if len(rest) > 1 else []
  return {
    name: sorted(
      (page for at in part for page in pictures[at]), key=lambda p: p.relative
    )
    for name, part in chosen.items()
  }


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
          f"{page.image}: its name can be confused with that of another page;"
          " rename one of them"
        )
      names[page] = name
  return names


def _options(split: str, page: Page) -> tuple[str, ...]:
  flat = page.relative.replace("/", "__")
  short = pathlib.PurePosixPath(flat).stem
  stem = pathlib.PurePosixPath(page.relative).stem
  return stem, short, f"{split}__{short}", f"{split}__{flat}"
