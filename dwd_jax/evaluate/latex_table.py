"""AP of every class as a LaTeX table, of one evaluation or several."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

NAME = "classes.tex"
_ROWS = 45  # of a table that fits a page; more become a longtable
_SPECIAL = {
  "\\": r"\textbackslash{}",
  "~": r"\textasciitilde{}",
  "^": r"\textasciicircum{}",
  "<": r"\textless{}",
  ">": r"\textgreater{}",
  "|": r"\textbar{}",
  # A row that starts with one of these would be taken for an option of \\.
  "[": "{[}",
  "]": "{]}",
  "*": "{*}",
} | {c: f"\\{c}" for c in "{}$&#_%"}


def escape(text: str) -> str:
  """Text as LaTeX prints it; control characters become spaces."""
  text = " ".join(
    re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", " ", text).split()
  )
  return "".join(_SPECIAL.get(c, c) for c in text)


def class_table(evaluations: Mapping[str, Mapping[str, Any]]) -> str:
  r"""The table, for \input; needs booktabs, and longtable if it is long.

  Classes with objects, the most frequent first, then the mean and the mean
  weighted by objects, as in the original's evaluation2latex.py.

  Args:
    evaluations: {name: content of <split>.json}, of the same objects. The name
      of a single one is not shown.
  """
  summaries = list(evaluations.values())
  first = summaries[0]["per_class"]
  shown = [name for name in first if first[name]["num_objects"]]
  shown.sort(key=lambda name: -first[name]["num_objects"])
  values = {
    name: [
      of["per_class"][name][k] for of in summaries for k in ("AP", "AP_50")
    ]
    for name in shown
  }
  objects = [first[name]["num_objects"] for name in shown]

  lines = [r"\toprule"]
  if len(summaries) > 1:
    names = [rf"\multicolumn{{2}}{{c}}{{{escape(n)}}}" for n in evaluations]
    lines.append(_row("", "", *names))
    starts = range(3, 3 + 2 * len(names), 2)
    lines.append("".join(rf"\cmidrule(lr){{{c}-{c + 1}}}" for c in starts))
  lines.append(_row("Class", "Objects", *["AP", "AP$_{50}$"] * len(summaries)))
  lines.append(r"\midrule")
  kind, packages = "tabular", "booktabs"
  if len(shown) > _ROWS:
    kind, packages = "longtable", "booktabs,longtable"
    lines.append(r"\endhead")
  for name, count in zip(shown, objects, strict=True):
    lines.append(_row(escape(name), count, *values[name]))
  if shown:
    aps = np.array([*values.values()])
    lines.append(r"\midrule")
    lines.append(_row("Mean", "", *aps.mean(axis=0)))
    weighted = np.average(aps, axis=0, weights=objects)
    lines.append(_row("Weighted mean", sum(objects), *weighted))
  lines.append(r"\bottomrule")

  about = (summaries[0][key] for key in ("dataset", "split", "protocol"))
  return "\n".join(
    [
      rf"% {escape(', '.join(about))}; \usepackage{{{packages}}}",
      rf"\begin{{{kind}}}{{lr{'rr' * len(summaries)}}}",
      *lines,
      rf"\end{{{kind}}}",
      "",
    ]
  )


def _row(*cells: str | float) -> str:
  """A row; fractions have three digits."""
  texts = (f"{c:.3f}" if isinstance(c, float) else str(c) for c in cells)
  return " & ".join(texts) + r" \\"
