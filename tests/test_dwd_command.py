"""`dwd PROGRAM ...`: the programs under one command."""

import subprocess
import sys

import pytest

from dwd_jax import __main__ as dwd


def _run(monkeypatch, *args):
  monkeypatch.setattr(sys, "argv", ["dwd", *args])
  # Else `detect` starts the process again, its memory in huge pages.
  monkeypatch.setenv("GLIBC_TUNABLES", "")
  dwd.main()


# `main` is not here: it defines absl's flags, once for each process.
@pytest.mark.parametrize(
  "name", ["detect", "build", "check", "engrave", "export"]
)
def test_each_program_gets_the_flags_behind_its_name(name, monkeypatch, capsys):
  for module in (f"dwd_jax.{name}", f"dwd_jax.{name}.__main__"):
    monkeypatch.delitem(sys.modules, module, raising=False)
  with pytest.raises(SystemExit) as end:
    _run(monkeypatch, name, "--help")
  assert end.value.code == 0
  assert f"usage: python -m dwd_jax.{name} " in capsys.readouterr().out


def test_bad_input_of_a_program_is_its_own_line():
  command = [sys.executable, "-m", "dwd_jax", "main"]
  done = subprocess.run(command, capture_output=True, text=True, timeout=120)
  assert done.returncode == 2
  assert done.stderr == "dwd_jax: --config is missing; give --config=...\n"


def test_help_lists_the_programs(monkeypatch, capsys):
  _run(monkeypatch, "--help")
  said = capsys.readouterr().out
  assert all(f"\n  {name} " in said for name in dwd.PROGRAMS)


@pytest.mark.parametrize("args", [(), ("detekt", "page.png")])
def test_no_such_program_is_one_line(args, monkeypatch, capsys):
  with pytest.raises(SystemExit) as end:
    _run(monkeypatch, *args)
  assert end.value.code == 2
  said, complained = capsys.readouterr()
  assert not said
  assert complained.endswith("; dwd --help lists them\n")
  assert complained.count("\n") == 1
