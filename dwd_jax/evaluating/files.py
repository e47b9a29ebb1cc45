"""The files of an evaluation: lists, COCO files, pictures, the summary."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dwd_jax import files, visualize
from dwd_jax.metrics import report
from dwd_jax.metrics.pages import APTable
from dwd_jax.pages.assemble import PagePrediction
from dwd_jax.structs import PageBoxes
from dwd_jax.visualize import Picture


def draw(
  truth: Sequence[PageBoxes],
  detections: Sequence[PageBoxes],
  predictions: Sequence[PagePrediction],
  class_names: Sequence[str],
  min_score: float,
) -> dict[str, Picture]:
  """Pictures of the first pages by name: NAME-overlay and NAME-energy.

  Args:
    truth: of the pages.
    detections: of the same pages, with scores.
    predictions: of the pages to draw, with their energy levels.
    class_names: C names.
    min_score: detections below are not drawn.
  """
  pictures = {}
  for true, found, prediction in zip(
    truth, detections, predictions, strict=False
  ):
    stem = pathlib.PurePath(true.filename).stem
    ink, levels = prediction.ink, prediction.levels
    assert levels is not None
    pictures[f"{stem}-overlay"] = visualize.overlay(
      ink, true, found, class_names, min_score=min_score
    )
    pictures[f"{stem}-energy"] = visualize.energy_picture(ink, levels)
  return pictures


def write(
  out_dir: pathlib.Path,
  name: str,
  metrics: dict[str, Any],
  table: APTable,
  truth: Sequence[PageBoxes],
  detections: Sequence[PageBoxes],
  class_names: Sequence[str],
  pictures: dict[str, np.ndarray],
) -> None:
  """Writes everything; the summary last, when all the others are there.

  Args:
    out_dir: WORKDIR/eval.
    name: of the split's files.
    metrics: the summary.
    table: APs of C classes.
    truth: of the pages.
    detections: of the same pages, with scores.
    class_names: C names.
    pictures: by name.
  """
  for picture_name, picture in pictures.items():
    visualize.save(out_dir / name / f"{picture_name}.png", picture)
  image_ids = {page.filename: i for i, page in enumerate(truth, start=1)}
  texts = report.ap_lists(table, class_names)
  texts["predictions.json"] = json.dumps(
    report.coco_results(detections, image_ids), allow_nan=False
  )
  for file, text in texts.items():
    files.write_atomic(out_dir / name / file, text)
    files.write_atomic(out_dir / file, text)
  files.write_atomic(
    out_dir / name / "truth.json",
    json.dumps(report.coco_truth(truth, class_names), allow_nan=False),
  )
  files.write_atomic(
    out_dir / f"{name}.json",
    json.dumps(metrics, indent=2, allow_nan=False) + "\n",
  )
