"""Checks a data set: reads all pages, judges them, writes the report."""

import os
import pathlib
from collections.abc import Callable

from dwd_jax.check import (
  leaks,
  measures,
  page_sets,
  proposal,
  rules,
  write_report,
)
from dwd_jax.check.findings import Checked, Finding, by_level
from dwd_jax.check.measures import Measures, Page
from dwd_jax.check.page_sets import PageSet
from dwd_jax.core import words
from dwd_jax.core.errors import InputError
from tfds_builders import polarity


def check(
  page_set: PageSet,
  given: proposal.Given,
  out: str | os.PathLike,
  *,
  pages_per_split: int = 12,
  sheet_pages: int = 24,
  keep_going: bool = True,
  workers: int = 0,
  log: Callable[[str], None] | None = None,
) -> Checked:
  """Checks a data set and writes check.json, index.html and pictures.

  Args:
    page_set: see `page_sets.open_set`.
    given: what is known of the training to come.
    out: folder of the report; new, empty, or that of an earlier check.
    pages_per_split: overlays of each split, besides those of suspicious pages.
    sheet_pages: pages of the contact sheet of each split.
    keep_going: list bad pages instead of stopping at the first.
    workers: threads; 0 = one for each core, at most 16.
    log: takes lines of progress, see `progress.show`.

  Raises:
    InputError: `out` is in use, a page is bad (unless `keep_going`), no page
      can be read, or the config cannot.
  """
  out = pathlib.Path(out).expanduser()
  workers = workers if workers > 0 else min(os.cpu_count() or 1, 16)
  write_report.claim_folder(out)
  collected = page_sets.collect(
    page_set,
    keep_going=keep_going,
    workers=workers,
    log=log,
  )
  pages = collected.pages
  if not pages:
    why = collected.bad[0][1] if collected.bad else "there are none"
    what = page_set.said.image
    raise InputError(f"{page_set.origin}: no {what} can be read ({why})")

  def read(i: int) -> Page:
    index, place = collected.at[i]
    return page_set.read(index)[place]

  proposed = proposal.propose(pages, page_set, given)
  limits = proposed.limits
  tables = measures.tabulate(pages, len(page_set.class_names), limits)
  findings = [
    *_unreadable(collected.bad, page_set.said),
    *rules.find_misfits(pages, read, page_set.said),
    *leaks.find(pages, lambda i: read(i).ink, tables.is_print, page_set.said),
    *rules.find(
      pages,
      tables,
      class_names=page_set.class_names,
      limits=limits,
      said=page_set.said,
    ),
    *_faint(page_set),
    *_notes(page_set),
  ]
  checked = Checked(
    page_set=page_set,
    collected=collected,
    tables=tables,
    findings=by_level(findings),
    proposed=proposed,
    not_checked=_not_checked(pages, page_set.said),
  )
  write_report.write(
    checked,
    out,
    read,
    pages_per_split=pages_per_split,
    sheet_pages=sheet_pages,
    workers=workers,
  )
  return checked


def _not_checked(pages: list[Measures], said: words.Words) -> str:
  """What pages without clear ink, or boxes without edges, do not tell."""
  parts = []
  if not measures.is_print(pages):
    parts.append(
      f"empty boxes and {said.images} (the pictures have many tones)"
    )
    if not rules.boxes_fit(pages):
      parts.append(
        "whether boxes lie on their objects (there are no edges at their"
        " borders: look at the overlays)"
      )
  return f"Not checked: {'; '.join(parts)}" if parts else ""


def _unreadable(bad: list[tuple[str, str]], said: words.Words) -> list[Finding]:
  if not bad:
    return []
  return [
    Finding(
      level="error",
      kind="unreadable",
      message=f"{said.count(len(bad), 'images')} that a build refuses",
      remedy="each line names its own remedy",
      details=tuple(why for _, why in bad),
    )
  ]


def _faint(page_set: PageSet) -> list[Finding]:
  if not page_set.faint:
    return []
  return [
    Finding(
      level="warning",
      kind="faint objects",
      message=page_set.faint,
      remedy=polarity.STRETCH,
    )
  ]


def _notes(page_set: PageSet) -> list[Finding]:
  return [
    Finding(
      level="info",
      kind="while reading",
      message=f"{count} {kind}",
      remedy=f"correct the lists of {page_set.said.images} unless this is"
      " expected",
    )
    for kind, count in page_set.notes.items()
  ]
