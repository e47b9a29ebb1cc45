"""The text of a check on the terminal."""

from collections.abc import Callable, Iterable
from typing import TextIO

from dwd_jax.check.findings import LEVELS, Checked, plural

_DETAILS = 50  # lines of one finding


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


def progress(stream: TextIO) -> Callable[[int, int], None]:
  """Prints pages done: in place on a terminal, else nothing."""

  def tell(done: int, total: int) -> None:
    if stream.isatty():
      end = "\n" if done == total else ""
      print(f"\rpage {done} of {total}", end=end, file=stream, flush=True)

  return tell
