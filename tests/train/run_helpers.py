"""Real runs of `python -m dwd_jax.main` in other processes."""

import os
import pathlib
import subprocess
import sys

REPO = pathlib.Path(__file__).parent.parent.parent
CONFIG = "configs/smoke.py"


def environment() -> dict[str, str]:
  """A CPU, no cache but the run's own."""
  kept = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
  return kept | {
    "JAX_PLATFORMS": "cpu",
    # Otherwise compiled code is only found in the folder it was written to.
    "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",
  }


def command(workdir: pathlib.Path, *flags: str) -> list[str]:
  """The command line of a run of configs/smoke.py."""
  config = () if any(f.startswith("--config=") for f in flags) else (CONFIG,)
  return [
    *(sys.executable, "-m", "dwd_jax.main", f"--workdir={workdir}"),
    *(f"--config={c}" for c in config),
    *flags,
  ]


def run(workdir: pathlib.Path, *flags: str) -> subprocess.CompletedProcess:
  """Runs to the end; stdout and stderr are kept as text."""
  return subprocess.run(
    command(workdir, *flags),
    cwd=REPO,
    env=environment(),
    capture_output=True,
    text=True,
    check=False,
  )
