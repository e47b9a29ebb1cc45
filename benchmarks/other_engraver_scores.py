"""Scores of a detector on a folder of pages in the layout of DeepScores.

  python -m benchmarks.other_engraver_scores PAGES [--checkpoint=W] \
  [--json=FILE]

Detects as `python -m dwd_jax.detect` does, each page at its own measured staff
space. The JSON has the fields of an evaluation (docs/evaluation.md), and by
class what is missed and what is wrong at the detector's threshold.
"""

import argparse
import collections
import json
import pathlib
import sys
import time
from typing import Any

import numpy as np

from dwd_jax.core.structs import PageBoxes
from dwd_jax.metrics import (
  json_results,
  matching,
  pairs,
  protocols,
  reliability,
)
from dwd_jax.predict import packaged
from dwd_jax.predict.detector import Detector
from dwd_jax.predict.page_detections import PageDetections
from tfds_builders import checks
from tfds_builders.deepscores import deepscores_parsing

_MIN_SCORE = 0.05  # as `eval.min_score`
_CONFIG = "dense_2017"
_SHOWN = 20  # classes in the lists of errors
_NEAR = 0.3  # IoU of a symbol with what it is taken for


def judge(folder: pathlib.Path, checkpoint: str = "") -> dict[str, Any]:
  """Detects on all pages of a folder and measures.

  Classes are those of the folder; detections of others do not count.

  Args:
    checkpoint: "" = the packaged detector.

  Raises:
    InputError: no such folder or checkpoint, or broken pages.
  """
  options, report = deepscores_parsing.Options(), checks.BuildReport()
  pages = deepscores_parsing.read_data_set(folder, _CONFIG, options, report)
  names = pages.class_names
  files = [page for split in pages.splits.values() for page in split]
  detector = Detector(packaged.weights_of(checkpoint), min_score=_MIN_SCORE)
  threshold = detector.weights.threshold
  meter, collector = protocols.meter("coco", names), matching.Collector()
  errors: dict[str, collections.Counter[str]] = {
    key: collections.Counter() for key in ("missed", "wrong")
  }
  seconds = []
  for file in files:
    page = deepscores_parsing.read_page(file, names, options, report)
    truth = PageBoxes(file.name, page.ink.shape, page.boxes_yxyx, page.labels)
    start = time.perf_counter()
    found = _boxes(detector(file.name, page.ink), names)
    seconds.append(time.perf_counter() - start)
    meter.add(truth, found)
    collector.add(truth, found, matching.judge_page(truth, found))
    _count(truth, found.at_least(threshold), names, errors)
  outcomes = collector.outcomes()
  point = reliability.operating_point(outcomes.judged(), threshold)
  inputs = json_results.SummaryInputs(meter.table(), outcomes, names)
  facts: dict[str, Any] = {
    **dict.fromkeys(json_results.SUMMARY),
    "dataset": "deepscores",
    "dataset_config": _CONFIG,
    "split": folder.name,
    "num_pages": len(files),
    "protocol": "coco",
    "seconds_per_page": float(np.median(seconds)),
    "checkpoint_step": 0,
    "min_score": _MIN_SCORE,
    "overflowing_pages": [],
    "calibrated": True,
    **point._asdict(),
  }
  return {
    **json_results.summary(inputs, facts),
    **{f"{key}_most": dict(c.most_common(_SHOWN)) for key, c in errors.items()},
  }


def _boxes(page: PageDetections, names: tuple[str, ...]) -> PageBoxes:
  """Detections by the ids of other class names."""
  ids = {name: i for i, name in enumerate(names)}
  labels = np.array([ids.get(name, -1) for name in page.names], np.int64)
  found = PageBoxes(
    page.page, page.image_hw, page.boxes_yxyx, labels, page.scores
  )
  return found.keep(labels >= 0)


def _count(
  truth: PageBoxes,
  found: PageBoxes,
  names: tuple[str, ...],
  errors: dict[str, collections.Counter[str]],
) -> None:
  """Counts, as `TRUE -> FOUND`, what is not right at IoU 0.5."""
  matches = matching.match(truth, found)
  missed, wrong = truth.keep(~matches.found), found.keep(~matches.hit)
  for one, others, key in ((missed, found, "missed"), (wrong, truth, "wrong")):
    overlaps = pairs.overlapping(one.boxes_yxyx, others.boxes_yxyx, _NEAR)
    _, nearest = pairs.best(overlaps, len(one.labels))
    for label, other in zip(one.labels, nearest, strict=True):
      of, by = names[label], names[others.labels[other]] if other >= 0 else "-"
      pair = (of, by) if key == "missed" else (by, of)
      errors[key][" -> ".join(pair)] += 1


def main(argv: list[str]) -> None:
  """Judges, and prints JSON."""
  parser = argparse.ArgumentParser(description="Scores on a folder of pages")
  parser.add_argument("pages", type=pathlib.Path, help="folder")
  parser.add_argument("--checkpoint", default="", help='"" = the packaged one')
  parser.add_argument("--json", default="", help="file to write the JSON to")
  args = parser.parse_args(argv)
  text = json.dumps(judge(args.pages, args.checkpoint), indent=2)
  print(text)
  if args.json:
    pathlib.Path(args.json).write_text(text + "\n", encoding="utf8")


if __name__ == "__main__":
  main(sys.argv[1:])
