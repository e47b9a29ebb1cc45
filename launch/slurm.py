"""A run of several processes under SLURM: writes the script and submits it.

python -m launch.slurm --nodes=4 --gpus-per-node=8 -- --config=... --workdir=...

See launch/README.md.
"""

import pathlib
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence

from launch import command_line

TEMPLATE = pathlib.Path(__file__).with_name("slurm.sbatch")
_TIME = re.compile(r"(\d+-)?\d{1,3}(:\d\d){0,2}")
# What may stand in a directive: it ends at the line, and SLURM replaces %.
_NAME = re.compile(r"[^\s\"'\\%`$]+")
_OPTION = re.compile(r"--[a-z][a-z-]*(=[^\n\"'\\`$]+)?")


def _parser() -> command_line.Parser:
  parser = command_line.Parser("slurm", str(__doc__).splitlines()[0])
  add = parser.add_argument
  positive = command_line.positive
  add("--nodes", type=positive, default=1, help="machines (default: 1)")
  add(
    "--gpus-per-node",
    type=command_line.not_negative,
    default=1,
    help="GPUs of each (default: 1); 0 = CPUs",
  )
  add(
    "--task",
    choices=("host", "gpu"),
    default="host",
    help="one process for a machine, with all its GPUs (default), or for a GPU",
  )
  add("--cpus-per-task", type=positive, default=8, help="cores (default: 8)")
  add("--time", default="24:00:00", help="limit, as SLURM writes it")
  add("--name", default="dwd_jax", help="of the job (default: dwd_jax)")
  add("--partition", default="", help="default: the cluster's")
  add("--account", default="", help="default: yours")
  add("--output", default="", help="default: WORKDIR/slurm-%%j.out")
  add(
    "--save-s",
    type=positive,
    default=120,
    help="seconds before the limit at which the run is asked to save"
    " (default: 120)",
  )
  add(
    "--sbatch",
    action="append",
    default=[],
    metavar="OPTION",
    help="another option for sbatch, e.g. --sbatch=--mem=64G",
  )
  add(
    "--restarts",
    type=command_line.not_negative,
    default=5,
    help="after a failure, back in the queue if the job was there less often"
    " (default: 5)",
  )
  add("--setup", default="", help="a shell command to run first")
  add("--python", default="python", help="interpreter (default: python)")
  add("--dry-run", action="store_true", help="only print the script")
  return parser


def _check(parser: command_line.Parser, options) -> None:
  if not _TIME.fullmatch(options.time):
    parser.error(f"--time={options.time}: write it as 24:00:00 or 2-00:00:00")
  for key in ("name", "partition", "account"):
    value = getattr(options, key)
    if value and not _NAME.fullmatch(value):
      parser.error(f"--{key}={value}: a blank or sign that SLURM cannot take")
  for option in options.sbatch:
    if not _OPTION.fullmatch(option):
      parser.error(f"--sbatch={option}: needs an option of sbatch, --key=value")
  for key in ("setup", "output"):
    if "\n" in getattr(options, key):
      parser.error(f"--{key}: one line only")
  if "%" in options.output.replace("%j", ""):
    parser.error(f"--output={options.output}: of SLURM's signs only %j")
  if options.task == "gpu" and not options.gpus_per_node:
    parser.error("--task=gpu: there are no GPUs with --gpus-per-node=0")


def script(options, program: Sequence[str]) -> str:
  """The script for sbatch.

  Args:
    options: see `_parser`.
    program: flags of the run.
  """
  tasks = options.gpus_per_node if options.task == "gpu" else 1
  workdir = str(command_line.value_of(program, "workdir"))
  directives = {
    "job-name": options.name,
    "nodes": options.nodes,
    "ntasks-per-node": tasks,
    "gpus-per-node": options.gpus_per_node or None,
    "cpus-per-task": options.cpus_per_task,
    "time": options.time,
    "partition": options.partition or None,
    "account": options.account or None,
    "output": options.output or f"{workdir.replace('%', '%%')}/slurm-%j.out",
    "open-mode": "append",
    "signal": f"B:TERM@{options.save_s}",
  }
  lines = [
    f"#SBATCH --{key}={_quoted(value)}"
    for key, value in directives.items()
    if value is not None
  ]
  lines += ["#SBATCH --requeue", *(f"#SBATCH {o}" for o in options.sbatch)]
  devices = ' --local_devices="$SLURM_LOCALID"' if options.task == "gpu" else ""
  command = shlex.join([options.python, "-m", command_line.PROGRAM, *program])
  fields = {
    "DIRECTIVES": "\n".join(lines),
    "SETUP": options.setup or ": # nothing to set up",
    "COMMAND": command,
    "TASKS": str(options.nodes * tasks),
    "LOCAL_DEVICES": devices,
    "RESTARTS": str(options.restarts),
  }
  text = TEMPLATE.read_text(encoding="utf8")
  return re.sub("@([A-Z_]+)@", lambda match: fields[match[1]], text)


def _quoted(value: object) -> str:
  return f'"{value}"' if " " in str(value) else str(value)


def main(argv: Sequence[str] | None = None) -> int:
  """Prints or submits the script; returns the exit code."""
  parser = _parser()
  options, program = parser.split(sys.argv[1:] if argv is None else argv)
  _check(parser, options)
  workdir = pathlib.Path(str(command_line.value_of(program, "workdir")))
  if re.search(r"[\n\"\\`$]", str(workdir)):
    parser.error(f"--workdir={workdir}: a sign that SLURM cannot take")
  text = script(options, program)
  if options.dry_run:
    print(text, end="")
    return 0
  try:
    workdir.mkdir(parents=True, exist_ok=True)  # for SLURM's output
    done = subprocess.run(["sbatch"], input=text, text=True, check=False)
  except FileNotFoundError as e:
    parser.error(f"{e.filename}: not found; call it on a node that submits")
  except OSError as e:
    parser.error(f"{e.filename}: {e.strerror}")
  return done.returncode


if __name__ == "__main__":
  sys.exit(main())
