"""`dwd VERB ...`: the programs under one command, their help, their end."""

import os
import signal
import subprocess
import sys

import pytest

from dwd_jax import __main__ as dwd
from dwd_jax import main as main_lib
from dwd_jax.core import cli


def _run(monkeypatch, *args) -> int:
  """Runs a verb in this process; returns its exit code."""
  monkeypatch.setattr(sys, "argv", ["dwd", *args])
  monkeypatch.setattr(cli, "as_verb", False)
  # Else `detect` starts the process again, its memory in huge pages.
  monkeypatch.setenv("GLIBC_TUNABLES", "")
  if args and args[0] in dwd.PROGRAMS:
    module = dwd.PROGRAMS[args[0]][0]
    for name in (module, f"{module}.__main__"):
      monkeypatch.delitem(sys.modules, name, raising=False)
  with pytest.raises(SystemExit) as end:
    dwd.main()
  return int(end.value.code or 0)


# `main` defines absl's flags, once in each process: see below.
_IN_THIS_PROCESS = [verb for verb in dwd.PROGRAMS if verb != "main"]


@pytest.mark.parametrize("verb", _IN_THIS_PROCESS)
def test_help_fits_a_screen(verb, monkeypatch, capsys):
  monkeypatch.setenv("COLUMNS", "100")
  assert _run(monkeypatch, verb, "--help") == 0
  _fits(verb, capsys.readouterr().out)


def _fits(verb: str, said: str) -> None:
  lines = said.splitlines()
  assert lines[0].startswith(f"usage: dwd {verb}")
  assert len(lines) <= 40
  assert max(map(len, lines)) <= 100
  assert "  -h, --help" in said
  # Flags and their meanings take a line each.
  assert not [line for line in lines if line.startswith(" " * 8)]


def test_help_of_main_names_the_keys_of_the_config(monkeypatch, capsys):
  monkeypatch.setenv("COLUMNS", "100")
  monkeypatch.setattr(cli, "as_verb", True)
  with pytest.raises(SystemExit) as end:
    main_lib.program(["--config=configs/smoke.py", "--help"])
  assert not end.value.code
  said = capsys.readouterr().out
  _fits("main", said)
  assert "--config.KEY=VALUE changes a key" in said
  assert "docs/configuration.md" in said
  with pytest.raises(SystemExit):
    main_lib.program(["--helpfull"])
  full = capsys.readouterr().out
  assert full.startswith(said.rstrip())
  assert "--verbosity" in full


@pytest.mark.parametrize(
  ("verb", "says"),
  [
    ("build", "  keep_splits: boxes: splits that the files lack"),
    ("check", "  keep_splits: boxes: splits that the files lack"),
    ("engrave", "  probabilities: chord=0.16, double_stop=0.05"),
    ("detect", "usage: dwd detect INPUT"),  # has nothing more to say
  ],
)
def test_helpfull_says_more(verb, says, monkeypatch, capsys):
  assert _run(monkeypatch, verb, "--helpfull") == 0
  full = capsys.readouterr().out
  assert _run(monkeypatch, verb, "--help") == 0
  short = capsys.readouterr().out
  assert full.startswith(short.rstrip())
  assert says in full
  assert ("--helpfull" in short) == (full != short)


def test_modules_say_how_they_were_started():
  done = _start("dwd_jax.export", "--help", module=True)
  assert done.stdout.startswith("usage: python -m dwd_jax.export --out=DIR")


def _start(*args: str, module: bool = False) -> subprocess.CompletedProcess:
  command = [sys.executable, "-m", *([] if module else ["dwd_jax"]), *args]
  return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_bad_input_of_a_program_is_its_own_line():
  done = _start("main")
  assert done.returncode == 2
  assert done.stderr == "dwd_jax: --config is missing; give --config=...\n"


def test_a_wrong_flag_is_one_line(monkeypatch, capsys):
  assert _run(monkeypatch, "export", "--out=x", "--fromat=onnx") == 2
  assert capsys.readouterr().err == (
    "dwd_jax: unrecognized arguments: --fromat=onnx; --help lists the flags\n"
  )


def test_help_lists_the_programs_and_imports_nothing_heavy():
  code = (
    "import sys, dwd_jax.__main__ as dwd; sys.argv = ['dwd', '--help']\n"
    "try: dwd.main()\n"
    "except SystemExit as end: assert not end.code\n"
    "print(*sys.modules, sep=' ', file=sys.stderr)"
  )
  done = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
  )
  for verb in dwd.PROGRAMS:
    assert f"\n  {verb} " in done.stdout
  loaded = set(done.stderr.split())
  assert "dwd_jax.core.cli" in loaded
  assert not loaded & {"jax", "tensorflow", "numpy", "cv2", "ml_collections"}


WRONG = {
  "nothing": ((), "no program is named; dwd --help lists them"),
  "misspelt": (
    ("detekt", "page.png"),
    "'detekt' is no program (did you mean dwd detect?); dwd --help lists them",
  ),
  "what a program does": (
    ("train",),
    "'train' is no program (did you mean dwd main?); dwd --help lists them",
  ),
  "something else": (
    ("x.pdf",),
    "'x.pdf' is no program; dwd --help lists them",
  ),
}


@pytest.mark.parametrize("caption", WRONG)
def test_no_such_program_is_one_line(caption, monkeypatch, capsys):
  args, line = WRONG[caption]
  assert _run(monkeypatch, *args) == 2
  assert capsys.readouterr() == ("", f"dwd_jax: {line}\n")


def test_a_reader_that_stops_is_no_error():
  reader, writer = os.pipe()
  os.close(reader)
  done = subprocess.run(
    [sys.executable, "-m", "dwd_jax", "vocabulary", "muscima_v1", "muscima_v2"],
    stdout=writer,
    stderr=subprocess.PIPE,
    timeout=60,
  )
  os.close(writer)
  assert (done.returncode, done.stderr) == (141, b"")


def test_ctrl_c_is_one_line():
  program = (
    "import time\n"
    "from dwd_jax.core import cli\n"
    "def work(argv):\n"
    "  print('at work', flush=True)\n"
    "  time.sleep(60)\n"
    "cli.start(work)"
  )
  with subprocess.Popen(
    [sys.executable, "-c", program],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  ) as process:
    assert process.stdout and process.stdout.readline() == "at work\n"
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)
  assert said == ("", "dwd_jax: interrupted\n")
  assert process.returncode == 130
