"""Does the step wait for data? On this machine, and at the speed of a GPU.

python -m benchmarks.input --set=muscima_pp:v2.0:DIR [--set=...] \
  [--workers=0,1,2] [--steps=40] [--rates=50,100,200] [--crop=480] \
  [--batch_size=16] [--json=FILE]

Three measurements with the pages of each set, after their records are built:
- training: the small network (ResNet-18, 32 channels, 10 crops of 160 px) with
  the loader, as in training; the share of the time spent in next(loader).
  Where loader and step share the cores, the loader costs more than that: the
  step alone, with one batch, is timed in turns with it.
- delivered: crops a second of the loader alone with 0, 1 and 2 workers, and
  crops a CPU second of the processes that read.
- simulated: a loop that sleeps as long as a GPU of --rates examples a second
  would compute (the cores stay free, as beside a GPU); the share of waiting,
  and the cores that such a GPU needs to wait less than 5 %.

--crop and --batch_size are those of the last two, scale 0.5. benchmarks/data.py
compares the loader with a plain loop.
"""

import statistics
import sys
import tempfile
import time
from typing import Any

import cv2
import jax

from benchmarks import common, data
from benchmarks.train_scene import Scene, make_scene
from dwd_jax.cluster import huge_pages
from dwd_jax.data import pipeline, prepare, sources

_SMALL = {"spec": "18x32x32", "crop": 160, "batch_size": 10, "max_boxes": 128}
_GOAL = 0.05  # of the time may be waiting


class SmallStep:
  """The compiled step of the small network and its state."""

  def __init__(self, scene: Scene):
    """Compiles."""
    self._state, self._batch, self._plan = scene.inputs()
    lowered = scene.lower(self._state, self._batch, self._plan)
    self._step = lowered.compile()

  def __call__(self, batch: Any = None) -> None:
    """Starts a step; of the same made-up batch if none is given."""
    batch = self._batch if batch is None else batch
    self._state, _ = self._step(self._state, batch, self._plan)

  def wait(self) -> None:
    """Until all steps are done."""
    jax.block_until_ready(self._state)


def open_loader(source, cfg, workers: int, batch_size: int) -> Any:
  """A loader that has read ahead what it can."""
  cfg = cfg.copy_and_resolve_references()
  cfg.workers = workers
  loader = pipeline.train_loader(source, cfg, batch_size=batch_size, seed=0)
  next(loader)  # starts it
  time.sleep(1 + 2 * workers)  # workers start, buffers are filled
  return loader


def waiting(loader: Any, step: Any, steps: int) -> tuple[float, float]:
  """Seconds of some steps, and those of them in `next(loader)`."""
  waited = 0.0
  started = time.perf_counter()
  for _ in range(steps):
    before = time.perf_counter()
    batch = next(loader)
    waited += time.perf_counter() - before
    step(batch)
  if isinstance(step, SmallStep):
    step.wait()
  return time.perf_counter() - started, waited


def training_row(source, cfg, step: SmallStep, workers: int, args):
  """The small network with and without the loader, in turns."""
  cfg = cfg.copy_and_resolve_references()
  cfg.crop_hw, cfg.scales = (_SMALL["crop"],) * 2, (0.5,)
  cfg.max_boxes = _SMALL["max_boxes"]
  step()
  step.wait()
  fed, alone, shares = [], [], []
  for _ in range(args.repeats):
    loader = open_loader(source, cfg, workers, _SMALL["batch_size"])
    whole, waited = waiting(loader, step, args.steps)
    loader.close()
    started = time.perf_counter()
    for _ in range(args.steps):
      step()
    step.wait()
    alone.append((time.perf_counter() - started) / args.steps)
    fed.append(whole / args.steps)
    shares.append(waited / whole)
  return {
    "workers": workers,
    "step_s": statistics.median(fed),
    "step_alone_s": statistics.median(alone),
    "wait_share": statistics.median(shares),
    "slower_than_alone": statistics.median(fed) / statistics.median(alone) - 1,
  }


def delivered_row(source, cfg, workers: int, args) -> dict[str, float]:
  """Crops a second of the loader alone, with the batch size of --batch_size."""
  timings = [
    data.batches_per_second(source, cfg, workers, args)
    for _ in range(args.repeats)
  ]
  wall, cpu = (statistics.median(c) for c in zip(*timings, strict=True))
  row = {"workers": workers, "crops_per_s": wall * args.batch_size}
  if not workers:  # the CPU time of other processes is not seen
    row["crops_per_cpu_s"] = cpu * args.batch_size
  return row


def cores_needed(rate: float, crops_per_cpu_s: float) -> float:
  """Cores that read as fast as a GPU trains, and 5 % faster.

  Args:
    rate: examples a second of the GPU.
    crops_per_cpu_s: what one core delivers.
  """
  return rate / (1 - _GOAL) / crops_per_cpu_s


def simulated_row(
  source, cfg, rate: float, workers: int, per_core: float, args
) -> dict[str, Any]:
  """A GPU of `rate` examples a second, made of sleep."""
  step_s = args.batch_size / rate
  loader = open_loader(source, cfg, workers, args.batch_size)
  steps = max(10, round(args.seconds / step_s))
  whole, waited = waiting(loader, lambda _: time.sleep(step_s), steps)
  loader.close()
  share = waited / whole
  return {
    "gpu_examples_per_second": rate,
    "workers": workers,
    "wait_share": share,
    "reached": share < _GOAL,
    "cores_needed": cores_needed(rate, per_core),
  }


def measure(name: str, data_dir: str, step: SmallStep, args) -> dict[str, Any]:
  """All three measurements with one set."""
  cfg = data.data_cfg(name, data_dir)
  prepare.prepare(cfg, data_dir)
  source = sources.open_split(cfg, data_dir, "train")
  cfg.crop_hw, cfg.scales = (args.crop,) * 2, (0.5,)
  each = list(map(int, args.workers.split(",")))
  row: dict[str, Any] = {
    "set": f"{cfg.builder}:{cfg.builder_config}",
    "pages": len(source),
    "training": [training_row(source, cfg, step, n, args) for n in each],
    "delivered": [delivered_row(source, cfg, n, args) for n in each],
  }
  per_core = next(
    (r["crops_per_cpu_s"] for r in row["delivered"] if not r["workers"]), 0.0
  ) or max(r["crops_per_s"] / max(r["workers"], 1) for r in row["delivered"])
  row["simulated"] = [
    simulated_row(source, cfg, rate, n, per_core, args)
    for rate in map(float, args.rates.split(","))
    for n in each
  ]
  return row


def main(argv: list[str]) -> None:
  """Builds every set, measures and prints JSON."""
  parser = common.parser("Waiting for data")
  parser.add_argument("--set", action="append", required=True, dest="sets")
  parser.add_argument("--workers", default="0,1,2")
  parser.add_argument("--steps", type=int, default=40, help="of the training")
  parser.add_argument("--rates", default="50,100,200", help="of GPUs")
  parser.add_argument("--seconds", type=float, default=5, help="a simulation")
  parser.add_argument("--crop", type=int, default=480)
  parser.add_argument("--batch_size", type=int, default=16)
  parser.add_argument("--batches", type=int, default=10, help="a timing")
  args = parser.parse_args(argv)
  cv2.setNumThreads(1)
  step = SmallStep(make_scene(**_SMALL))
  rows = []
  for name in args.sets:
    with tempfile.TemporaryDirectory() as folder:
      rows.append(measure(name, folder, step, args))
    print(rows[-1], file=sys.stderr, flush=True)
  common.report(
    "input",
    {
      "crop_px": args.crop,
      "batch_size": args.batch_size,
      "small_network": _SMALL,
      "rows": rows,
    },
    args.json,
  )


if __name__ == "__main__":
  huge_pages.restart()
  main(sys.argv[1:])
