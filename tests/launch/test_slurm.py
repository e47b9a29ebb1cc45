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
STEPS = 8
FLAGS = ("--nodes=2", "--gpus-per-node=0", "--cpus-per-task=1", "--time=10")

# In place of Python: does what its config says. A task that waits saves at
# SIGTERM, as a run does, and is done at its second start.
PROGRAM = """#!/bin/bash
saved=0
for word; do
  case "$word" in
    --workdir=*) cd "${word#*=}" ;;
    --out=*) cd "${word#*=}"; saved=75 ;;
    --config=*) task="${word#*=}" ;;
    --preempted_code=*) saved="${word#*=}" ;;
  esac
done
me=${SLURM_ARRAY_TASK_ID:-$SLURM_PROCID}
[[ $task == deaf ]] || trap 'sleep 1; exit $saved' TERM
echo start >> "starts$me"
(( $(wc -l < "starts$me") > 1 )) && [[ $task != code* ]] && exit 0
touch "up$me"
[[ $task == code* ]] && exit "${task#code}"
for _ in {1..600}; do
  [[ -e go ]] && exit 0
  sleep 0.1
done
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


@pytest.fixture
def python(tmp_path) -> str:
  """Flag of the launcher that names `PROGRAM`."""
  program = tmp_path / "program"
  program.write_text(PROGRAM)
  program.chmod(0o755)
  return f"--python={program}"


def test_a_job_returns_to_the_queue_if_it_should(slurm, python, tmp_path):
  jobs = {}
  for caption, (task, *_) in ENDS.items():
    flags = ("--restarts=1", python)
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


def test_of_a_search_only_the_job_that_is_asked_returns(
  slurm, python, tmp_path
):
  out = tmp_path / "search"
  array = slurm.launch(
    "--sweep=2",
    "--gpus-per-node=0",
    "--cpus-per-task=1",
    python,
    "--",
    "--config=wait",
    f"--out={out}",
  )
  jobs = [f"{array}_{i}" for i in range(2)]
  for i in range(2):
    _until(slurm, jobs[i], out / f"up{i}", 60)
  # The last job of an array has the number of the array.
  slurm.do("scancel", "-b", "-s", "TERM", jobs[1])
  assert slurm.finish(jobs[1])["Restarts"] == "1"
  assert slurm.job(jobs[0])["JobState"] == "RUNNING"
  (out / "go").touch()
  assert slurm.finish(jobs[0])["Restarts"] == "0"
  assert (out / "starts0").read_text() == "start\n"
  assert (out / "starts1").read_text() == "start\n" * 2


def _train(slurm, workdir: pathlib.Path) -> str:
  return slurm.launch(
    *FLAGS,
    f"--python={sys.executable}",
    "--",
    f"--config={helpers.CONFIG}",
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
