"""Brings up and ends a run of several processes (`jax.distributed`)."""

import contextlib
import dataclasses
import os
import re
import socket
import tempfile
import traceback
from collections.abc import Callable, Iterator
from typing import NoReturn

import jax
from jax._src import distributed  # what was connected has no public name

from dwd_jax.cluster import processes, watchdog
from dwd_jax.core.errors import InputError

# The runtime notices a loss, too, but does not say it well: our
# watchdog shall be first. The runtime was seen to take half of its limit.
_RUNTIME_LIMIT = 3


@dataclasses.dataclass(frozen=True)
class Settings:
  """How the processes of a run find each other.

  Attributes:
    coordinator: host:port at which process 0 listens; "" = one process.
    num_processes: of the run; None = not given.
    process_id: of this process, 0 .. num_processes - 1; None = not given.
    auto: ask the cluster instead (SLURM, Kubernetes, TPU).
    local_devices: which GPUs of this machine are for this process; () = all.
    connect_timeout_s: how long the processes wait for each other at the start.
    lost_after_s: without a sign of life a process is taken for lost.
  """

  coordinator: str = ""
  num_processes: int | None = None
  process_id: int | None = None
  auto: bool = False
  local_devices: tuple[int, ...] = ()
  connect_timeout_s: int = 300
  lost_after_s: int = 30

  def check(self) -> None:
    """Raises `InputError` where the flags contradict each other."""
    given = {
      "--coordinator": self.coordinator or None,
      "--num_processes": self.num_processes,
      "--process_id": self.process_id,
    }
    there = [flag for flag, value in given.items() if value is not None]
    if self.auto and there:
      raise InputError(
        f"{there[0]}: not together with --distributed=auto; leave one out"
      )
    missing = [flag for flag, value in given.items() if value is None]
    if there and missing:
      raise InputError(
        f"{missing[0]} is missing; {', '.join(given)} go together"
      )
    if self.connect_timeout_s < 1:
      raise InputError("--connect_timeout_s: needs at least 1 second")
    if self.lost_after_s < 5:
      raise InputError("--lost_after_s: needs at least 5 seconds")
    if any(i < 0 for i in self.local_devices):
      raise InputError("--local_devices: needs numbers from 0 on")
    if not there:
      return
    assert self.num_processes is not None and self.process_id is not None
    host, _, port = self.coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
      raise InputError(
        f"--coordinator={self.coordinator}: needs HOST:PORT, e.g. node1:7123"
      )
    if self.num_processes < 1:
      raise InputError(f"--num_processes={self.num_processes}: needs 1 or more")
    if not 0 <= self.process_id < self.num_processes:
      raise InputError(
        f"--process_id={self.process_id}: needs 0 to --num_processes - 1 ="
        f" {self.num_processes - 1}"
      )


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[None]:
  """Brings the processes of a run together, and ends them together.

  Where one of them is lost, or leaves the context with an error, all end: with
  a line that names it, and an exit code that is not 0. Without settings nothing
  happens.

  Args:
    settings: see `Settings`.

  Raises:
    InputError: contradictory settings, or no cluster was recognised.
  """
  settings.check()
  if not settings.auto and (settings.num_processes or 1) == 1:
    yield
    return
  _connect(settings)
  job = _Job(settings)
  try:
    yield
  except BaseException as e:
    job.ended_by(e)
    raise
  job.finish()


class _Job:
  """This process of a run of several."""

  def __init__(self, settings: Settings):
    # Not yet `jax.process_index()`: that waits for the devices of all.
    state = distributed.global_state
    self._watchdog = watchdog.Watchdog(
      state.client,
      state.process_id,
      state.num_processes,
      coordinator=str(state.coordinator_address),
      lost_after_s=settings.lost_after_s,
    )
    watchdog.on_abort(self._watchdog.aborted)

  def finish(self) -> None:
    """The end of a run that went well; waits for the others."""
    processes.wait_for_all("end")
    self._watchdog.stop()
    jax.distributed.shutdown()
    watchdog.leave_aborts()

  def ended_by(self, error: BaseException) -> None:
    """Ends all processes, except where the program was left with code 0."""
    if isinstance(error, SystemExit) and not error.code:
      self.finish()
      return
    self._fail(error)

  def _fail(self, error: BaseException) -> NoReturn:
    if isinstance(error, InputError):
      self._watchdog.fail(str(error), 2)
    if isinstance(error, KeyboardInterrupt):
      self._watchdog.fail("interrupted", 130)
    if isinstance(error, SystemExit):
      code = error.code if isinstance(error.code, int) else 1
      self._watchdog.fail(f"exit with {error.code}", code)
    if _of_another(error):
      # Its connection is closed long before it is known which one is lost.
      self._watchdog.wait_for_verdict()
    traceback.print_exception(error)
    self._watchdog.fail(f"{type(error).__name__}: {str(error)[:500]}", 1)


# What the libraries say where another process does not answer any more. Orbax
# raises it anew as other exceptions.
_BROKEN = re.compile(
  "gloo|nccl|connection|socket|unavailable|deadline|coordination|barrier", re.I
)


def _of_another(error: BaseException) -> bool:
  """Whether an error looks as if another process were lost."""
  seen: BaseException | None = error
  while seen is not None:
    if "RESOURCE_EXHAUSTED" not in str(seen) and _BROKEN.search(str(seen)):
      return True
    seen = seen.__cause__ or seen.__context__
  return False


def _connect(settings: Settings) -> None:
  # Its handler of SIGTERM cannot be taken away; see `train.preemption`.
  jax.config.update("jax_enable_preemption_service", False)
  jax.config.update("jax_cpu_collectives_implementation", "gloo")
  where = settings.coordinator or "the coordinator that the cluster names"
  if settings.coordinator and settings.process_id == 0:
    _check_port(settings.coordinator)
  try:
    with _hidden_stderr() as show:

      def why() -> str:
        show()
        return _not_connected(settings, where)

      watchdog.on_abort(why)
      jax.distributed.initialize(
        settings.coordinator or None,
        settings.num_processes,
        settings.process_id,
        settings.local_devices or None,
        # With the flags, SLURM's variables would still choose the devices.
        None if settings.auto else "deactivate",
        initialization_timeout=settings.connect_timeout_s,
        heartbeat_timeout_seconds=_RUNTIME_LIMIT * settings.lost_after_s,
      )
  except jax.errors.JaxRuntimeError as e:
    raise InputError(
      f"{where}: process {settings.process_id or 0} cannot listen there"
      f" ({str(e).splitlines()[0]}); choose another port"
    ) from None
  except (ValueError, TypeError, RuntimeError) as e:
    if not settings.auto:
      raise
    raise InputError(
      f"--distributed=auto: the cluster does not say who belongs to the run"
      f" ({str(e).splitlines()[0]}); give --coordinator, --num_processes and"
      " --process_id"
    ) from None
  finally:
    watchdog.leave_aborts()


def _check_port(coordinator: str) -> None:
  """Stops where another program has the port.

  The runtime notices it, too, but was seen to crash (JAX 0.10.2).
  """
  port = int(coordinator.rpartition(":")[2])
  with socket.socket() as probe:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
      probe.bind(("", port))
    except OSError as e:
      raise InputError(
        f"{coordinator}: process 0 cannot listen there ({e.strerror}); choose"
        " another port"
      ) from None


def _not_connected(settings: Settings, where: str) -> str:
  seconds = settings.connect_timeout_s
  if settings.process_id == 0:
    missing = f"not all {settings.num_processes} processes came"
  else:
    missing = "no coordinator answered"
  return (
    f"{where}: {missing} within {seconds} s; look whether all were started"
    " with this address and whether it can be reached from every machine, or"
    " raise --connect_timeout_s"
  )


@contextlib.contextmanager
def _hidden_stderr() -> Iterator[Callable[[], None]]:
  """Keeps what the runtime writes back, and shows it if all goes well.

  Where it aborts it writes a page, of which our line says everything.
  """
  kept = os.dup(2)

  def show() -> None:
    os.dup2(kept, 2)

  with tempfile.TemporaryFile() as file:
    os.dup2(file.fileno(), 2)
    try:
      yield show
    finally:
      show()
      os.close(kept)
    file.seek(0)
    os.write(2, file.read())
