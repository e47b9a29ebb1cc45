"""AP of a trained network under other settings of the decode.

python -m benchmarks.decode_options --config=engraved --workdir=runs/engraved \
  [--split=val] [--pages=0] [--json=FILE]

Settings are chosen on validation pages; the test split is refused.
"""

import dataclasses
import importlib
import pathlib
import sys
import tempfile
from typing import Any

from benchmarks import common
from dwd_jax.core.errors import InputError
from dwd_jax.data import pipeline
from dwd_jax.evaluate import evaluate_split as evaluate_lib
from dwd_jax.metrics import protocols
from dwd_jax.metrics.json_results import or_null
from dwd_jax.metrics.protocols import mean_or_nan
from dwd_jax.train import run_evaluation, setup


def _cut(level: float) -> dict[str, float]:
  return {"energy_cutoff": level, "min_seed_level": level}


# Caption: what is changed against the config.
OPTIONS: dict[str, dict[str, Any]] = {
  "as configured": {},
  "cutoff and seeds 2": _cut(2.0),
  "cutoff and seeds 5": _cut(5.0),
  "cutoff and seeds 10": _cut(10.0),
  "saddle 0.5": {"min_saddle_depth": 0.5},
  "saddle 1": {"min_saddle_depth": 1.0},
  "saddle 4": {"min_saddle_depth": 4.0},
  "no smoothing": {"smooth": 0},
  "smooth 2": {"smooth": 2},
  "no smoothing, saddle 1, cutoff and seeds 5": {
    "smooth": 0,
    "min_saddle_depth": 1.0,
    **_cut(5.0),
  },
  "likeliest level": {"energy": "argmax"},
  "largest size": {"size": "max"},
  "plain mean size": {"size": "mean"},
  "1 pixel votes": {"class_pixels": 1},
  "25 pixels vote": {"class_pixels": 25},
  "majority votes": {"class_vote": "majority"},
}


def _measure(run, state, pages) -> dict[str, Any]:
  """Scores of one decode; raw scores, and none is too low to count."""
  meter = protocols.Meter(len(run.class_names), protocols.COCO)
  num_detections = 0
  with tempfile.TemporaryFile() as boxes:
    predicted = evaluate_lib.predict_all(
      run_evaluation.bound_predict_fn(run, state),
      pages,
      run_evaluation.on_devices(run),
      boxes=boxes,
    )
    for page in predicted.pages:
      meter.add(*page)
      num_detections += len(page.found.labels)
  table = meter.table()
  return {
    "mAP": or_null(mean_or_nan(table.per_class())),
    "mAP_50": or_null(mean_or_nan(table.at(0.5))),
    "AP_50_weighted": or_null(table.weighted_at(0.5)),
    "num_detections": num_detections,
    "seconds_per_page": or_null(predicted.seconds_per_page),
  }


def main(argv: list[str]) -> None:
  """Prints the table as JSON."""
  parser = common.parser("AP of a trained network by settings of the decode")
  parser.add_argument("--config", default="engraved", help="of configs/")
  parser.add_argument("--workdir", required=True, help="of a finished run")
  parser.add_argument("--split", default="val")
  parser.add_argument("--pages", type=int, default=0, help="0 = all")
  args = parser.parse_args(argv)
  config = importlib.import_module(f"configs.{args.config}").get_config()
  if args.split == config.data.test_split:
    raise InputError(f"--split={args.split}: choose settings on other pages")
  config.data.max_pages = args.pages
  run = setup.setup(config, pathlib.Path(args.workdir))
  state = run_evaluation.restore(run)
  pages = list(pipeline.read_eval_pages(run.source(args.split), config.data))
  rows = {}
  for caption, changes in OPTIONS.items():
    decode = dataclasses.replace(run.settings.decode, **changes)
    settings = dataclasses.replace(run.settings, decode=decode)
    changed = dataclasses.replace(run, settings=settings)
    rows[caption] = _measure(changed, state, pages) | changes
    print(caption, rows[caption], file=sys.stderr, flush=True)
  results = {"config": args.config, "split": args.split, "pages": len(pages)}
  common.report("decode_options", {**results, "options": rows}, args.json)


if __name__ == "__main__":
  main(sys.argv[1:])
