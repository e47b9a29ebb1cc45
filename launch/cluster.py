"""Submits a run to a cluster, with a template filled in.

python -m launch.cluster slurm --nodes=4 --gpus-per-node=8 -- --config=...
  --workdir=...
python -m launch.cluster jobset --name=dwd --image=... --claim=...
  --processes=4 --gpus=8 -- --config=... --workdir=/data/...

The templates are launch/slurm.sbatch and launch/jobset.yaml, with @NAME for
what is filled in; flags are checked or quoted. See launch/README.md.
"""

import argparse
import json
import math
import pathlib
import re
import shlex
import string
import subprocess
import sys
from collections.abc import Callable, Sequence

from launch import command_line
from launch.command_line import AGAIN, Parser


def _text(pattern: str, example: str) -> Callable[[str], str]:
  """The type of a flag whose text must match a pattern."""

  def check(value: str) -> str:
    if not re.fullmatch(pattern, value):
      raise argparse.ArgumentTypeError(f"'{value}': give {example}")
    return value

  return check


_positive, _natural = command_line.positive, command_line.not_negative
# A directive of SLURM ends with its line, and % is special in it.
_word = _text(r"[^\s\"'\\%`$]+", "a word without quotes, % and $")
_option = _text(r"--[a-z][a-z-]*(=[^\n\"'\\`$]+)?", "an option, --key=value")
_line = _text(r"[^\n]*", "one line")
_time = _text(r"(\d+-)?\d{1,3}(:\d\d){0,2}", "24:00:00 or 2-00:00:00")
_label = _text(
  r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?",
  "lower-case letters, digits and -, at most 40",
)
_image = _text(r"\S+", "the name of an image")
_quantity = _text(r"\d+(\.\d+)?([kMGT]i?)?", "it as 8 or 32Gi")
_topology = _text(r"\d{1,3}(x\d{1,3}){1,2}", "it as 4x4")

# Exit code of a run that SLURM made save: not a failure, of which few count.
_SAVED = AGAIN + 1
# Name, type, default (... = to be given), help.
_SLURM = (
  ("name", _word, "dwd_jax", "of the job"),
  ("nodes", _positive, 1, "machines"),
  ("gpus-per-node", _natural, 1, "GPUs of each; 0 = CPUs"),
  ("cpus-per-task", _positive, 8, "cores of a process"),
  ("time", _time, "24:00:00", "limit"),
  ("restarts", _natural, 5, "how often to start again after a failure"),
  ("save-s", _positive, 120, "seconds to save in before the limit"),
  ("setup", _line, "", "a shell command to run first"),
  ("sweep", _positive, None, "jobs that work on one search, by launch.sweep"),
)
_JOBSET = (
  ("name", _label, ..., "of the JobSet"),
  ("image", _image, ..., "container with dwd_jax and JAX in it"),
  ("claim", _label, ..., "persistent volume claim for the workdir"),
  ("mount", str, "/data", "where it is mounted"),
  ("namespace", _label, None, "default: that of kubectl"),
  ("processes", _positive, None, "GPUs: pods, one process in each"),
  ("gpus", _positive, 1, "GPUs of each pod"),
  ("accelerator", _word, None, "TPUs: such as tpu-v5-lite-podslice"),
  ("topology", _topology, None, "TPUs: chips of a slice, such as 4x4"),
  ("chips", _positive, 4, "TPUs: of a host"),
  ("slices", _positive, 1, "TPUs: how many"),
  ("restarts", _natural, 100, "how often all pods may start again"),
  ("cpus", _quantity, "8", "of each pod"),
  ("memory", _quantity, "32Gi", "of each pod"),
  ("grace-s", _positive, 120, "seconds to save in when a pod must go"),
)


def _parser(cluster: str, table: Sequence) -> Parser:
  parser = Parser(f"cluster {cluster}", f"Submits a run: {cluster}.")
  add = parser.add_argument
  add("--dry-run", action="store_true", help="only print it")
  add("--python", default="python", help="interpreter (python)")
  for name, kind, default, text in table:
    shown = "" if default in (None, ..., "") else f" ({default})"
    needed = default is ...
    add(
      f"--{name}",
      type=kind,
      default=None if needed else default,
      required=needed,
      help=text + shown,
    )
  return parser


class _Template(string.Template):
  delimiter = "@"


def _fill(template: str, /, **fields: object) -> str:
  path = pathlib.Path(__file__).with_name(template)
  return _Template(path.read_text(encoding="utf8")).substitute(fields)


def slurm(argv: Sequence[str]) -> tuple[str, list[str]]:
  """The script for sbatch, and the command that takes it (not if --dry-run)."""
  parser = _parser("slurm", _SLURM)
  parser.add_argument(
    "--task",
    choices=("host", "gpu"),
    default="host",
    help="one process for a machine, with all its GPUs (host), or for a GPU",
  )
  parser.add_argument(
    "--sbatch",
    type=_option,
    action="append",
    default=[],
    metavar="OPTION",
    help="another option for sbatch, such as --sbatch=--partition=a100",
  )
  at = "out" if any(word.startswith("--sweep") for word in argv) else "workdir"
  options, program = parser.split(argv, at)
  by_gpu = options.task == "gpu"
  if by_gpu and not options.gpus_per_node:
    parser.error("--task=gpu: there are no GPUs with --gpus-per-node=0")
  if options.sweep and (options.nodes > 1 or by_gpu):
    parser.error("--sweep: each job has one machine; leave --nodes, --task out")
  folder = str(command_line.value_of(program, at))
  if not folder.isprintable() or re.search(r"[\"\\`$]", folder):
    parser.error(f"--{at}={folder}: has a character that SLURM cannot take")

  tasks = options.gpus_per_node if by_gpu else 1
  job = "%A_%a" if options.sweep else "%j"
  directives = {
    "job-name": options.name,
    "nodes": options.nodes,
    "ntasks-per-node": tasks,
    "cpus-per-task": options.cpus_per_task,
    "time": options.time,
    "output": f'"{folder.replace("%", "%%")}/slurm-{job}.out"',
    "open-mode": "append",
    "signal": f"B:TERM@{options.save_s}",
  }
  if options.gpus_per_node:
    directives["gpus-per-node"] = options.gpus_per_node
  if options.sweep:
    directives["array"] = f"0-{options.sweep - 1}"
    start, module, saved = "", "launch.sweep", AGAIN
  else:  # each process is told who it is
    found = '--coordinator="$COORDINATOR" --num_processes="$SLURM_NTASKS"'
    found += ' --process_id="$SLURM_PROCID"'
    found += ' --local_devices="$SLURM_LOCALID"' if by_gpu else ""
    start = f"bash -c 'exec \"$@\" {found}' task"
    module, saved = command_line.PROGRAM, _SAVED
    program = (*program, f"--preempted_code={saved}")
  lines = [f"--{key}={value}" for key, value in directives.items()]
  text = _fill(
    "slurm.sbatch",
    directives="\n".join(f"#SBATCH {s}" for s in [*lines, *options.sbatch]),
    setup=options.setup or ": # nothing to set up",
    start=start,
    command=shlex.join([options.python, "-m", module, *program]),
    tasks=options.nodes * tasks,
    saved=saved,
    restarts=options.restarts,
  )
  if options.dry_run:
    return text, []
  try:
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)  # for the output
  except OSError as e:
    parser.error(f"{e.filename}: {e.strerror}")
  return text, ["sbatch"]


def jobset(argv: Sequence[str]) -> tuple[str, list[str]]:
  """The JobSet (jobset.x-k8s.io/v1alpha2) for kubectl; as `slurm`."""
  parser = _parser("jobset", _JOBSET)
  options, program = parser.split(argv)
  _check_workdir(parser, options, program)
  tpus = (options.accelerator, options.topology)
  if any(tpus) if options.processes else not all(tpus):
    parser.error(
      "give --processes for GPUs, or --accelerator and --topology for TPUs"
    )
  metadata: dict[str, object] = {"name": options.name}
  if options.namespace:
    metadata["namespace"] = options.namespace
  nodes = {}
  if options.processes:
    pods = options.processes
    who = [
      f"--coordinator={options.name}-worker-0-0.{options.name}:7123",
      f"--num_processes={pods}",
      "--process_id=$(JOB_COMPLETION_INDEX)",
    ]
  else:
    chips = math.prod(map(int, options.topology.split("x")))
    pods = chips // options.chips
    if chips % options.chips:
      parser.error(
        f"--topology={options.topology}: {chips} chips are no multiple of"
        f" --chips={options.chips}"
      )
    nodes["cloud.google.com/gke-tpu-accelerator"] = options.accelerator
    nodes["cloud.google.com/gke-tpu-topology"] = options.topology
    # A slice of its own for each job.
    exclusive = "alpha.jobset.sigs.k8s.io/exclusive-topology"
    metadata["annotations"] = {exclusive: "cloud.google.com/gke-nodepool"}
    who = ["--distributed=auto"]
  fields = {
    **vars(options),
    "metadata": metadata,
    "slices": options.slices if nodes else 1,
    "pods": pods,
    "nodes": nodes,
    # Kubernetes replaces $(NAME), and makes $$ one $, anywhere.
    "command": [
      word.replace("$", "$$")
      for word in (options.python, "-m", command_line.PROGRAM, *program)
    ]
    + [*who, f"--preempted_code={AGAIN}"],
    "device": "google.com/tpu" if nodes else "nvidia.com/gpu",
    "devices": options.chips if nodes else options.gpus,
  }
  # JSON is YAML, and nothing in a JSON string can end it early.
  quoted = {k: json.dumps(v, ensure_ascii=False) for k, v in fields.items()}
  text = _fill("jobset.yaml", **quoted)
  return text, [] if options.dry_run else ["kubectl", "apply", "-f", "-"]


def _check_workdir(parser: Parser, options, program: Sequence[str]) -> None:
  mount = pathlib.PurePosixPath(options.mount)
  workdir = str(command_line.value_of(program, "workdir"))
  inside = pathlib.PurePosixPath(workdir)
  if not mount.is_absolute() or ".." in inside.parts:
    parser.error(f"--mount={mount}, --workdir={workdir}: need absolute paths")
  if not inside.is_relative_to(mount):
    parser.error(
      f"--workdir={workdir}: is not below --mount={mount} and would be lost"
      " with the pod"
    )
  if not all(
    map(str.isprintable, [*map(str, vars(options).values()), *program])
  ):
    parser.error("a flag has a character that cannot be printed; remove it")


def main(argv: Sequence[str] | None = None) -> int:
  """Prints or submits; returns the exit code."""
  argv = list(sys.argv[1:] if argv is None else argv)
  fill = {"slurm": slurm, "jobset": jobset}.get(argv[0] if argv else "")
  if fill is None:
    command_line.fail("cluster", "name a cluster: slurm or jobset, then --help")
  text, command = fill(argv[1:])
  if not command:
    print(text, end="")
    return 0
  try:
    return subprocess.run(command, input=text, text=True).returncode
  except FileNotFoundError:
    command_line.fail(
      "cluster",
      f"{command[0]}: not found; use --dry-run, and submit what it prints where"
      " there is one",
    )


if __name__ == "__main__":
  sys.exit(main())
