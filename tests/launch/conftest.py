"""A search with trials that take no time, in this process or another."""

import pathlib
import subprocess
import sys

import pytest
import stand_in

from launch import search as search_lib
from launch import sweep, trials


@pytest.fixture(scope="session")
def records(once) -> pathlib.Path:
  """Prepared records of configs/smoke.py."""
  from configs import smoke
  from dwd_jax.data import prepare

  made = once(
    "smoke_records", lambda f: prepare.prepare(smoke.get_config().data, f)
  )
  return made / "data"


@pytest.fixture
def search(monkeypatch, repo_dir, records, tmp_path):
  """Runs a search in tmp_path / "s"; its flags are given."""
  monkeypatch.chdir(repo_dir)
  monkeypatch.setattr(search_lib.Search, "command", stand_in.command)
  monkeypatch.setattr(trials, "_POLL_S", 0.02)

  def run(*flags):
    sweep.run([*stand_in.arguments(tmp_path, records), *flags])
    return tmp_path / "s"

  return run


@pytest.fixture
def start_search(repo_dir, records, tmp_path):
  """Starts a search in another process, which ends with the test."""
  processes = []

  def start(*flags):
    processes.append(
      subprocess.Popen(
        [
          sys.executable,
          str(stand_in.STAND_IN),
          "sweep",
          *stand_in.arguments(tmp_path, records),
          *flags,
        ],
        cwd=repo_dir,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
      )
    )
    return processes[-1]

  yield start
  for process in processes:
    process.kill()
    process.communicate()
