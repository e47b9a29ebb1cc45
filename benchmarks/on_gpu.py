"""What there is to measure on a GPU, in the minutes that one can be had.

python -m benchmarks.on_gpu --out=DIR [--minutes=12] [--parts=tests,decode,...]

Runs the parts below one after another, in this order, each in a process of its
own with a limit; the training takes what is left. Writes DIR/NAME.json (the
figures) and DIR/NAME.log (what was said) as each part ends, and prints a line
of JSON for it, so that what was done is kept if the time is up. Exit code 1 if
a part failed; one that had no time left is "left out".
"""

import argparse
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import NamedTuple

_LEAST_S = 20.0  # less is not worth a start
_GRACE_S = 15.0  # to save what there is


class Part(NamedTuple):
  """A part of the run.

  Attributes:
    command: after `python -m`; {json} and {folder} are filled in.
    limit_s: seconds after which it is ended; 0 = all that is left.
  """

  command: str
  limit_s: float = 0.0


_STEP = (
  "benchmarks.train_step --dtypes=bfloat16 --peer=torch --memory --json={json}"
)
PARTS: Mapping[str, Part] = {
  "tests": Part(
    "pytest -q -n 4 tests/objectives tests/decode tests/models"
    " tests/train/test_step.py tests/train/test_step_updates.py",
    150,
  ),
  "step_small": Part(
    f"{_STEP} --networks=18x32x32 --crops=160 --batch_size=64", 75
  ),
  "step_paper": Part(
    f"{_STEP} --compile=default --networks=101x64x256 --crops=256"
    " --batch_size=64",
    240,
  ),
  "decode": Part("benchmarks.decode --json={json}", 60),
  "pages": Part(
    "benchmarks.predict --networks=18x32x32,101x64x256 --json={json}", 60
  ),
  "training": Part(
    "dwd_jax.main --config=configs/detector.py --mode=train"
    " --workdir={folder}/training --config.train.batch_size=64"
    " --config.data.engrave.pages=200 --config.train.log_every=20"
  ),
}


def run_part(
  name: str, part: Part, folder: pathlib.Path, left_s: float
) -> dict[str, object]:
  """Runs a part; returns its name, how it ended, and its seconds.

  Args:
    folder: gets NAME.json and NAME.log.
    left_s: seconds until all has to end.
  """
  limit_s = min(part.limit_s or left_s, left_s)
  if limit_s < _LEAST_S:
    return {"part": name, "ended": "left out", "seconds": 0.0}
  command = part.command.format(json=folder / f"{name}.json", folder=folder)
  start = time.monotonic()
  with (folder / f"{name}.log").open("w", encoding="utf8") as log:
    process = subprocess.Popen(
      [sys.executable, "-m", *command.split()],
      stdout=log,
      stderr=subprocess.STDOUT,
      start_new_session=True,
    )
    try:
      code = process.wait(limit_s)
      ended = "done" if code == 0 else f"exit code {code}"
    except subprocess.TimeoutExpired:
      _end(process)
      # A training has no other end here: metrics.jsonl has its figures.
      ended = "limit" if part.limit_s else "done"
  seconds = round(time.monotonic() - start, 1)
  return {"part": name, "ended": ended, "seconds": seconds}


def _end(process: subprocess.Popen) -> None:
  """Ends a process and those that it started; a training saves its state."""
  for number in (signal.SIGTERM, signal.SIGKILL):
    with contextlib.suppress(ProcessLookupError):
      os.killpg(process.pid, number)
    with contextlib.suppress(subprocess.TimeoutExpired):
      process.wait(_GRACE_S)


def main(argv: list[str]) -> int:
  """Runs the parts; returns the exit code."""
  parser = argparse.ArgumentParser(description="All figures of a GPU")
  parser.add_argument("--out", required=True, type=pathlib.Path)
  parser.add_argument("--minutes", type=float, default=12.0)
  parser.add_argument("--parts", default=",".join(PARTS))
  args = parser.parse_args(argv)
  names = args.parts.split(",")
  if unknown := set(names) - set(PARTS):
    parser.error(f"--parts: no {', '.join(unknown)}; use {', '.join(PARTS)}")
  args.out.mkdir(parents=True, exist_ok=True)
  end = time.monotonic() + 60 * args.minutes
  failed = False
  for name in names:
    found = run_part(name, PARTS[name], args.out, end - time.monotonic())
    print(json.dumps(found), flush=True)
    failed |= found["ended"] not in ("done", "left out")
  return int(failed)


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
