"""Files and folders that are either complete or absent."""

import contextlib
import errno
import fcntl
import io
import json
import math
import os
import pathlib
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from dwd_jax.core.errors import InputError

# Errors of a full or read-only disk.
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
# Errors of network file systems and failing disks that may pass.
TRANSIENT = (
  errno.EIO,
  errno.ESTALE,
  errno.EAGAIN,
  errno.ETIMEDOUT,
  errno.ENETDOWN,
  errno.ENETUNREACH,
  errno.EHOSTDOWN,
  errno.EHOSTUNREACH,
  errno.ENOTCONN,
  errno.ECONNRESET,
  errno.ECONNABORTED,
)

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


def write_atomic(path: str | os.PathLike, data: bytes | str) -> None:
  """Writes or replaces a file in one step; see `atomic`."""
  with atomic(path) as file:
    if isinstance(data, str):
      file.write(data)
    else:
      file.buffer.write(data)


@contextlib.contextmanager
def atomic(path: str | os.PathLike) -> Iterator[io.TextIOWrapper]:
  """Yields a file to write piece by piece, which then replaces `path`.

  Missing folders are created. At the end the file is on disk; after an error
  `path` is as before. Whoever may write in the folder cannot direct the data
  elsewhere by a link. Text is written as UTF-8; what that does not have, such
  as halves of surrogate pairs in names of files that are not UTF-8, becomes
  question marks. `buffer` of the file takes bytes.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f".{secrets.token_hex(8)}.part")
  flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
  handle = os.open(temporary, flags, 0o666)
  with os.fdopen(
    handle, "w", encoding="utf8", errors="replace", newline=""
  ) as file:
    try:
      yield file
      file.flush()
      os.fsync(file.fileno())
      temporary.replace(path)
    except BaseException:
      temporary.unlink(missing_ok=True)
      raise
  _sync_folder(path.parent)


def _sync_folder(folder: pathlib.Path) -> None:
  """Writes the names in a folder to disk, where the file system can."""
  with contextlib.suppress(OSError):
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
      os.fsync(handle)
    finally:
      os.close(handle)


def read_json(path: pathlib.Path, max_bytes: int = 16 << 20) -> Any:
  """The content of a JSON file.

  Args:
    max_bytes: of the file; in memory it takes up to 30 times as many.

  Raises:
    OSError: it cannot be read.
    ValueError: it is too large, or see `decode_json`.
  """
  with path.open("rb") as file:
    data = file.read(max_bytes + 1)
  if len(data) > max_bytes:
    raise ValueError(f"larger than {max_bytes:,} bytes")
  return decode_json(data)


def decode_json(data: str | bytes) -> Any:
  """What a text of JSON says; numbers are finite, whole ones have 64 bits.

  Raises:
    ValueError: other numbers, nested too deeply, or not JSON in UTF-8.
  """
  try:
    return json.loads(
      data, parse_int=_whole, parse_float=_finite, parse_constant=_finite
    )
  except RecursionError:
    raise ValueError("nested too deeply") from None


def _whole(text: str) -> int:
  if len(text) > 20 or not -(1 << 63) <= int(text) < 1 << 63:
    raise ValueError("a whole number of more than 64 bits")
  return int(text)


def _finite(text: str) -> float:
  value = float(text)
  if not math.isfinite(value):
    raise ValueError(f"{text[:40]} is no finite number")
  return value


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
def _locked(path: pathlib.Path, how: int) -> Iterator[None]:
  """Holds a lock, which ends with the process, by `how` of `fcntl.flock`.

  None in a read-only folder. A link is not followed, and nothing is written.
  """
  flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
  with contextlib.ExitStack() as stack:
    try:
      handle = os.open(path, flags, 0o666)
    except OSError as e:
      if e.errno == errno.ELOOP:
        raise InputError(f"{path}: a link, not a lock; remove it") from None
      if e.errno not in _READ_ONLY:  # else reported on writing
        raise
    else:
      stack.callback(os.close, handle)
      fcntl.flock(handle, how)
    yield


@contextlib.contextmanager
def turn(target: pathlib.Path) -> Iterator[None]:
  """Holds a lock on `target` among processes; none in a read-only folder."""
  make_dir(target.parent)
  with _locked(target.parent / f".{target.name}.lock", fcntl.LOCK_EX):
    yield


@contextlib.contextmanager
def only_writer(folder: pathlib.Path, what: str) -> Iterator[None]:
  """Holds a lock that says who writes in a folder.

  Args:
    what: that writes there, for the message.

  Raises:
    InputError: another process holds it.
  """
  make_dir(folder)
  lock = _locked(folder / ".writer.lock", fcntl.LOCK_EX | fcntl.LOCK_NB)
  with contextlib.ExitStack() as stack:
    try:
      stack.enter_context(lock)
    except BlockingIOError:
      raise InputError(
        f"{folder}: another {what} is writing there; wait for its end, or use"
        " another folder"
      ) from None
    except OSError as e:
      if e.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
        raise
    yield


@contextlib.contextmanager
def staged(target: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a temporary folder beside `target`; call within `turn`."""
  prefix = f".{target.name}.incomplete-"
  for left in target.parent.glob(f"{prefix}*"):  # of a killed process
    shutil.rmtree(left)
  with tempfile.TemporaryDirectory(prefix=prefix, dir=target.parent) as folder:
    yield pathlib.Path(folder)
