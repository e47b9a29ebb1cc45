"""Real processes for the tests of this folder."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

REPO = pathlib.Path(__file__).parent.parent.parent
PROGRAMS = pathlib.Path(__file__).parent
CONFIG = "tests/launch/two_processes.py"


def environment(devices: int = 1) -> dict[str, str]:
  """CPUs, and the compiled code of all tests; see tests/conftest.py."""
  flags = os.environ.get("XLA_FLAGS", "")
  if devices > 1:
    flags += f" --xla_force_host_platform_device_count={devices}"
  return os.environ | {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": flags,
    "PYTHONPATH": str(REPO),
  }


def start(*command: object, devices: int = 1, **kwargs) -> subprocess.Popen:
  """Starts a Python program; stdout and stderr are pipes of text."""
  kwargs.setdefault("env", environment(devices))
  return subprocess.Popen(
    [sys.executable, *map(str, command)],
    cwd=REPO,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    **kwargs,
  )


def run(*command: object) -> subprocess.CompletedProcess:
  """Runs a Python program to the end."""
  process = start(*command)
  out, err = process.communicate(timeout=120)
  return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def free_port() -> int:
  """A port that nobody listens at."""
  with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    return s.getsockname()[1]


def pair(program: str, *arguments: object) -> list[subprocess.Popen]:
  """Two processes of a program of this folder.

  It is given the port, its number, and the arguments.
  """
  port = free_port()
  return [start(PROGRAMS / program, port, i, *arguments) for i in range(2)]


def finish(
  processes: list[subprocess.Popen], timeout_s: float = 60
) -> list[tuple[int, str, str]]:
  """Exit code, stdout and stderr of each; kills what is left."""
  try:
    said = [p.communicate(timeout=timeout_s) for p in processes]
  finally:
    for process in processes:
      process.kill()
      process.wait()
  return [(p.returncode, *s) for p, s in zip(processes, said, strict=True)]


def wait_until(
  reached: Callable[[], bool], process: subprocess.Popen, timeout_s=120
) -> None:
  """Waits; fails where the process ends before."""
  deadline = time.monotonic() + timeout_s
  while not reached():
    assert process.poll() is None, process.communicate()
    assert time.monotonic() < deadline, "too slow"
    time.sleep(0.02)


def children(process: subprocess.Popen) -> list[int]:
  """Process ids of the children of a process, in the order of their start."""
  pid = process.pid
  text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
  return [int(word) for word in text.split()]


def kill(pid: int) -> None:
  """SIGKILL."""
  os.kill(pid, signal.SIGKILL)


def state(workdir: pathlib.Path, step: int) -> Any:
  """The state at a step, whatever devices it was saved from."""
  path = workdir / "checkpoints" / str(step) / "state"
  with ocp.StandardCheckpointer() as reader:
    saved = reader.metadata(path).item_metadata.tree
    on_host = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), saved)
    return reader.restore(path, on_host)
