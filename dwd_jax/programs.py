"""How programs end where the input is bad: one line, exit code 2."""

import contextlib
import sys
from collections.abc import Iterator
from typing import NoReturn

from dwd_jax import files
from dwd_jax.errors import InputError


def fail(message: object) -> NoReturn:
  """One line on stderr, exit code 2."""
  print(f"dwd_jax: {' '.join(str(message).split())}", file=sys.stderr)
  sys.exit(2)


@contextlib.contextmanager
def ending_in_one_line(out: str) -> Iterator[None]:
  """Ends the program where input is bad or nothing can be written.

  Args:
    out: of --out; named where the error names no file.
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
