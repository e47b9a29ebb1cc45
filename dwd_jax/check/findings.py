"""What a check found, and how bad it is.

All that a check has found, and its tables for text and HTML.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np

from dwd_jax.check.page_sets import Collected, PageSet
from dwd_jax.check.statistics import PERCENTS, Limits, Tables

LEVELS = ("error", "warning", "info")
_NAMED = 8  # pages that a line of text names


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
