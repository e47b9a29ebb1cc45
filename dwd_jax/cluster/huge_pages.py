"""Huge pages for the memory of a program on CPUs (Linux, glibc).

A compiled step allocates all its temporary arrays anew, and the kernel provides
fresh memory in pages of 4 KiB, which takes more than a quarter of a training
step of the default network (benchmarks/train_step.py); huge pages have 2 MiB.
glibc reads the setting from the environment when a program starts.
"""

import os
import pathlib
import sys

_VARIABLE = "GLIBC_TUNABLES"
_VALUE = "glibc.malloc.hugetlb=1"
_SINCE = (2, 35)  # of glibc
_KERNEL = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")


def restart() -> None:
  """Restarts this program with huge pages.

  For programs only, before anything else: the process keeps its number and
  arguments and loses all it has done. Does nothing if GLIBC_TUNABLES is set,
  even to nothing, under a debugger, and where it would not help: on other
  systems, with an old glibc or a kernel that gives huge pages to all or none.
  """
  if _debugged() or not request():
    return
  try:
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
  except OSError:  # continue without, only slower
    del os.environ[_VARIABLE]


def request() -> bool:
  """Requests huge pages for the programs that this one starts.

  Returns:
    False if GLIBC_TUNABLES is set already, or it would not help.
  """
  if _VARIABLE in os.environ or not _helps():
    return False
  os.environ[_VARIABLE] = _VALUE
  return True


def _debugged() -> bool:
  """Whether a debugger is attached, which would be lost."""
  monitoring = getattr(sys, "monitoring", None)  # from Python 3.12 on
  if monitoring and monitoring.get_tool(monitoring.DEBUGGER_ID):
    return True
  return sys.gettrace() is not None


def _helps() -> bool:
  """Whether glibc and kernel give huge pages to programs that request them."""
  try:
    name, _, version = str(os.confstr("CS_GNU_LIBC_VERSION")).partition(" ")
    numbers = tuple(int(number) for number in version.split(".")[:2])
    kernel = _KERNEL.read_text(encoding="utf8")
  except (AttributeError, OSError, ValueError):
    return False
  return name == "glibc" and numbers >= _SINCE and "[madvise]" in kernel
