"""The exceptions that users see as a single line."""

from collections.abc import Iterable


class InputError(ValueError):
  """Bad input: a file, folder, flag, config or checkpoint.

  The message is one line that names the file or key and the remedy. Programs
  print it to stderr and exit with code 2, without a traceback.

  Attributes:
    details: further lines, printed below the message.
  """

  def __init__(self, message: str, details: Iterable[str] = ()):
    super().__init__(message)
    self.details = tuple(details)


class InterruptedRun(Exception):
  """A run was asked to stop and has saved its state.

  The message is one line that says how to resume. Programs print it and exit
  with code 0.
  """
