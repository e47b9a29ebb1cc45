"""Tables of the report: HTML with numbers that sort, bars and heat.

The only place where text becomes HTML; every text is escaped here.
"""

import html
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Cell(NamedTuple):
  """A cell of a table.

  Attributes:
    text: shown.
    value: what the column is sorted by; None: the text.
    heat: 0..1, colour of the cell; None = none.
    bar: 0..1, length of a bar in the cell; None = none.
    link: address; "" = none.
    bad: whether heat and bar say how bad it is, not how good.
  """

  text: str
  value: float | None = None
  heat: float | None = None
  bar: float | None = None
  link: str = ""
  bad: bool = False


def text(value: object) -> str:
  """Escapes a text, for content and for attributes in double quotes."""
  # Names of files that are no Unicode hold halves of surrogate pairs.
  return html.escape(str(value).encode("utf8", "replace").decode())


def number(value: float | None) -> str:
  """Three digits; a dash for what is unknown."""
  return "–" if value is None else f"{value:.3f}"  # noqa: RUF001 (a dash)


def count(value: int) -> Cell:
  """A whole number; 0 is faint."""
  return Cell(f"{value:,}", value)


def share(
  value: float | None, *, heat: bool = False, bar: bool = False, bad=False
) -> Cell:
  """A number 0..1 with three digits; a dash where it is unknown."""
  if value is None:
    return Cell(number(value), -1.0)
  shown = min(max(value, 0.0), 1.0)
  return Cell(
    number(value),
    value,
    shown if heat else None,
    shown if bar else None,
    bad=bad,
  )


def gain(value: float | None, most: float, digits: int = 4) -> Cell:
  """A difference of AP; `most` gets the full heat. A dot for 0, rounded."""
  if value is None or abs(value) < 0.5 * 10**-digits:
    return Cell("·", 0.0)
  heat = min(max(value, 0.0) / most, 1.0) if most > 0 else 0.0
  return Cell(f"{value:+.{digits}f}", value, heat, bad=True)


def table(
  head: Sequence[str],
  rows: Iterable[Sequence[Cell | str]],
  *,
  sortable: bool = False,
  foot: Sequence[Cell | str] | None = None,
  kind: str = "",
  titles: Sequence[str] = (),
) -> str:
  """A table; its first column holds names.

  Args:
    head: names of the columns.
    rows: cells; a text is a `Cell` of it.
    sortable: by a click on a column's name.
    foot: a last row that stays there.
    kind: class names for the CSS.
    titles: explanations of the columns, shown where one points at them.
  """
  names = []
  for i, name in enumerate(head):
    hint = f' title="{text(titles[i])}"' if titles and titles[i] else ""
    label = f'<button type="button">{text(name)}</button>'
    names.append(
      f'<th scope="col"{hint}>{label if sortable else text(name)}</th>'
    )
  parts = [
    f'<div class="scroll"><table class="{kind}{" sortable" * sortable}">',
    f"<thead><tr>{''.join(names)}</tr></thead><tbody>",
    *(_row(row) for row in rows),
    "</tbody>",
  ]
  if foot is not None:
    parts.append(f"<tfoot>{_row(foot)}</tfoot>")
  return "".join([*parts, "</table></div>"])


def _row(cells: Sequence[Cell | str]) -> str:
  parts = []
  for i, given in enumerate(cells):
    cell = given if isinstance(given, Cell) else Cell(given)
    inner = text(cell.text)
    if cell.link:
      inner = f'<a href="{text(cell.link)}">{inner}</a>'
    style, kind = "", "zero" if cell.text == "0" else ""
    if cell.heat is not None:
      kind = "bad" if cell.bad else "heat"
      style = f"--v:{cell.heat:.3f}"
    if cell.bar is not None:
      kind = "barred bad" if cell.bad else "barred"
      style = f"--v:{cell.bar:.3f}"
    attributes = f' class="{kind}"' if kind else ""
    attributes += f' style="{style}"' if style else ""
    if cell.value is not None:
      attributes += f' data-v="{cell.value:.6g}"'
    tag = "td" if i else 'th scope="row"'
    parts.append(f"<{tag}{attributes}>{inner}</{tag.split()[0]}>")
  return f"<tr>{''.join(parts)}</tr>"
