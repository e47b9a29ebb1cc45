"""How often `detect` reads the place of a notehead on its staff rightly.

python -m benchmarks.staff_positions --records=DIR [--split=val] [--pages=N] \
  [--checkpoint=FILE] [--degrade=scan|photo] [--strength=1.0] [--json=FILE]

DIR are the records of a run on generated pages, such as
WORKDIR/data/deepscores/engraved/2.0.0. Pages are predicted as `detect` does,
at the scale of each staff; judged are the detected noteheads (class, IoU 0.5)
whose place is known.
"""

import argparse
import sys
from typing import Any

import numpy as np

from benchmarks import common
from dwd_jax.core.box_index import filename_of
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import NO_POSITION, PageBoxes
from dwd_jax.data import sources
from dwd_jax.imaging import degrade
from dwd_jax.metrics import matching
from dwd_jax.metrics.positions import PositionMeter
from dwd_jax.predict import packaged
from dwd_jax.predict.detector import Detector


def truth_of(source: sources.PageSource, i: int) -> PageBoxes:
  """The boxes of a page, with the places of its noteheads."""
  example = source.example(i)
  labels, boxes_yxyx = source.labels_and_boxes(i)
  return PageBoxes(
    filename=filename_of(example),
    image_hw=(int(example["image/height"]), int(example["image/width"])),
    boxes_yxyx=boxes_yxyx,
    labels=labels,
    positions=source.feature("positions", i, example),
  )


def degraded(
  ink: np.ndarray, truth: PageBoxes, recipe: str, strength: float, px: float
) -> tuple[np.ndarray, PageBoxes]:
  """The page as a scan or a photo shows it; its name is the seed."""
  rng = np.random.default_rng(list(truth.filename.encode()))
  hw = (ink.shape[0], ink.shape[1])
  plan = degrade.sample(
    rng, hw, recipe=recipe, strength=strength, staff_space_px=px
  )
  worn, whole = plan.apply(ink, np.asarray(truth.boxes_yxyx))
  moved, kept = degrade.on_image(whole, hw)
  return worn, PageBoxes(
    truth.filename,
    hw,
    moved,
    truth.labels[kept],
    positions=None if truth.positions is None else truth.positions[kept],
  )


def measure(args: argparse.Namespace) -> dict[str, Any]:
  """Runs it; see the module's docstring."""
  weights = packaged.weights_of(args.checkpoint)
  if not weights.model.staff_positions:
    raise InputError(f"{args.checkpoint}: knows no places on the staff")
  detector = Detector(weights)
  source = sources.open_records(args.records, args.split)
  source.require("positions", "benchmarks.staff_positions")
  source.take_classes(weights.class_names, args.records)
  meter = PositionMeter(len(weights.class_names))
  number = min(len(source), args.pages or len(source))
  truths = hits = 0
  for i in range(number):
    ink, truth = source.image(i), truth_of(source, i)
    if args.degrade:
      ink, truth = degraded(
        ink, truth, args.degrade, args.strength, weights.staff_space_px
      )
    found = detector(truth.filename, ink)
    boxes = found.page_boxes().upright()
    judged = matching.judge_page(truth, boxes)
    meter.add(truth, boxes, judged)
    known = truth.positions != NO_POSITION
    truths += int(known.sum())
    hits += int(known[judged.of_truth[judged.kind == matching.RIGHT]].sum())
    print(f"{i + 1} of {number}: {truth.filename}", file=sys.stderr)
  table = meter.table()
  return {
    "pages": number,
    "degrade": args.degrade,
    "strength": args.strength if args.degrade else 0.0,
    "noteheads": truths,
    "found": hits,
    "right": None if table is None else table.overall(),
    "classes": {}
    if table is None
    else {
      name: {"judged": int(n), "right": int(k)}
      for name, n, k in zip(weights.class_names, *table, strict=True)
      if n
    },
  }


def main() -> None:
  """Prints JSON."""
  parser = common.parser(__doc__ or "")
  parser.add_argument("--records", required=True)
  parser.add_argument("--split", default="val")
  parser.add_argument("--pages", type=int, default=0, help="0 = all")
  parser.add_argument("--checkpoint", default="", help="default: packaged")
  parser.add_argument("--degrade", default="", choices=("", "scan", "photo"))
  parser.add_argument("--strength", type=float, default=1.0)
  args = parser.parse_args()
  common.report("staff_positions", measure(args), args.json)


if __name__ == "__main__":
  main()
