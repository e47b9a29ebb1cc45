"""launch.local: signals, exit codes and what is shown, with small programs."""

import signal
import time

import launch_helpers as helpers
import pytest

# The launcher with another program to start: it says what it is, then waits,
# saves on SIGTERM, or ends with a code; one process after the launcher took
# note of the end of the other.
LAUNCHER = """
import signal, sys
sys.path.insert(0, {folder!r})
from launch import command_line, local
command_line.PROGRAM = "small_program"
if {early}:
  commands = local.commands
  def with_signal(*args):
    signal.raise_signal(signal.SIGTERM)
    return commands(*args)
  local.commands = with_signal
sys.exit(local.main())
"""
PROGRAM = """
import os, pathlib, signal, sys, time
notes, task = (
  next(w.split("=")[1] for w in sys.argv if w.startswith(f"--{{key}}="))
  for key in ("workdir", "config")
)
notes = pathlib.Path(notes)
number = int(sys.argv[-1].split("=")[1])
starts = len(list(notes.glob(f"start{{number}}-*")))
(notes / f"start{{number}}-{{starts}}").touch()
def save(*_):
  (notes / f"saved{{number}}").touch()
  sys.exit(0)
if task == "wait":
  signal.signal(signal.SIGTERM, save)
if task == "deaf":
  signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("out", number, flush=True)
print("err", number, file=sys.stderr, flush=True)
(notes / f"up{{number}}").touch()
if task in ("wait", "deaf"):
  time.sleep(60)
if task == "twice" and starts:
  sys.exit(0)
code = {{"code2": 2}}.get(task, 75)
ends = notes / f"ends-{{starts}}"
if number == (0 if task == "only0" else 1):
  part = notes / "part"
  part.write_text(str(os.getpid()))
  part.rename(ends)
  sys.exit(code)
while not ends.exists():
  time.sleep(0.01)
try:
  while True:
    os.kill(int(ends.read_text()), 0)
    time.sleep(0.01)
except ProcessLookupError:
  sys.exit(0 if task.startswith("only") else code)
"""


def _start(tmp_path, task: str, *flags: str, early: bool = False):
  (tmp_path / "small_program.py").write_text(PROGRAM.format())
  launcher = tmp_path / "launcher.py"
  launcher.write_text(LAUNCHER.format(folder=str(tmp_path), early=early))
  # Its children import the program from there, too.
  environment = helpers.environment()
  environment["PYTHONPATH"] += f":{tmp_path}"
  return helpers.start(
    launcher,
    "--processes=2",
    *flags,
    "--",
    f"--config={task}",
    f"--workdir={tmp_path}",
    env=environment,
  )


def _wait_until_up(tmp_path, launcher) -> None:
  helpers.wait_until(
    lambda: all((tmp_path / f"up{i}").exists() for i in range(2)), launcher
  )


def _ended(launcher):
  ((code, out, err),) = helpers.finish([launcher])
  return code, out, [s for s in err.splitlines() if s.startswith("launch.")]


def test_sigterm_and_ctrl_c_let_all_processes_save(tmp_path):
  for number in (signal.SIGTERM, signal.SIGINT):
    folder = tmp_path / number.name
    folder.mkdir()
    launcher = _start(folder, "wait")
    _wait_until_up(folder, launcher)
    launcher.send_signal(number)
    assert _ended(launcher) == (0, "out 0\n", [])
    assert {p.name for p in folder.glob("saved*")} == {"saved0", "saved1"}


def test_a_signal_while_the_processes_are_started_is_no_loss(tmp_path):
  launcher = _start(tmp_path, "deaf", "--grace-s=1", early=True)
  # Of the processes, not of the launcher; they had no time.
  assert _ended(launcher)[0] in (128 + signal.SIGTERM, 128 + signal.SIGKILL)


def test_without_the_launcher_all_processes_save_and_end(tmp_path):
  launcher = _start(tmp_path, "wait")
  _wait_until_up(tmp_path, launcher)
  launcher.kill()
  launcher.communicate(timeout=60)  # to the end of the last that writes there
  assert {p.name for p in tmp_path.glob("saved*")} == {"saved0", "saved1"}


def test_who_does_not_save_in_time_is_killed(tmp_path):
  launcher = _start(tmp_path, "deaf", "--grace-s=1")
  _wait_until_up(tmp_path, launcher)
  launcher.send_signal(signal.SIGTERM)
  start = time.monotonic()
  code, _, _ = _ended(launcher)
  assert code == 128 + signal.SIGKILL
  assert time.monotonic() - start < 10


def test_process_0_is_shown_and_the_errors_of_the_others(tmp_path):
  launcher = _start(tmp_path, "code2", "--restarts=3")
  ((code, out, err),) = helpers.finish([launcher])
  assert code == 2
  assert out == "out 0\n"  # and no other start: it would end the same way
  assert "err 0" in err.splitlines()
  assert "[1] err 1" in err.splitlines()
  assert "launch.local: process 1 of 2 ended with code 2" in err


@pytest.mark.parametrize("number", [0, 1])
def test_the_one_that_failed_is_named_once(tmp_path, number):
  code, _, told = _ended(_start(tmp_path, f"only{number}", "--restarts=0"))
  assert code == 75
  assert told[:-1] == [
    f"launch.local: process {number} of 2 ended with code 75"
  ]


def test_it_starts_again_as_often_as_it_may(tmp_path):
  code, out, told = _ended(_start(tmp_path, "code75", "--restarts=1"))
  assert code == 75
  assert out == "out 0\n" * 2
  assert told == [
    "launch.local: process 1 of 2 ended with code 75",
    "launch.local: start 2 of 2, from the newest checkpoint",
    "launch.local: process 1 of 2 ended with code 75",
    "launch.local: the run has not ended; start the same command again and it"
    " goes on from its newest checkpoint",
  ]


def test_a_second_start_that_goes_well_is_a_success(tmp_path):
  code, _, told = _ended(_start(tmp_path, "twice", "--restarts=5"))
  assert code == 0
  assert told[-1].endswith("start 2 of 6, from the newest checkpoint")


def test_a_killed_process_ends_the_others_at_once(tmp_path):
  launcher = _start(tmp_path, "wait")
  _wait_until_up(tmp_path, launcher)
  start = time.monotonic()
  helpers.kill(helpers.children(launcher)[0])
  code, _, told = _ended(launcher)
  assert code == 128 + signal.SIGKILL
  assert time.monotonic() - start < 10
  assert told[0] == (
    "launch.local: process 0 of 2 is lost (SIGKILL); the others are ended"
  )
