"""A search whose trials take no time: its own programs, as the tests run them.

stand_in.py sweep FLAGS...  is `python -m launch.sweep FLAGS...`, but its trials
are `stand_in.py trial`, which writes the scores of a run and does nothing else.
The score follows from rate and steps. Rate 666 diverges, 777 crashes, 888 waits
for the file `go` in DIR, 999 is stopped the first time; a crash ends well if
the file `mended` is in DIR.
"""

import json
import os
import pathlib
import sys
import time

RATE = "optimizer.learning_rate"
STAND_IN = pathlib.Path(__file__).absolute()


def arguments(folder: pathlib.Path, records: pathlib.Path) -> list[str]:
  """Flags of a search of configs/smoke.py in FOLDER/s."""
  data = f"--config.data.data_dir={records}"
  return ["--config=configs/smoke.py", f"--out={folder / 's'}", data]


def score(rate: float, steps: int) -> float:
  """Best at rate 3, better with more steps."""
  return round(1 / (1 + abs(rate - 3)) * steps / (steps + 10), 6)


def trial(workdir: pathlib.Path, steps: int, every: int, rate: float) -> None:
  """Does as `dwd_jax.main` would."""
  with (workdir / "started").open("a") as f:
    f.write(f"{steps} {os.environ.get('CUDA_VISIBLE_DEVICES', '-')}\n")
  if rate == 666:
    print("dwd_jax: the loss is nan at step 3\nsome more words")
    sys.exit(2)
  if rate == 777 and not (workdir.parent / "mended").exists():
    raise RuntimeError("out of memory")
  while rate == 888 and not (workdir.parent / "go").exists():
    time.sleep(0.05)
  if rate == 999 and (workdir / "started").read_text().count("\n") == 1:
    sys.exit(75)
  (workdir / "eval").mkdir(exist_ok=True)
  path = workdir / "eval" / "curves.jsonl"
  for step in [*range(every, steps, every), steps]:
    found = score(rate, step)
    with path.open("a") as f:
      f.write(json.dumps({"step": step, "name": "val", "mAP": found}) + "\n")
    # Until the search has seen it, and may stop this trial.
    journal = workdir.parent / "study.journal"
    while step < steps and f":{found}}}" not in journal.read_text():
      time.sleep(0.02)


def command(search, workdir: pathlib.Path, settings: dict) -> list[str]:
  """Instead of `Search.command`."""
  every = search.first_rung if search.rungs > 1 else search.steps
  # -S: without what is installed it starts in half the time.
  program = [sys.executable, "-S", str(STAND_IN), "trial"]
  steps = [str(search.steps), str(every)]
  return [*program, str(workdir.absolute()), *steps, settings[RATE]]


def sweep(argv: list[str]) -> None:
  """`launch.sweep` with trials of this file."""
  sys.path.insert(0, str(STAND_IN.parent.parent.parent))
  from launch import search
  from launch import sweep as sweep_lib

  search.Search.command = command
  sys.argv[1:] = argv
  sweep_lib.main()


if __name__ == "__main__":
  if sys.argv[1] == "sweep":
    sweep(sys.argv[2:])
  else:
    _workdir, _steps, _every, _rate = sys.argv[2:]
    trial(pathlib.Path(_workdir), int(_steps), int(_every), float(_rate))
