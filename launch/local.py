"""Starts several processes of a run on this machine.

python -m launch.local --processes=2 -- --config=... --workdir=...

See launch/README.md.
"""

import ctypes
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import IO

from launch import command_line, devices
from launch.command_line import BAD_INPUT

_POLL_S = 0.1
# A process that fails tells the others, which then end by themselves.
_FAREWELL_S = 20.0


def _parser() -> command_line.Parser:
  parser = command_line.Parser("local", str(__doc__).splitlines()[0])
  parser.add_argument(
    "--processes", type=command_line.positive, required=True, help="how many"
  )
  parser.add_argument(
    "--devices-per-process",
    type=command_line.positive,
    help="GPUs of each process (default: all GPUs, divided evenly); without"
    " GPUs, as many simulated devices",
  )
  parser.add_argument(
    "--restarts",
    type=command_line.not_negative,
    default=0,
    help="how often to start again, from the newest checkpoint, after a"
    " process was lost (default: 0)",
  )
  parser.add_argument(
    "--grace-s",
    type=command_line.positive,
    default=120,
    help="seconds to save in after SIGTERM or Ctrl-C (default: 120)",
  )
  parser.add_argument(
    "--dry-run", action="store_true", help="only print the command lines"
  )
  return parser


class Processes:
  """The processes of a run; another start is another object."""

  def __init__(
    self,
    program: Sequence[str],
    environments: Sequence[dict[str, str]],
    grace_s: float,
  ):
    """Args: see `commands`; `grace_s` is for saving after a signal."""
    self._grace_s = grace_s
    self._kill_at = float("inf")
    self.stopping = False
    several = len(environments) > 1
    self._running = [
      subprocess.Popen(
        command,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        # Process 0 speaks for all; the others say what is wrong.
        stdout=None if i == 0 else subprocess.DEVNULL,
        stderr=None if i == 0 else subprocess.PIPE,
        # Ctrl-C is for us; we pass it on as SIGTERM.
        start_new_session=several,
        preexec_fn=_end_with_launcher,
      )
      for i, (command, environment) in enumerate(
        zip(commands(program, len(environments)), environments, strict=True)
      )
    ]
    self._relays = [
      threading.Thread(target=_relay, args=(i, process.stderr), daemon=True)
      for i, process in enumerate(self._running)
      if process.stderr
    ]
    for relay in self._relays:
      relay.start()

  def stop(self) -> None:
    """Asks all to save and end; the second time, kills them."""
    if self.stopping:
      self._kill_at = 0.0
      return
    self.stopping = True
    self._kill_at = time.monotonic() + self._grace_s
    for process in self._running:
      process.terminate()

  def wait(self) -> int:
    """Waits until all have ended; ends them if one fails.

    Returns:
      0, or the exit code of the first that failed (128 + signal).
    """
    failed = None
    while any(process.poll() is None for process in self._running):
      if failed is None:
        failed = self._first_failure()
      if time.monotonic() > self._kill_at:
        for process in self._running:
          process.kill()
      time.sleep(_POLL_S)
    for relay in self._relays:
      relay.join()
    if failed is None:
      failed = self._first_failure()
    if failed is None:
      return 0
    code = self._running[failed].returncode
    return code if code > 0 else 128 - code

  def _first_failure(self) -> int | None:
    for i, process in enumerate(self._running):
      code = process.poll()
      if not code:
        continue
      if self.stopping:
        return i
      name = f"process {i} of {len(self._running)}"
      if code < 0:  # it could not tell the others
        _say(f"{name} is lost ({_name(-code)}); the others are ended")
        self._kill_at = 0.0
      else:
        _say(f"{name} ended with code {code}")
        self._kill_at = time.monotonic() + _FAREWELL_S
      return i
    return None


_C = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def _end_with_launcher() -> None:
  """Sends this new process SIGTERM if the launcher is killed (Linux)."""
  if hasattr(_C, "prctl"):
    _C.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))


def commands(
  program: Sequence[str], processes: int, port: int | None = None
) -> list[list[str]]:
  """Command line of each process.

  Args:
    program: flags of the run.
    processes: how many.
    port: of the coordinator; None = a free one.
  """
  start = [sys.executable, "-m", command_line.PROGRAM, *program]
  if processes == 1:
    return [start]
  port = port or _free_port()
  return [
    [
      *start,
      f"--coordinator=127.0.0.1:{port}",
      f"--num_processes={processes}",
      f"--process_id={i}",
    ]
    for i in range(processes)
  ]


def _free_port() -> int:
  with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    return s.getsockname()[1]


def _relay(process: int, pipe: IO[bytes]) -> None:
  for line in pipe:
    os.write(2, f"[{process}] ".encode() + line)


def _name(number: int) -> str:
  try:
    return signal.Signals(number).name
  except ValueError:
    return f"signal {number}"


def _say(line: str) -> None:
  command_line.say("local", line)


def _run(options, program, environments) -> int:
  asked, running = False, None

  def stop(*_) -> None:
    nonlocal asked
    asked = True
    if running is not None:
      running.stop()

  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, stop)
  for start in range(options.restarts + 1):
    if start:
      _say(
        f"start {start + 1} of {options.restarts + 1}, from the newest"
        " checkpoint"
      )
    running = Processes(program, environments, options.grace_s)
    if asked and not running.stopping:  # while they were started
      running.stop()
    code = running.wait()
    if code in (0, BAD_INPUT) or asked:
      break
  if code and code != BAD_INPUT and not asked:
    _say(
      "the run has not ended; start the same command again and it goes on from"
      " its newest checkpoint"
    )
  return code


def main(argv: Sequence[str] | None = None) -> int:
  """Runs; returns the exit code."""
  parser = _parser()
  options, program = parser.split(sys.argv[1:] if argv is None else argv)
  try:
    environments = devices.shares(
      options.processes,
      options.devices_per_process,
      devices.visible_gpus(),
    )
  except ValueError as e:
    parser.error(f"{e}; change --processes or --devices-per-process")
  if options.dry_run:
    for command, variables in zip(
      commands(program, options.processes, 7123), environments, strict=True
    ):
      words = [f"{k}={shlex.quote(v)}" for k, v in variables.items()]
      print(" ".join([*words, shlex.join(command)]))
    return 0
  return _run(options, program, environments)


if __name__ == "__main__":
  sys.exit(main())
