"""The files that records were made of: corrected and removed ones are noticed.

source_files.json beside the records has size, time of change and, but for
images, a hash of each.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from dwd_jax.core import files
from tfds_builders import checks

NAME = "source_files.json"
_ANNOTATIONS = (".txt", ".xml", ".json", ".csv", ".yaml", ".yml", ".names")
_MAX_FILES = 500_000  # of more, none is kept
_MAX_BYTES = 256 << 20
_SHOWN = 3


def facts(
  manual_dir: pathlib.Path, without: tuple[str, ...]
) -> dict[str, dict[str, Any]]:
  """The facts of all images and annotations by their paths below a folder.

  To be taken before the files are read: what changes meanwhile is noticed.

  Args:
    manual_dir: folder of the original files.
    without: folders that do not belong to them, such as the run's.

  Returns:
    {} if there are too many files.
  """
  known = {}
  for name, path in _below(manual_dir, without):
    if len(known) >= _MAX_FILES:
      return {}
    known[name] = _facts(path)
  return known


def write(records: pathlib.Path, known: dict[str, dict[str, Any]]) -> None:
  """Writes what `facts` returns into the folder of the records."""
  files.write_atomic(records / NAME, json.dumps(known))


def changes(
  records: pathlib.Path, manual_dir: pathlib.Path, without: tuple[str, ...]
) -> str:
  """What has become of the files since, in words; "" = nothing.

  New files count as little as a folder that is empty or gone: records may
  outlive their files.
  """
  try:
    known = files.read_json(records / NAME, _MAX_BYTES)
    there = dict(_below(manual_dir, without))
    changed = [
      name
      for name, before in known.items()
      if name in there and _differs(there[name], before)
    ]
  except (OSError, ValueError, TypeError, AttributeError, LookupError):
    return ""
  gone = [name for name in known if name not in there]
  if not there:
    return ""
  return ", ".join(
    f"{len(names)} {what} ({', '.join(map(_printable, names[:_SHOWN]))}"
    f"{', ...' if len(names) > _SHOWN else ''})"
    for names, what in ((changed, "changed"), (gone, "removed"))
    if names
  )


def _printable(name: str) -> str:
  return name if name.isprintable() else ascii(name)


def _below(
  folder: pathlib.Path, without: tuple[str, ...]
) -> Iterator[tuple[str, pathlib.Path]]:
  """Images and annotations by their paths below a folder; no broken links."""
  kinds = (*checks.IMAGE_SUFFIXES, *_ANNOTATIONS)
  others = set(map(os.path.realpath, without))
  for parent, folders, names in os.walk(folder):
    folders[:] = sorted(
      f
      for f in folders
      if not f.startswith(".")
      and os.path.realpath(f"{parent}/{f}") not in others
    )
    for name in sorted(names):
      if name.lower().endswith(kinds) and not name.startswith("."):
        path = pathlib.Path(parent, name)
        if path.is_file():
          yield path.relative_to(folder).as_posix(), path


def _facts(path: pathlib.Path) -> dict[str, Any]:
  status = path.stat()
  found: dict[str, Any] = {
    "bytes": status.st_size,
    "mtime_ns": status.st_mtime_ns,
  }
  if path.suffix.lower() in _ANNOTATIONS:
    found["blake2b"] = _hash(path)
  return found


def _differs(path: pathlib.Path, before: dict[str, Any]) -> bool:
  status = path.stat()
  if status.st_size != before["bytes"]:
    return True
  if status.st_mtime_ns == before["mtime_ns"] or "blake2b" not in before:
    return False
  return _hash(path) != before["blake2b"]


def _hash(path: pathlib.Path) -> str:
  with path.open("rb") as file:
    digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8))
  return digest.hexdigest()
