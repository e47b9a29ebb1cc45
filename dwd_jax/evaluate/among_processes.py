"""Divides an evaluation among the processes of a run.

Every process predicts a part of the pages, and writes it into a folder that
they share; process 0 measures all of them, and writes the results. These do not
depend on the number of processes.
"""

import contextlib
import pathlib
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dwd_jax.cluster import processes
from dwd_jax.core import files
from dwd_jax.core.errors import InputError
from dwd_jax.evaluate.evaluate_split import Predicted
from dwd_jax.evaluate.page_store import Joined, PageStore

_PARTS = "parts"
_PATIENCE_S = 60.0  # network file systems show new files late


def on_local_device(tree: Any, mesh: Mesh) -> Any:
  """Copies arrays on the mesh, whole, to a device of this process.

  To be called in all processes at once.
  """
  device = jax.local_devices()[0]
  if jax.process_count() > 1:
    whole = jax.jit(
      lambda x: x, out_shardings=NamedSharding(mesh, PartitionSpec())
    )(tree)
    tree = jax.tree.map(lambda x: x.addressable_data(0), whole)
  return jax.device_put(tree, device)


def part(num_pages: int, overlays: int = 0) -> range:
  """Pages that this process predicts; see `together`.

  Process 0 predicts at least the first `overlays` pages, which it draws.
  """
  count, index = jax.process_count(), jax.process_index()
  if count == 1:
    return range(num_pages)
  first = min(max(-(-num_pages // count), overlays), num_pages)
  edges = [0, *np.linspace(first, num_pages, count).astype(int).tolist()]
  return range(edges[index], edges[index + 1])


class Shared(NamedTuple):
  """What processes do together; see `together`.

  Attributes:
    boxes: file for the boxes of this process' part; None in process 0, whose
      boxes need not be shared.
    collect: joins all parts in process 0, in the order of the pages, see
      `part`; the pictures are those of its own part. Other processes get their
      input back.
  """

  boxes: IO[bytes] | None
  collect: Callable[[Predicted], Predicted]


@contextlib.contextmanager
def together(folder: pathlib.Path, step: int) -> Iterator[Shared]:
  """Yields what the processes need to evaluate together.

  To be called in all processes at once. The pages that `collect` returns are
  valid within the block.

  Args:
    folder: WORKDIR/eval, which all processes share; `parts` in it is removed
      before, as left by a killed evaluation, and after.
    step: of the checkpoint, for the names of files.
  """
  if jax.process_count() == 1:
    yield Shared(None, lambda predicted: predicted)
    return
  parts = folder / _PARTS
  if processes.is_first():
    shutil.rmtree(parts, ignore_errors=True)
    files.make_dir(parts)
  # Only what has this name is of this evaluation.
  name = processes.from_first("parts", f"{int(step)}-{secrets.token_hex(8)}")
  with contextlib.ExitStack() as stack:
    if processes.is_first():
      stack.callback(shutil.rmtree, parts, ignore_errors=True)
      yield Shared(None, lambda own: _joined(own, parts / name, stack))
    else:
      files.make_dir(parts)
      path = _part_path(parts / name, jax.process_index())
      boxes = stack.enter_context(path.open("x+b"))
      yield Shared(boxes, lambda own: _save(own, path))


def _part_path(prefix: pathlib.Path, process: int) -> pathlib.Path:
  return prefix.with_name(f"{prefix.name}-{process}.boxes")


def _save(predicted: Predicted, path: pathlib.Path) -> Predicted:
  """Writes the part of this process, and says so to process 0."""
  assert isinstance(predicted.pages, PageStore)
  predicted.pages.save(
    path.with_suffix(".npz"),
    overflowing=np.array(predicted.overflowing_pages, np.str_),
    seconds=np.array(predicted.seconds_per_page),
    staff_spaces=np.array(predicted.staff_spaces, float),
  )
  processes.wait_for_all("parts written")
  return predicted


def _joined(
  own: Predicted, prefix: pathlib.Path, stack: contextlib.ExitStack
) -> Predicted:
  """Joins the parts of all processes."""
  processes.wait_for_all("parts written")
  parts = [own]
  for process in range(1, jax.process_count()):
    path = _part_path(prefix, process)
    _await(path.with_suffix(".npz"), process)
    try:
      boxes = stack.enter_context(path.open("rb"))
      pages, more = PageStore.load(boxes, path.with_suffix(".npz"))
      parts.append(
        Predicted(
          pages=pages,
          shown=[],
          overflowing_pages=[str(name) for name in more["overflowing"]],
          seconds_per_page=float(more["seconds"]),
          staff_spaces=more["staff_spaces"].tolist(),
        )
      )
    except (OSError, ValueError, KeyError) as e:
      reason = " ".join(f"{e}".split())[:160]
      raise InputError(
        f"{path}: the pages of process {process} cannot be read ({reason});"
        " evaluate again"
      ) from None
  weights = np.array([len(part.pages) for part in parts], float)
  seconds = np.array([part.seconds_per_page for part in parts])
  timed = np.isfinite(seconds) & (weights > 0)
  return Predicted(
    pages=Joined([part.pages for part in parts]),
    shown=own.shown,
    overflowing_pages=[n for part in parts for n in part.overflowing_pages],
    seconds_per_page=float(np.average(seconds[timed], weights=weights[timed]))
    if timed.any()
    else float("nan"),
    staff_spaces=[s for part in parts for s in part.staff_spaces],
  )


def _await(path: pathlib.Path, process: int) -> None:
  """Waits until a file that another process has written is visible here."""
  end = time.monotonic() + _PATIENCE_S
  while not path.exists():
    if time.monotonic() > end:
      raise InputError(
        f"{path}: not here, though process {process} has written it; give all"
        " processes a --workdir on one file system that they share"
      )
    with contextlib.suppress(OSError):
      list(path.parent.iterdir())  # makes NFS look again
    time.sleep(0.1)
