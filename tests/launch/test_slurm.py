"""What launch.cluster writes for SLURM, run by SLURM on two nodes."""

import json
import pathlib
import shutil
import sys

import jax
import launch_helpers as helpers
import numpy as np
import pytest
import slurm_cluster

pytestmark = pytest.mark.slow
STEPS = 24
FLAGS = ("--nodes=2", "--gpus-per-node=0", "--cpus-per-task=1", "--time=10")

# In place of Python: does what its last flag says. A task that waits saves at
# SIGTERM, as a run does, and is done at its second start.
PROGRAM = """#!/bin/bash
for word; do
  case "$word" in
    --workdir=*) cd "${word#*=}" ;;
    --config=*) task="${word#*=}" ;;
    --preempted_code=*) saved="${word#*=}" ;;
  esac
done
[[ $task == deaf ]] || trap 'sleep 1; exit $saved' TERM
echo start >> "starts$SLURM_PROCID"
(( $(wc -l < "starts$SLURM_PROCID") > 1 )) && [[ $task != code* ]] && exit 0
touch "up$SLURM_PROCID"
case "$task" in
  code*) exit "${task#code}" ;;
  *) for _ in {1..600}; do sleep 0.1; done ;;
esac
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
  """A cluster of two nodes."""
  if why := slurm_cluster.is_missing():
    pytest.skip(why)
  with slurm_cluster.running(tmp_path_factory.mktemp("slurm")) as cluster:
    yield cluster


def _until(slurm, job: str, path: pathlib.Path, timeout_s: float) -> None:
  """Waits until a running job has written a file."""

  def written(found: dict[str, str]) -> bool:
    return found["JobState"] == "RUNNING" and path.exists()

  slurm.wait(job, written, timeout_s)


# Caption: what the tasks do, what is done to the job, its last state, the exit
# code of its last start, how often it has returned to the queue.
ENDS = {
  "done": ("code0", (), "COMPLETED", 0, 0),
  "bad input": ("code2", (), "FAILED", 2, 0),
  "a lost process, twice": ("code75", (), "FAILED", 75, 1),
  "out of time": ("wait", ("scancel", "-b", "-s", "TERM"), "COMPLETED", 0, 1),
  "early": ("deaf", ("scancel", "-b", "-s", "TERM"), "COMPLETED", 0, 1),
  "SIGTERM to the tasks": (
    "wait",
    ("scancel", "-s", "TERM"),
    "COMPLETED",
    0,
    1,
  ),
  "returned": ("wait", ("scontrol", "requeue"), "COMPLETED", 0, 1),
  "cancelled": ("wait", ("scancel",), "CANCELLED", 76, 0),
}


def test_a_job_returns_to_the_queue_if_it_should(slurm, tmp_path):
  program = tmp_path / "program"
  program.write_text(PROGRAM)
  program.chmod(0o755)
  jobs = {}
  for caption, (task, *_) in ENDS.items():
    flags = ("--restarts=1", f"--python={program}")
    folder = f"--workdir={tmp_path / caption}"
    jobs[caption] = slurm.launch(
      *FLAGS, *flags, "--", f"--config={task}", folder
    )
  for caption, (_, command, *_) in ENDS.items():
    if command:
      for i in range(2):
        _until(slurm, jobs[caption], tmp_path / caption / f"up{i}", 60)
      slurm.do(*command, jobs[caption])
  for caption, (*_, state, code, returns) in ENDS.items():
    found = slurm.finish(jobs[caption])
    said = (tmp_path / caption / f"slurm-{jobs[caption]}.out").read_text()
    ended = (found["JobState"], found["ExitCode"], found["Restarts"])
    assert ended == (state, f"{code}:0", str(returns)), (caption, said)
    for i in range(2):
      starts = (tmp_path / caption / f"starts{i}").read_text()
      assert starts == "start\n" * (1 + returns), (caption, said)


def _train(slurm, workdir: pathlib.Path) -> str:
  return slurm.launch(
    *FLAGS,
    f"--python={sys.executable}",
    "--",
    f"--config={helpers.CONFIG}:{STEPS}",
    f"--workdir={workdir}",
    "--mode=train",
  )


def _lines(workdir: pathlib.Path) -> list[dict]:
  text = (workdir / "metrics.jsonl").read_text()
  return [json.loads(line) for line in text.splitlines()]


def test_a_preempted_run_ends_as_one_that_was_not(slurm, tmp_path):
  unbroken, workdir = tmp_path / "unbroken", tmp_path / "preempted"
  found = slurm.finish(_train(slurm, unbroken), 300)
  out = (unbroken / f"slurm-{found['JobId']}.out").read_text()
  assert (found["JobState"], found["Restarts"]) == ("COMPLETED", "0"), out

  workdir.mkdir()
  shutil.copytree(unbroken / "data", workdir / "data")
  job = _train(slurm, workdir)
  _until(slurm, job, workdir / "metrics.jsonl", 300)
  # SLURM warns the tasks, and gives them `GraceTime`.
  urgent = ["--partition=high", "--nodes=2", "--exclusive"]
  slurm.submit("sbatch", *urgent, "--output=/dev/null", "--wrap=true")
  found = slurm.finish(job, 300)
  out = (workdir / f"slurm-{job}.out").read_text()
  assert (found["JobState"], found["Restarts"]) == ("COMPLETED", "1"), out
  assert "stopped and saved at step" in out
  assert out.count("Continuing at step") == 1
  assert [line["step"] for line in _lines(workdir)] == [*range(1, STEPS + 1)]
  losses = [line["loss"] for line in _lines(workdir)]
  assert losses == [line["loss"] for line in _lines(unbroken)]
  state, wanted = (helpers.state(w, STEPS) for w in (workdir, unbroken))
  jax.tree.map(np.testing.assert_array_equal, state, wanted)
