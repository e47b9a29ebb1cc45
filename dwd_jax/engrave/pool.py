"""Worker processes that may die: a crash is charged to the score at work.

`concurrent.futures` cannot tell which task killed a process and gives up on
all of them; multiprocessing imports the caller's main program (and with it
JAX) into every worker. Plain child processes do neither.
"""

import contextlib
import dataclasses
import os
import pathlib
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import IO

from dwd_jax.engrave.engraver import EngravedPage, Task
from dwd_jax.engrave.worker import read_frame, unpack, write_frame

_ROOT = pathlib.Path(__file__).parent.parent.parent
COMMAND = (sys.executable, "-m", "dwd_jax.engrave.worker")
# Verovio keeps some memory for every score: a fresh worker now and then.
_TASKS_PER_PROCESS = 100


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What became of a task: pages, or the reason why there are none."""

  task: Task
  pages: list[EngravedPage]
  error: str = ""


class _Worker:
  """A child process and the task it has."""

  def __init__(self, command: tuple[str, ...]):
    self.log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by stop)
    paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {
      **os.environ,
      "PYTHONPATH": os.pathsep.join(p for p in paths if p),
      "VIPS_CONCURRENCY": "1",  # one page per core, not one core per line
    }
    self.process = subprocess.Popen(
      command,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=self.log,
      env=environment,
    )
    assert self.process.stdin is not None and self.process.stdout is not None
    self.stdin: IO[bytes] = self.process.stdin
    self.stdout: IO[bytes] = self.process.stdout
    self.task: Task | None = None
    self.deadline = 0.0
    self.done = 0

  def start(self, task: Task, timeout_s: float) -> None:
    """Hands a task over."""
    self.task, self.deadline = task, time.monotonic() + timeout_s
    with contextlib.suppress(BrokenPipeError):  # seen when the result is read
      write_frame(self.stdin, dataclasses.asdict(task), [])

  def finish(self) -> Outcome | None:
    """The outcome of its task; None where the process died of it."""
    assert self.task is not None
    task, self.task = self.task, None
    self.done += 1
    frame = read_frame(self.stdout)
    if frame is None:
      return None
    header, blobs = frame
    if "error" in header:
      return Outcome(task, [], header["error"])
    return Outcome(task, unpack(header, blobs))

  def stop(self) -> str:
    """Ends the process; says how it ended."""
    self.process.kill()
    code = self.process.wait()
    self.stdin.close()
    self.stdout.close()
    self.log.seek(0)
    last = self.log.read().decode(errors="replace").strip().split("\n")[-1]
    self.log.close()
    ended = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"{ended}: {last[:200]}" if last else ended


def run(
  tasks: Iterator[Task],
  workers: int,
  timeout_s: float = 120.0,
  command: tuple[str, ...] = COMMAND,
) -> Iterator[Outcome]:
  """Engraves scores in parallel.

  Args:
    tasks: asked for one when a worker is free.
    workers: number of processes.
    timeout_s: a score that takes longer is given up.
    command: starts a worker.

  Yields:
    Outcomes in the order in which they are ready.
  """
  pool: list[_Worker] = []
  try:
    selector = selectors.DefaultSelector()
    exhausted = False
    while True:
      while not exhausted and sum(w.task is not None for w in pool) < workers:
        task = next(tasks, None)
        if task is None:
          exhausted = True
          break
        worker = _free_worker(pool, selector, command)
        worker.start(task, timeout_s)
      busy = [w for w in pool if w.task is not None]
      if not busy:
        return
      yield from _wait(busy, pool, selector)
  finally:
    for worker in pool:
      worker.stop()


def _free_worker(
  pool: list[_Worker],
  selector: selectors.BaseSelector,
  command: tuple[str, ...],
) -> _Worker:
  """An idle process, new where there is none or the old one is worn out."""
  for worker in [w for w in pool if w.task is None]:
    if worker.done < _TASKS_PER_PROCESS:
      return worker
    _discard(worker, pool, selector)
  worker = _Worker(command)
  selector.register(worker.stdout, selectors.EVENT_READ, worker)
  pool.append(worker)
  return worker


def _discard(
  worker: _Worker, pool: list[_Worker], selector: selectors.BaseSelector
) -> str:
  selector.unregister(worker.stdout)
  pool.remove(worker)
  return worker.stop()


def _wait(
  busy: list[_Worker], pool: list[_Worker], selector: selectors.BaseSelector
) -> Iterator[Outcome]:
  """Outcomes of the next workers that are ready, dead or too late."""
  left = max(0.0, min(w.deadline for w in busy) - time.monotonic())
  ready = [key.data for key, _ in selector.select(left)]
  for worker in ready:
    task = worker.task
    if task is None:  # died while idle
      _discard(worker, pool, selector)
      continue
    outcome = worker.finish()
    if outcome is None:
      ended = _died(worker, pool, selector)
      outcome = Outcome(task, [], f"crashed the engraver ({ended})")
    yield outcome
  for worker in busy:
    task = worker.task
    if task is not None and time.monotonic() > worker.deadline:
      _discard(worker, pool, selector)
      yield Outcome(task, [], "took too long")


def _died(
  worker: _Worker, pool: list[_Worker], selector: selectors.BaseSelector
) -> str:
  with contextlib.suppress(subprocess.TimeoutExpired):
    worker.process.wait(5)  # its own exit code, not that of our kill
  return _discard(worker, pool, selector)
