"""What helps on rare symbols and bad pages: equal steps, several seeds.

python -m benchmarks.ablation --workdir=runs/ablation [--seeds=0,1,2] \
  [--steps=600] [--jobs=1] [--variants='baseline;up;...'] [--json=FILE]

The baseline is configs/engraved.py without augmentations, with crops by rare
content and a class-balanced loss; each variant changes one thing, some of them
several.
Every run is judged on the validation pages: clean, as scans and as photos (the
same scores, degraded by the generator), and drawn in other sizes; test pages
are not used. The table has the mean over the seeds and the standard deviation.
Finished runs are not repeated. --tiny shows in minutes that all of it runs.
"""

import concurrent.futures
import json
import os
import pathlib
import statistics
import subprocess
import sys
from typing import Any

from benchmarks import common
from dwd_jax import engrave

_FIRST_STAGES = 50  # steps of engraved.py before its combined stage
_RARE = 30  # classes with fewer objects on the pages are rare
_SETS = {
  "scan": {"degrade": "scan"},
  "photo": {"degrade": "photo"},
  "sizes": {"jitter": 0.3},
}
_BASELINE = {
  "model.refinenet": "light",
  "data.synthetic.layout": "no",
  "data.degrade.scan_prob": 0.0,
  "data.degrade.photo_prob": 0.0,
  "data.scale_jitter": 0.0,
  "data.normalise_staff_space": False,
  "losses.class_focal_gamma": 0.0,
}
_FULL = {"data.synthetic.layout": "full", "data.synthetic.prob": 0.25}
_HALF_FULL = {"data.synthetic.layout": "full", "data.synthetic.prob": 0.5}
_FOCAL = {"losses.class_focal_gamma": 2.0}
_STAFF_SPACE = {"data.normalise_staff_space": True, "data.scale_jitter": 0.1}
_DEEP = {
  "model.deep_energy_strides": (8, 16, 32),
  "model.deep_size_strides": (8,),
}
_LIGHTLY_DEGRADED = {
  "data.degrade.scan_prob": 0.15,
  "data.degrade.photo_prob": 0.15,
}
VARIANTS: dict[str, dict[str, Any]] = {
  "baseline": {},
  "uniform crops": {"data.rare_prob": 0.0},
  "up": {"data.synthetic.layout": "up"},
  "full": _FULL,
  "paste": {"data.synthetic.layout": "paste"},
  "inverse paste": {
    "data.synthetic.layout": "paste",
    "data.synthetic.draw": "inverse",
  },
  "plain class loss": {"losses.class_weights": "none"},
  "focal": _FOCAL,
  "staff space": _STAFF_SPACE,
  "half full": _HALF_FULL,
  "degraded": {"data.degrade.scan_prob": 0.3, "data.degrade.photo_prob": 0.3},
  "full, staff space": _FULL | _STAFF_SPACE,
  "full, focal, staff space": _FULL | _FOCAL | _STAFF_SPACE,
  "all": _FULL | _FOCAL | _STAFF_SPACE | _LIGHTLY_DEGRADED,
  "all but focal": _FULL | _STAFF_SPACE | _LIGHTLY_DEGRADED,
  "half full, degraded": _HALF_FULL | _LIGHTLY_DEGRADED,
  "half full, staff space, degraded": _HALF_FULL
  | _STAFF_SPACE
  | _LIGHTLY_DEGRADED,
  "second look": {"model.refine_boxes": True},
  "large discs": {"targets.large_share": 0.5},
  "deep supervision": _DEEP,
  "dwd2018": {"model.refinenet": "dwd2018"},
  "dwd2018, deep supervision": {"model.refinenet": "dwd2018"} | _DEEP,
  "lin2017": {"model.refinenet": "lin2017"},
  "lin2017, deep supervision": {"model.refinenet": "lin2017"} | _DEEP,
}


def make_pages(args: Any, root: pathlib.Path) -> None:
  """Generates the sets of pages that are missing."""
  size = {"width": 400, "height": 480} if args.tiny else {}
  for name, options in {"clean": {}, **_SETS}.items():
    if not (root / name).exists():
      engrave.generate(
        root / name, args.pages, args.pages_seed, **size | options
      )


def command(args: Any, variant: str, seed: int, workdir: pathlib.Path) -> list:
  """The command line of one run."""
  root = pathlib.Path(args.workdir).absolute()
  values: dict[str, Any] = {
    "seed": seed,
    "data.manual_dir": str(root / "pages" / "clean"),
    "data.data_dir": str(root / "records" / "clean"),
    "data.engrave.pages": 0,
    "data.test_split": "",
    "stages[4].steps": max(1, args.steps - _FIRST_STAGES),
    "train.checkpoint_every": 1_000_000,
    "train.compilation_cache": str(root / "compiled"),
    "eval.overlays": 0,
    "eval.calibrate": False,
    **_BASELINE,
    **VARIANTS[variant],
  }
  for i, name in enumerate(_SETS):
    values |= {
      f"eval.on[{i}].builder": "deepscores",
      f"eval.on[{i}].builder_config": "dense_2017",
      f"eval.on[{i}].manual_dir": str(root / "pages" / name),
      f"eval.on[{i}].data_dir": str(root / "records" / name),
      f"eval.on[{i}].split": "val",
      f"eval.on[{i}].name": name,
    }
  config = "smoke" if args.tiny else "engraved"
  return [
    sys.executable,
    "-m",
    "dwd_jax.main",
    f"--config=configs/{config}.py",
    f"--workdir={workdir}",
    *(f"--config.{key}={value}" for key, value in values.items()),
  ]


def run(args: Any, variant: str, seed: int) -> dict[str, dict[str, float]]:
  """Trains and judges once; figures by set of pages.

  Raises:
    RuntimeError: the run failed; with the end of its output.
  """
  root = pathlib.Path(args.workdir).absolute()
  workdir = root / variant.replace(",", "").replace(" ", "_") / str(seed)
  files = {name: workdir / "eval" / f"{name}.json" for name in ("val", *_SETS)}
  if not all(path.is_file() for path in files.values()):
    done = subprocess.run(
      command(args, variant, seed, workdir),
      env=os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    if done.returncode:
      raise RuntimeError(f"{variant}, seed {seed}: {done.stdout[-2000:]}")
  return {
    name: figures(json.loads(path.read_text())) for name, path in files.items()
  }


def figures(scores: dict[str, Any]) -> dict[str, float]:
  """What the table shows of one result."""
  rare = [
    row["AP_50"]
    for row in scores["per_class"].values()
    if 0 < row["num_objects"] < _RARE
  ]
  return {
    "mAP": scores["mAP"],
    "mAP_50": scores["mAP_50"],
    "rare_AP_50": statistics.mean(rare) if rare else float("nan"),
  }


def table(runs: dict[str, list[dict[str, dict[str, float]]]]) -> dict[str, Any]:
  """Mean and spread over the seeds, by variant, set and figure."""
  rows: dict[str, Any] = {}
  for variant, found in runs.items():
    rows[variant] = {"seeds": len(found)}
    for name in found[0]:
      for key in found[0][name]:
        values = [item[name][key] for item in found]
        rows[variant].setdefault(name, {})[key] = [
          round(statistics.mean(values), 4),
          round(statistics.stdev(values), 4) if len(values) > 1 else None,
        ]
  return rows


def main(argv: list[str]) -> None:
  """Runs all variants and prints JSON."""
  parser = common.parser("What helps on rare symbols and bad pages")
  add = parser.add_argument
  add("--workdir", required=True, help="folder of the runs")
  add("--variants", default=";".join(VARIANTS))
  add("--seeds", default="0,1,2")
  add("--steps", type=int, default=600, help="of a training")
  add("--pages", type=int, default=240)
  add("--pages_seed", type=int, default=0)
  add("--jobs", type=int, default=1, help="runs at the same time")
  add("--tiny", action="store_true", help="configs/smoke.py, few steps")
  args = parser.parse_args(argv)
  variants = args.variants.split(";")
  if unknown := [v for v in variants if v not in VARIANTS]:
    parser.error(f"--variants: {unknown[0]!r}; known: {', '.join(VARIANTS)}")
  make_pages(args, pathlib.Path(args.workdir) / "pages")
  seeds = [int(seed) for seed in args.seeds.split(",")]
  jobs = [(variant, seed) for seed in seeds for variant in variants]
  runs: dict[str, list[Any]] = {}
  with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
    waiting = {pool.submit(run, args, *job): job for job in jobs}
    for future in concurrent.futures.as_completed(waiting):
      variant, seed = waiting[future]
      try:
        found = future.result()
      except RuntimeError as e:
        print(e, file=sys.stderr, flush=True)
        continue
      runs.setdefault(variant, []).append(found)
      print(variant, seed, found, file=sys.stderr, flush=True)
  common.report(
    "ablation",
    {
      "steps": args.steps,
      "pages": args.pages,
      "rare": f"classes with fewer than {_RARE} objects",
      "rows": table({v: runs[v] for v in variants if v in runs}),
    },
    args.json,
  )


if __name__ == "__main__":
  main(sys.argv[1:])
