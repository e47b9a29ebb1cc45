"""What the programs share: their flags, their help, and how they end."""

import argparse
import contextlib
import csv
import io
import multiprocessing
import os
import pathlib
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from dwd_jax.core import files
from dwd_jax.core.errors import CONTROLS, InputError, one_line

# Exit codes, as shells give them for the signals SIGINT, SIGPIPE and SIGTERM.
_INTERRUPTED = 130
_UNREAD = 141
_TERMINATED = 143

# Whether the program runs as `dwd VERB`, which its help then says.
as_verb = False


def parser(
  module: str,
  description: str,
  usage: str = "[options]",
  more: str | Callable[[], str] = "",
) -> argparse.ArgumentParser:
  """The parser of a program; a mistake is one line on stderr, exit code 2.

  Args:
    module: the program, as in `python -m MODULE`; its last part is the verb of
      `dwd`.
    usage: what comes behind the name of the program.
    more: --helpfull prints it below what --help prints.
  """
  print_anything()
  verb = module.rpartition(".")[2]
  name = f"dwd {verb}" if as_verb else f"python -m {module}"
  made = _Parser(
    prog=name,
    description=description,
    usage=f"{name} {usage}",
    formatter_class=_Help,
    add_help=False,
  )
  made.add_argument("-h", "--help", action="help", help="show this and exit")
  hint = "show this and more, and exit" if more else argparse.SUPPRESS
  made.add_argument("--helpfull", action=_HelpFull, more=more, help=hint)
  return made


class _Parser(argparse.ArgumentParser):
  def error(self, message: str) -> NoReturn:
    fail(f"{message}; --help lists the flags")


class _Help(argparse.RawDescriptionHelpFormatter):
  def __init__(self, prog: str):
    super().__init__(prog, max_help_position=36)


class _HelpFull(argparse.Action):
  def __init__(self, *args: Any, more: str | Callable[[], str], **kwargs: Any):
    super().__init__(*args, nargs=0, **kwargs)
    self._more = more

  def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
    parser.epilog = self._more() if callable(self._more) else self._more
    parser.print_help()
    parser.exit()


class _Plain:
  """A stream that writes ? for what controls terminals."""

  def __init__(self, stream: Any):
    self._stream = stream

  def write(self, text: str) -> int:
    return self._stream.write(CONTROLS.sub(_unless_layout, text))

  def __getattr__(self, name: str) -> Any:
    return getattr(self._stream, name)


def _unless_layout(found: re.Match[str]) -> str:
  return found[0] if found[0] in "\b\t\n\r" else "?"


def print_anything() -> None:
  """Lets stdout and stderr take any text.

  Names of files, classes and pages come from others and may hold anything: what
  the encoding of a console lacks is written as \\u..., what would control the
  terminal as ?.
  """
  for name in ("stdout", "stderr"):
    stream = getattr(sys, name)
    if isinstance(stream, io.TextIOWrapper):
      stream.reconfigure(errors="backslashreplace")
      setattr(sys, name, _Plain(stream))


def add_checkpoint(to: argparse.ArgumentParser) -> None:
  """Adds --checkpoint, for programs that take a trained detector."""
  to.add_argument(
    "--checkpoint",
    default="",
    metavar="W",
    help="run's folder or file of weights; default: printed music",
  )


def start(program: Callable[[list[str]], int | None]) -> NoReturn:
  """Runs a program with the arguments of this process; exits with its code.

  Ctrl-C, and SIGTERM within `ending_on_sigterm`, end it with one line. Where
  nobody reads stdout any more, as behind `| head`, it ends without a word.
  """
  try:
    try:
      code = program(sys.argv[1:])
    finally:
      sys.stdout.flush()  # here, where a closed pipe is noticed
  except ImportError as e:
    if foreign := _foreign(e):
      fail(
        f"{foreign}: taken for the package of that name that comes with"
        " dwd_jax; rename it, or start in another folder"
      )
    raise
  except KeyboardInterrupt as e:
    say("terminated" if isinstance(e, Terminated) else "interrupted")
    _leave(_TERMINATED if isinstance(e, Terminated) else _INTERRUPTED)
  except BrokenPipeError:
    # Python flushes once more at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    code = _UNREAD
  sys.exit(code)


def _foreign(error: ImportError) -> pathlib.Path | None:
  """The user's own package tfds_builders, if that is what was imported."""
  if error.name != "tfds_builders" or not error.path:
    return None
  folder = pathlib.Path(error.path).parent
  ours = pathlib.Path(__file__).resolve().parents[2] / error.name
  return None if folder.resolve() == ours else folder


def _leave(code: int) -> NoReturn:
  """Ends the process while threads of it may still compile or read.

  Python would wait for them, or take away the memory that they work in.
  """
  for process in multiprocessing.active_children():
    process.terminate()
  with contextlib.suppress(OSError):
    sys.stdout.flush()
  os._exit(code)


class Terminated(KeyboardInterrupt):
  """SIGTERM, as `ending_on_sigterm` lets it be noticed."""


@contextlib.contextmanager
def ending_on_sigterm() -> Iterator[None]:
  """Lets SIGTERM end the block as Ctrl-C does: what is begun is finished."""

  def end(*_: Any) -> NoReturn:
    raise Terminated

  if threading.current_thread() is not threading.main_thread():
    yield
    return
  before = signal.signal(signal.SIGTERM, end)
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


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


def split(argv: Sequence[str]) -> tuple[list[str], list[str] | None]:
  """Divides arguments at a lone --; None = there is none."""
  if "--" not in argv:
    return list(argv), None
  at = argv.index("--")
  return list(argv[:at]), list(argv[at + 1 :])


def run(work: Callable[[], int], out: object) -> int:
  """Returns the exit code of `work`: 2 and one line on stderr on bad input.

  `out` is named where a file error names no file.
  """
  try:
    return work()
  except BrokenPipeError:  # see `start`
    raise
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
  return one_line(" ".join(str(text).split()))
