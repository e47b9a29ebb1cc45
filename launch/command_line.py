"""What the launchers have in common: their flags, and one line for mistakes."""

import argparse
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

PROGRAM = "dwd_jax.main"
# Flags of the program that only the launcher knows.
_OURS = ("coordinator", "num_processes", "process_id", "distributed")
_OURS += ("local_devices",)


class Parser(argparse.ArgumentParser):
  """Flags of a launcher, then `--`, then the flags of the program."""

  def __init__(self, name: str, description: str):
    """Args: `name` of the module in `launch`, `description` for --help."""
    super().__init__(
      prog=f"python -m launch.{name}",
      description=description,
      usage=f"python -m launch.{name} [options] -- --config=... --workdir=...",
      formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False,
    )
    self._name = name

  def error(self, message: str) -> NoReturn:
    """One line, exit code 2."""
    line = " ".join(message.split())
    print(f"launch.{self._name}: {line}", file=sys.stderr)
    sys.exit(2)

  def split(
    self, argv: Sequence[str], folder: str = "workdir"
  ) -> tuple[argparse.Namespace, tuple[str, ...]]:
    """The launcher's options, and the flags of the program.

    Args:
      argv: without the name of the program.
      folder: the flag of the program that names its folder.
    """
    argv = list(argv)
    at = argv.index("--") if "--" in argv else len(argv)
    options, program = self.parse_args(argv[:at]), tuple(argv[at + 1 :])
    for flag in ("config", folder):
      if not value_of(program, flag):
        self.error(f"--{flag}=... is missing behind the --")
    for flag in _OURS:
      if value_of(program, flag) is not None:
        self.error(f"--{flag}: is set by the launcher; leave it out")
    return options, program


def value_of(program: Sequence[str], flag: str) -> str | None:
  """The last value of a flag of the program; None where it is not given."""
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
