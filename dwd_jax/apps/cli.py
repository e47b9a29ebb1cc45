"""What the programs share: --checkpoint, and exit code 2 on bad input."""

import argparse
import contextlib
import sys
from collections.abc import Iterator
from typing import NoReturn

from dwd_jax.core import files
from dwd_jax.core.errors import InputError


def parser(name: str, description: str) -> argparse.ArgumentParser:
  """Parser of a program that takes a trained detector: with --checkpoint."""
  made = argparse.ArgumentParser(
    prog=f"python -m {name}",
    description=description,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  made.add_argument(
    "--checkpoint",
    default="",
    metavar="W",
    help="workdir of a run, W/checkpoints/STEP, or a file of weights; default:"
    " the detector of printed music in the package",
  )
  return made


def say(message: object) -> None:
  """Prints a message as one line on stderr."""
  print(f"dwd_jax: {' '.join(str(message).split())}", file=sys.stderr)


def fail(message: object) -> NoReturn:
  """Ends the program with one line on stderr and exit code 2."""
  say(message)
  sys.exit(2)


@contextlib.contextmanager
def ending_in_one_line(out: str) -> Iterator[None]:
  """Calls `fail` on bad input, and where nothing can be written.

  `out` is named where an error names no file.
  """
  try:
    yield
  except InputError as e:
    fail(e)
  except OSError as e:
    if e.errno not in files.UNWRITABLE:
      raise
    where = e.filename or out
    fail(f"{where}: {e.strerror}; make room, or choose another --out")
