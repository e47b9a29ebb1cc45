"""A run that is killed ends as one that is not.

A real process, killed with SIGKILL in the middle of a stage, while a checkpoint
is being written. Twenty random moments: benchmarks/survival.py.
"""

import json
import pathlib
import shutil
import signal
import subprocess
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import run_helpers

# The stages of configs/smoke.py end after 2, 4, 6, 7 and 11 steps; every other
# step is saved.
STEPS = 11
# That evaluations change nothing of the training is shown by leaving them out.
FLAGS = ("--mode=train", "--config.train.eval_every=0")


def _lines(workdir: pathlib.Path) -> list[dict]:
  path = workdir / "metrics.jsonl"
  if not path.exists():
    return []
  return [json.loads(s) for s in path.read_text().split("\n")[:-1] if s]


def _saving(workdir: pathlib.Path, step: int) -> bool:
  folder = workdir / "checkpoints"
  return any(folder.glob(f"{step}.*")) or (folder / str(step)).exists()


def _killed_saving(workdir: pathlib.Path, step: int) -> None:
  """Starts the run, kills it as soon as it saves a step."""
  process = subprocess.Popen(
    run_helpers.command(workdir, *FLAGS),
    cwd=run_helpers.REPO,
    # Reads compiled code; half a file of it would stay there.
    env=run_helpers.environment()
    | {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1e9"},
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  try:
    deadline = time.monotonic() + 300
    while not _saving(workdir, step):
      assert process.poll() is None, "the run ended before it was killed"
      assert time.monotonic() < deadline
      time.sleep(0.002)
  finally:
    process.send_signal(signal.SIGKILL)
    process.wait()
  assert process.returncode == -signal.SIGKILL


def _checkpoint(workdir: pathlib.Path):
  with ocp.CheckpointManager(workdir / "checkpoints") as manager:
    step = manager.latest_step()
    args = ocp.args.Composite(
      state=ocp.args.StandardRestore(), data=ocp.args.JsonRestore()
    )
    restored = manager.restore(step, args=args)
  return step, restored.state, restored.data


def test_a_killed_run_ends_with_the_same_bits(smoke_run, tmp_path):
  workdir = tmp_path / "run"
  workdir.mkdir()
  # Pages and records are as good as new; the rest is not there.
  shutil.copytree(smoke_run / "data", workdir / "data")
  _killed_saving(workdir, 10)
  assert [line["step"] for line in _lines(workdir)] == list(range(1, STEPS))

  done = run_helpers.run(workdir, *FLAGS)
  assert done.returncode == 0, done.stderr
  assert f"of {STEPS}\n" in done.stdout.split("Continuing at step ")[1]

  step, state, data = _checkpoint(workdir)
  wanted_step, wanted, wanted_data = _checkpoint(smoke_run)
  assert step == wanted_step == STEPS
  assert data == wanted_data == {"step": STEPS}
  assert len(jax.tree.leaves(state)) > 200
  jax.tree.map(np.testing.assert_array_equal, state, wanted)

  # `train` and `train_and_eval` calibrate alike.
  kept = f"checkpoints/{STEPS}/calibration.json"
  assert (workdir / kept).read_text() == (smoke_run / kept).read_text()

  lines, unbroken = _lines(workdir), _lines(smoke_run)
  assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
  clocks = {"examples_per_second", "step_s", "input_wait_share"}
  clocks |= {"flops_share", "memory_gib"}
  for line, other in zip(lines, unbroken, strict=True):
    assert {k: v for k, v in line.items() if k not in clocks} == {
      k: v for k, v in other.items() if k not in clocks
    }
  # Nothing half-written is left.
  left = [p.name for p in (workdir / "checkpoints").iterdir()]
  assert sorted(left, key=int) == ["8", "10", "11"]
