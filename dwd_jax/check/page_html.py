"""The page index.html of a check: one file, no script, relative links."""

import html
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from dwd_jax.check.findings import Checked, Finding, plural

_LINKS = 20  # to pages, of one finding
_DETAILS = 1000
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a; margin: 0 auto;
  max-width: 1720px; padding: 0 24px 60px; background: #fff }
h1 { font-size: 24px; margin: 24px 0 4px }
h2 { font-size: 18px; margin: 34px 0 8px }
table { border-collapse: collapse }
th, td { padding: 3px 10px; text-align: right; border-bottom: 1px solid #ddd;
  vertical-align: top }
th { position: sticky; top: 0; background: #f3f3f3 }
.l { text-align: left }
.error b { color: #a4001d } .warning b { color: #8a5300 }
.info b { color: #2b5f8c }
.zero { color: #aaa }
.pages { display: flex; flex-wrap: wrap; gap: 10px }
.pages { align-items: flex-start }
.pages a { display: block; width: 280px; color: inherit;
  text-decoration: none; font-size: 12px; overflow-wrap: anywhere }
.pages img { border: 1px solid #bbb; display: block }
.classes { display: grid; gap: 6px 28px;
  grid-template-columns: repeat(auto-fill, minmax(800px, 1fr)) }
.classes figure { margin: 0 } .classes figcaption { font-weight: 600 }
img { max-width: 100% }
a { color: #1f5a96 }
"""


class Drawn(NamedTuple):
  """Pictures of a page, as links.

  Attributes:
    overlay: the page with its boxes.
    thumbnail: small.
  """

  overlay: str
  thumbnail: str


def render(
  checked: Checked,
  drawn: Mapping[int, Drawn],
  sheets: Mapping[str, str],
  strips: Mapping[int, str],
) -> str:
  """The whole page.

  Args:
    checked: what was found.
    drawn: pictures of pages by index.
    sheets: contact sheet of each split, as link.
    strips: examples of each class, as link.
  """
  title = f"Check of {_text(checked.page_set.name)}"
  limits = checked.limits
  parts = [
    "<!DOCTYPE html>",
    '<html lang="en"><head><meta charset="utf-8">',
    '<meta http-equiv="Content-Security-Policy"'
    " content=\"default-src 'none'; img-src 'self' file:;"
    " style-src 'unsafe-inline'\">",
    f"<title>{title}</title><style>{_STYLE}</style></head><body>",
    f"<h1>{title}</h1>",
    f"<p>{_text(checked.page_set.origin)}<br>",
    f"Compared with a training at scale {limits.scale:g} with crops of"
    f" {limits.crop_px} px.</p>",
    _table(*checked.split_rows()),
    "<h2>Findings</h2>",
    _findings(checked, drawn),
    *_galleries(checked, drawn, sheets),
    "<h2>Sizes</h2>",
    _table(*checked.figure_rows()),
    "<h2>Objects of each class</h2>",
    "<p>Height and width: medians in px at the scale of the training.</p>",
    _table(*checked.class_rows()),
    _absent(checked.classes_without_objects()),
    "<h2>Examples of each class</h2>",
    "<p>Drawn at random, from as many pages as there are.</p>",
    *_classes(checked, strips),
    "</body></html>",
  ]
  return "\n".join(parts) + "\n"


def _text(text: object) -> str:
  return html.escape(str(text))


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
  lines = ["<table><tr>"]
  lines += [f"<th{_side(i)}>{_text(c)}</th>" for i, c in enumerate(head)]
  lines.append("</tr>")
  for row in rows:
    cells = "".join(
      f"<td{_side(i, cell)}>{_text(cell)}</td>" for i, cell in enumerate(row)
    )
    lines.append(f"<tr>{cells}</tr>")
  return "".join([*lines, "</table>"])


def _side(column: int, cell: str = "") -> str:
  if not column:
    return ' class="l"'
  return ' class="zero"' if cell == "0" else ""


def _findings(checked: Checked, drawn: Mapping[int, Drawn]) -> str:
  if not checked.findings:
    return "<p>None.</p>"
  rows = ["<table>"]
  for finding in checked.findings:
    links = " ".join(
      f'<a href="{_text(drawn[i].overlay)}">{_text(_name(checked, i))}</a>'
      for i in [i for i in finding.pages if i in drawn][:_LINKS]
    )
    details = "".join(f"<br>{_text(d)}" for d in finding.details[:_DETAILS])
    message = (
      f"{_text(finding.message)}{details}<br><i>{_text(finding.remedy)}</i>"
    )
    rows.append(
      f'<tr class="{finding.level}"><td class="l"><b>{finding.level}</b></td>'
      f'<td class="l">{_text(finding.kind)}</td><td class="l">{message}'
      f"{'<br>' if links else ''}{links}</td></tr>"
    )
  return "\n".join([*rows, "</table>"])


def _name(checked: Checked, i: int) -> str:
  page = checked.collected.pages[i]
  return f"{page.split}/{page.filename}"


def _galleries(checked, drawn, sheets) -> Iterable[str]:
  marked = _kinds_of(checked.findings)
  groups = [("", "Suspicious pages", [i for i in drawn if i in marked])]
  for split in checked.tables.splits:
    rest = [i for i in drawn if i not in marked and _split(checked, i) == split]
    groups.append((split, f"Pages of {split}", rest))
  for split, title, chosen in groups:
    if not chosen and split not in sheets:
      continue
    yield f"<h2>{_text(title)}</h2>"
    if split in sheets:
      yield (
        f'<p><a href="{_text(sheets[split])}">Contact sheet</a>; below,'
        f" {plural(len(chosen), 'page')} with overlays.</p>"
      )
    yield '<div class="pages">'
    for i in chosen:
      why = f"<br>{_text(', '.join(marked[i]))}" if i in marked else ""
      yield (
        f'<a href="{_text(drawn[i].overlay)}"><img loading="lazy"'
        f' width="280" alt="" src="{_text(drawn[i].thumbnail)}">'
        f"{_text(_name(checked, i))}{why}</a>"
      )
    yield "</div>"


def _split(checked: Checked, i: int) -> str:
  return checked.collected.pages[i].split


def _kinds_of(findings: Iterable[Finding]) -> dict[int, list[str]]:
  """Page -> kinds of its errors and warnings."""
  kinds: dict[int, list[str]] = {}
  for finding in findings:
    if finding.level != "info":
      for i in finding.pages:
        kinds.setdefault(i, []).append(finding.kind)
  return kinds


def _absent(names: list[str]) -> str:
  if not names:
    return ""
  return (
    f"<details><summary>{plural(len(names), 'class')} without objects"
    f"</summary><p>{_text(', '.join(names))}</p></details>"
  )


def _classes(checked: Checked, strips: Mapping[int, str]) -> Iterable[str]:
  total = checked.tables.objects.sum(axis=0)
  yield '<div class="classes">'
  for label, link in strips.items():
    name = checked.page_set.class_names[label]
    yield (
      f"<figure><figcaption>{_text(name)}: {total[label]}</figcaption>"
      f'<img loading="lazy" alt="" src="{_text(link)}"></figure>'
    )
  yield "</div>"
