"""Files and folders that are either whole or not there."""

import contextlib
import errno
import fcntl
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from dwd_jax.core.errors import InputError

# Errors that say that nothing can be written, which is no fault of the program.
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


def write_atomic(path: str | os.PathLike, data: bytes | str) -> None:
  """Writes a file so that no reader ever sees half of it.

  Args:
    path: file to write or replace; its folder is made if it is missing.
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
  """Makes a folder; an `InputError` where that is not possible."""
  try:
    path.mkdir(parents=True, exist_ok=True)
  except OSError as e:
    raise InputError(
      f"{path}: cannot make the folder ({e.strerror}); {remedy}"
    ) from None


@contextlib.contextmanager
def turn(target: pathlib.Path) -> Iterator[None]:
  """Waits until no other process makes `target`.

  In a folder that cannot be written nobody can take turns, and nothing can be
  made: what is there is used as it is.
  """
  make_dir(target.parent)
  path = target.parent / f".{target.name}.lock"
  with contextlib.ExitStack() as stack:
    # The lock belongs to the open file: it ends with the process, however that
    # ends.
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
  """A folder beside `target` to make it in; within its `turn`."""
  prefix = f".{target.name}.incomplete-"
  for left in target.parent.glob(f"{prefix}*"):  # by a process that was killed
    shutil.rmtree(left)
  with tempfile.TemporaryDirectory(prefix=prefix, dir=target.parent) as folder:
    yield pathlib.Path(folder)
