"""detect.json: what a folder of results was made with, and which files are its.

Only files that a manifest claims are ever replaced or removed, and those
pictures among them are no pages for another detection.
"""

import hashlib
import json
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from dwd_jax.core import files
from dwd_jax.core.errors import InputError

NAME = "detect.json"
# Pictures of a page, {} = its name.
OVERLAY, PICTURE = "{}-overlay.png", "pages/{}.jpg"
_MAX_BYTES = 256 << 20  # a million pages


def digest(settings: dict[str, Any]) -> str:
  """Identifies settings and detector in the file of a page."""
  text = json.dumps(settings, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def write(
  out: pathlib.Path,
  settings: dict[str, Any],
  claimed: Iterable[str],
  pages: Sequence[str] = (),
  failed: Sequence[dict[str, str]] = (),
) -> None:
  """Writes the manifest.

  Args:
    claimed: names of pages of which there may be files.
    pages: names of those with results.
    failed: "what" and "reason" of others.
  """
  content = {"settings": settings, "pages": [*pages], "failed": [*failed]}
  content["claimed"] = sorted(claimed)
  files.write_atomic(out / NAME, json.dumps(content, indent=1) + "\n")


def settings_of(out: pathlib.Path) -> dict[str, Any] | None:
  """Settings of the results in a folder; None = no results.

  Raises:
    InputError: the manifest is damaged.
  """
  try:
    content = _read(out)
    return None if content is None else dict(content["settings"])
  except (OSError, ValueError, KeyError, TypeError):
    raise InputError(
      f"{out / NAME}: damaged; remove it, or choose another --out"
    ) from None


def claimed(out: pathlib.Path) -> set[str]:
  """Names of pages whose files in a folder are ours; none if unreadable."""
  try:
    content = _read(out) or {"pages": []}
    names = {*content["pages"], *content.get("claimed", ())}
    # A name with a path in it would lead out of the folder.
    return {str(n) for n in names if pathlib.PurePath(str(n)).name == n}
  except (OSError, ValueError, KeyError, TypeError, AttributeError):
    return set()


def pictures(folder: pathlib.Path) -> set[pathlib.Path]:
  """Pictures that an earlier detection has put into a folder."""
  return {
    folder / file.format(name)
    for name in claimed(folder)
    for file in (OVERLAY, PICTURE)
  }


def _read(out: pathlib.Path) -> dict[str, Any] | None:
  try:
    return files.read_json(out / NAME, _MAX_BYTES)
  except (FileNotFoundError, NotADirectoryError):
    return None
