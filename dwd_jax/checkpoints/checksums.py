"""Checksums of the files of a checkpoint.

Orbax finds files that are cut or lost, but reads an array whose stored bytes
have changed without a word.
"""

import json
import pathlib
import zlib

from dwd_jax.core import files

NAME = "checksums.json"
_CHUNK = 1 << 22


def write(folder: pathlib.Path) -> None:
  """Notes size and CRC-32 of every file in the subfolders of a checkpoint."""
  found = {
    path.relative_to(folder).as_posix(): _sum(path)
    for path in sorted(folder.glob("*/**/*"))
    if path.is_file()
  }
  files.write_atomic(folder / NAME, json.dumps(found, indent=0))


def first_wrong(folder: pathlib.Path) -> str | None:
  """The first file that is not as it was noted.

  Args:
    folder: of the checkpoint.

  Returns:
    Its name; None where all are right, or nothing was noted: the run was
    killed between the end of the checkpoint and `write`.
  """
  try:
    noted = json.loads((folder / NAME).read_text(encoding="utf8"))
    for name, wanted in noted.items():
      path = folder / name
      if not path.is_relative_to(folder) or _sum(path) != wanted:
        return name
  except FileNotFoundError as e:
    missing = pathlib.Path(str(e.filename)).name
    return None if missing == NAME else missing
  except (OSError, ValueError, AttributeError):
    return NAME
  return None


def _sum(path: pathlib.Path) -> list[int]:
  """[bytes, CRC-32]."""
  crc, size = 0, 0
  with path.open("rb") as file:
    while chunk := file.read(_CHUNK):
      crc, size = zlib.crc32(chunk, crc), size + len(chunk)
  return [size, crc]
