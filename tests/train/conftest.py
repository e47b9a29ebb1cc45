"""One whole run of configs/smoke.py, shared by the tests that look at it."""

import pathlib

import pytest
import run_helpers


@pytest.fixture(scope="session")
def smoke_run(once) -> pathlib.Path:
  """Workdir of a finished run; nobody may change it."""

  def run(folder):
    done = run_helpers.run(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    folder.with_suffix(".out").write_text(done.stdout)
    folder.with_suffix(".err").write_text(done.stderr)

  return once("smoke_run", run)
