"""SIGTERM ends the loop at a step that all processes agree on."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys

from dwd_jax.cluster.preemption import Preemption


def test_one_process_stops_at_the_first_step_after_the_signal():
  before = signal.getsignal(signal.SIGTERM)
  with contextlib.closing(Preemption()) as preemption:
    assert not preemption.reached(7)
    os.kill(os.getpid(), signal.SIGTERM)
    assert preemption.reached(8)
    assert preemption.reached(9)  # a second question gets the same answer
  assert signal.getsignal(signal.SIGTERM) == before


def test_the_former_handler_comes_back():
  got = []
  before = signal.signal(signal.SIGTERM, lambda *_: got.append(1))
  try:
    Preemption().close()
    os.kill(os.getpid(), signal.SIGTERM)
    assert got == [1]
  finally:
    signal.signal(signal.SIGTERM, before)


def _start(port: int, process: int, step_s: float) -> subprocess.Popen:
  program = pathlib.Path(__file__).parent / "preemption_program.py"
  repo = program.parent.parent.parent
  return subprocess.Popen(
    [sys.executable, str(program), str(port), str(process), str(step_s)],
    env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(repo)},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def test_two_processes_stop_at_the_same_step():
  with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
  # At different speeds, and only the slower one is asked.
  processes = [_start(port, 0, 0.005), _start(port, 1, 0.02)]
  try:
    for process in processes:
      assert process.stdout
      assert process.stdout.readline() == "looping\n", process.communicate()
    processes[1].send_signal(signal.SIGTERM)
    said = [process.communicate(timeout=60) for process in processes]
  finally:
    for process in processes:
      process.kill()
      process.wait()
  assert [p.returncode for p in processes] == [0, 0], said
  ends = [out.split() for out, _ in said]
  assert ends[0] == ends[1], said
  assert ends[0][0] == "False"
  assert int(ends[0][1]) > 100
  assert ends[0][2:] == ["False", "True"]
