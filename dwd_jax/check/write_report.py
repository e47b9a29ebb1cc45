"""Writes the report of a check: pictures, check.json and index.html."""

import json
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dwd_jax.check import draw_pages, findings
from dwd_jax.check.findings import Checked, Finding
from dwd_jax.check.measures import Page
from dwd_jax.check.page_sets import EXAMPLES
from dwd_jax.core import files, threads
from dwd_jax.core.errors import InputError
from dwd_jax.data import sampling
from dwd_jax.show import drawing
from dwd_jax.show.html import templates

JSON_NAME = "check.json"
_PICTURES = "pictures"
_OURS = "written.txt"  # in the folder of the pictures: their names
_SUFFIX = ".webp"
_MAX_SHEET = 240  # pages: WebP holds 16,383 rows
# Of the size of all pictures; the rest of twice that is for check.json and
# index.html.
_SHARE = 1.8
_MAX_JSON_BYTES = 64 << 20
_LEAST_BYTES = 1 << 20  # small sets get more
_MAX_SUSPICIOUS = 60  # pages; a third of them from one finding


class Drawn(NamedTuple):
  """Links to the pictures of a page."""

  overlay: str
  thumbnail: str


class _Room:
  """The folder of pictures: below twice those of the set, or `_LEAST_BYTES`."""

  def __init__(self, folder: pathlib.Path, num_bytes: int):
    self.folder = folder
    self.left = max(_SHARE * num_bytes, _LEAST_BYTES)

  def has(self, num_bytes: int) -> bool:
    """Whether so much can be written."""
    return num_bytes <= self.left

  def save(self, name: str, data: bytes) -> str:
    """Writes a picture and returns its link, relative to the page."""
    path = self.folder / name
    if os.path.lexists(path):
      raise InputError(
        f"{path}: is there already, and of something else; name another folder"
        " with --out"
      )
    with (self.folder / _OURS).open("a", encoding="utf8") as ours:
      ours.write(f"{name}\n")
    files.write_atomic(path, data)
    self.left -= len(data)
    return f"{_PICTURES}/{name}"


def claim_folder(out: pathlib.Path) -> None:
  """Makes the folder, and removes the pictures of an earlier check in it.

  Raises:
    InputError: something else is in it, or it cannot be written.
  """
  try:
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()) and not _is_report(out / JSON_NAME):
      raise InputError(
        f"{out}: the folder is in use; name another one with --out"
      )
    _remove_pictures(out / _PICTURES)
    files.write_atomic(out / JSON_NAME, "{}\n")
  except OSError as e:
    raise InputError(
      f"{out}: cannot write there ({e.strerror}); name another folder with"
      " --out"
    ) from None


def _is_report(path: pathlib.Path) -> bool:
  """Whether a check has written this file, or begun to."""
  try:
    content = files.read_json(path, _MAX_JSON_BYTES)
  except (OSError, ValueError):
    return False
  return content == {} or (isinstance(content, dict) and "findings" in content)


def _remove_pictures(folder: pathlib.Path) -> None:
  """Removes the pictures that earlier checks have noted, and no other file."""
  ours = folder / _OURS
  if not ours.is_file():
    return
  text = ours.read_text(encoding="utf8", errors="replace")
  for name in {*text.splitlines()}:
    if pathlib.PurePath(name).name == name and (folder / name).is_file():
      (folder / name).unlink()
  ours.unlink()


def write(
  checked: Checked,
  out: pathlib.Path,
  read: Callable[[int], Page],
  *,
  pages_per_split: int,
  sheet_pages: int,
  workers: int,
) -> None:
  """Writes check.json, index.html and the pictures.

  `out` is from `claim_folder`; `read` reads a page by index again; for the
  other options see `check_data_set.check`.
  """
  (out / _PICTURES).mkdir(exist_ok=True)

  room = _Room(out / _PICTURES, checked.page_set.num_bytes)

  members = {split: [] for split in checked.tables.splits}
  for i, measured in enumerate(checked.collected.pages):
    members[measured.split].append(i)
  sheets = {}
  for split, indices in members.items():
    cells = threads.in_order(
      lambda i: draw_pages.thumbnail(read(i)),
      sampling.spread(np.array(indices), min(sheet_pages, _MAX_SHEET)).tolist(),
      workers,
    )
    sheet = drawing.encoded(draw_pages.sheet(list(cells)), _SUFFIX)
    sheets[split] = room.save(f"contact-{_safe(split)}{_SUFFIX}", sheet)
  strips = {}
  for label, tiles in checked.collected.examples.items():
    strip = draw_pages.strip(tiles, EXAMPLES)
    name = f"class-{label:05d}{_SUFFIX}"
    strips[label] = room.save(name, drawing.encoded(strip, _SUFFIX))
  chosen = _chosen(checked.findings, members, pages_per_split)

  def draw(i: int) -> tuple[bytes, bytes]:
    page = read(i)
    names, is_print = checked.page_set.class_names, checked.tables.is_print
    return (
      drawing.encoded(draw_pages.overlay(page, names, is_print), _SUFFIX),
      drawing.encoded(draw_pages.thumbnail(page), _SUFFIX),
    )

  drawn = {}
  made = threads.in_order(draw, chosen, workers)
  for i, (overlay, small) in zip(chosen, made, strict=False):
    if not room.has(len(overlay) + len(small)):
      break
    split = checked.collected.pages[i].split
    stem = f"{_safe(split)}-{i:06d}"
    drawn[i] = Drawn(
      room.save(f"{stem}{_SUFFIX}", overlay),
      room.save(f"{stem}-small{_SUFFIX}", small),
    )
  left_out = len(chosen) - len(drawn)
  page = render(checked, drawn, sheets, strips, left_out)
  files.write_atomic(out / "index.html", page)
  text = json.dumps(findings.as_dict(checked), indent=1, allow_nan=False)
  files.write_atomic(out / JSON_NAME, text + "\n")


def render(
  checked: Checked,
  drawn: Mapping[int, Drawn],
  sheets: Mapping[str, str],
  strips: Mapping[int, str],
  left_out: int = 0,
) -> str:
  """Renders index.html: one file, no script, relative links.

  Args:
    checked: result of the check.
    drawn: page index -> pictures.
    sheets: split -> link to its contact sheet.
    strips: class id -> link to its examples.
    left_out: number of overlays for which there is no room.
  """
  pages = checked.collected.pages
  marked = _kinds_of(checked.findings)
  pages_name = checked.said.images
  galleries = [
    (f"Suspicious {pages_name}", "", [i for i in drawn if i in marked])
  ]
  for split, sheet in sheets.items():
    rest = [i for i in drawn if i not in marked and pages[i].split == split]
    galleries.append((f"{pages_name.capitalize()} of {split}", sheet, rest))
  total = checked.tables.objects.sum(axis=0)
  names = checked.page_set.class_names
  return templates.render(
    "dwd_jax.check",
    "index.html.j2",
    checked=checked,
    drawn=drawn,
    names={i: findings.page_name(pages[i]) for i in drawn},
    marked=marked,
    galleries=galleries,
    strips=[(names[c], total[c], link) for c, link in strips.items()],
    plural=findings.plural,
    left_out=left_out,
  )


def _kinds_of(found: Iterable[Finding]) -> dict[int, list[str]]:
  """Page -> kinds of its errors and warnings."""
  kinds: dict[int, list[str]] = {}
  for finding in found:
    for i in finding.pages if finding.level != "info" else ():
      kinds.setdefault(i, []).append(finding.kind)
  return kinds


def _chosen(
  found: Sequence[Finding], members: dict[str, list[int]], per_split: int
) -> list[int]:
  """Pages to draw: suspicious ones, then the first of each split in turn."""
  chosen = dict.fromkeys(_suspicious(found))
  for place in range(per_split):
    for indices in members.values():
      chosen |= dict.fromkeys(indices[place : place + 1])
  return list(chosen)


def _suspicious(found: Sequence[Finding]) -> list[int]:
  """The worst pages of each finding, errors first."""
  chosen: dict[int, None] = {}
  for finding in found:
    if finding.level != "info":
      chosen |= dict.fromkeys(finding.pages[: _MAX_SUSPICIOUS // 3])
  return list(chosen)[:_MAX_SUSPICIOUS]


def _safe(name: str) -> str:
  return re.sub(r"[^A-Za-z0-9_]", "_", name)[:40]
