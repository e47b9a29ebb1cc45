"""Worker processes that may crash: a crash is charged to its score.

`concurrent.futures` cannot tell which task killed a process and gives up on
all of them; multiprocessing imports the caller's main program (and with it
JAX) into every worker. Plain child processes do neither: `run` starts them as
`python -m dwd_jax.engrave.pool`, sends tasks to stdin and reads pages from
stdout. A frame is a line of JSON with the lengths of the blobs that follow it.
"""

import contextlib
import dataclasses
import gc
import json
import os
import pathlib
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import IO

import verovio

from dwd_jax.engrave.engraver import EngravedPage, EngraveTask, engrave

_ROOT = pathlib.Path(__file__).parent.parent.parent
COMMAND = (sys.executable, "-m", "dwd_jax.engrave.pool")
# Verovio leaks some memory for every score.
_TASKS_PER_PROCESS = 100
_FILES = ("png", "xml", "labels")  # fields of a page that travel as blobs


@dataclasses.dataclass(frozen=True)
class Outcome:
  """The pages of a task, or the reason why there are none."""

  task: EngraveTask
  pages: list[EngravedPage]
  error: str = ""


class _Worker:
  """A child process and its task."""

  def __init__(self, command: tuple[str, ...]):
    self.log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by stop)
    paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {
      **os.environ,
      "PYTHONPATH": os.pathsep.join(p for p in paths if p),
      "VIPS_CONCURRENCY": "1",  # cores are for pages, not lines of a page
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
    self.task: EngraveTask | None = None
    self.deadline = 0.0
    self.done = 0

  def start(self, task: EngraveTask, timeout_s: float) -> None:
    """Hands over a task."""
    self.task, self.deadline = task, time.monotonic() + timeout_s
    with contextlib.suppress(BrokenPipeError):  # noticed when reading
      _write_frame(self.stdin, dataclasses.asdict(task), [])

  def finish(self) -> Outcome | None:
    """The outcome of the task; None if the process died of it."""
    assert self.task is not None
    task, self.task = self.task, None
    self.done += 1
    frame = _read_frame(self.stdout)
    if frame is None:
      return None
    header, blobs = frame
    if "error" in header:
      return Outcome(task, [], header["error"])
    return Outcome(task, unpack(header, blobs))

  def stop(self) -> str:
    """Kills the process; says how it ended."""
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
  tasks: Iterator[EngraveTask],
  workers: int,
  timeout_s: float = 120.0,
  command: tuple[str, ...] = COMMAND,
) -> Iterator[Outcome]:
  """Engraves scores in parallel; yields outcomes in order of completion.

  A score that takes more than `timeout_s` is given up.
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
  """An idle process that is not worn out, or a new one."""
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
  """Outcomes of the next workers that are ready, dead or late."""
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
    worker.process.wait(5)  # for its own exit code, not that of our kill
  return _discard(worker, pool, selector)


def _write_frame(stream: IO[bytes], header: dict, blobs: list[bytes]) -> None:
  header = {**header, "blobs": [len(blob) for blob in blobs]}
  stream.write(json.dumps(header).encode() + b"\n")
  for blob in blobs:
    stream.write(blob)
  stream.flush()


def _read_frame(stream: IO[bytes]) -> tuple[dict, list[bytes]] | None:
  """A header and its blobs; None at the end of the stream."""
  line = stream.readline()
  if not line.endswith(b"\n"):
    return None
  header = json.loads(line)
  blobs = [stream.read(size) for size in header["blobs"]]
  if [len(blob) for blob in blobs] != header["blobs"]:
    return None
  return header, blobs


def pack(pages: list[EngravedPage]) -> tuple[dict, list[bytes]]:
  """Pages as the header and blobs of a frame."""
  rows = [dataclasses.asdict(page) for page in pages]
  blobs = [row.pop(name) for row in rows for name in _FILES]
  return {"pages": rows}, blobs


def unpack(header: dict, blobs: list[bytes]) -> list[EngravedPage]:
  """The pages of a frame."""
  files = zip(blobs[0::3], blobs[1::3], blobs[2::3], strict=True)
  return [
    EngravedPage(**row, **dict(zip(_FILES, parts, strict=True)))
    for row, parts in zip(header["pages"], files, strict=True)
  ]


def _task_of(header: dict) -> EngraveTask:
  fields = {f.name for f in dataclasses.fields(EngraveTask)}
  values = {k: v for k, v in header.items() if k in fields}
  lists = {k: tuple(values[k]) for k in ("fonts", "text_fonts")}
  return EngraveTask(**{**values, **lists})


def main() -> None:
  """Runs a worker until stdin ends."""
  # Output of libraries must not mix with the frames.
  results = os.fdopen(os.dup(1), "wb")
  os.dup2(2, 1)
  verovio.enableLog(verovio.LOG_OFF)
  # Pages leave hardly any cycles; to look for them takes 8 % of the time.
  gc.disable()
  toolkit = verovio.toolkit()
  while (frame := _read_frame(sys.stdin.buffer)) is not None:
    try:
      header, blobs = pack(engrave(_task_of(frame[0]), toolkit))
    except Exception as e:  # reported with the score's name by the parent
      header, blobs = {"error": f"{type(e).__name__}: {e}"}, []
    _write_frame(results, header, blobs)


if __name__ == "__main__":
  main()
