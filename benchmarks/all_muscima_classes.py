"""All classes of MUSCIMA++ v2.0: staves from traced lines, the rest detected.

python -m benchmarks.all_muscima_classes MUSCIMA [--split=heldout] \
  [--checkpoint=W] [--pages=N] [--json=FILE]

Without a checkpoint only the four classes of staves are judged, and groups are
found by the braces, brackets and barlines of the truth; with one, by those that
it finds, and all classes count. AP is COCO's.
"""

import argparse
import json
import pathlib
import sys
import time
from typing import Any

import numpy as np

from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageBoxes
from dwd_jax.metrics import protocols
from dwd_jax.predict import packaged, staff_symbols
from dwd_jax.predict import staves as staves_lib
from dwd_jax.predict.detector import Detector
from tfds_builders import checks
from tfds_builders.muscima_pp import muscima_pp_parsing as parsing

_MIN_SCORE = 0.05  # as `eval.min_score`


def judge(
  root: pathlib.Path, split: str, checkpoint: str = "", most: int = 0
) -> dict[str, Any]:
  """Finds the symbols of the pages of a split, and measures.

  Args:
    root: MUSCIMA++ v2.0.
    checkpoint: "" = none: only staves are judged.
    most: pages; 0 = all.

  Raises:
    InputError: no such folder, split or checkpoint, or a bad page.
  """
  options, report = parsing.Options(), checks.BuildReport()
  data = parsing.read_data_set(root, "v2.0", options, report)
  if split not in data.splits:
    raise InputError(
      f"{root}: no split {split!r}; use {', '.join(data.splits)}"
    )
  detector = None
  if checkpoint:
    detector = Detector(packaged.weights_of(checkpoint), min_score=_MIN_SCORE)
  meter, seconds = protocols.meter("coco", data.class_names), []
  pages = data.splits[split][: most or None]
  for page in pages:
    read = parsing.read_page(page, data.class_names, options, report)
    ink = 255 - read.ink  # white on black
    truth = PageBoxes(page.name, ink.shape, read.boxes_yxyx, read.labels)
    start = time.perf_counter()
    found = _found(truth, ink, data.class_names, detector)
    seconds.append(time.perf_counter() - start)
    meter.add(truth, found)
  table = meter.table()
  rows = {
    name: {
      "AP": round(float(table.per_class()[i]), 4),
      "AP_50": round(float(table.ap[0, i]), 4),
      "num_objects": int(table.num_objects[i]),
    }
    for i, name in enumerate(data.class_names)
    if table.num_objects[i] and (detector or name in staff_symbols.NAMES)
  }
  return {
    "split": split,
    "num_pages": len(pages),
    "classes": len(rows),
    "mAP": round(float(np.mean([row["AP"] for row in rows.values()])), 4),
    "mAP_50": round(float(np.mean([row["AP_50"] for row in rows.values()])), 4),
    "seconds_per_page": round(float(np.median(seconds)), 3),
    "per_class": rows,
  }


def _found(
  truth: PageBoxes,
  ink: np.ndarray,
  names: tuple[str, ...],
  detector: Detector | None,
) -> PageBoxes:
  """Symbols of staves, and those of a detector, by the ids of `names`."""
  ids = {name: i for i, name in enumerate(names)}
  if detector is None:
    staves = staves_lib.find(ink)
    lines = staves.traced(staves.applied(ink), truth.image_hw)
    signs = {
      name: np.asarray(truth.boxes_yxyx[truth.labels == ids[name]], np.float64)
      for name in (*staff_symbols.SIGNS, "barline")
    }
    symbols = staff_symbols.find(lines, truth.image_hw, signs)
    boxes, labels, scores = np.zeros((0, 4)), [], []
  else:
    page = detector(truth.filename, ink)
    symbols = page.staff_symbols()
    known = np.array([ids.get(name, -1) for name in page.names], np.int64)
    boxes, labels = page.boxes_yxyx[known >= 0], known[known >= 0].tolist()
    scores = page.scores[known >= 0].tolist()
  own = np.array([s.box_yxyx for s in symbols], float).reshape(-1, 4)
  labels = [*labels, *(ids[s.name] for s in symbols)]
  scores = [*scores, *[1.0] * len(symbols)]
  return PageBoxes(
    truth.filename,
    truth.image_hw,
    np.concatenate([boxes, own]).astype(np.float32),
    np.array(labels, np.int64),
    np.array(scores, np.float32),
  )


def main(argv: list[str]) -> None:
  """Judges, and prints JSON."""
  parser = argparse.ArgumentParser(description="All classes of MUSCIMA++ v2.0")
  parser.add_argument("muscima", type=pathlib.Path, help="folder")
  parser.add_argument("--split", default="heldout")
  parser.add_argument("--checkpoint", default="", help='"" = staves only')
  parser.add_argument("--pages", type=int, default=0, help="0 = all")
  parser.add_argument("--json", default="", help="file to write the JSON to")
  args = parser.parse_args(argv)
  found = judge(args.muscima, args.split, args.checkpoint, args.pages)
  text = json.dumps(found, indent=2)
  print(text)
  if args.json:
    pathlib.Path(args.json).write_text(text + "\n", encoding="utf8")


if __name__ == "__main__":
  main(sys.argv[1:])
