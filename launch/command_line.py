"""What the launchers share: flags, exit codes, one line for mistakes."""

import argparse
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from dwd_jax.core import cli

PROGRAM = "dwd_jax.main"
BAD_INPUT = 2  # exit code: another start would end the same way
AGAIN = 75  # exit code: saved and stopped, or lost; worth another start
# Flags of the program that only the launcher sets.
_OURS = ("coordinator", "num_processes", "process_id", "distributed")
_OURS += ("local_devices",)


def say(launcher: str, message: object) -> None:
  """Prints a message as one line on stderr.

  In one piece: other threads write what processes say.
  """
  line = " ".join(str(message).split())
  sys.stderr.write(f"launch.{launcher}: {line}\n")
  sys.stderr.flush()


def fail(launcher: str, message: object) -> NoReturn:
  """Ends the launcher with one line on stderr and exit code 2."""
  say(launcher, message)
  sys.exit(BAD_INPUT)


class Parser(argparse.ArgumentParser):
  """Flags of a launcher, then, as a rule, `--` and the flags of the program."""

  def __init__(
    self,
    name: str,
    description: str,
    rest: str = "-- --config=... --workdir=...",
  ):
    """Args: `name` of the module in `launch`; `rest` of the usage line."""
    cli.print_anything()
    super().__init__(
      prog=f"python -m launch.{name}",
      description=description,
      usage=f"python -m launch.{name} [options] {rest}",
      formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False,
    )
    self._name = name

  def error(self, message: str) -> NoReturn:
    """See `fail`."""
    fail(self._name, message)

  def split(
    self, argv: Sequence[str], folder: str = "workdir"
  ) -> tuple[argparse.Namespace, tuple[str, ...]]:
    """Parses the launcher's options; returns them and the program's flags.

    Args:
      argv: without the name of the launcher.
      folder: the flag of the program that names its folder.
    """
    argv = list(argv)
    at = argv.index("--") if "--" in argv else len(argv)
    options, program = self.parse_args(argv[:at]), tuple(argv[at + 1 :])
    for flag in ("config", folder):
      if not value_of(program, flag):
        self.error(f"--{flag}=... is missing after the --")
    for flag in _OURS:
      if value_of(program, flag) is not None:
        self.error(f"--{flag}: is set by the launcher; leave it out")
    return options, program


def value_of(program: Sequence[str], flag: str) -> str | None:
  """The last value of a flag of the program; None if it is not given."""
  found = None
  for i, word in enumerate(program):
    match = re.fullmatch(rf"--?{flag}(?:=(.*))?", word, re.DOTALL)
    if match and match[1] is not None:
      found = match[1]
    elif match:
      found = program[i + 1] if i + 1 < len(program) else ""
  return found


def positive(text: str) -> int:
  """A whole number from 1 on."""
  return _at_least(text, 1)


def not_negative(text: str) -> int:
  """A whole number from 0 on."""
  return _at_least(text, 0)


def _at_least(text: str, least: int) -> int:
  if not text.isdecimal() or int(text) < least:
    raise argparse.ArgumentTypeError(
      f"'{text}' is no whole number from {least} on"
    )
  return int(text)
