"""The script for SLURM, run by bash with a SLURM of a few lines."""

import os
import pathlib
import signal
import subprocess
import time

import pytest

from launch import cluster

# srun starts both tasks, as programs that note their words, wait for SIGTERM if
# they are asked to, and end with a code. SIGTERM makes it kill them.
SRUN = r"""#!/bin/bash
while [[ $1 == --* ]]; do echo "$1" >> "$NOTES/srun"; shift; done
export SLURM_NTASKS=2
trap 'kill -KILL "${tasks[@]}"' TERM
for SLURM_PROCID in 0 1; do
  export SLURM_PROCID SLURM_LOCALID=$SLURM_PROCID
  "$@" &
  tasks+=($!)
done
code=0
for task in "${tasks[@]}"; do
  wait "$task"; one=$?
  (( one > code )) && code=$one
done
exit $code
"""
TASK = r"""#!/bin/bash
printf '%s\n' "$@" > "$NOTES/task$SLURM_PROCID"
[[ $WAIT ]] || exit $CODE
trap 'echo saved >> "$NOTES/saved"; exit $CODE' TERM
echo $$ > "$NOTES/up$SLURM_PROCID"
for _ in {1..300}; do sleep 0.1; done
"""
SCANCEL = r"""#!/bin/bash
[[ $* == "--quiet --signal=TERM 1000001" ]] && kill -TERM $(cat "$NOTES"/up*)
"""
SQUEUE = r"""#!/bin/bash
[[ $* == "--noheader --jobs=1000001 --format=%T" ]] && echo $STATE
"""
SCONTROL = r"""#!/bin/bash
case "$1 $2" in
  "show hostnames") printf 'node7\nnode8\n' ;;
  "show node") echo "Arch=x86_64 NodeAddr=10.0.0.7 NodeHostName=$3" ;;
  *) echo "$@" >> "$NOTES/scontrol" ;;
esac
"""
GETENT = r"""#!/bin/bash
[[ $RESOLVES ]]
"""
PROGRAMS = {
  "srun": SRUN,
  "task": TASK,
  "scancel": SCANCEL,
  "squeue": SQUEUE,
  "scontrol": SCONTROL,
  "getent": GETENT,
}


def _start(folder: pathlib.Path, capsys, code: int, **variables: str):
  programs = folder / "programs"
  programs.mkdir()
  for name, text in PROGRAMS.items():
    path = programs / name
    path.write_text(text)
    path.chmod(0o755)
  argv = [
    "slurm",
    "--task=gpu",
    "--gpus-per-node=2",
    f"--python={programs / 'task'}",
  ]
  argv += ["--restarts=3", "--dry-run", "--"]
  argv += ["--config=it's c.py", "--workdir=my $run"]
  with pytest.raises(SystemExit):  # SLURM cannot take $
    cluster.main(argv)
  argv[-1] = "--workdir=my run"
  capsys.readouterr()
  assert cluster.main(argv) == 0
  script = folder / "job"
  script.write_text(capsys.readouterr().out)
  return subprocess.Popen(
    ["bash", str(script)],
    env={
      "PATH": f"{programs}:{os.environ['PATH']}",
      "NOTES": str(folder),
      "CODE": str(code),
      "WAIT": "",
      "STATE": "RUNNING",
      "RESOLVES": "1",
      "SLURM_JOB_ID": "1000001",
      "SLURM_CPUS_PER_TASK": "8",
      "SLURM_JOB_NODELIST": "node[7-8]",
    }
    | variables,
    stdout=subprocess.PIPE,
    text=True,
  )


def _requeued(folder: pathlib.Path) -> bool:
  path = folder / "scontrol"
  if not path.exists():
    return False
  assert path.read_text() == "requeue 1000001\n"
  return True


def test_every_task_is_told_who_it_is(tmp_path, capsys):
  job = _start(tmp_path, capsys, 0)
  job.communicate(timeout=60)
  assert job.returncode == 0
  assert not _requeued(tmp_path)  # it is done
  srun = (tmp_path / "srun").read_text().split("\n")
  assert srun[-3:] == ["--ntasks=2", "--cpus-per-task=8", ""]
  port = 49152 + 1000001 % 16384
  for i in range(2):
    words = ["-m", "dwd_jax.main", "--config=it's c.py", "--workdir=my run"]
    words += ["--preempted_code=76"]
    words += [f"--coordinator=node7:{port}", "--num_processes=2"]
    words += [f"--process_id={i}", f"--local_devices={i}", ""]
    assert (tmp_path / f"task{i}").read_text().split("\n") == words


def test_the_coordinator_is_where_slurm_finds_it(tmp_path, capsys):
  job = _start(tmp_path, capsys, 0, RESOLVES="")
  job.communicate(timeout=60)
  assert "--coordinator=10.0.0.7:" in (tmp_path / "task1").read_text()


# Caption: exit code of the run, how often the job was in the queue again,
# whether SLURM lets it run, whether it goes there once more.
ENDS = {
  "done": (0, "0", True, False),
  "a lost process": (75, "0", True, True),
  "a lost process, too often": (75, "3", True, False),
  "an error": (1, "2", True, True),
  "bad input": (2, "0", True, False),
  "saved": (76, "9", True, True),
  "ended by SLURM": (76, "9", False, False),
}


@pytest.mark.parametrize("caption", ENDS)
def test_a_failed_run_goes_back_in_the_queue(tmp_path, capsys, caption):
  code, count, runs, again = ENDS[caption]
  state = "RUNNING" if runs else "COMPLETING"
  job = _start(tmp_path, capsys, code, SLURM_RESTART_COUNT=count, STATE=state)
  job.communicate(timeout=60)
  assert job.returncode == code
  assert _requeued(tmp_path) is again


@pytest.mark.parametrize("code", [76, 75])
def test_out_of_time_it_saves_and_goes_back(tmp_path, capsys, code):
  job = _start(tmp_path, capsys, code, WAIT="1", SLURM_RESTART_COUNT="9")
  try:
    deadline = time.monotonic() + 60
    while not all((tmp_path / f"up{i}").exists() for i in range(2)):
      assert time.monotonic() < deadline
      time.sleep(0.02)
    job.send_signal(signal.SIGTERM)  # to the shell alone, as B: has it
    out, _ = job.communicate(timeout=60)
  finally:
    job.kill()
    job.wait()
  assert job.returncode == code
  assert (tmp_path / "saved").read_text() == "saved\n" * 2
  assert _requeued(tmp_path)
  assert "goes on from the newest checkpoint" in out
