"""How programs end on bad input."""

import errno
import io
import pathlib
import sys

import pytest

from dwd_jax.core import cli
from dwd_jax.core.errors import InputError

ERRORS = {
  "bad input": (InputError("a:\n no"), ["dwd_jax: a: no"]),
  "with details": (
    InputError("a: no", ["b:\nc", "d"]),
    ["dwd_jax: a: no", "  b: c", "  d"],
  ),
  "a full disk": (
    OSError(errno.ENOSPC, "No space", "out/x"),
    ["dwd_jax: out/x: No space; make room, or choose another --out"],
  ),
  "a file that may not be read": (
    PermissionError(errno.EACCES, "Permission denied", "x"),
    ["dwd_jax: x: Permission denied; check the path"],
  ),
  "an error without a file": (
    OSError("odd"),
    ["dwd_jax: out: odd; check the path"],
  ),
}


@pytest.mark.parametrize("caption", ERRORS)
def test_errors_are_lines_and_exit_code_2(caption, capsys):
  error, lines = ERRORS[caption]

  def work():
    raise error

  assert cli.run(work, "out") == 2
  assert capsys.readouterr().err.splitlines() == lines


def test_other_exit_codes_pass():
  assert cli.run(lambda: 1, "out") == 1


@pytest.mark.parametrize("own", [False, True])
def test_a_package_in_the_way_is_one_line(own, tmp_path, capsys):
  repo = pathlib.Path(cli.__file__).parents[2]
  path = (repo if own else tmp_path) / "tfds_builders/__init__.py"

  def program(argv):
    raise ImportError("no base", name="tfds_builders", path=str(path))

  with pytest.raises(ImportError if own else SystemExit):
    cli.start(program)
  line = capsys.readouterr().err
  assert line.startswith("" if own else f"dwd_jax: {path.parent}: taken for")
  assert line.count("\n") == (not own)


def test_a_console_prints_names_that_it_does_not_know(monkeypatch):
  streams = [io.TextIOWrapper(io.BytesIO(), "ascii") for _ in range(2)]
  monkeypatch.setattr(sys, "stdout", streams[0])
  monkeypatch.setattr(sys, "stderr", streams[1])
  cli.parser("dwd_jax.x", "")
  print("Süß.png")
  cli.say("\udce9.png: gone")
  print("\x1b]0;title\x07\x9b2J\u202e\rnext\tcell")
  said = []
  for stream in streams:
    stream.flush()
    said.append(stream.buffer.getvalue())
  assert said == [
    b"S\\xfc\\xdf.png\n?]0;title??2J?\rnext\tcell\n",
    b"dwd_jax: \\udce9.png: gone\n",
  ]


# Caption: text of a flag, its names.
NAMES = {
  "none": ("", ()),
  "several": ("a, b,,c ", ("a", "b", "c")),
  "a comma in a name": ('a,"b, c", "d,e"', ("a", "b, c", "d,e")),
  "quotes in names": ('6" pipe,"say ""a, b"""', ('6" pipe', 'say "a, b"')),
}


@pytest.mark.parametrize("caption", NAMES)
def test_names_in_a_flag(caption):
  text, names = NAMES[caption]
  assert cli.names(text) == names
