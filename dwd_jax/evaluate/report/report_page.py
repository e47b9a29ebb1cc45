"""Renders report.html from its numbers and report.html.j2."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from dwd_jax.core import words
from dwd_jax.show.html import charts, templates
from dwd_jax.show.html.templates import number
from dwd_jax.show.viewer import write as viewer

VIEWER = "index.html"  # beside the report
_PAIRS = 30  # most frequent confusions in the table
_IN_MATRIX = 26  # classes in the matrix
_CURVES = {
  "all": "All classes together",
  "frequent": "The most frequent classes",
  "worst": "The classes with the lowest AP at IoU 0.5",
}


def render(
  metrics: dict[str, Any],
  data: dict[str, Any],
  class_names: Sequence[str],
  in_viewer: Collection[str],
  said: words.Words,
) -> str:
  """Renders the page as HTML, light or dark like the reader's system.

  Args:
    metrics: content of `<split>.json`.
    data: content of report.json, see `report_data`.
    in_viewer: names of the pages in the viewer.
    said: what pages are called.
  """
  rotated = "rotated" in data
  return templates.render(
    "dwd_jax.evaluate.report",
    "report.html.j2",
    metrics=metrics,
    data=data,
    said=said,
    viewer=VIEWER if in_viewer else "",
    curves=_curves(metrics, data),
    errors_by_class={
      "upright": _most_first(data["errors"]),
      "rotated": _most_first(data["rotated"]["errors"]) if rotated else [],
    },
    confusion=_confusion(data["confusion"], class_names),
    sizes=_sizes(data["sizes"], said),
    scores=_scores(metrics, data["reliability"]),
    worst_pages=[
      {**row, "link": _link(row["name"]) if row["name"] in in_viewer else ""}
      for row in (data["pages"][i] for i in data["worst_pages"])
    ],
  )


def _most_first(errors: dict[str, Any]) -> list[dict[str, Any]]:
  """Errors by class, the most first."""
  return sorted(
    errors["by_class"], key=lambda row: -sum(row["counts"].values())
  )


def _link(name: str) -> str:
  return VIEWER + viewer.page_anchor(name)


def _curves(metrics: dict, data: dict) -> list[dict[str, Any]]:
  """Precision over recall of some classes, and mAP over IoU."""
  point, made = data["point"], []
  for sort, title in _CURVES.items():
    chosen = [c for c in data["curves"] if c["sort"] == sort]
    if not chosen:
      continue
    mark, first = None, int(sort != "all")
    if sort == "all" and point["recall"] is not None:
      mark = (point["recall"], point["precision"] or 0.0)
    given = [
      charts.Line(c["name"], c["recall"], c["precision"], mark) for c in chosen
    ]
    chart = charts.lines(title, given, "recall", "precision", first=first)
    texts = (
      f"{c['name']}: AP {number(c['AP_50'])}, {c['num_objects']:,} objects"
      for c in chosen
    )
    key = [*enumerate(texts, start=first)]
    made.append({"title": title, "chart": chart, "key": key})
  means = {"mAP": metrics, "mAP of oriented boxes": metrics.get("rotated")}
  given = [
    charts.Line(
      name, [float(iou) for iou in of["AP_by_iou"]], [*of["AP_by_iou"].values()]
    )
    for name, of in means.items()
    if of
  ]
  texts = (f"{line.name}, by the IoU that a hit needs" for line in given)
  made.append(
    {
      "title": "How exact the boxes are",
      "chart": charts.lines("mAP by IoU", given, "IoU", "mAP", first=1),
      "key": [*enumerate(texts, start=1)],
    }
  )
  return made


def _confusion(
  rows: Sequence[Sequence[Any]], names: Sequence[str]
) -> dict[str, Any]:
  """The most frequent confusions, and the matrix of their classes."""
  mixed = [row for row in rows if row[0] != row[1] and None not in row[:2]]
  objects = np.zeros(len(names), int)
  for true, _, times in rows:
    if true is not None:
      objects[true] += times
  chosen: dict[int, None] = {}
  for true, found, _ in mixed:
    if len({*chosen, true, found}) <= _IN_MATRIX:
      chosen |= {true: None, found: None}
  # The last two rows are all other classes, and background.
  size = len(chosen)
  places = {c: i for i, c in enumerate(chosen)} | {None: size + 1}
  cells = np.zeros((size + 2, size + 2), int)
  for true, found, times in rows:
    cells[places.get(true, size), places.get(found, size)] += times
  return {
    "total": sum(times for *_, times in mixed),
    "num_pairs": len(mixed),
    "pairs": [
      (names[true], names[found], times, times / objects[true])
      for true, found, times in mixed[:_PAIRS]
    ],
    "names": [names[c] for c in chosen],
    "cells": cells.tolist(),
  }


def _sizes(found: dict[str, Any], said: words.Words) -> list[dict[str, Any]]:
  """Recall and AP by the size of the objects."""
  made = []
  for unit, title, axis in (
    ("px", f"In pixels of the {said.image}", "px"),
    ("staff_spaces", "In staff spaces", "staff spaces"),
  ):
    table = found[unit]
    used = np.flatnonzero(table["num_objects"]) if table else ()
    if not len(used):
      continue
    keys = ("num_objects", "num_classes", "recall", "AP_50")
    columns = [charts.size_names(table["edges"]), *(table[key] for key in keys)]
    columns = [column[used[0] : used[-1] + 1] for column in columns]
    names, _, _, recall, ap = columns
    chart = charts.bars(
      title,
      names,
      [("recall", recall), ("AP at IoU 0.5", ap)],
      f"square root of the area, {axis}",
    )
    rows = [*zip(*columns, strict=True)]
    made.append({"title": title, "chart": chart, "rows": rows})
  return made


def _scores(metrics: dict, found: dict[str, Any]) -> list[dict[str, Any]]:
  """Reliability of raw and calibrated scores."""
  made = []
  for kind, name, ece, threshold, colour in (
    ("raw", "raw score", "ece_raw", None, 2),
    ("final", "calibrated probability", "ece", metrics["threshold"], 1),
  ):
    bins = found.get(kind)
    if bins is None:
      continue
    chart = charts.reliability(
      name, bins["precision"], bins["mean_score"], threshold, colour
    )
    title = f"{name}: expected calibration error {number(metrics[ece])}"
    made.append({"title": title, "chart": chart, "count": sum(bins["count"])})
  return made
