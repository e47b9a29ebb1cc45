"""One whole run of configs/smoke.py, shared by the tests that look at it."""

import fcntl
import json
import pathlib

import pytest
import run_helpers


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory) -> pathlib.Path:
  """Workdir of a finished run; nobody may change it.

  With several test processes the first one runs, the others wait for it.
  """
  folder = tmp_path_factory.getbasetemp()
  if folder.name.startswith("popen-"):  # of a worker of pytest-xdist
    folder = folder.parent
  result = folder / "smoke_run.json"
  with (folder / "smoke_run.lock").open("w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not result.exists():
      done = run_helpers.run(folder / "smoke_run")
      result.write_text(json.dumps([done.returncode, done.stdout, done.stderr]))
  code, stdout, stderr = json.loads(result.read_text())
  assert code == 0, stdout + stderr
  (folder / "smoke_run.out").write_text(stdout)
  (folder / "smoke_run.err").write_text(stderr)
  return folder / "smoke_run"
