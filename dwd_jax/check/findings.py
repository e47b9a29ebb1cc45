"""What a check found: findings and tables, as text and as JSON."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from dwd_jax.check.measures import PERCENTS, Limits, Measures, Tables
from dwd_jax.check.page_sets import Collected, PageSet
from dwd_jax.check.proposal import Proposal
from dwd_jax.core import words
from dwd_jax.core.errors import one_line
from dwd_jax.train import from_data

LEVELS = ("error", "warning", "info")
_NAMED = 8  # names in a line of text
_DETAILS = 50  # lines of one finding on a terminal
_LISTED_PAGES = 10_000  # in the JSON


@dataclasses.dataclass(frozen=True)
class Finding:
  """A fault, or a fact to know.

  Attributes:
    level: error (training or scores would be wrong), warning (probably not
      meant), info.
    kind: two or three words, the same for findings of the same kind.
    message: what was found, with figures, in one line.
    remedy: what to do, in one line.
    pages: indices of the pages that show it, the worst first.
    details: further lines, for example one for each bad file.
  """

  level: str
  kind: str
  message: str
  remedy: str
  pages: tuple[int, ...] = ()
  details: tuple[str, ...] = ()

  def __post_init__(self):
    assert self.level in LEVELS


def by_level(findings: Iterable[Finding]) -> list[Finding]:
  """Sorts findings, errors first."""
  return sorted(findings, key=lambda f: LEVELS.index(f.level))


def plural(count: int, noun: str) -> str:
  """ "1 page", "2 pages"."""
  if count == 1:
    return f"1 {noun}"
  many = f"{noun}es" if noun.endswith(("x", "ss")) else f"{noun}s"
  return f"{count:,} {many}"


def listed(names: Iterable[str], limit: int = _NAMED) -> str:
  """The first names, and how many more there are."""
  names = list(names)
  more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
  return ", ".join(names[:limit]) + more


def page_name(page: Measures) -> str:
  """Split and file name."""
  return f"{page.split}/{page.filename}"


@dataclasses.dataclass(frozen=True)
class Checked:
  """The result of a check.

  Attributes:
    findings: errors first.
    not_checked: one line; "" = all was checked.
  """

  page_set: PageSet
  collected: Collected
  tables: Tables
  findings: list[Finding]
  proposed: Proposal
  not_checked: str

  @property
  def said(self) -> words.Words:
    """What pages and objects are called."""
    return self.page_set.said

  @property
  def limits(self) -> Limits:
    """Of the training that the objects are compared with."""
    return self.proposed.limits

  def pages_per_second(self) -> float:
    """Speed of reading and measuring."""
    return len(self.collected.pages) / max(self.collected.seconds, 1e-6)

  def classes_without_objects(self) -> list[str]:
    """Names, in the order of their ids."""
    empty = self.tables.objects.sum(axis=0) == 0
    return [self.page_set.class_names[c] for c in np.flatnonzero(empty)]

  def class_rows(self) -> tuple[list[str], list[list[str]]]:
    """Heading and rows: objects of each class, the most frequent first.

    Sizes are medians in px at the scale of the training.
    """
    tables = self.tables
    medians = self.limits.scale * np.stack([tables.heights, tables.widths])
    medians = medians[:, :, PERCENTS.index(50)]
    head = ["class", *tables.splits, "height", "width", "too small", "> crop"]
    total = tables.objects.sum(axis=0)
    rows = [
      [
        self.page_set.class_names[c],
        *(str(n) for n in tables.objects[:, c]),
        *(f"{size:.1f}" for size in medians[:, c]),
        str(tables.too_small[c]),
        str(tables.too_large[c]),
      ]
      for c in np.argsort(-total, kind="stable").tolist()
      if total[c]
    ]
    return head, rows

  def figure_rows(self) -> tuple[list[str], list[list[str]]]:
    """Heading and rows: percentiles over objects and pages."""
    tables, limits = self.tables, self.limits
    page, a_page, rows = self.said.image, self.said.an_image, []
    for side, sizes in zip(("height", "width"), tables.all_sizes, strict=True):
      scaled = sizes * limits.scale
      in_crop = 100 * scaled / limits.crop_px
      rows += [
        (f"object {side}, px", sizes),
        (f"  at scale {limits.scale:g}", scaled),
        (f"  in % of a crop of {limits.crop_px} px", in_crop),
      ]
    rows += [
      (f"objects of {a_page}", tables.per_page),
      (f"{page} height, px", tables.page_sizes[0]),
      (f"{page} width, px", tables.page_sizes[1]),
    ]
    if tables.is_print:
      rows.append((f"ink, % of {a_page}", 100 * tables.ink_shares))
    return ["", *(f"{p} %" for p in PERCENTS)], [
      [name, *("-" if np.isnan(v) else f"{v:.4g}" for v in values)]
      for name, values in rows
    ]

  def split_rows(self) -> tuple[list[str], list[list[str]]]:
    """Heading and rows: pages and objects of each split."""
    tables = self.tables
    bad = [split for split, _ in self.collected.bad]
    rows = [
      (split, pages, bad.count(split), objects.sum(), np.count_nonzero(objects))
      for split, pages, objects in zip(
        tables.splits, tables.pages, tables.objects, strict=True
      )
    ]
    head = ["split", self.said.images, "unreadable", "objects", "classes"]
    return head, [[str(cell) for cell in row] for row in rows]


def summary(checked: Checked) -> str:
  """Tables, then findings with their remedies, errors first."""
  absent = checked.classes_without_objects()
  lines = [
    "",
    *table(*checked.split_rows()),
    "",
    *table(*checked.figure_rows()),
    "",
    f"Objects of each class; height and width: medians in px at scale"
    f" {checked.limits.scale:g}",
    *table(*checked.class_rows()),
  ]
  if absent:
    lines.append(f"and {plural(len(absent), 'class')} without objects")
  lines.append("")
  for f in checked.findings:
    lines.append(f"{f.level.upper()} {f.kind}: {f.message}")
    lines += [f"    {detail}" for detail in f.details[:_DETAILS]]
    if len(f.details) > _DETAILS:
      more = len(f.details) - _DETAILS
      lines.append(f"    and {more} more, see check.json")
    lines.append(f"    -> {f.remedy}")
  if checked.not_checked:
    lines.append(checked.not_checked)
  levels = [f.level for f in checked.findings]
  counts = [
    plural(levels.count(level), level)
    for level in LEVELS[:2]
    if level in levels
  ]
  lines.append(
    f"{', '.join(counts) or 'No errors, no warnings'};"
    f" {checked.said.count(len(checked.collected.pages), 'images')} in"
    f" {checked.collected.seconds:.1f} s"
    f" ({checked.pages_per_second():.1f} {checked.said.images}/s)"
  )
  lines.append(f"Compared with {checked.proposed.measured}. To train:")
  lines.append(f"  {checked.proposed.command}")
  if checked.proposed.choices:
    lines.append("It chooses, unless a flag says otherwise:")
    lines += [f"  {line}" for line in from_data.lines(checked.proposed.choices)]
  return "\n".join(map(one_line, lines))


def table(head: list[str], rows: Iterable[list[str]]) -> list[str]:
  """Lines with aligned columns, the first to the left."""
  cells = [[one_line(cell) for cell in row] for row in (head, *rows)]
  first, *others = (max(map(len, c)) for c in zip(*cells, strict=True))
  return [
    "  ".join([name.ljust(first), *map(str.rjust, row, others)])
    for name, *row in cells
  ]


def as_dict(checked: Checked) -> dict[str, Any]:
  """Content of check.json."""
  tables, pages = checked.tables, checked.collected.pages
  names = checked.page_set.class_names
  shown = {i for f in checked.findings for i in f.pages}
  shown |= set(range(min(len(pages), _LISTED_PAGES)))
  return {
    "dataset": checked.page_set.name,
    "origin": checked.page_set.origin,
    "limits": dataclasses.asdict(checked.limits),
    "command": checked.proposed.command,
    "suggested": checked.proposed.suggested(),
    "reasons": {c.key: c.reason for c in checked.proposed.choices},
    "not_checked": checked.not_checked,
    "seconds": round(checked.collected.seconds, 2),
    "pages_per_second": round(checked.pages_per_second(), 2),
    "splits": {
      split: {"pages": count, "objects": int(objects.sum())}
      for split, count, objects in zip(
        tables.splits, tables.pages, tables.objects, strict=True
      )
    },
    "unreadable": [
      {"split": split, "reason": why} for split, why in checked.collected.bad
    ],
    "findings": [
      dataclasses.asdict(f) | {"pages": [page_name(pages[i]) for i in f.pages]}
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
        "objects": dict(
          zip(tables.splits, tables.objects[:, c].tolist(), strict=True)
        ),
        "height_px": _percentiles(tables.heights[c]),
        "width_px": _percentiles(tables.widths[c]),
        "too_small": int(tables.too_small[c]),
        "larger_than_crop": int(tables.too_large[c]),
      }
      for c in np.flatnonzero(tables.objects.sum(axis=0)).tolist()
    },
    "classes_without_objects": checked.classes_without_objects(),
    "pages": [_page(pages[i], tables.max_in_crop[i]) for i in sorted(shown)],
    "pages_not_listed": len(pages) - len(shown),
  }


def _percentiles(values: np.ndarray) -> dict[str, float] | None:
  if np.isnan(values).any():
    return None
  return {
    f"p{p}": round(float(v), 4) for p, v in zip(PERCENTS, values, strict=True)
  }


def _page(page: Measures, most_in_a_crop: int) -> dict[str, Any]:
  return {
    "split": page.split,
    "filename": page.filename,
    "height_px": page.image_hw[0],
    "width_px": page.image_hw[1],
    "objects": len(page.labels),
    "most_in_a_crop": most_in_a_crop,
    "ink_share": round(page.ink_share, 5),
    "fit_edge": round(page.fit.edge, 3),
  }
