"""Lists of page names, one file for each split."""

import pathlib

from dwd_jax.core.errors import InputError
from tfds_builders import checks


def read(path: pathlib.Path, seen: dict[str, pathlib.Path]) -> list[str]:
  """Page names of one split.

  Args:
    path: one name a line; may be empty.
    seen: the list that has each name so far; the new ones are added.

  Raises:
    InputError: no plain name, or one that is listed already.
  """
  names = []
  text = checks.read_text(path) if path.stat().st_size else ""
  for line in text.splitlines():
    name = line.strip()
    if not name:
      continue
    if not checks.is_plain_name(name):
      raise InputError(
        f"{path}: {name[:200]!r} is not a plain page name; list names without"
        " folder and ending"
      )
    if name in seen:
      other = "twice" if seen[name] == path else f"also in {seen[name]}"
      raise InputError(f"{path}: page {name!r} is {other}; keep it once")
    seen[name] = path
    names.append(name)
  return names
