"""Ends the processes of a run when one of them is lost, and says which.

A process that waits for the gradients of a lost one may wait for ever; and
where the coordinator is lost, JAX's runtime ends the others with a page of
stack. Here every process shows a sign of life to the coordinator, process 0
looks who shows none, and whoever fails says so before it goes.
"""

import contextlib
import ctypes
import json
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import jax

LOST = 75  # exit code: worth another start (EX_TEMPFAIL)
RESUME = (
  "start the same command again and the run goes on from its newest checkpoint"
)

_BEAT_S = 2.0  # or five times within the time after which one is lost
_PARTING_S = 5.0  # for all to hear why the run ends
_LEAVING_S = 1.0  # that process 0 gives the others to leave before it
_PREFIX = "dwd_jax/watchdog"


class Watchdog:
  """Watches the other processes from a thread, until `stop`."""

  def __init__(
    self,
    client: Any,
    index: int,
    count: int,
    *,
    coordinator: str,
    lost_after_s: float,
  ):
    """Args: `client` of the coordinator at `coordinator` (host:port)."""
    self._client = client
    self._index, self._count = index, count
    self._coordinator = coordinator
    self._lost_after_s = lost_after_s
    self._beat_s = min(_BEAT_S, lost_after_s / 5)
    self._stopped = threading.Event()
    self._ending = threading.Lock()  # held by the thread that ends us
    self._answered = time.monotonic()
    self._seen = {i: ("", time.monotonic()) for i in range(count)}
    # A call to a coordinator that hangs hangs, too: another thread looks.
    targets = (self._run, self._look_at_coordinator)
    self._threads = [
      threading.Thread(target=target, name="watchdog", daemon=True)
      for target in targets[: 1 if index == 0 else 2]
    ]
    for thread in self._threads:
      thread.start()

  def stop(self) -> None:
    """No more looking; for the end of a run that all have reached."""
    self._stopped.set()
    for thread in self._threads:
      thread.join()

  def fail(self, why: str, code: int) -> NoReturn:
    """Ends this process for a reason of its own, and with it the others.

    Args:
      why: one line.
      code: exit code of all processes.
    """
    self._ending.acquire()
    mine = {"process": self._index, "why": why, "code": code}
    first = mine
    with contextlib.suppress(jax.errors.JaxRuntimeError):
      first = self._sentence(mine)  # not where the coordinator is gone
    said = first["why"] == why and first["process"] != self._index
    if not said:  # of all that fail alike one speaks
      say(why)
    _decided.append(code)
    self._part(range(self._count))
    end(code)

  def wait_for_verdict(self) -> None:
    """Gives the thread the time to find out who is lost, and to end us."""
    time.sleep(self._lost_after_s + 2 * _PARTING_S)

  def aborted(self) -> str:
    """Why the runtime ends this process, as far as that can be known."""
    silent_s = time.monotonic() - self._answered
    if self._index and (silent_s > 10 or not _reachable(self._coordinator)):
      return self._lost_text(0, f"at {self._coordinator}")
    return (
      f"the JAX runtime has ended process {self._index} of {self._count}, see"
      f" above; {RESUME}"
    )

  def _lost_text(self, process: int, how: str) -> str:
    return f"process {process} of {self._count} is lost ({how}); {RESUME}"

  def _run(self) -> None:
    beats = 0
    while not self._stopped.wait(self._beat_s):
      beats += 1
      try:
        self._client.key_value_set(
          f"{_PREFIX}/alive/{self._index}", str(beats), True
        )
        verdict = self._look() if self._index == 0 else None
        verdict = verdict or self._verdict()
        self._answered = time.monotonic()
      except jax.errors.JaxRuntimeError:
        continue  # if the coordinator is gone, the runtime aborts: `aborted`
      if verdict and not self._stopped.is_set():
        with self._ending:
          self._end(verdict)

  def _look_at_coordinator(self) -> None:
    """In the other processes: ends this one if process 0 does not answer."""
    while not self._stopped.wait(self._beat_s):
      silent_s = time.monotonic() - self._answered
      if silent_s > self._lost_after_s:
        with self._ending:
          say(self._lost_text(0, f"no answer for {self._lost_after_s:.0f} s"))
          end(LOST)

  def _look(self) -> dict[str, Any] | None:
    """In process 0: the verdict on a process without a sign of life."""
    found = self._client.key_value_dir_get(f"{_PREFIX}/alive/")
    beats = {int(key.rsplit("/", 1)[1]): value for key, value in found}
    now = time.monotonic()
    for i, (last, since) in self._seen.items():
      if beats.get(i, "") != last:
        self._seen[i] = (beats[i], now)
      elif now - since > self._lost_after_s:
        how = f"no sign of life for {self._lost_after_s:.0f} s"
        why = self._lost_text(i, how)
        return self._sentence({"process": i, "why": why, "code": LOST})
    return None

  def _sentence(self, verdict: dict[str, Any]) -> dict[str, Any]:
    """Tells all why the run ends; returns the first verdict, which counts."""
    try:
      self._client.key_value_set(f"{_PREFIX}/verdict", json.dumps(verdict))
    except jax.errors.JaxRuntimeError:
      return self._verdict() or verdict
    return verdict

  def _verdict(self) -> dict[str, Any] | None:
    try:
      text = self._client.key_value_try_get(f"{_PREFIX}/verdict")
    except jax.errors.JaxRuntimeError as e:
      if "NOT_FOUND" in str(e):
        return None
      raise
    return json.loads(text)

  def _end(self, verdict: dict[str, Any]) -> NoReturn:
    process, why, code = (verdict[k] for k in ("process", "why", "code"))
    lost = code == LOST
    say(why if lost else f"process {process} of {self._count} ended: {why}")
    _decided.append(code)
    self._part(i for i in range(self._count) if not lost or i != process)
    end(code)

  def _part(self, processes: Iterable[int]) -> None:
    """Waits a little until the others have heard it, too.

    With the coordinator the reason would be gone. Process 0, which holds it,
    leaves last: the runtime of the others would complain.
    """
    with contextlib.suppress(jax.errors.JaxRuntimeError):
      self._client.wait_at_barrier(
        f"{_PREFIX}/parting", int(_PARTING_S * 1000), list(processes)
      )
      if self._index == 0:
        time.sleep(_LEAVING_S)


def _reachable(address: str) -> bool:
  host, port = address.rsplit(":", 1)
  with contextlib.suppress(OSError):
    socket.create_connection((host.strip("[]"), int(port)), 2).close()
    return True
  return False


def say(line: str) -> None:
  """One line on stderr."""
  line = " ".join(line.split())
  sys.stdout.flush()
  os.write(2, f"dwd_jax: {line}\n".encode())


def end(code: int) -> NoReturn:
  """Ends this process at once, with its loaders, without waiting for others."""
  for child in multiprocessing.active_children():
    child.kill()
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)


_hooks = []  # the C library keeps only an address
# The exit code of a process that is ending: the coordinator may be gone a
# moment earlier, and the runtime aborts then.
_decided: list[int] = []


def on_abort(why: Callable[[], str]) -> None:
  """Makes an abort of the runtime end with a line and the exit code `LOST`.

  The runtime aborts where it cannot connect or loses the coordinator, and its
  own callback for that cannot be given a function of Python's (JAX 0.10: it
  throws std::bad_cast). A handler of Python's would not run either: the thread
  that aborts is not Python's and never comes back.

  Args:
    why: gives the line.
  """

  @ctypes.CFUNCTYPE(None, ctypes.c_int)
  def hook(_):
    if _decided:
      end(_decided[0])
    say(why())
    end(LOST)

  _hooks.append(hook)
  ctypes.CDLL(None).signal(signal.SIGABRT, hook)


def leave_aborts() -> None:
  """Undoes `on_abort`."""
  signal.signal(signal.SIGABRT, signal.SIG_DFL)
