"""Which devices of this machine a process gets, as environment variables."""

import os
import shutil
import subprocess
from collections.abc import Sequence


def visible_gpus() -> list[str]:
  """Names of the GPUs that may be used; none if JAX is told to use CPUs."""
  if os.environ.get("JAX_PLATFORMS", "").split(",")[0] == "cpu":
    return []
  named = os.environ.get("CUDA_VISIBLE_DEVICES")
  if named is not None:
    return [name.strip() for name in named.split(",") if name.strip()]
  if not shutil.which("nvidia-smi"):
    return []
  listed = subprocess.run(
    ["nvidia-smi", "-L"], capture_output=True, text=True, check=False
  )
  gpus = [s for s in listed.stdout.splitlines() if s.startswith("GPU ")]
  return [str(i) for i in range(len(gpus))]


def shares(
  processes: int, per_process: int | None, gpus: Sequence[str]
) -> list[dict[str, str]]:
  """Environment variables of each process.

  Args:
    processes: how many.
    per_process: devices of each; None = GPUs are divided evenly, one CPU.
    gpus: see `visible_gpus`; none = CPUs.

  Raises:
    ValueError: the GPUs cannot be divided like that; names no remedy, as the
      flags differ between launchers.
  """
  if not gpus:
    flags = os.environ.get("XLA_FLAGS", "")
    if per_process:
      flags += f" --xla_force_host_platform_device_count={per_process}"
    variables = {"XLA_FLAGS": flags.strip()} if flags else {}
    return [variables] * processes
  each = per_process or len(gpus) // processes
  if not each or each * processes > len(gpus):
    raise ValueError(
      f"{processes} processes with {each or 1} GPUs each do not fit the"
      f" {len(gpus)} GPUs there are"
    )
  if not per_process and len(gpus) % processes:
    raise ValueError(
      f"{len(gpus)} GPUs cannot be divided evenly among {processes} processes"
    )
  return [
    {"CUDA_VISIBLE_DEVICES": ",".join(gpus[i * each : (i + 1) * each])}
    for i in range(processes)
  ]
