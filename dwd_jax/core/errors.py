"""The exceptions that users see as a single line."""


class InputError(ValueError):
  """Bad input: a file, folder, flag, config or checkpoint.

  The message is one line that names the file or key and the remedy. Programs
  print it to stderr and exit with code 2, without a traceback.
  """


class InterruptedRun(Exception):
  """A run was asked to stop and has saved its state.

  The message is one line that says how to resume. Programs print it and exit
  with code 0.
  """
