"""What the programs share: their parser, and how they end on bad input."""

import argparse
import csv
import io
import sys
from collections.abc import Callable
from typing import NoReturn

from dwd_jax.core import files
from dwd_jax.core.errors import InputError


def parser(name: str, description: str) -> argparse.ArgumentParser:
  """The parser of the program `python -m NAME`."""
  print_anything()
  return argparse.ArgumentParser(
    prog=f"python -m {name}",
    description=description,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )


def print_anything() -> None:
  """Lets stdout and stderr write \\u... for what their encoding lacks.

  Names of files may hold any character, a console of another language or one
  of ASCII may not.
  """
  for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper):
      stream.reconfigure(errors="backslashreplace")


def add_checkpoint(to: argparse.ArgumentParser) -> None:
  """Adds --checkpoint, for programs that take a trained detector."""
  to.add_argument(
    "--checkpoint",
    default="",
    metavar="W",
    help="workdir of a run, W/checkpoints/STEP, or a file of weights; default:"
    " the detector of printed music in the package",
  )


def names(text: str) -> tuple[str, ...]:
  """Names that commas divide; double quotes keep the commas of a name.

  As in CSV: `a,"b, c"` are "a" and "b, c".
  """
  row = next(csv.reader([text], skipinitialspace=True), [])
  return tuple(filter(None, map(str.strip, row)))


def say(message: object) -> None:
  """Prints a message as one line on stderr."""
  print(f"dwd_jax: {_one_line(message)}", file=sys.stderr)


def fail(message: object) -> NoReturn:
  """Ends the program with one line on stderr and exit code 2."""
  say(message)
  sys.exit(2)


def run(work: Callable[[], int], out: object) -> int:
  """Returns the exit code of `work`: 2 and one line on stderr on bad input.

  `out` is named where a file error names no file.
  """
  try:
    return work()
  except InputError as e:
    say(e)
    for detail in e.details:
      print(f"  {_one_line(detail)}", file=sys.stderr)
  except OSError as e:
    say(why(e, out))
  return 2


def why(error: OSError, out: object, flag: str = "--out") -> str:
  """Says which file cannot be read or written, why, and what to do.

  `flag` names the folder of what is written.
  """
  where, reason = error.filename or out, error.strerror or str(error)
  full = error.errno in files.UNWRITABLE
  remedy = f"make room, or choose another {flag}" if full else "check the path"
  return f"{where}: {reason}; {remedy}"


def _one_line(text: object) -> str:
  return " ".join(str(text).split())
