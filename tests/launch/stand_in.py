"""A search whose trials take no time: its own programs, as the tests run them.

stand_in.py sweep FLAGS...  is `python -m launch.sweep FLAGS...`, but its trials
are `stand_in.py trial`, which writes the file of a run and does nothing else.
The score follows from rate and steps; the rate 666 diverges, 777 crashes, 888
waits for the file `go` in DIR, 999 is stopped the first time.
"""

import json
import os
import pathlib
import sys
import time

RATE = "optimizer.learning_rate"
STAND_IN = pathlib.Path(__file__).absolute()


def score(rate: float, steps: int) -> float:
  """Best at rate 3, better with more steps."""
  return round(1 / (1 + abs(rate - 3)) * steps / (steps + 10), 6)


def trial(workdir: pathlib.Path, steps: int, rate: float) -> None:
  """Does as `dwd_jax.main` would."""
  with (workdir / "started").open("a") as f:
    f.write(f"{steps} {os.environ.get('CUDA_VISIBLE_DEVICES', '-')}\n")
  if rate == 666:
    print("dwd_jax: the loss is nan at step 3\nsome more words")
    sys.exit(2)
  if rate == 777:
    raise RuntimeError("out of memory")
  out = next(p for p in workdir.parents if (p / "plan.json").is_file())
  while rate == 888 and not (out / "go").exists():
    time.sleep(0.05)
  if rate == 999 and (workdir / "started").read_text().count("\n") == 1:
    return
  (workdir / "eval").mkdir(exist_ok=True)
  (workdir / "eval" / "val.json").write_text(
    json.dumps({"checkpoint_step": steps, "mAP": score(rate, steps)})
  )


def command(plan, index: int, rung: int) -> list[str]:
  """Instead of `Plan.command`."""
  rate = plan.params(index)[RATE]
  workdir = plan.workdir(index, rung)
  return [
    *(sys.executable, str(STAND_IN), "trial"),
    *(str(workdir), str(plan.rungs[rung]), str(rate)),
  ]


def sweep(argv: list[str]) -> None:
  """`launch.sweep` with trials of this file."""
  sys.path.insert(0, str(STAND_IN.parent.parent.parent))
  from launch import plan
  from launch import sweep as sweep_lib

  plan.Plan.command = command
  sys.argv[1:] = argv
  sweep_lib.main()


if __name__ == "__main__":
  if sys.argv[1] == "sweep":
    sweep(sys.argv[2:])
  else:
    trial(pathlib.Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
