"""Files that are either whole or not there."""

import os
import pathlib


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
