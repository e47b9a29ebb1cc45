"""The whole program in two processes, one of which is killed on the way.

With the parameters spread over both. The oracle is one process with two devices
that is not interrupted.
"""

import json
import pathlib
import shutil

import jax
import launch_helpers as helpers
import numpy as np
import pytest

pytestmark = pytest.mark.slow  # a minute; pairs alone: test_lost_process.py
STEPS = 8


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> pathlib.Path:
  """Workdir of one process with two devices."""
  workdir = tmp_path_factory.mktemp("unbroken") / "run"
  process = helpers.start(
    "-m",
    "dwd_jax.main",
    f"--config={helpers.CONFIG}",
    f"--workdir={workdir}",
    "--mode=train",
    devices=2,
  )
  ((code, out, err),) = helpers.finish([process], 300)
  assert code == 0, out + err
  return workdir


def _lines(workdir: pathlib.Path) -> list[dict]:
  path = workdir / "metrics.jsonl"
  if not path.exists():
    return []
  return [json.loads(s) for s in path.read_text().split("\n")[:-1] if s]


def _values(line: dict) -> dict:
  clocks = {"examples_per_second", "step_s", "input_wait_share"}
  clocks |= {"flops_share", "memory_gib"}
  return {k: v for k, v in line.items() if k not in clocks}


def test_a_killed_run_of_two_processes_ends_as_one_of_one(unbroken, tmp_path):
  workdir = tmp_path / "run"
  workdir.mkdir()
  shutil.copytree(unbroken / "data", workdir / "data")
  launcher = helpers.start(
    "-m",
    "launch.local",
    "--processes=2",
    "--restarts=1",
    "--",
    f"--config={helpers.CONFIG}",
    f"--workdir={workdir}",
    "--mode=train",
  )
  helpers.wait_until(lambda: len(_lines(workdir)) >= 4, launcher, 300)
  victim = helpers.children(launcher)[1]
  helpers.kill(victim)
  ((code, out, err),) = helpers.finish([launcher], 300)

  assert code == 0, out + err
  told = [s for s in err.splitlines() if s.startswith("launch.local: ")]
  assert told == [
    "launch.local: process 1 of 2 is lost (SIGKILL); the others are ended",
    "launch.local: start 2 of 2, from the newest checkpoint",
  ]
  # Process 0 alone has spoken.
  begun = out.split("Continuing at step ")
  assert len(begun) == 2
  assert begun[1].startswith(("3 of 8\n", "6 of 8\n"))
  assert out.count(f"step {STEPS}/{STEPS} combined: ") == 1

  # A sum of two is the same in any order: the bits are those of one process.
  assert [line["step"] for line in _lines(workdir)] == [*range(1, STEPS + 1)]
  for line, other in zip(_lines(workdir), _lines(unbroken), strict=True):
    assert _values(line) == _values(other)
  state, wanted = (helpers.state(w, STEPS) for w in (workdir, unbroken))
  assert len(jax.tree.leaves(state)) > 200
  jax.tree.map(np.testing.assert_array_equal, state, wanted)
  assert len(list((workdir / "tensorboard").iterdir())) == 2  # one each start
  left = sorted(p.name for p in (workdir / "checkpoints").iterdir())
  assert left == ["3", "6", "8"]
