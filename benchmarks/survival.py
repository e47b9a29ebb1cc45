"""A run killed at random moments against one that was never interrupted.

python -m benchmarks.survival [--kills=20] [--seed=0] [--json=FILE]

Real processes of configs/smoke.py, made longer, ended by SIGKILL: one half at a
random time, the other while a checkpoint is being written. Then the run goes on
to its end. Reports what each kill cost, and whether parameters,
optimizer and metrics end with the same bits.
"""

import contextlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from benchmarks import common

_REPO = pathlib.Path(__file__).parent.parent
_STAGES = (20, 15, 15, 10, 60)
_EVERY = 5  # steps between checkpoints
_CLOCKS = (
  "examples_per_second",
  "step_s",
  "input_wait_share",
  "flops_share",
  "memory_gib",
)


def command(workdir: pathlib.Path, data_dir: pathlib.Path) -> list[str]:
  """The command line of the run."""
  steps = [f"--config.stages[{i}].steps={n}" for i, n in enumerate(_STAGES)]
  return [
    sys.executable,
    "-m",
    "dwd_jax.main",
    "--config=configs/smoke.py",
    f"--workdir={workdir}",
    "--mode=train",
    "--config.eval.calibrate=False",
    f"--config.data.data_dir={data_dir}",
    "--config.train.eval_every=0",
    f"--config.train.checkpoint_every={_EVERY}",
    f"--config.train.compilation_cache={data_dir.parent / 'compiled'}",
    *steps,
  ]


def _start(workdir: pathlib.Path, data_dir: pathlib.Path) -> subprocess.Popen:
  environment = os.environ | {
    "JAX_PLATFORMS": "cpu",
    # Otherwise compiled code is only found in the folder it was written to.
    "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",
  }
  return subprocess.Popen(
    command(workdir, data_dir),
    cwd=_REPO,
    env=environment,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )


def _lines(workdir: pathlib.Path) -> list[dict[str, Any]]:
  found = []
  with contextlib.suppress(FileNotFoundError):
    for line in (workdir / "metrics.jsonl").read_text().splitlines():
      with contextlib.suppress(ValueError):  # a line that is being written
        found.append(json.loads(line))
  return found


def _last(workdir: pathlib.Path) -> int:
  return max((line["step"] for line in _lines(workdir)), default=0)


def _saved(workdir: pathlib.Path) -> int:
  folder = workdir / "checkpoints"
  names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
  return max((int(n) for n in names if n.isdigit()), default=0)


def _is_saving(workdir: pathlib.Path, known: set[str]) -> bool:
  found = {p.name for p in (workdir / "checkpoints").glob("*.orbax*")}
  return bool(found - known)


def kill_once(
  workdir: pathlib.Path, data_dir: pathlib.Path, rng: random.Random, how: str
) -> dict[str, Any]:
  """Starts the run, and kills it.

  Args:
    workdir: of the run.
    data_dir: its records.
    rng: decides when.
    how: "any time": up to 8 s after the start of the training, "saving": while
      a checkpoint is being written.

  Returns:
    What happened; "ended" where the run was at its end before.
  """
  known = {p.name for p in (workdir / "checkpoints").glob("*.orbax*")}
  before = _saved(workdir)
  process = _start(workdir, data_dir)
  try:
    wait_s, skip = rng.uniform(0, 8), rng.randrange(3)
    if how == "any time":
      wait_s += rng.choice((0.0, 6.0))  # also while it starts
      with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(wait_s)
    while how == "saving" and process.poll() is None:
      if _is_saving(workdir, known):
        if not skip:
          break
        skip -= 1
        known |= {p.name for p in (workdir / "checkpoints").glob("*.orbax*")}
      time.sleep(0.0005)
    ended = process.poll() is not None
  finally:
    process.send_signal(signal.SIGKILL)
    process.wait()
  half = len(list((workdir / "checkpoints").glob("*.orbax*")))
  return {
    "how": how,
    "ended": ended,
    "saved_before": before,
    "last_step": _last(workdir),
    "saved": _saved(workdir),
    "half_written": half,
  }


def _checkpoint(workdir: pathlib.Path) -> tuple[int, Any]:
  with ocp.CheckpointManager(workdir / "checkpoints") as manager:
    step = manager.latest_step()
    assert step is not None
    args = ocp.args.Composite(state=ocp.args.StandardRestore())
    return step, manager.restore(step, args=args).state


def _metrics(workdir: pathlib.Path) -> list[dict[str, Any]]:
  return [
    {k: v for k, v in line.items() if k not in _CLOCKS}
    for line in _lines(workdir)
  ]


def survive(folder: pathlib.Path, kills: int, seed: int) -> dict[str, Any]:
  """Runs once without and once with kills, and compares.

  Args:
    folder: for both runs.
    kills: how often the second is killed.
    seed: of the moments.

  Returns:
    JSON; "identical" is True where both ended with the same bits.
  """
  whole, killed = folder / "whole", folder / "killed"
  data_dir = folder / "data"
  code = _start(whole, data_dir).wait()
  assert code == 0, f"the run itself ends with code {code}"
  rng = random.Random(seed)
  rows = []
  while len(rows) < kills:
    how = "saving" if len(rows) % 2 else "any time"
    row = kill_once(killed, data_dir, rng, how)
    if row["ended"]:  # the next kills need a run that is not at its end
      break
    row["lost_steps"] = row["last_step"] - row["saved"]
    rows.append(row)
    print(row, file=sys.stderr)
  code = _start(killed, data_dir).wait()
  (step, wanted), (found_step, found) = map(_checkpoint, (whole, killed))
  equal = jax.tree.map(
    lambda a, b: bool(np.array_equal(a, b, equal_nan=True)), wanted, found
  )
  return {
    "kills": len(rows),
    "while_saving": sum(row["half_written"] > 0 for row in rows),
    "lost_steps": [row["lost_steps"] for row in rows],
    "most_lost_steps": max((row["lost_steps"] for row in rows), default=0),
    "checkpoint_every": _EVERY,
    "exit_code": code,
    "steps": [step, found_step],
    "arrays": len(jax.tree.leaves(equal)),
    "identical": all(jax.tree.leaves(equal)) and step == found_step,
    "metrics_identical": _metrics(whole) == _metrics(killed),
    "rows": rows,
  }


def main(argv: list[str]) -> None:
  """Kills, compares and prints JSON."""
  parser = common.parser("What kills cost a run")
  parser.add_argument("--kills", type=int, default=20)
  parser.add_argument("--seed", type=int, default=0)
  args = parser.parse_args(argv)
  with tempfile.TemporaryDirectory() as folder:
    result = survive(pathlib.Path(folder), args.kills, args.seed)
  common.report("survival", result, args.json)


if __name__ == "__main__":
  main(sys.argv[1:])
