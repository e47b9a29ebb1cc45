"""Pages of PDF files as images, drawn by processes of their own.

A few bytes of PDF may ask for all memory, or for hours. A process that draws
has limits of both, and what exceeds them is a line about that page. There are
as many as threads draw at once.
"""

import atexit
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from dwd_jax.core.errors import InputError, TransientError

SUFFIX = ".pdf"
FIRST_DPI = 150.0  # at which staves are measured
MEMORY_BYTES = 2 << 30  # that drawing may take
TIME_S = 60.0  # for a page
_PROGRAM = "dwd_jax.imaging.pdf_drawing"


class Drawn(NamedTuple):
  """A rendered page.

  Attributes:
    ink: 0 = paper, 255 = ink; or colours.
  """

  ink: UInt8[np.ndarray, "H W *c"]
  dpi: float


def count(path: pathlib.Path) -> int:
  """Number of pages.

  Raises:
    InputError: the file cannot be read, is encrypted, or has no pages.
  """
  return _ask(f"{path}", path=str(path))[0]["count"]


def draw(
  path: pathlib.Path,
  number: int,
  staff_space_px: float,
  dpi: float = 0.0,
  polarity: str = "",
  channels: int = 1,
) -> Drawn:
  """Renders one page; very large pages at less than the requested resolution.

  Args:
    path: of the file.
    number: of the page, from 1.
    staff_space_px: wanted distance of staff lines; 0 = any.
    dpi: resolution; 0 = for a scan its own, else that of the wanted staff
      space, measured on renderings of 150 dpi and, while no staff is found,
      finer ones; 150 if there is none, or any staff space will do.
    polarity: see `grey.to_ink`; unused where staves are measured.
    channels: see `images.read_page`; used where `polarity` is.

  Raises:
    InputError: the file or the page cannot be read.
    TransientError: drawing took too long, which may be the disk's fault.
  """
  facts, pixels = _ask(
    f"{path}: page {number}",
    path=str(path),
    number=number,
    staff_space_px=staff_space_px,
    dpi=dpi,
    polarity=polarity,
    channels=channels,
  )
  ink = np.frombuffer(pixels, np.uint8).reshape(facts["hw"])
  return Drawn(ink, facts["dpi"])


class _Process:
  """The process that draws; it ends with this one."""

  def __init__(self):
    root = str(pathlib.Path(__file__).parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    self._running = subprocess.Popen(
      # -P: not from the current folder, in which strangers' files may lie.
      [sys.executable, "-P", "-m", _PROGRAM, str(MEMORY_BYTES), str(TIME_S)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      env={
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "OPENBLAS_NUM_THREADS": "1",
      },
    )

  def ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes] | None:
    """The answer to a request, and pixels; None if the process has died."""
    to, of = self._running.stdin, self._running.stdout
    assert to is not None and of is not None
    try:
      to.write(json.dumps(request).encode() + b"\n")
      to.flush()
      line = of.readline()
      if not line.endswith(b"\n"):
        return None
      facts = json.loads(line)
      size = int(np.prod(facts.get("hw", [0])))
      pixels = of.read(size)
      return (facts, pixels) if len(pixels) == size else None
    except BrokenPipeError:
      return None

  def end(self) -> int:
    """Ends it at once; returns its exit code, -signal if one has ended it."""
    self._running.kill()  # does nothing if it has ended
    with contextlib.suppress(OSError):
      self._running.communicate()
    return self._running.returncode or 0


_lock = threading.Lock()
_idle: list[_Process] = []


def _ask(what: str, **request: Any) -> tuple[dict[str, Any], bytes]:
  """Lets a process work; `what` is named if it exceeds its limits."""
  with _lock:
    process = _idle.pop() if _idle else None
  process = process or _Process()
  answer, code = None, 0
  try:
    answer = process.ask({"cwd": str(pathlib.Path.cwd()), **request})
  finally:
    if answer is None:  # also when interrupted: half an answer may wait
      code = process.end()
  if answer is None:
    # Its time was over, or the system needed memory.
    is_transient = -code in (signal.SIGALRM, signal.SIGKILL)
    raise (TransientError if is_transient else InputError)(
      f"{what} cannot be drawn within {TIME_S:.0f} s and"
      f" {MEMORY_BYTES >> 30} GiB of memory; print the file to a new one, or"
      " leave it out"
    )
  with _lock:
    _idle.append(process)
  if "error" in answer[0]:
    raise InputError(answer[0]["error"])
  return answer


@atexit.register
def _end() -> None:
  with _lock:
    while _idle:
      _idle.pop().end()
