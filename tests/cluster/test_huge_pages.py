"""A program starts itself again, once, with huge pages; where that helps."""

import os
import subprocess
import sys

import pytest

from dwd_jax.cluster import huge_pages

_PROGRAM = """
import os, sys
print(os.getpid(), flush=True)
from dwd_jax.cluster import huge_pages
huge_pages.restart()
print(os.environ.get("GLIBC_TUNABLES"), sys.argv[1:], flush=True)
"""


@pytest.fixture
def program(tmp_path):
  file = tmp_path / "program.py"
  file.write_text(_PROGRAM)
  return file


def _run(program, repo_dir, **env):
  kept = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
  return subprocess.run(
    [sys.executable, program, "a b", "--c=d"],
    env=kept | {"PYTHONPATH": str(repo_dir)} | env,
    capture_output=True,
    text=True,
    check=True,
  ).stdout.splitlines()


@pytest.mark.skipif(not huge_pages._helps(), reason="not this system")
def test_started_again_once_with_the_same_arguments(program, repo_dir):
  first, second, last = _run(program, repo_dir)
  assert first == second  # the same process
  assert last == "glibc.malloc.hugetlb=1 ['a b', '--c=d']"


def test_who_has_set_the_variable_is_obeyed(program, repo_dir):
  _, last = _run(program, repo_dir, GLIBC_TUNABLES="")
  assert last == " ['a b', '--c=d']"


@pytest.mark.parametrize(
  ("version", "kernel", "wanted"),
  [
    ("glibc 2.35", "always [madvise] never", True),
    ("glibc 2.36", "[always] madvise never", False),
    ("glibc 2.36", "always madvise [never]", False),
    ("glibc 2.34", "always [madvise] never", False),
    ("musl 2.40", "always [madvise] never", False),
    ("glibc unknown", "always [madvise] never", False),
    (None, "always [madvise] never", False),
    ("glibc 2.36", None, False),
  ],
)
def test_helps(tmp_path, monkeypatch, version, kernel, wanted):
  file = tmp_path / "enabled"
  if kernel:
    file.write_text(kernel)
  monkeypatch.setattr(huge_pages, "_KERNEL", file)
  monkeypatch.setattr(os, "confstr", lambda _: version)
  assert huge_pages._helps() is wanted


def test_what_cannot_be_started_again_goes_on(monkeypatch):
  monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
  monkeypatch.setattr(huge_pages, "_helps", lambda: True)
  monkeypatch.setattr(sys, "executable", "/nowhere/python")
  huge_pages.restart()
  assert "GLIBC_TUNABLES" not in os.environ
