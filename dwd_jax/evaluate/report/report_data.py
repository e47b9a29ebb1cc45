"""The numbers of the report of a split: the content of report.json.

  name          of the split or the other data set
  saved         content of predictions.json: `num_detections` detections with
                scores of at least `min_score`
  point         the threshold of the report, its origin (`calibration`, or
                `these pages`: their best F1), and its figures
  classes       of each class with objects or detections: counts, precision and
                recall at the threshold, AP at every IoU; AP_rotated and
                AP_50_rotated where boxes are oriented; position_accuracy where
                symbols have positions
  curves        precision over recall, at most 200 points each: all classes
                together, the 6 most frequent classes, and the 6 with the
                lowest AP_50 among those with `min_objects` objects or more
  confusion     [truth, detection, count > 0], null = background
  errors        by kind and by class: counts at the threshold, AP_50 gained
  rotated       `point` and `errors` by the IoU of oriented boxes; only where
                truth and detections have them
  sizes         figures by the size of the objects: `px`, `staff_spaces`
  reliability   bins of raw and final scores
  pages         scores of each page in the order of the evaluation
  worst_pages   indices of pages, by rising F1, then falling errors

See `metrics.matching` and `metrics.error_analysis` for definitions. Only the
APs in `classes` depend on the protocol.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dwd_jax.core import words
from dwd_jax.core.structs import PageBoxes
from dwd_jax.evaluate.page_store import Pages
from dwd_jax.metrics import error_analysis, reliability
from dwd_jax.metrics.error_analysis import by_page
from dwd_jax.metrics.json_results import MIN_OBJECTS, or_null
from dwd_jax.metrics.matching import Outcomes
from dwd_jax.metrics.protocols import APTable, mean_or_nan

_CURVES = 6  # of each sort
_POINTS = 200  # of a curve
_WORST = 15  # pages


class Measured(NamedTuple):
  """The measurements of a split.

  Attributes:
    name: of its files.
    metrics: its summary.
    table: APs of C classes by the protocol.
    names: of the pages.
    pages: truth and detections, also those below `min_score`; each pass over
      them reads or computes them anew.
    outcomes: of the detections from `min_score` on, judged upright.
    rotated: those by the IoU of oriented boxes, where they are measured.
    staff_spaces: px of each page; NaN = unknown.
    reliability: see `reliability_bins`; {} = unknown.
    saved: min_score and num_detections of predictions.json.
  """

  name: str
  metrics: dict[str, Any]
  table: APTable
  names: Sequence[str]
  pages: Pages
  outcomes: Outcomes
  rotated: Outcomes | None
  class_names: Sequence[str]
  staff_spaces: Sequence[float]
  reliability: dict[str, Any]
  saved: dict[str, Any]

  @property
  def said(self) -> words.Words:
    """What its pages and objects are called."""
    has_staves = bool(np.isfinite(np.array(self.staff_spaces, float)).any())
    return words.of_set(self.metrics["dataset"], has_staves)


def content(measured: Measured) -> dict[str, Any]:
  """The content of report.json, see the module's docstring."""
  found = measured.outcomes
  point, source = threshold_of(measured.metrics, found)
  num_classes = len(measured.class_names)
  # Two parts, so that the detections from the threshold on are freed between.
  at_threshold = _at_threshold(measured, point.threshold)
  gains = error_analysis.error_gains(found, num_classes)
  counts = at_threshold.pop("counts")
  rotated = {}
  if measured.rotated is not None:
    rotated["rotated"] = _rotated(measured, measured.rotated, point.threshold)
  return {
    "name": measured.name,
    "saved": measured.saved,
    "point": {
      **{key: or_null(value) for key, value in point._asdict().items()},
      "from": source,
      **at_threshold.pop("point"),
    },
    "curves": _curves(measured, found, gains.ap_50),
    "errors": _errors(measured, counts, gains),
    **rotated,
    "sizes": _sizes(measured, found, point.threshold),
    "reliability": measured.reliability,
    **at_threshold,
  }


def _at_threshold(measured: Measured, threshold: float) -> dict[str, Any]:
  """Fields of the detections from a threshold on; `counts` of errors."""
  kept = measured.outcomes.at_least(threshold)
  num_classes = len(measured.class_names)
  pages, worst = _pages(measured, kept)

  def cut(found: PageBoxes) -> PageBoxes:
    found = found.at_least(measured.metrics["min_score"])
    assert found.scores is not None
    return found.keep(found.scores.astype(np.float64) >= threshold)

  upright = (page.upright() for page in measured.pages)
  cut_pages = ((true, cut(found)) for true, found in upright)
  confused = error_analysis.confusion_matrix(cut_pages, num_classes)
  return {
    "point": _counts(kept),
    "counts": error_analysis.error_counts(kept, num_classes),
    "classes": _classes(measured, kept),
    "confusion": _confusion(confused),
    "pages": pages,
    "worst_pages": worst,
  }


def _counts(kept: Outcomes) -> dict[str, int]:
  return {
    "num_detections": len(kept.labels),
    "num_right": int(kept.right.sum()),
    "num_objects": len(kept.true_labels),
  }


def _rotated(
  measured: Measured, found: Outcomes, threshold: float
) -> dict[str, Any]:
  """Figures and errors by the IoU of oriented boxes."""
  point = reliability.operating_point(found.judged(), threshold)
  kept, num_classes = found.at_least(threshold), len(measured.class_names)
  return {
    "point": {
      **{key: or_null(value) for key, value in point._asdict().items()},
      **_counts(kept),
    },
    "errors": _errors(
      measured,
      error_analysis.error_counts(kept, num_classes),
      error_analysis.error_gains(found, num_classes),
    ),
  }


def reliability_bins(
  raw: reliability.Bins, final: reliability.Bins | None
) -> dict[str, Any]:
  """The reliability diagram as JSON; `final` is calibrated."""

  def bins(found: reliability.Bins) -> dict[str, Any]:
    return {
      "count": found.count.tolist(),
      "mean_score": _list(found.mean_score),
      "precision": _list(found.precision),
    }

  return {"raw": bins(raw), "final": None if final is None else bins(final)}


def _list(values) -> list[float | None]:
  """Numbers as JSON with 6 decimals; null for NaN."""
  return [or_null(round(float(v), 6)) for v in values]


def threshold_of(
  metrics: dict[str, Any], found: Outcomes
) -> tuple[reliability.OperatingPoint, str]:
  """The threshold of the report, at least `min_score`."""
  judged = found.judged()
  if metrics["threshold"] is None:
    return reliability.best_threshold(judged), "these pages"
  threshold = max(metrics["threshold"], metrics["min_score"])
  return reliability.operating_point(judged, threshold), "calibration"


_IF_MEASURED = ("AP_rotated", "AP_50_rotated", "position_accuracy")


def _classes(measured: Measured, kept: Outcomes) -> list[dict[str, Any]]:
  num_classes = len(measured.class_names)
  objects, detections, right = (
    error_analysis.count(labels, num_classes)
    for labels in (kept.true_labels, kept.labels, kept.labels[kept.right])
  )
  per_class = measured.metrics["per_class"]
  return [
    {
      "name": name,
      "num_objects": int(objects[c]),
      "num_detections": int(detections[c]),
      "num_right": int(right[c]),
      "precision": _share(right[c], detections[c]),
      "recall": _share(right[c], objects[c]),
      "AP": per_class[name]["AP"],
      "AP_by_iou": [or_null(ap) for ap in measured.table.ap[:, c]],
      **{k: per_class[name][k] for k in _IF_MEASURED if k in per_class[name]},
    }
    for c, name in enumerate(measured.class_names)
    if objects[c] or detections[c]
  ]


def _share(part, whole) -> float | None:
  return float(part / whole) if whole else None


def _curves(measured: Measured, found: Outcomes, ap_50) -> list[dict[str, Any]]:
  counts = error_analysis.count(found.true_labels, len(ap_50))
  frequent = [c for c in np.argsort(-counts, kind="stable") if counts[c]]
  enough = np.flatnonzero(counts >= MIN_OBJECTS)
  worst = enough[np.argsort(ap_50[enough], kind="stable")]
  wanted = [("all", "all classes", None, len(found.true_labels))]
  wanted += [
    (sort, measured.class_names[c], c, int(counts[c]))
    for sort, classes in (("frequent", frequent), ("worst", worst))
    for c in classes[:_CURVES]
  ]
  curves = []
  for sort, name, label, objects in wanted:
    rows = slice(None) if label is None else found.labels == label
    given = reliability.ranked(found.scores[rows], found.right[rows])
    points = error_analysis.curve(*given, objects, _POINTS)
    ap = error_analysis.average_precision(given[1], objects)
    curves.append(
      {
        "sort": sort,
        "name": name,
        "num_objects": objects,
        "AP_50": or_null(ap),
        "scores": _list(points.scores),
        "recall": _list(points.recall),
        "precision": _list(points.precision),
      }
    )
  return curves


def _confusion(matrix) -> list[list[int | None]]:
  """[truth, detection, count] of class ids, the most frequent first."""
  background = len(matrix) - 1
  rows = [
    [None if i == background else i for i in at] + [int(matrix[tuple(at)])]
    for at in np.argwhere(matrix).tolist()
  ]
  return sorted(rows, key=lambda row: -(row[2] or 0))


def _errors(
  measured: Measured,
  counts: dict[str, np.ndarray],
  gains: error_analysis.Gains,
) -> dict[str, Any]:
  total = sum(int(count.sum()) for count in counts.values())
  kinds = {
    kind: {
      "count": int(count.sum()),
      "share": _share(count.sum(), total),
      "AP_50_gained": or_null(mean_or_nan(gains.gain[kind])),
    }
    for kind, count in counts.items()
  }
  by_class = [
    {
      "name": name,
      "AP_50": or_null(gains.ap_50[c]),
      "counts": {kind: int(counts[kind][c]) for kind in counts},
      "AP_50_gained": {k: or_null(gains.gain[k][c]) for k in counts},
    }
    for c, name in enumerate(measured.class_names)
    if any(count[c] for count in counts.values())
  ]
  return {
    "AP_50": or_null(mean_or_nan(gains.ap_50)),
    "kinds": kinds,
    "by_class": by_class,
  }


def _sizes(
  measured: Measured, found: Outcomes, threshold: float
) -> dict[str, Any]:
  result: dict[str, Any] = {"staff_spaces": None}
  tables = {"px": error_analysis.by_size(found, threshold)}
  spaces = np.array(measured.staff_spaces, float)
  if np.isfinite(spaces).any():
    tables["staff_spaces"] = error_analysis.by_size(
      found, threshold, error_analysis.STAFF_SPACE_EDGES, spaces
    )
  for unit, table in tables.items():
    result[unit] = {
      # The last edge is infinite, which JSON does not have.
      "edges": [edge if math.isfinite(edge) else None for edge in table.edges],
      "num_objects": table.num_objects.tolist(),
      "num_classes": table.num_classes.tolist(),
      "recall": _list(table.recall),
      "AP_50": _list(table.ap_50),
    }
  return result


def _pages(measured: Measured, kept: Outcomes):
  """All pages, and the indices of the worst."""
  figures = by_page(kept, len(measured.names))
  pages = [
    {
      "name": name,
      "staff_space_px": or_null(measured.staff_spaces[i]),
      "num_objects": int(figures.num_objects[i]),
      "num_detections": int(figures.num_detections[i]),
      "num_right": int(figures.num_right[i]),
      "f1": float(figures.f1[i]),
      "num_errors": int(figures.num_errors[i]),
    }
    for i, name in enumerate(measured.names)
  ]
  return pages, figures.worst_first()[:_WORST].tolist()
