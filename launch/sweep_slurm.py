"""A search as SLURM jobs: one array a rung, each waits for the one before.

A task finds out from the results of the rung before which trial is its own, so
no job has to direct the others. The folder of the search has to be on a file
system that all hosts share.
"""

import pathlib
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence

from dwd_jax.core import files
from dwd_jax.core.errors import InputError
from launch.plan import Plan

_SCRIPT = """#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --output={log}
#SBATCH --open-mode=append
{options}
set -eu
cd {folder}
export PYTHONPATH={folder}${{PYTHONPATH:+:$PYTHONPATH}}
exec {command}
"""

_GPU_OPTIONS = ("--gres", "--gpus", "-G")  # the table needs none

_SUBMIT = """#!/bin/bash
# Submits the rungs, each after all tasks of the one before have ended, and the
# table of the results.
set -eu
cd {folder}
"""


def write(
  plan: Plan,
  arguments: Sequence[str],
  options: Sequence[str] = (),
  parallel: int = 0,
) -> pathlib.Path:
  """Writes the scripts of a search.

  Args:
    plan: the search.
    arguments: of `python -m launch.sweep` that say what the search is.
    options: of sbatch for the trials, such as "--gres=gpu:1".
    parallel: tasks of an array that run at once; 0 = as the cluster likes.

  Returns:
    DIR/slurm/submit.sh, which submits them all.

  Raises:
    InputError: an option that is none, a folder that SLURM would misread.
  """
  folder = (plan.out / "slurm").absolute()
  for text in options:
    if not text.startswith("-") or len(text.splitlines()) != 1:
      raise InputError(f"--sbatch={text}: give an option of sbatch, --NAME=...")
  if "%" in str(folder) or "\n" in str(folder):
    raise InputError(
      f"{folder}: SLURM takes % for a pattern; use another --out"
    )
  program = [sys.executable, "-m", "launch.sweep", *arguments]
  submit = _SUBMIT.format(folder=shlex.quote(str(folder)))
  waits = ""
  for rung, size in enumerate(plan.sizes()):
    array = f"--array=0-{size - 1}" + (f"%{parallel}" if parallel else "")
    name = f"rung_{rung}.sbatch"
    _write_script(
      folder / name,
      name=f"sweep-rung-{rung}",
      log=f"rung_{rung}-%a.log",
      options=[array, *options],
      command=f'{shlex.join(program)} "--only={rung}:$SLURM_ARRAY_TASK_ID"',
    )
    submit += f"job=$(sbatch --parsable{waits} {name})\njob=${{job%%;*}}\n"
    submit += f'echo "rung {rung}: job $job, {size} trials"\n'
    waits = ' --dependency=afterany:"$job"'
  _write_script(
    folder / "report.sbatch",
    name="sweep-report",
    log="report.log",
    options=[
      o for o in options if not o.startswith(("--gres", "--gpus", "-G"))
    ],
    command=shlex.join([*program, "--report"]),
  )
  submit += f"job=$(sbatch --parsable{waits} report.sbatch)\n"
  submit += f'echo "table: job ${{job%%;*}}, {folder / "report.log"}"\n'
  files.write_atomic(folder / "submit.sh", submit)
  return folder / "submit.sh"


def _write_script(
  path: pathlib.Path, name: str, log: str, options: list[str], command: str
) -> None:
  text = _SCRIPT.format(
    name=name,
    log=path.with_name(log),
    options="\n".join(f"#SBATCH {option}" for option in options),
    folder=shlex.quote(str(pathlib.Path.cwd())),
    command=command,
  )
  files.write_atomic(path, text)


def submit(script: pathlib.Path) -> None:
  """Runs what `write` returned.

  Raises:
    InputError: there is no SLURM here, or it refuses the jobs.
  """
  if shutil.which("sbatch") is None:
    raise InputError(
      f"sbatch: not found; run bash {script} where the cluster takes jobs"
    )
  if subprocess.run(["bash", str(script)], check=False).returncode:
    raise InputError(f"{script}: sbatch refused a job; see above")
