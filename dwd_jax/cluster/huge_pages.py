"""Huge pages for the memory of a program on CPUs (Linux, glibc).

A compiled step asks for all its temporary arrays anew, and the kernel hands
out fresh memory 4 KiB at a time: more than a quarter of the time of a training
step of the default network (benchmarks/train_step.py). In huge pages, 2 MiB at
a time. The C library takes the wish only before a program starts, from its
environment.
"""

import os
import pathlib
import sys

_VARIABLE = "GLIBC_TUNABLES"
_WISH = "glibc.malloc.hugetlb=1"
_SINCE = (2, 35)  # of glibc
_KERNEL = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")


def restart() -> None:
  """Runs this program again from its start, its memory in huge pages.

  To be called first of all by a program, never by a module: the process stays
  the same, with its arguments, but everything done so far is lost. Does nothing
  where GLIBC_TUNABLES is set already, even to nothing, and where it would not
  help: another system, an old C library, a kernel that gives huge pages
  to everybody or to nobody, a debugger.
  """
  if _debugged() or not wish():
    return
  try:
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
  except OSError:  # goes on as it is, only slower
    del os.environ[_VARIABLE]


def wish() -> bool:
  """Asks for huge pages on behalf of the programs that this one starts.

  Returns:
    Whether it has: not where GLIBC_TUNABLES is set, or where it would not help.
  """
  if _VARIABLE in os.environ or not _helps():
    return False
  os.environ[_VARIABLE] = _WISH
  return True


def _debugged() -> bool:
  """Whether a debugger looks on, which would be lost."""
  monitoring = getattr(sys, "monitoring", None)  # from Python 3.12 on
  if monitoring and monitoring.get_tool(monitoring.DEBUGGER_ID):
    return True
  return sys.gettrace() is not None


def _helps() -> bool:
  """Whether C library and kernel give huge pages to those who ask for them."""
  try:
    name, _, version = str(os.confstr("CS_GNU_LIBC_VERSION")).partition(" ")
    numbers = tuple(int(number) for number in version.split(".")[:2])
    kernel = _KERNEL.read_text(encoding="utf8")
  except (AttributeError, OSError, ValueError):
    return False
  return name == "glibc" and numbers >= _SINCE and "[madvise]" in kernel
