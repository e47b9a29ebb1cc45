"""Renders the page that compares two detectors."""

import os
import pathlib
import urllib.parse
from collections.abc import Sequence
from typing import Any

import numpy as np

from dwd_jax.evaluate import output_files
from dwd_jax.evaluate.compare.comparison import DIFFERENT
from dwd_jax.evaluate.compare.crops import Crop
from dwd_jax.evaluate.compare.sides import Side
from dwd_jax.evaluate.report.report_page import VIEWER
from dwd_jax.metrics import bootstrap, error_analysis, reliability
from dwd_jax.show.html import charts, templates
from dwd_jax.show.viewer import write as viewer

_PAGES = 15  # listed
_POINTS = 200  # of a curve


def render(
  data: dict[str, Any],
  sides: Sequence[Side],
  crops: Sequence[Crop],
  out: pathlib.Path,
) -> str:
  """Renders the page as HTML.

  Args:
    data: content of comparison.json.
    sides: both.
    out: the folder of the page, for its links.
  """
  aps = [row["AP"] for row in data["per_class"].values()]
  return templates.render(
    "dwd_jax.evaluate.compare",
    "compare.html.j2",
    data=data,
    said=sides[0].measured.said,
    sure=sum(ap["sure"] is True for ap in aps),
    judged=sum(ap["sure"] is not None for ap in aps),
    min_pages=bootstrap.MIN_PAGES,
    charts=_charts(sides),
    crops=crops,
    pages=[
      {**row, "links": [_link(side, row["name"], out) for side in sides]}
      for row in sorted(data["pages"], key=_differences)[:_PAGES]
    ],
  )


def _differences(page: dict[str, Any]) -> int:
  """Their number on a page, negative, so that the most come first."""
  return -sum(page[key] for key in DIFFERENT)


def _link(side: Side, name: str, out: pathlib.Path) -> str:
  """The page in the evaluation's own viewer; "" = it is not there."""
  file = side.folder / output_files.picture_name(name)
  if not ((side.folder / VIEWER).is_file() and file.is_file()):
    return ""
  folder = os.path.relpath(side.folder.absolute(), out.absolute())
  path = pathlib.Path(folder, VIEWER).as_posix()
  return urllib.parse.quote(path) + viewer.page_anchor(name)


def _charts(sides: Sequence[Side]) -> list[dict[str, Any]]:
  """Precision over recall, and mAP over IoU, of both."""
  curves, by_iou = [], []
  for side in sides:
    outcomes, metrics = side.measured.outcomes, side.measured.metrics
    points = error_analysis.curve(
      *reliability.ranked(outcomes.scores, outcomes.right),
      len(outcomes.true_labels),
      _POINTS,
    )
    ring = (side.point.recall, side.point.precision)
    mark = None if np.isnan(ring).any() else ring
    recall, precision = points.recall.tolist(), points.precision.tolist()
    curves.append(charts.Line(side.name, recall, precision, mark))
    ious = [float(iou) for iou in metrics["AP_by_iou"]]
    ap = [*metrics["AP_by_iou"].values()]
    by_iou.append(charts.Line(side.name, ious, ap))
  key = [(i, side.name) for i, side in enumerate(sides, 1)]
  return [
    {
      "title": title,
      "chart": charts.lines(title, lines, *axes, first=1),
      "key": key,
    }
    for title, lines, axes in (
      ("Precision and recall, all classes", curves, ("recall", "precision")),
      ("mAP by IoU", by_iou, ("IoU", "mAP")),
    )
  ]
