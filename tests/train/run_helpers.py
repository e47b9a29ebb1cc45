"""Real runs of `python -m dwd_jax.main` in other processes."""

import os
import pathlib
import subprocess
import sys

REPO = pathlib.Path(__file__).parent.parent.parent
CONFIG = "configs/smoke.py"


def environment() -> dict[str, str]:
  """A CPU, and the compiled code of all tests; see tests/conftest.py."""
  return os.environ | {"JAX_PLATFORMS": "cpu"}


def flags(workdir: pathlib.Path, *more: str) -> list[str]:
  """The flags of a run of configs/smoke.py."""
  config = () if any(f.startswith("--config=") for f in more) else (CONFIG,)
  return [f"--workdir={workdir}", *(f"--config={c}" for c in config), *more]


def command(workdir: pathlib.Path, *more: str) -> list[str]:
  """The command line of a run of configs/smoke.py."""
  return [sys.executable, "-m", "dwd_jax.main", *flags(workdir, *more)]


def run(workdir: pathlib.Path, *more: str) -> subprocess.CompletedProcess:
  """Runs to the end; stdout and stderr are kept as text."""
  return subprocess.run(
    command(workdir, *more),
    cwd=REPO,
    env=environment(),
    capture_output=True,
    text=True,
    check=False,
  )
