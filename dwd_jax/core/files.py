"""Files and folders that are either complete or absent."""

import contextlib
import errno
import fcntl
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from dwd_jax.core.errors import InputError

# Errors of a full or read-only disk, which are no fault of the program.
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


def write_atomic(path: str | os.PathLike, data: bytes | str) -> None:
  """Writes a file in one step: no reader ever sees half of it.

  Args:
    path: file to write or replace; missing folders are made.
    data: the whole content; text is written as UTF-8.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f".{path.name[:100]}.{os.getpid()}.part")
  try:
    temporary.write_bytes(data.encode() if isinstance(data, str) else data)
    temporary.replace(path)
  finally:
    temporary.unlink(missing_ok=True)


def make_dir(
  path: pathlib.Path, remedy: str = "choose another workdir or data.data_dir"
) -> None:
  """Makes a folder and its parents; raises `InputError` where it cannot."""
  try:
    path.mkdir(parents=True, exist_ok=True)
  except OSError as e:
    raise InputError(
      f"{path}: cannot make the folder ({e.strerror}); {remedy}"
    ) from None


def why_unwritable(folder: pathlib.Path, size: int) -> OSError | None:
  """Why `size` bytes cannot be written in a folder; None: they can.

  Tried out, for where a library says of a failed write nothing but words.
  """
  piece = bytes(min(size, 1 << 20))
  try:
    with tempfile.TemporaryFile(dir=folder) as file:
      for _ in range(0, size, 1 << 20):
        file.write(piece)
      file.flush()
  except OSError as e:
    return e
  return None


@contextlib.contextmanager
def turn(target: pathlib.Path) -> Iterator[None]:
  """Waits until no other process is making `target`.

  Does not wait where the folder is read-only: then nothing can be made there.
  """
  make_dir(target.parent)
  path = target.parent / f".{target.name}.lock"
  with contextlib.ExitStack() as stack:
    # The lock belongs to the open file, so it ends with the process.
    try:
      lock = stack.enter_context(path.open("w"))
    except OSError as e:
      if e.errno not in _READ_ONLY:
        raise
    else:
      fcntl.flock(lock, fcntl.LOCK_EX)
    yield


@contextlib.contextmanager
def staged(target: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a folder beside `target` to build it in; call within `turn`."""
  prefix = f".{target.name}.incomplete-"
  for left in target.parent.glob(f"{prefix}*"):  # by a process that was killed
    shutil.rmtree(left)
  with tempfile.TemporaryDirectory(prefix=prefix, dir=target.parent) as folder:
    yield pathlib.Path(folder)
