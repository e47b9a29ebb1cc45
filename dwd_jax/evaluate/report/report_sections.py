"""Sections of the report on classes, sizes, scores, pages: JSON -> HTML."""

import urllib.parse
from collections.abc import Collection
from typing import Any

from dwd_jax.evaluate.report import charts, tables
from dwd_jax.evaluate.report.tables import Cell, count, number, share, text
from dwd_jax.metrics.flat_boxes import IOUS


def classes(data: dict[str, Any], metrics: dict[str, Any]) -> str:
  """AP of every class at every IoU."""
  head = ["class", "objects", "detections", "precision", "recall", "AP"]
  head += [f"{iou:.2f}".lstrip("0") for iou in IOUS]
  rows = [
    [
      row["name"],
      count(row["num_objects"]),
      count(row["num_detections"]),
      share(row["precision"], heat=True),
      share(row["recall"], heat=True),
      share(row["AP"], heat=True),
      *(share(ap, heat=True) for ap in row["AP_by_iou"]),
    ]
    for row in sorted(data["classes"], key=lambda r: -r["num_objects"])
  ]
  point = data["point"]
  foot = [
    "all (AP: mean of the classes)",
    count(point["num_objects"]),
    count(point["num_detections"]),
    share(point["precision"]),
    share(point["recall"]),
    share(metrics["mAP"]),
    *map(share, metrics["AP_by_iou"].values()),
  ]
  table = tables.table(head, rows, sortable=True, foot=foot)
  absent, more = len(metrics["per_class"]) - len(rows), ""
  if absent:
    more = f" {absent} more classes have neither objects nor detections here."
  return (
    "<p>Click on a column to sort by it. Objects, detections, precision and"
    f" recall are those at the threshold {number(point['threshold'])} and IoU"
    f" 0.5; AP is the mean of the columns .50 to .95, by the protocol"
    f" {text(metrics['protocol'])}.{more}</p>"
    '<label class="find">Find a class:<input type="search"'
    ' data-table="class-table"></label>'
    f'<div id="class-table">{table}</div>'
  )


def curves(data: dict[str, Any], metrics: dict[str, Any]) -> str:
  """Precision over recall of some classes, and mAP over IoU."""
  point, parts = data["point"], []
  for sort, title in (
    ("all", "All classes together"),
    ("frequent", "The most frequent classes"),
    ("worst", "The classes with the lowest AP at IoU 0.5"),
  ):
    chosen = [c for c in data["curves"] if c["sort"] == sort]
    if not chosen:
      continue
    mark = None
    if sort == "all" and point["recall"] is not None:
      mark = (point["recall"], point["precision"] or 0.0)
    first = 0 if sort == "all" else 1
    given = [
      charts.Line(c["name"], c["recall"], c["precision"], mark) for c in chosen
    ]
    chart = charts.lines(title, given, "recall", "precision", first)
    key = "".join(
      f'<li class="c{i}"><i></i>{text(c["name"])}: AP {number(c["AP_50"])},'
      f" {c['num_objects']:,} objects</li>"
      for i, c in enumerate(chosen, start=first)
    )
    parts.append(
      f'<figure><h3>{title}</h3>{chart}<ul class="key">{key}</ul></figure>'
    )
  by_iou = metrics["AP_by_iou"]
  line = charts.Line("mAP", [float(iou) for iou in by_iou], [*by_iou.values()])
  chart = charts.lines("mAP by IoU", [line], "IoU", "mAP", first=1)
  parts.append(
    f"<figure><h3>How exact the boxes are</h3>{chart}"
    '<ul class="key"><li class="c1"><i></i>mAP, by the IoU that a right'
    " detection needs</li></ul></figure>"
  )
  return (
    "<p>Precision and recall at IoU 0.5. The ring is the threshold"
    f" {number(point['threshold'])}. The worst classes are chosen among those"
    " with 10 objects or more; rarer ones say little.</p>"
    f'<div class="charts">{"".join(parts)}</div>'
  )


def sizes(data: dict[str, Any]) -> str:
  """Recall and AP by the size of the objects."""
  parts = []
  for unit, title, name in (
    ("px", "In pixels of the page", "square root of the area, px"),
    (
      "staff_spaces",
      "In staff spaces",
      "square root of the area, staff spaces",
    ),
  ):
    table = data["sizes"][unit]
    if table is None:
      continue
    names = charts.size_names(table["edges"])
    used = [i for i, n in enumerate(table["num_objects"]) if n]
    if not used:
      continue
    shown = range(used[0], used[-1] + 1)
    series = [
      ("recall", [table["recall"][i] for i in shown]),
      ("AP at IoU 0.5", [table["AP_50"][i] for i in shown]),
    ]
    chart = charts.bars(title, [names[i] for i in shown], series, name, "")
    rows = [
      [
        names[i],
        count(table["num_objects"][i]),
        count(table["num_classes"][i]),
        share(table["recall"][i], heat=True),
        share(table["AP_50"][i], heat=True),
      ]
      for i in shown
    ]
    head = ("size", "objects", "classes", "recall", "AP at IoU 0.5")
    parts.append(
      f"<figure><h3>{title}</h3>{chart}"
      '<ul class="key"><li class="c1"><i></i>recall</li>'
      '<li class="c2"><i></i>AP at IoU 0.5, mean of the classes</li></ul>'
      f"{tables.table(head, rows)}</figure>"
    )
  return (
    "<p>Recall is that at the threshold"
    f" {number(data['point']['threshold'])}; AP is the mean of the classes"
    " that have objects of this size.</p>"
    f'<div class="charts">{"".join(parts)}</div>'
  )


def calibration(data: dict[str, Any], metrics: dict[str, Any]) -> str:
  """Reliability of raw and calibrated scores."""
  found, parts = data["reliability"], []
  for kind, name, ece, colour in (
    ("raw", "raw score", metrics["ece_raw"], 1),
    ("final", "calibrated probability", metrics["ece"], 0),
  ):
    bins = found.get(kind)
    if bins is None:
      continue
    threshold = metrics["threshold"] if kind == "final" else None
    chart = charts.reliability(
      name, bins["precision"], bins["mean_score"], name, threshold, colour
    )
    parts.append(
      f"<figure><h3>{name}: expected calibration error {number(ece)}</h3>"
      f"{chart}<figcaption>{sum(bins['count']):,} detections</figcaption>"
      "</figure>"
    )
  if not parts:
    return "<p>Not known for these saved detections.</p>"
  return (
    "<p>Of the detections with a score, the share that is right (class, IoU"
    " 0.5); all detections count, whatever their score. Scores that are"
    " probabilities lie on the diagonal.</p>"
    f'<div class="charts">{"".join(parts)}</div>'
  )


def pages(data: dict[str, Any], shown: Collection[str], viewer: str) -> str:
  """The worst pages, linked into the viewer where they are in it."""
  rows = []
  for i in data["worst_pages"]:
    page = data["pages"][i]
    link = ""
    if page["name"] in shown:
      # What is no Unicode at all (a lone surrogate) has no address.
      name = urllib.parse.quote(page["name"], safe="", errors="replace")
      link = f"{viewer}#page={name}"
    right = page["num_right"]
    rows.append(
      [
        Cell(page["name"], link=link),
        share(page["f1"], bar=True),
        count(page["num_objects"]),
        count(right),
        count(page["num_objects"] - right),
        count(page["num_detections"] - right),
      ]
    )
  if not rows:
    return "<p>There are no pages.</p>"
  without = sum(
    data["pages"][i]["name"] not in shown for i in data["worst_pages"]
  )
  hint = ""
  if without:
    hint = (
      f" {without} of them are not in the viewer; eval.viewer_pages says how"
      " many are."
    )
  head = ("page", "F1", "objects", "found", "not found", "wrong")
  return (
    f"<p>The {len(rows)} pages with the lowest F1 at the threshold; of equal"
    f" ones first the one with more errors.{hint}</p>"
    f"{tables.table(head, rows, sortable=True)}"
  )
