"""The exceptions that users see as a single line."""

import re
from collections.abc import Iterable

# What controls a terminal, or the direction of text.
CONTROLS = re.compile(
  "[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
_MAX_LINE = 2000


def one_line(text: str) -> str:
  """Text of others as a line: spaces for its ends, ? for what controls more.

  A long one lacks its middle.
  """
  line = CONTROLS.sub("?", " ".join(text.splitlines()))
  if len(line) <= _MAX_LINE:
    return line
  return f"{line[: _MAX_LINE - 500]} ... {line[-400:]}"


class InputError(ValueError):
  """Bad input: a file, folder, flag, config or checkpoint.

  The message is one line that names the file or key and the remedy. Programs
  print it to stderr and exit with code 2, without a traceback. It may quote
  what a file holds: nothing of that ends the line or controls a terminal.

  Attributes:
    details: further lines, printed below the message.
  """

  def __init__(self, message: str, details: Iterable[str] = ()):
    super().__init__(one_line(message))
    self.details = tuple(details)


class TransientError(InputError):
  """Storage failed, or took too long; the same may work when tried again."""


class InterruptedRun(Exception):
  """A run was asked to stop and has saved its state.

  The message is one line that says how to resume. Programs print it and exit
  with code 0.
  """
