"""What a check found: each finding, the tables, their text and their JSON."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from dwd_jax.check.page_sets import Collected, PageSet
from dwd_jax.check.statistics import PERCENTS, Limits, Tables

LEVELS = ("error", "warning", "info")
_NAMED = 8  # pages that a line of text names
_DETAILS = 50  # lines of one finding on a terminal
_LISTED_PAGES = 10_000  # in the JSON


@dataclasses.dataclass(frozen=True)
class Finding:
  """One kind of fault, or something to know.

  Attributes:
    level: error (training or scores would be wrong), warning (probably not
      meant), info.
    kind: two or three words; the same for findings of the same kind.
    message: one line of what was found, with figures.
    remedy: one line of what to do.
    pages: indices of the pages that show it, the worst first.
    details: more lines, for example one for each bad file.
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
  """Errors first."""
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


@dataclasses.dataclass(frozen=True)
class Checked:
  """All that a check has found.

  Attributes:
    page_set: what was read.
    collected: the measures of each page.
    tables: figures.
    findings: errors first.
    limits: that objects were compared with.
  """

  page_set: PageSet
  collected: Collected
  tables: Tables
  findings: list[Finding]
  limits: Limits

  def pages_per_second(self) -> float:
    """Of reading and measuring."""
    return len(self.collected.pages) / max(self.collected.seconds, 1e-6)

  def classes_without_objects(self) -> list[str]:
    """Names, in the order of their ids."""
    empty = self.tables.objects.sum(axis=0) == 0
    return [self.page_set.class_names[c] for c in np.flatnonzero(empty)]

  def class_rows(self) -> tuple[list[str], list[list[str]]]:
    """Heading and rows: objects of each class, the most frequent first.

    Sizes are medians in px at the scale of the training.
    """
    tables, scale = self.tables, self.limits.scale
    middle = PERCENTS.index(50)
    head = ["class", *tables.splits, "height", "width", "too small", "> crop"]
    total = tables.objects.sum(axis=0)
    rows = [
      [
        self.page_set.class_names[c],
        *(str(n) for n in tables.objects[:, c]),
        f"{scale * tables.heights[c, middle]:.1f}",
        f"{scale * tables.widths[c, middle]:.1f}",
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
    head = ["", *(f"{p} %" for p in PERCENTS)]
    scaled = tables.all_sizes * limits.scale
    rows = []
    for k, side in enumerate(("height", "width")):
      rows.append([f"object {side}, px", *_texts(tables.all_sizes[k])])
      rows.append(
        [f"  at scale {limits.scale:g}", *_texts(scaled[k])],
      )
      relative = 100 * scaled[k] / limits.crop_px
      rows.append(
        [f"  in % of a crop of {limits.crop_px} px", *_texts(relative)]
      )
    rows.append(["objects of a page", *_texts(tables.per_page)])
    rows.append(["page height, px", *_texts(tables.page_sizes[0])])
    rows.append(["page width, px", *_texts(tables.page_sizes[1])])
    rows.append(["ink, % of a page", *_texts(100 * tables.ink_shares)])
    return head, rows

  def split_rows(self) -> tuple[list[str], list[list[str]]]:
    """Heading and rows: pages and objects of each split."""
    tables = self.tables
    rows = []
    for k, (split, pages) in enumerate(
      zip(tables.splits, tables.pages, strict=True)
    ):
      bad = sum(where == split for where, _ in self.collected.bad)
      objects = tables.objects[k]
      rows.append(
        [
          split,
          str(pages),
          str(bad),
          str(int(objects.sum())),
          str(np.count_nonzero(objects)),
        ]
      )
    return ["split", "pages", "unreadable", "objects", "classes"], rows


def _texts(values: np.ndarray) -> list[str]:
  return ["-" if np.isnan(v) else f"{v:.4g}" for v in values]


def clean(text: str) -> str:
  """Text for a terminal: names come from files and may hold anything."""
  return "".join(c if c.isprintable() else "?" for c in text)


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
  for finding in checked.findings:
    lines.append(
      clean(f"{finding.level.upper()} {finding.kind}: {finding.message}")
    )
    shown = finding.details[:_DETAILS]
    lines += [clean(f"    {detail}") for detail in shown]
    if len(shown) < len(finding.details):
      more = len(finding.details) - len(shown)
      lines.append(f"    and {more} more, see check.json")
    lines.append(clean(f"    -> {finding.remedy}"))
  counts = [
    plural(n, level)
    for level in LEVELS[:2]
    if (n := sum(f.level == level for f in checked.findings))
  ]
  lines.append(
    f"{', '.join(counts) or 'No errors, no warnings'};"
    f" {plural(len(checked.collected.pages), 'page')} in"
    f" {checked.collected.seconds:.1f} s"
    f" ({checked.pages_per_second():.1f} pages/s)"
  )
  return "\n".join(lines)


def table(head: list[str], rows: Iterable[list[str]]) -> list[str]:
  """Lines with aligned columns, the first to the left."""
  cells = [[clean(cell) for cell in row] for row in (head, *rows)]
  widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
  return [
    "  ".join(
      [
        row[0].ljust(widths[0]),
        *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
      ]
    )
    for row in cells
  ]


def as_dict(checked: Checked) -> dict[str, Any]:
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
    f"p{p}": round(float(v), 4) for p, v in zip(PERCENTS, values, strict=True)
  }


def _page(page) -> dict[str, Any]:
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
