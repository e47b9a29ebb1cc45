"""report.html: one file, nothing from outside, from the numbers alone."""

import importlib.resources
import string
from collections.abc import Collection, Sequence
from typing import Any

from dwd_jax.evaluate.report import report_errors
from dwd_jax.evaluate.report import report_sections as sections
from dwd_jax.evaluate.report.tables import number, text

VIEWER = "index.html"  # beside the report


def render(
  metrics: dict[str, Any],
  data: dict[str, Any],
  class_names: Sequence[str],
  in_viewer: Collection[str],
) -> str:
  """The whole page.

  Args:
    metrics: the summary, `<split>.json`.
    data: the content of report.json, see `report_data`.
    class_names: C names; any text.
    in_viewer: names of the pages that the viewer has.

  Returns:
    HTML, light or dark as the reader's system is; it can be printed.
  """
  title = f"{metrics['dataset']}, {data['name']}"
  parts = (
    ("classes", "Classes", sections.classes(data, metrics)),
    ("curves", "Precision and recall", sections.curves(data, metrics)),
    ("errors", "Errors", report_errors.errors(data)),
    ("confusion", "Confusions", report_errors.confusion(data, class_names)),
    ("sizes", "Sizes", sections.sizes(data)),
    ("scores", "Scores", sections.calibration(data, metrics)),
    ("pages", "Worst pages", sections.pages(data, in_viewer, VIEWER)),
  )
  links = "".join(f'<a href="#{key}">{name}</a>' for key, name, _ in parts)
  if in_viewer:
    links += f'<a href="{VIEWER}">All pages in the viewer</a>'
  body = [
    f"<header><h1>{text(title)}</h1>{_subtitle(metrics)}</header>",
    _cards(metrics, data),
    _facts(metrics, data),
    f'<nav aria-label="Sections">{links}</nav>',
    *(
      f'<section id="{key}"><h2>{name}</h2>{content}</section>'
      for key, name, content in parts
    ),
    "<footer>Made by dwd_jax. docs/report.md says how each number is defined;"
    " report.json has all of them, and"
    f" {text(data['name'])}.json the summary.</footer>",
  ]
  return _template("report.html").substitute(
    title=text(f"Evaluation: {title}"),
    style=_read("report.css"),
    script=_read("report.js"),
    body="\n".join(body),
  )


def _read(name: str) -> str:
  folder = importlib.resources.files("dwd_jax.evaluate.report")
  return (folder / name).read_text(encoding="utf8").rstrip()


def _template(name: str) -> string.Template:
  return string.Template(_read(name) + "\n")


def _subtitle(metrics: dict[str, Any]) -> str:
  return (
    f'<p class="soft">Evaluation of step {metrics["checkpoint_step"]:,} on'
    f" {metrics['num_pages']:,} pages with {metrics['num_objects']:,}"
    " objects</p>"
  )


def _cards(metrics: dict[str, Any], data: dict[str, Any]) -> str:
  """The numbers that matter most."""
  point = data["point"]
  cards = [
    ("mAP, IoU 0.50–0.95", number(metrics["mAP"])),  # noqa: RUF001
    ("mAP at IoU 0.5", number(metrics["mAP_50"])),
    ("precision", number(point["precision"])),
    ("recall", number(point["recall"])),
    ("F1", number(point["f1"])),
    ("threshold", number(point["threshold"])),
  ]
  parts = (
    f'<div class="card"><b>{value}</b><span>{name}</span></div>'
    for name, value in cards
  )
  return f'<div class="cards">{"".join(parts)}</div>'


def _facts(metrics: dict[str, Any], data: dict[str, Any]) -> str:
  """What was measured, and how."""
  point = data["point"]
  where = {
    "calibration": "stored with the checkpoint",
    "these pages": "best F1 on these very pages, as there is none of a"
    " calibration; precision and recall look better for it",
  }[point["from"]]
  low = metrics["threshold"]
  if low is not None and low < metrics["min_score"]:
    where = f"the least score; that of the calibration, {low:.3f}, is lower"
  scores = f"raw; expected calibration error {number(metrics['ece_raw'])}"
  if metrics["calibrated"]:
    scores = (
      "calibrated; expected calibration error"
      f" {number(metrics['ece_raw'])} raw, {number(metrics['ece'])} calibrated"
    )
  full = metrics["overflowing_pages"]
  rows = {
    "Data set": f"{metrics['dataset']}, split {metrics['split']}",
    "Protocol": metrics["protocol"],
    "Detections": f"{metrics['num_detections']:,} from score"
    f" {metrics['min_score']:g} on; {point['num_detections']:,} from the"
    f" threshold on, {point['num_right']:,} of them right (class, IoU 0.5)",
    "Threshold": f"{number(point['threshold'])}, {where}",
    "Scores": scores,
    "Other means": f"AP at IoU 0.5 weighted by objects"
    f" {number(metrics['AP_50_weighted'])}; mean of the classes with"
    f" {metrics['min_objects']} objects or more"
    f" {number(metrics['mAP_50_min10'])}",
    "Time": f"{number(metrics['seconds_per_page'])} s per page",
  }
  if "vocabularies" in metrics:
    left = sum(metrics["unmapped_detections"].values())
    run, of_set = metrics["vocabularies"]
    rows["Classes"] = (
      f"those that the run ({run or 'own names'}) and the set"
      f" ({of_set or 'own names'}) have in common; {left:,} detections of other"
      " classes are left out"
    )
  if full:
    rows["Full pages"] = (
      f"{len(full)} with more objects than the decode has slots:"
      f" {', '.join(full[:5])}{', ...' * (len(full) > 5)}"
    )
  parts = (
    f"<dt>{text(key)}</dt><dd>{text(value)}</dd>" for key, value in rows.items()
  )
  return f"<dl>{''.join(parts)}</dl>"
