"""A run of several processes on Kubernetes: writes a JobSet and applies it.

python -m launch.jobset --name=dwd --image=... --claim=... --processes=4
  --gpus=8 -- --config=... --workdir=/data/...

See launch/README.md.
"""

import math
import pathlib
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import yaml

from launch import command_line

JOB = "worker"  # of the one replicated job
PORT = 7123
BAD_INPUT = 2  # exit code: another start would end the same way
AGAIN = 75  # exit code: saved and stopped, or another process is lost
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
_QUANTITY = re.compile(r"\d+(\.\d+)?([kMGT]i?)?")
_TOPOLOGY = re.compile(r"\d{1,3}(x\d{1,3}){1,2}")


def _parser() -> command_line.Parser:
  parser = command_line.Parser("jobset", str(__doc__).splitlines()[0])
  add = parser.add_argument
  positive = command_line.positive
  add("--name", required=True, help="of the JobSet")
  add("--image", required=True, help="container with dwd_jax and JAX in it")
  add("--claim", required=True, help="persistent volume claim for the workdir")
  add("--mount", default="/data", help="where it is mounted (default: /data)")
  add("--namespace", default="", help="default: that of kubectl")
  add("--platform", choices=("gpu", "tpu"), default="gpu", help="default: gpu")
  add("--processes", type=positive, help="gpu: pods, one process in each")
  add("--gpus", type=positive, default=1, help="gpu: of each pod (default: 1)")
  add("--accelerator", default="", help="tpu: e.g. tpu-v5-lite-podslice")
  add("--topology", default="", help="tpu: chips of a slice, e.g. 4x4")
  add("--chips", type=positive, default=4, help="tpu: of a host (default: 4)")
  add("--slices", type=positive, default=1, help="tpu: default 1")
  add("--cpus", default="8", help="of each pod (default: 8)")
  add("--memory", default="32Gi", help="of each pod (default: 32Gi)")
  add(
    "--restarts",
    type=command_line.not_negative,
    default=100,
    help="how often all pods may start again (default: 100)",
  )
  add(
    "--grace-s",
    type=positive,
    default=120,
    help="seconds to save in when a pod must go (default: 120)",
  )
  add("--python", default="python", help="interpreter (default: python)")
  add("--dry-run", action="store_true", help="only print the YAML")
  return parser


def _check(parser: command_line.Parser, options, program) -> None:
  for key in ("name", "claim", "namespace"):
    value = getattr(options, key)
    if not _NAME.fullmatch(value) and (value or key != "namespace"):
      parser.error(
        f"--{key}={value}: needs small letters, digits and -, at most 40"
      )
  if not options.image or re.search(r"\s", options.image):
    parser.error(f"--image={options.image}: needs the name of an image")
  for key in ("cpus", "memory"):
    if not _QUANTITY.fullmatch(getattr(options, key)):
      parser.error(f"--{key}={getattr(options, key)}: write it as 8 or 32Gi")
  mount = pathlib.PurePosixPath(options.mount)
  workdir = str(command_line.value_of(program, "workdir"))
  inside = pathlib.PurePosixPath(workdir)
  if not mount.is_absolute() or ".." in inside.parts:
    parser.error(f"--mount={mount}, --workdir={workdir}: need absolute paths")
  if not inside.is_relative_to(mount):
    parser.error(
      f"--workdir={workdir}: is not below --mount={mount}, and would be lost"
      " with the pod"
    )
  if options.platform == "gpu":
    if not options.processes:
      parser.error("--processes is missing: how many pods?")
    return
  if not options.accelerator or not _TOPOLOGY.fullmatch(options.topology):
    parser.error(
      "--platform=tpu: needs --accelerator and --topology, e.g. 4x4; see"
      " `kubectl describe nodes`"
    )
  if _chips(options) % options.chips:
    parser.error(
      f"--topology={options.topology}: {_chips(options)} chips are no multiple"
      f" of --chips={options.chips}"
    )


def _chips(options) -> int:
  return math.prod(map(int, options.topology.split("x")))


def _pod(options, program: Sequence[str]) -> dict[str, Any]:
  tpu = options.platform == "tpu"
  device, count = "nvidia.com/gpu", options.gpus
  if tpu:
    device, count = "google.com/tpu", options.chips
    found = ["--distributed=auto"]
  else:
    found = [
      f"--coordinator={options.name}-{JOB}-0-0.{options.name}:{PORT}",
      f"--num_processes={options.processes}",
      "--process_id=$(JOB_COMPLETION_INDEX)",
    ]
  container = {
    "name": JOB,
    "image": options.image,
    # Kubernetes replaces $(NAME); what the user wrote stays as it is.
    "command": [
      *(options.python, "-m", command_line.PROGRAM),
      *(word.replace("$(", "$$(") for word in program),
      *found,
      f"--preempted_code={AGAIN}",
    ],
    "ports": [{"containerPort": PORT}],
    "resources": {
      "requests": {"cpu": options.cpus, "memory": options.memory},
      "limits": {device: count, "memory": options.memory},
    },
    "volumeMounts": [
      {"name": "runs", "mountPath": options.mount},
      {"name": "shared-memory", "mountPath": "/dev/shm"},
    ],
  }
  pod = {
    "restartPolicy": "Never",
    "terminationGracePeriodSeconds": options.grace_s,
    "containers": [container],
    "volumes": [
      {
        "name": "runs",
        "persistentVolumeClaim": {"claimName": options.claim},
      },
      # NCCL needs more than the 64 MiB that containers have.
      {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
    ],
  }
  if tpu:
    pod["nodeSelector"] = {
      "cloud.google.com/gke-tpu-accelerator": options.accelerator,
      "cloud.google.com/gke-tpu-topology": options.topology,
    }
  return pod


def jobset(options, program: Sequence[str]) -> dict[str, Any]:
  """The JobSet (jobset.x-k8s.io/v1alpha2), as plain lists and dicts.

  Args:
    options: see `_parser`.
    program: flags of the run.
  """
  tpu = options.platform == "tpu"
  pods = _chips(options) // options.chips if tpu else options.processes
  metadata: dict[str, Any] = {"name": options.name}
  if options.namespace:
    metadata["namespace"] = options.namespace
  if tpu:  # a slice of its own for each job
    metadata["annotations"] = {
      "alpha.jobset.sigs.k8s.io/exclusive-topology": (
        "cloud.google.com/gke-nodepool"
      )
    }
  job = {
    "parallelism": pods,
    "completions": pods,
    "completionMode": "Indexed",
    # All or none: a new pod could not join the others.
    "backoffLimit": 0,
    "podFailurePolicy": {
      "rules": [
        {
          "action": "FailJob",
          "onExitCodes": {
            "containerName": JOB,
            "operator": "In",
            "values": [BAD_INPUT],
          },
        }
      ]
    },
    "template": {"spec": _pod(options, program)},
  }
  return {
    "apiVersion": "jobset.x-k8s.io/v1alpha2",
    "kind": "JobSet",
    "metadata": metadata,
    "spec": {
      "network": {"enableDNSHostnames": True, "subdomain": options.name},
      "failurePolicy": {
        "maxRestarts": options.restarts,
        "rules": [
          {
            "name": "badInput",
            "action": "FailJobSet",
            "onJobFailureReasons": ["PodFailurePolicy"],
          }
        ],
      },
      "successPolicy": {"operator": "All", "targetReplicatedJobs": [JOB]},
      "replicatedJobs": [
        {
          "name": JOB,
          "replicas": options.slices if tpu else 1,
          "template": {"spec": job},
        }
      ],
    },
  }


def main(argv: Sequence[str] | None = None) -> int:
  """Prints or applies the JobSet; returns the exit code."""
  parser = _parser()
  options, program = parser.split(sys.argv[1:] if argv is None else argv)
  _check(parser, options, program)
  text = yaml.safe_dump(jobset(options, program), sort_keys=False)
  if options.dry_run:
    print(text, end="")
    return 0
  try:
    done = subprocess.run(
      ["kubectl", "apply", "-f", "-"], input=text, text=True, check=False
    )
  except FileNotFoundError:
    parser.error("kubectl: not found; install it, or use --dry-run")
  return done.returncode


if __name__ == "__main__":
  sys.exit(main())
