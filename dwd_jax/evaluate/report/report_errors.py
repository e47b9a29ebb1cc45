"""Sections of the report on errors and confusions: JSON -> HTML."""

from collections.abc import Sequence
from typing import Any

from dwd_jax.evaluate.report import tables
from dwd_jax.evaluate.report.tables import Cell, count, number, share

_PAIRS = 30  # strongest confusions in the table
_IN_MATRIX = 26  # classes
_KINDS = {
  "missed": ("missed", "a true box with no detection on it"),
  "class": ("wrong class", "on a true box of another class, IoU 0.5 or more"),
  "location": ("badly placed", "right class, IoU from 0.1 to below 0.5"),
  "duplicate": ("duplicate", "right, but a better scored one was there before"),
  "background": ("background", "on nothing: IoU below 0.1 with every true box"),
  "both": ("class and place", "wrong class and IoU from 0.1 to below 0.5"),
}


def confusion(data: dict[str, Any], names: Sequence[str]) -> str:
  """The strongest confusions, and the matrix of their classes."""
  cells = {(row[0], row[1]): row[2] for row in data["confusion"]}
  mixed = [
    (true, found, n)
    for (true, found), n in cells.items()
    if true != found and true is not None and found is not None
  ]
  if not mixed:
    return "<p>No class was taken for another.</p>"
  objects = _sums(data["confusion"], 0)
  rows = [
    [
      names[true],
      Cell(str(names[found])),
      count(n),
      share(n / objects[true], bar=True, bad=True),
    ]
    for true, found, n in mixed[:_PAIRS]
  ]
  chosen: list[int | None] = []
  for true, found, _ in mixed:
    new = [c for c in dict.fromkeys((true, found)) if c not in chosen]
    if len(chosen) + len(new) <= _IN_MATRIX:
      chosen += new
  total = sum(n for *_, n in mixed)
  head = ("true class", "taken for", "times", "share of the class")
  return (
    f"<p>{total:,} true boxes were found with a wrong class, in"
    f" {len(mixed)} pairs of classes"
    f"{f'; the {_PAIRS} strongest are listed' * (len(mixed) > _PAIRS)}. Right"
    " pairs come first; then each true box that is left is paired with the"
    " wrong detection on it, IoU 0.5 or more.</p>"
    f"{tables.table(head, rows, sortable=True, kind='pairs')}"
    f"<h3>Matrix of the {len(chosen)} classes that are confused most</h3>"
    "<p>Row: true class; column: class of the detection. A row adds up to the"
    " objects of its class, a column to the detections.</p>"
    f"{_matrix(cells, data['confusion'], chosen, names)}"
  )


def _matrix(cells, rows, chosen, names) -> str:
  """Rows and columns of some classes, the others summed, and background."""
  objects, detections = _sums(rows, 0), _sums(rows, 1)
  labels = [names[c] for c in chosen]

  def heat(n: int, whole: int, right: bool) -> Cell:
    if not n:
      return Cell("·", 0.0)
    part = n / max(whole, 1)
    return Cell(
      str(n), n, min(1.0, part if right else 0.25 + part), bad=not right
    )

  body = []
  for true in chosen:
    row = [cells.get((true, found), 0) for found in chosen]
    missed, whole = cells.get((true, None), 0), objects.get(true, 0)
    other = whole - sum(row) - missed
    body.append(
      [
        names[true],
        *(
          heat(n, whole, true == found)
          for n, found in zip(row, chosen, strict=True)
        ),
        *(heat(n, whole, False) for n in (other, missed)),
        str(whole),
      ]
    )
  false = [cells.get((None, found), 0) for found in chosen]
  whole = [detections.get(found, 0) for found in chosen]
  other = [
    w - n - sum(cells.get((true, found), 0) for true in chosen)
    for w, n, found in zip(whole, false, chosen, strict=True)
  ]
  for name, row in (("other class", other), ("false", false)):
    heats = (heat(n, w, False) for n, w in zip(row, whole, strict=True))
    body.append([name, *heats, "", "", ""])
  body.append(["detections", *map(str, whole), "", "", ""])
  head = ["true class", *labels, "other class", "missed", "objects"]
  return tables.table(head, body, kind="matrix")


def _sums(rows, axis: int) -> dict[int | None, int]:
  sums: dict[int | None, int] = {}
  for row in rows:
    sums[row[axis]] = sums.get(row[axis], 0) + row[2]
  return sums


def errors(data: dict[str, Any]) -> str:
  """Kinds of errors: how many, and what they cost."""
  found, rows = data["errors"], []
  gains = {k: found["kinds"][k]["AP_50_gained"] for k in _KINDS}
  most = max((g for g in gains.values() if g is not None), default=0.0)
  for kind, (name, meaning) in _KINDS.items():
    entry = found["kinds"][kind]
    rows.append(
      [
        name,
        count(entry["count"]),
        share(entry["share"], bar=True, bad=True),
        tables.gain(gains[kind], most),
        Cell(meaning),
      ]
    )
  head = (
    "error",
    "number",
    "share of all",
    "AP at IoU 0.5 gained",
    "what it is",
  )
  by_class = tables.table(
    ["class", "AP .50", *(n for n, _ in _KINDS.values())]
    + [f"+AP {n}" for n, _ in _KINDS.values()],
    _errors_by_class(found["by_class"]),
    sortable=True,
  )
  return (
    "<p>Numbers are those at the threshold"
    f" {number(data['point']['threshold'])}. What a kind of error costs is the"
    " mean AP at IoU 0.5 (all detections, now"
    f" {number(found['AP_50'])}) that would be gained if all its errors, and"
    " no others, were repaired; these gains do not add up (TIDE, Bolya et al."
    " 2020).</p>"
    f"{tables.table(head, rows, kind='words')}"
    "<h3>By class</h3><p>Missed boxes count for their own class, all other"
    " errors for the class of the detection.</p>"
    '<label class="find">Find a class:<input type="search"'
    f' data-table="error-table"></label><div id="error-table">{by_class}</div>'
  )


def _errors_by_class(found: Sequence[dict[str, Any]]):
  order = sorted(found, key=lambda row: -sum(row["counts"].values()))
  return [
    [
      row["name"],
      share(row["AP_50"]),
      *(count(row["counts"][k]) for k in _KINDS),
      *(tables.gain(row["AP_50_gained"][k], 0.5, 3) for k in _KINDS),
    ]
    for row in order
  ]
