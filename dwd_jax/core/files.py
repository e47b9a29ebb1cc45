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

# Errors of a full or read-only disk.
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


def write_atomic(path: str | os.PathLike, data: bytes | str) -> None:
  """Writes or replaces a file atomically; creates missing folders.

  Text is written as UTF-8. What that does not have, such as halves of surrogate
  pairs in names of files that are not UTF-8, becomes question marks.
  """
  if isinstance(data, str):
    data = data.encode("utf8", "replace")
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f".{path.name[:100]}.{os.getpid()}.part")
  try:
    temporary.write_bytes(data)
    temporary.replace(path)
  finally:
    temporary.unlink(missing_ok=True)


def make_dir(
  path: pathlib.Path, remedy: str = "choose another workdir or data.data_dir"
) -> None:
  """Makes a folder and its parents, or raises `InputError`."""
  try:
    path.mkdir(parents=True, exist_ok=True)
  except OSError as e:
    raise InputError(
      f"{path}: cannot make the folder ({e.strerror}); {remedy}"
    ) from None


def why_unwritable(folder: pathlib.Path, size: int) -> OSError | None:
  """Tries to write `size` bytes; returns the error, None if it succeeds.

  For libraries that report a failed write without its errno.
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
  """Holds a lock on `target` among processes; none in a read-only folder."""
  make_dir(target.parent)
  path = target.parent / f".{target.name}.lock"
  with contextlib.ExitStack() as stack:
    # The lock ends with the process, as it belongs to the open file.
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
  """Yields a temporary folder beside `target`; call within `turn`."""
  prefix = f".{target.name}.incomplete-"
  for left in target.parent.glob(f"{prefix}*"):  # of a killed process
    shutil.rmtree(left)
  with tempfile.TemporaryDirectory(prefix=prefix, dir=target.parent) as folder:
    yield pathlib.Path(folder)
