"""The one exception that users see as a single line."""


class InputError(ValueError):
  """Bad input from outside: a file, folder, flag, config or checkpoint.

  The message is one line that names the file (or key) and the remedy. The
  command-line programs print it to stderr and exit with code 2, without a
  traceback.
  """


class InterruptedRun(Exception):
  """A run was asked to stop, and has saved what it did.

  The message is one line that says how to go on. The command-line programs
  print it and exit with code 0.
  """
