"""Connects the processes of a run by `jax.distributed`, and ends them."""

import contextlib
import ctypes
import dataclasses
import errno
import ipaddress
import json
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import jax
from jax._src import distributed  # the connection's state is not public

from dwd_jax.cluster import processes
from dwd_jax.core import files
from dwd_jax.core.errors import InputError, one_line

LOST = 75  # exit code: worth another start (EX_TEMPFAIL)
_PARTING_S = 5  # for all to hear why the run ends
_VERDICT = "dwd_jax/verdict"  # key of [process, reason, exit code]


@dataclasses.dataclass(frozen=True)
class ProcessSettings:
  """How the processes of a run find each other.

  Attributes:
    coordinator: host:port at which process 0 listens; "" = one process.
    num_processes: of the run; None = not given.
    process_id: 0 .. num_processes - 1; None = not given.
    auto: ask the cluster instead (SLURM, Kubernetes, TPU).
    local_devices: GPUs of this machine for this process; () = all.
    connect_timeout_s: how long the processes wait for each other at the start.
    lost_after_s: a process without a sign of life for this long counts as lost.
  """

  coordinator: str = ""
  num_processes: int | None = None
  process_id: int | None = None
  auto: bool = False
  local_devices: tuple[int, ...] = ()
  connect_timeout_s: int = 300
  lost_after_s: int = 30

  def check(self) -> None:
    """Raises `InputError` if the flags contradict each other."""
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
    if not there:
      return
    assert self.num_processes is not None and self.process_id is not None
    host, _, port = self.coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
      raise InputError(
        f"--coordinator={self.coordinator}: needs HOST:PORT, e.g. node1:7123"
      )
    if not 0 <= self.process_id < self.num_processes:
      raise InputError(
        f"--process_id={self.process_id}: needs 0 to --num_processes - 1 ="
        f" {self.num_processes - 1}"
      )


@contextlib.contextmanager
def running(settings: ProcessSettings) -> Iterator[None]:
  """Connects the processes of a run, and ends them together.

  If one of them is lost, or leaves the context with an error, all end with a
  line that says why, and an exit code other than 0. With one process nothing
  happens.

  Raises:
    InputError: contradictory settings, or no cluster was recognised.
  """
  settings.check()
  if not settings.auto and (settings.num_processes or 1) == 1:
    yield
    return
  _connect(settings)
  job = _Job(settings.lost_after_s)
  try:
    yield
  except BaseException as e:
    job.ended_by(e)
    raise
  job.finish()


class _Job:
  """This process in a run of several.

  The runtime of JAX aborts the others when a process is lost, with messages and
  an exit code of its own; one that fails but can still say why would leave them
  waiting. This class passes the reason on, and ends all with our exit code.
  """

  def __init__(self, lost_after_s: float):
    # `jax.process_index()` would wait for the devices of all.
    state = distributed.global_state
    self._client: Any = state.client
    self._index, self._count = state.process_id, state.num_processes
    self._lost_after_s = lost_after_s
    self._code = LOST  # exit code if the runtime aborts
    self._ending = threading.Lock()  # held by the thread that ends the process
    _on_abort(self._aborted)
    self._listener = threading.Thread(target=self._listen, daemon=True)
    self._listener.start()

  def finish(self) -> None:
    """Ends a successful run; waits for the other processes."""
    processes.wait_for_all("end")
    if self._index == 0:
      self._client.key_value_set(_VERDICT, "null")  # ends the listeners
    self._listener.join()
    jax.distributed.shutdown()
    signal.signal(signal.SIGABRT, signal.SIG_DFL)

  def ended_by(self, error: BaseException) -> None:
    """Ends all processes, unless the program exits with code 0."""
    if isinstance(error, SystemExit) and not error.code:
      self.finish()
    elif isinstance(error, InputError):
      self._fail(str(error), 2)
    elif isinstance(error, KeyboardInterrupt):
      self._fail("interrupted", 130)
    elif isinstance(error, SystemExit):
      code = error.code if isinstance(error.code, int) else 1
      self._fail(f"exit with {error.code}", code)
    else:
      with self._ending:
        traceback.print_exception(error)
      # If another process is lost, its connections fail first: the runtime then
      # reports that, and the run is worth another start.
      time.sleep(self._lost_after_s + _PARTING_S)
      self._fail(f"{type(error).__name__}: {str(error)[:500]}", 1)

  def _fail(self, why: str, code: int) -> NoReturn:
    """Ends this process and the others for a reason of its own."""
    self._ending.acquire()
    verdict = (self._index, why, code)
    try:
      self._client.key_value_set(_VERDICT, json.dumps(verdict))
    except jax.errors.JaxRuntimeError:  # another was first, or all is lost
      with contextlib.suppress(jax.errors.JaxRuntimeError):
        verdict = self._verdict(timeout_s=1) or verdict
    if verdict[0] == self._index or verdict[1] != why:
      _say(why)  # once if all fail alike
    self._part(code)

  def _listen(self) -> None:
    """Ends this process if another one has failed; runs in a thread."""
    try:
      verdict = self._verdict(processes.FOREVER_S)
    except jax.errors.JaxRuntimeError:
      return  # the coordinator is lost, so the runtime aborts
    if verdict:
      process, why, code = verdict
      self._ending.acquire()
      _say(f"process {process} of {self._count} ended: {why}")
      self._part(code)

  def _verdict(self, timeout_s: int) -> tuple[int, str, int] | None:
    """Process, reason and exit code; None = all went well."""
    return read_verdict(
      self._client.blocking_key_value_get(_VERDICT, timeout_s * 1000)
    )

  def _part(self, code: int) -> NoReturn:
    """Ends this process once the others have heard why.

    Process 0 leaves last: it holds the coordinator with the reason, and without
    it the runtime of the others complains.
    """
    self._code = code
    with contextlib.suppress(jax.errors.JaxRuntimeError):
      self._client.wait_at_barrier("dwd_jax/parting", _PARTING_S * 1000)
      if self._index == 0:
        time.sleep(1)
    _end(code)

  def _aborted(self) -> int:
    """Says why the runtime aborts, and returns the exit code."""
    if self._code == LOST:
      self._ending.acquire(timeout=_PARTING_S)
      _say(
        f"another of the {self._count} processes is lost, see above; start the"
        " same command again and the run goes on from its newest checkpoint"
      )
    return self._code


def read_verdict(text: str) -> tuple[int, str, int] | None:
  """The reason why a run ends, as another process gives it.

  Whoever reaches the coordinator's port can send one: it is not run, its exit
  code is never that of success, and `_say` strips what controls terminals.

  Args:
    text: JSON.

  Returns:
    Process, reason and exit code 1..255; None = all went well.
  """
  try:
    verdict = files.decode_json(text)
    if verdict is None:
      return None
    process, why, code = verdict
    if isinstance(why, str) and type(process) is type(code) is int:
      return process, why[:1000], code if 0 < code < 256 else 1
  except (ValueError, TypeError):
    pass
  return -1, "a message that no process of a run sends", 1


def _say(line: str) -> None:
  """Prints one line on stderr, without control characters."""
  line = one_line(line)
  sys.stdout.flush()
  os.write(2, f"dwd_jax: {line}\n".encode("utf8", "replace"))


def _end(code: int) -> NoReturn:
  """Ends this process and its children at once, without waiting for others."""
  for child in multiprocessing.active_children():
    child.kill()
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)


_hooks = []  # keeps references: the C library has only an address


def _on_abort(code: Callable[[], int]) -> None:
  """Makes an abort of the runtime end with the exit code that `code` returns.

  The runtime aborts if it cannot connect or a process is lost. Its own callback
  for that does not accept Python functions (JAX 0.10: std::bad_cast), and a
  Python signal handler would not run, since the aborting thread is not Python's
  and never returns.
  """

  @ctypes.CFUNCTYPE(None, ctypes.c_int)
  def hook(_):
    _end(code())

  _hooks.append(hook)
  ctypes.CDLL(None).signal(signal.SIGABRT, hook)


def _connect(settings: ProcessSettings) -> None:
  # Its handler of SIGTERM cannot be removed; see `cluster.preemption`.
  jax.config.update("jax_enable_preemption_service", False)
  jax.config.update("jax_cpu_collectives_implementation", "gloo")
  where = settings.coordinator or "the coordinator that the cluster names"
  bind_to = None
  if settings.coordinator and settings.process_id == 0:
    bind_to = bind_address(settings.coordinator)
  try:
    with _hidden_stderr() as show:

      def aborted() -> int:
        show()
        _say(_not_connected(settings, where))
        return LOST

      _on_abort(aborted)
      jax.distributed.initialize(
        coordinator_address=settings.coordinator or None,
        coordinator_bind_address=bind_to,
        num_processes=settings.num_processes,
        process_id=settings.process_id,
        local_device_ids=settings.local_devices or None,
        # Else SLURM's variables choose the devices, in spite of the flags.
        cluster_detection_method=None if settings.auto else "deactivate",
        initialization_timeout=settings.connect_timeout_s,
        heartbeat_timeout_seconds=settings.lost_after_s,
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
    signal.signal(signal.SIGABRT, signal.SIG_DFL)


def bind_address(coordinator: str) -> str:
  """Where process 0 listens: at the address given, not on every interface.

  All interfaces are left where the name leads to none of this machine's, or
  only to its loopback, as /etc/hosts may say for its own name.

  Args:
    coordinator: HOST:PORT.

  Raises:
    InputError: another program has the port. The runtime checks it, too, but
      may crash (JAX 0.10.2).
  """
  host, _, port = coordinator.rpartition(":")
  host = host.strip("[]")
  try:
    found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
  except (OSError, UnicodeError):  # UnicodeError: no name that DNS takes
    found = []
  for family, _, _, _, address in found:
    loopback = ipaddress.ip_address(str(address[0])).is_loopback
    if loopback and host not in ("localhost", address[0]):
      continue
    if _can_listen(family, address, coordinator):
      ip = f"[{address[0]}]" if ":" in str(address[0]) else address[0]
      return f"{ip}:{port}"
  _can_listen(socket.AF_INET, ("", int(port)), coordinator)
  return f"[::]:{port}"


def _can_listen(family: int, address: Any, coordinator: str) -> bool:
  """Whether the address is this machine's; raises InputError if it is taken."""
  try:
    with socket.socket(family) as probe:
      probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
      probe.bind(address)
  except OSError as e:
    if e.errno in (errno.EADDRINUSE, errno.EACCES):
      raise InputError(
        f"{coordinator}: process 0 cannot listen there ({e.strerror}); choose"
        " another port"
      ) from None
    return False
  return True


def _not_connected(settings: ProcessSettings, where: str) -> str:
  seconds = settings.connect_timeout_s
  if settings.process_id == 0:
    missing = f"not all {settings.num_processes} processes came"
  else:
    missing = "no coordinator answered"
  return (
    f"{where}: {missing} within {seconds} s; check that all were started with"
    " this address and that every machine can reach it, or raise"
    " --connect_timeout_s"
  )


@contextlib.contextmanager
def _hidden_stderr() -> Iterator[Callable[[], None]]:
  """Delays what the runtime writes, and shows it if all goes well.

  If it aborts it writes a page, which our line replaces.
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
