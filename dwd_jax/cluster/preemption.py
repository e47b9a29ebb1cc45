"""SIGTERM in the training loop: all processes stop at the same step."""

import contextlib
import itertools
import signal
import threading

import jax
from absl import logging

from dwd_jax.cluster import processes

_POLL_S = 0.5
# A compiling process answers, too, from its thread: the timeout is for a lost
# process, which ends the others anyway.
_ANSWER_S = 120
_instances = itertools.count()


class Preemption:
  """Whether the scheduler wants the machine back.

  The loop calls `reached` with every step (of a call of several steps with the
  last), and saves and ends if that is true. A single process stops at the first
  one after the signal. Of several, any may get the signal; each then publishes
  the last step it has begun, and all stop at the next one after the largest of
  them.

  Differs from `jax.experimental.multihost_utils.reached_preemption_sync_point`,
  which agrees in the same way, in that `close` removes the signal handler: that
  one would disable SIGTERM before and after the loop, too.

  For the main thread of every process; several instances in the same order.
  """

  def __init__(self):
    self._asked = False  # whether a process that we know of got the signal
    self._stop_at: float | None = None  # infinite = after the last step
    self._last = -1
    self._changing = threading.Lock()
    self._wake = threading.Event()
    self._closed = False
    self._prefix = f"dwd_jax/preemption/{next(_instances)}"
    self._client = processes.client()
    self._thread: threading.Thread | None = None
    if self._client is not None:
      self._thread = threading.Thread(
        target=self._watch, name="preemption", daemon=True
      )
      self._thread.start()
    self._previous = signal.signal(signal.SIGTERM, self._on_signal)

  def reached(self, step: int) -> bool:
    """Whether to save and stop at this step; the same in all processes.

    Steps must grow, in all processes alike. Cheap: no communication, except
    once, when the processes agree.
    """
    # While the processes agree, none of them begins another step.
    with self._changing:
      self._last = step
      if self._client is None:
        return self._asked
      return self._stop_at is not None and step >= self._stop_at

  def close(self) -> None:
    """Restores the previous handler of SIGTERM."""
    # None: installed by something other than Python.
    signal.signal(signal.SIGTERM, self._previous or signal.SIG_DFL)
    self._closed = True
    self._wake.set()
    if self._thread is not None:
      self._thread.join()

  def _on_signal(self, *_) -> None:
    self._asked = True
    self._wake.set()

  def _watch(self) -> None:
    """Passes on that a process got the signal, then agrees; in a thread."""
    try:
      while not self._closed:
        self._wake.wait(_POLL_S)
        self._wake.clear()
        if self._asked:
          self._set("asked", "1")
        if self._asked or self._is_asked():
          with self._changing:
            self._stop_at = self._agree()
          self._asked = True
          return
      # A process at its end stops no other, and no other waits for it.
      self._set(f"step/{jax.process_index()}", "inf")
    except Exception as e:  # a process is lost, which is handled elsewhere
      logging.info("Preemption cannot be agreed on: %s", e)

  def _agree(self) -> float:
    self._set(f"step/{jax.process_index()}", str(self._last))
    steps = [
      self._client.blocking_key_value_get(
        f"{self._prefix}/step/{i}", _ANSWER_S * 1000
      )
      for i in range(jax.process_count())
    ]
    return max(map(float, steps)) + 1

  def _is_asked(self) -> bool:
    with contextlib.suppress(jax.errors.JaxRuntimeError):  # no such key
      self._client.key_value_try_get(f"{self._prefix}/asked")
      return True
    return False

  def _set(self, key: str, value: str) -> None:
    self._client.key_value_set(f"{self._prefix}/{key}", value, True)
