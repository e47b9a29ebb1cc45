"""Draws the pictures of a check and writes its folder."""

import dataclasses
import functools
import json
import pathlib
import re
import shutil
from collections.abc import Callable, Sequence

import numpy as np

from dwd_jax.check import page_html, page_pictures, statistics
from dwd_jax.check.findings import Checked, Finding
from dwd_jax.check.measures import Page
from dwd_jax.check.page_sets import EXAMPLES
from dwd_jax.core import files, threads
from dwd_jax.core.errors import InputError

JSON_NAME = "check.json"
_PICTURES = "pictures"
_MAX_SUSPICIOUS = 60  # of one kind of finding at most a third of these
_LISTED_PAGES = 10_000


def claim_folder(out: pathlib.Path) -> None:
  """Makes the folder; what an earlier check left there is removed.

  Raises:
    InputError: there is something else in it.
  """
  try:
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()) and not (out / JSON_NAME).is_file():
      raise InputError(
        f"{out}: the folder is in use; name another one with --out"
      )
    shutil.rmtree(out / _PICTURES, ignore_errors=True)
    (out / JSON_NAME).write_text("{}\n")
  except OSError as e:
    raise InputError(
      f"{out}: cannot write there ({e.strerror}); name another folder with"
      " --out"
    ) from None


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

  Args:
    checked: what was found.
    out: from `claim_folder`.
    read: a page by index, again.
    pages_per_split: overlays of each split besides the suspicious pages.
    sheet_pages: of a contact sheet.
    workers: threads that draw.
  """
  folder = out / _PICTURES
  folder.mkdir(exist_ok=True)
  names = checked.page_set.class_names
  chosen = _suspicious(checked.findings)
  on_sheet = {}
  for split in checked.tables.splits:
    members = [
      i for i, p in enumerate(checked.collected.pages) if p.split == split
    ]
    chosen += members[:pages_per_split]
    on_sheet[split] = _spread(members, sheet_pages)

  chosen = list(dict.fromkeys(chosen))
  draw = functools.partial(_draw, folder, read, names)
  made = threads.in_order(draw, chosen, workers)
  drawn = dict(zip(chosen, made, strict=True))
  sheets = {
    split: _draw_sheet(folder, read, split, members, workers)
    for split, members in on_sheet.items()
  }
  strips = {}
  for label, tiles in checked.collected.examples.items():
    strip = page_pictures.strip(tiles, EXAMPLES)
    name = page_pictures.save(folder, f"class-{label:05d}.png", strip)
    strips[label] = f"{_PICTURES}/{name}"
  files.write_atomic(
    out / "index.html", page_html.render(checked, drawn, sheets, strips)
  )
  text = json.dumps(as_dict(checked), indent=1, allow_nan=False)
  files.write_atomic(out / JSON_NAME, text + "\n")


def _draw(
  folder: pathlib.Path,
  read: Callable[[int], Page],
  names: Sequence[str],
  i: int,
) -> page_html.Drawn:
  """Saves overlay and thumbnail of a page."""
  page = read(i)
  stem = f"{_safe(page.split)}-{i:06d}"
  overlay, small = (
    page_pictures.overlay(page, names),
    page_pictures.thumbnail(page),
  )
  return page_html.Drawn(
    f"{_PICTURES}/{page_pictures.save(folder, f'{stem}.png', overlay)}",
    f"{_PICTURES}/{page_pictures.save(folder, f'{stem}-small.png', small)}",
  )


def _draw_sheet(
  folder: pathlib.Path,
  read: Callable[[int], Page],
  split: str,
  members: Sequence[int],
  workers: int,
) -> str:
  """Saves the contact sheet of a split."""
  cells = threads.in_order(
    lambda i: page_pictures.thumbnail(read(i)), members, workers
  )
  sheet = page_pictures.sheet(list(cells))
  name = page_pictures.save(folder, f"contact-{_safe(split)}.png", sheet)
  return f"{_PICTURES}/{name}"


def _suspicious(findings: Sequence[Finding]) -> list[int]:
  """Pages to look at: the worst of each finding, errors first."""
  chosen: dict[int, None] = {}
  for finding in findings:
    if finding.level == "info":
      continue
    for i in finding.pages[: _MAX_SUSPICIOUS // 3]:
      if len(chosen) < _MAX_SUSPICIOUS:
        chosen[i] = None
  return list(chosen)


def _spread(members: Sequence[int], count: int) -> list[int]:
  """Evenly spaced members."""
  if len(members) <= count:
    return list(members)
  at = np.linspace(0, len(members) - 1, count).round().astype(int)
  return [members[k] for k in at.tolist()]


def _safe(name: str) -> str:
  return re.sub(r"[^A-Za-z0-9_]", "_", name)[:40]


def as_dict(checked: Checked) -> dict:
  """What check.json holds."""
  tables, pages = checked.tables, checked.collected.pages
  names = checked.page_set.class_names
  listed = {i for f in checked.findings for i in f.pages}
  listed |= set(range(min(len(pages), _LISTED_PAGES)))
  return {
    "dataset": checked.page_set.name,
    "origin": checked.page_set.origin,
    "limits": dataclasses.asdict(checked.limits),
    "seconds": round(checked.collected.seconds, 2),
    "pages_per_second": round(checked.pages_per_second(), 2),
    "splits": {
      split: {"pages": count, "objects": int(tables.objects[k].sum())}
      for k, (split, count) in enumerate(
        zip(tables.splits, tables.pages, strict=True)
      )
    },
    "unreadable": [
      {"split": split, "reason": why} for split, why in checked.collected.bad
    ],
    "findings": [
      {
        "level": f.level,
        "kind": f.kind,
        "message": f.message,
        "remedy": f.remedy,
        "details": list(f.details),
        "pages": [f"{pages[i].split}/{pages[i].filename}" for i in f.pages],
      }
      for f in checked.findings
    ],
    "objects": {
      "height_px": _percentiles(tables.all_sizes[0]),
      "width_px": _percentiles(tables.all_sizes[1]),
      "per_page": _percentiles(tables.per_page),
    },
    "page": {
      "height_px": _percentiles(tables.page_sizes[0]),
      "width_px": _percentiles(tables.page_sizes[1]),
      "ink_share": _percentiles(tables.ink_shares),
    },
    "classes": {
      names[c]: {
        "objects": {
          split: int(tables.objects[k, c])
          for k, split in enumerate(tables.splits)
        },
        "height_px": _percentiles(tables.heights[c]),
        "width_px": _percentiles(tables.widths[c]),
        "too_small": int(tables.too_small[c]),
        "larger_than_crop": int(tables.too_large[c]),
      }
      for c in np.flatnonzero(tables.objects.sum(axis=0)).tolist()
    },
    "classes_without_objects": [
      names[c] for c in np.flatnonzero(tables.objects.sum(axis=0) == 0).tolist()
    ],
    "pages": [_page(pages[i]) for i in sorted(listed)],
    "pages_not_listed": len(pages) - len(listed),
  }


def _percentiles(values: np.ndarray) -> dict[str, float] | None:
  if np.isnan(values).any():
    return None
  return {
    f"p{p}": round(float(v), 4)
    for p, v in zip(statistics.PERCENTS, values, strict=True)
  }


def _page(page) -> dict:
  return {
    "split": page.split,
    "filename": page.filename,
    "height_px": page.image_hw[0],
    "width_px": page.image_hw[1],
    "objects": len(page.labels),
    "most_in_a_crop": page.max_in_crop,
    "ink_share": round(page.ink_share, 5),
    "fit_edge": round(page.fit.edge, 3),
    "fit_ring": round(page.fit.ring, 3),
  }
