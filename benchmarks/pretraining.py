"""Does pretraining help? Equal steps of the detector, on generated pages.

python -m benchmarks.pretraining --workdir=runs/pretraining [--steps 150 300]
  [--levels none class semseg] [--data_dir=DIR] [--json=FILE]

Every level pretrains once; the detector then starts with it, for each number
of steps anew, and is judged on the validation pages. Config, pages, seed and
crops are those of configs/engraved.py. As pretraining takes time, `none` is
also trained for as many more steps as the pretraining has (`--longer`).
Finished runs are not repeated. --tiny shows in a minute that all of it runs.
"""

import pathlib
import sys
import time
from typing import Any

from benchmarks import common
from configs import engraved, smoke
from dwd_jax.train import detector_task, loop, run_evaluation, setup
from dwd_jax.train.pretraining import initial_state, tasks

_FIRST_STAGES = 50  # steps of engraved.py before its combined stage


def make_config(args: Any, level: str, steps: int) -> Any:
  """The config of a run.

  Args:
    args: of the command line.
    level: of the pretraining.
    steps: of the detector.
  """
  c: Any = smoke.get_config() if args.tiny else engraved.get_config()
  if args.data_dir:
    c.data.data_dir = args.data_dir
  c.seed = args.seed
  if not args.tiny:
    c.stages[-1].steps = max(1, steps - _FIRST_STAGES)
  c.pretraining.level = level
  c.pretraining.steps = args.pretraining_steps
  c.pretraining.batch_size = 2 if args.tiny else args.pretraining_batch
  c.train.eval_every = 0
  c.train.log_every = 25
  c.eval.calibrate = False
  c.eval.overlays = 0
  return c


def pretrain(args: Any, level: str) -> tuple[pathlib.Path, dict[str, Any]]:
  """Pretrains a level, if that was not done yet.

  Returns:
    The folder of the pretraining, and what it took.
  """
  workdir = pathlib.Path(args.workdir) / level
  run = setup.setup(make_config(args, level, _FIRST_STAGES + 1), workdir)
  task = tasks.make_task(run)
  setup.make_workdir(task.workdir)
  began = time.monotonic()
  loop.train(task)
  return task.workdir, {
    "pretraining_steps": args.pretraining_steps,
    "pretraining_seconds": round(time.monotonic() - began, 1),
  }


def detect(
  args: Any, level: str, steps: int, path: pathlib.Path | None
) -> dict[str, Any]:
  """Trains the detector and judges it.

  Args:
    args: of the command line.
    level: names the run.
    steps: of the detector.
    path: folder of the pretraining; None = from scratch.
  """
  config = make_config(args, "none" if path is None else "run", steps)
  if path is not None:
    config.pretraining.path = str(path)
  workdir = pathlib.Path(args.workdir) / f"{level}_{steps}"
  run = setup.setup(config, workdir)
  began = time.monotonic()
  state = loop.train(
    detector_task.make_task(run, initial_state.initial_of(run))
  )
  seconds = time.monotonic() - began
  metrics = run_evaluation.evaluate(run, state, config.data.eval_split).metrics
  keys = ("mAP", "mAP_50", "mAP_50_min10", "num_pages", "num_objects")
  return {
    "level": level,
    "steps": int(state.step),
    "seconds": round(seconds, 1),
    **{key: metrics[key] for key in keys},
  }


def main(argv: list[str]) -> None:
  """Runs all levels and prints JSON."""
  parser = common.parser(__doc__ or "")
  add = parser.add_argument
  add("--workdir", required=True, help="folder of the runs")
  add("--data_dir", default="", help="prepared records; else generated anew")
  add("--levels", nargs="+", default=["none", "class", "semseg"])
  add(
    "--steps", nargs="+", type=int, default=[150, 300], help="of the detector"
  )
  add("--pretraining_steps", type=int, default=300)
  add("--pretraining_batch", type=int, default=10)
  add("--longer", action="store_true", help="also none, for all the steps")
  add("--seed", type=int, default=0)
  add("--tiny", action="store_true", help="configs/smoke.py, few steps")
  args = parser.parse_args(argv)
  if args.tiny:
    args.steps, args.pretraining_steps = [11], 3
  rows = []
  for level in args.levels:
    path, took = None, {}
    if level != "none":
      path, took = pretrain(args, level)
    rows += [detect(args, level, n, path) | took for n in args.steps]
  if args.longer:
    rows += [
      detect(args, "none", n + args.pretraining_steps, None) for n in args.steps
    ]
  common.report("pretraining", {"runs": rows}, args.json)


if __name__ == "__main__":
  main(sys.argv[1:])
