"""Runs trials side by side, each in a process of its own."""

import contextlib
import dataclasses
import fcntl
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dwd_jax.core import files
from launch.results import Results

_POLL_S = 0.2
_END_S = 30.0  # for trials to save their state, when the search is stopped
LOG = "trial.log"


class Stopped(Exception):
  """Somebody wants the search to stop."""


@dataclasses.dataclass
class _Running:
  """A trial at work."""

  index: int
  process: subprocess.Popen
  slot: int
  started: float
  attempt: int


def run_trials(
  results: Results,
  rung: int,
  indices: Sequence[int],
  *,
  slots: Sequence[str] = ("",),
  timeout_s: float = 0.0,
  say: Callable[[str], None] = print,
) -> None:
  """Runs the trials of a rung that have no result yet, and records them.

  A trial that crashes, diverges or hangs is recorded as failed; the others go
  on. One that a killed search left running is waited for, and its result is
  taken. When the program is asked to stop, so are the trials; they go on where
  they were when it is started again.

  Args:
    results: of the search.
    rung: which runs of the trials.
    indices: numbers of the trials.
    slots: one trial runs in each; a number is the GPU of the slot, "" all.
    timeout_s: after so long a trial has failed; 0 = never.
    say: takes lines about what happens.

  Raises:
    Stopped: by SIGTERM or SIGINT.
  """
  waiting = [(i, 1) for i in indices if results.get(i, rung) is None]
  running: list[_Running] = []
  told: set[int] = set()
  with _signals():
    try:
      while waiting or running:
        for job in [j for j in running if _ended(j, timeout_s)]:
          running.remove(job)
          waiting += _finish(results, rung, job, timeout_s, say)
        free = [s for s in range(len(slots)) if s not in _slots(running)]
        for index, attempt in list(waiting):
          if not free:
            break
          with _lock(results.plan.workdir(index, rung)) as lock:
            if lock is None:  # left running by a search that was killed
              if index not in told:
                say(f"trial {index} runs already; its result is waited for")
              told.add(index)
              continue
            waiting.remove((index, attempt))
            if results.scores_of_run(index, rung):
              _record(results, rung, index, None, "", say)
              continue
            slot = free.pop(0)
            process = _start(results, rung, index, slots[slot], lock, say)
            running.append(
              _Running(index, process, slot, time.monotonic(), attempt)
            )
        time.sleep(_POLL_S)
    finally:
      _end([job.process for job in running])


def _slots(running: list[_Running]) -> set[int]:
  return {job.slot for job in running}


def _start(results, rung, index, gpu, lock, say) -> subprocess.Popen:
  plan = results.plan
  workdir = plan.workdir(index, rung)
  environment = dict(os.environ)
  if gpu:
    environment["CUDA_VISIBLE_DEVICES"] = gpu
  params = ", ".join(f"{k}={v}" for k, v in plan.params(index).items())
  say(f"trial {index}, {plan.rungs[rung]} steps: {params}")
  with (workdir / LOG).open("ab") as log:
    # In a session of its own, so that Ctrl-C reaches it through us alone. It
    # keeps the lock for as long as it lives.
    return subprocess.Popen(
      plan.command(index, rung),
      stdin=subprocess.DEVNULL,
      stdout=log,
      stderr=subprocess.STDOUT,
      env=environment,
      pass_fds=(lock,),
      start_new_session=True,
    )


def _ended(job: _Running, timeout_s: float) -> bool:
  if timeout_s and time.monotonic() - job.started > timeout_s:
    _end([job.process], patience_s=0.0)
  return job.process.poll() is not None


def _finish(results, rung, job, timeout_s, say) -> list[tuple[int, int]]:
  """Records a trial that ended; or gives it back, to be tried once more."""
  seconds = time.monotonic() - job.started
  code = job.process.returncode
  if code == 0 and results.scores_of_run(job.index, rung):
    reason = ""
  elif code == 0 and job.attempt == 1:
    # Something stopped it; what it had is saved.
    return [(job.index, 2)]
  elif timeout_s and seconds > timeout_s:
    reason = f"not finished after {timeout_s:.0f} s"
  else:
    workdir = results.plan.workdir(job.index, rung)
    reason = f"exit code {code}: {_last_words(workdir / LOG)}"
  _record(results, rung, job.index, seconds, reason, say)
  return []


def _record(results, rung, index, seconds, reason, say) -> None:
  result: dict[str, Any] = results.record(index, rung, seconds, reason)
  if result["reason"]:
    where = results.plan.workdir(index, rung) / LOG
    say(f"trial {index} failed: {result['reason']} ({where})")
  else:
    say(f"trial {index}: {results.plan.metric} {result['score']:.4f}")


def _last_words(log: pathlib.Path) -> str:
  """The line of a log that says why the program ended."""
  with log.open("rb") as f:
    f.seek(max(0, log.stat().st_size - 2**14))
    text = f.read().decode(errors="replace")
  lines = [line.strip() for line in text.splitlines() if line.strip()]
  told = [line for line in lines if line.startswith("dwd_jax: ")]
  return (told or lines or ["no output"])[-1][:300]


@contextlib.contextmanager
def _lock(workdir: pathlib.Path) -> Iterator[int | None]:
  """The open lock of a workdir; None where another process has it."""
  files.make_dir(workdir)
  with (workdir / ".lock").open("w") as lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      yield None
    else:
      yield lock.fileno()


@contextlib.contextmanager
def _signals() -> Iterator[None]:
  """SIGTERM and SIGINT raise `Stopped` inside."""

  def stop(number, frame):
    del frame
    raise Stopped(signal.Signals(number).name)

  previous = {
    n: signal.signal(n, stop) for n in (signal.SIGTERM, signal.SIGINT)
  }
  try:
    yield
  finally:
    for number, handler in previous.items():
      signal.signal(number, handler)


def _end(processes: list[subprocess.Popen], patience_s: float = _END_S) -> None:
  """Asks processes to end, and ends those that do not."""
  for process in processes:
    if process.poll() is None and patience_s:
      process.terminate()
  deadline = time.monotonic() + patience_s
  for process in processes:
    with contextlib.suppress(subprocess.TimeoutExpired):
      process.wait(max(0.0, deadline - time.monotonic()))
      continue
    with contextlib.suppress(ProcessLookupError):
      os.killpg(process.pid, signal.SIGKILL)  # with its loader's workers
    process.wait()
