"""detect.json: what a folder of results was made with, and which files are its.

Only files that a manifest claims are ever replaced or removed, and those
pictures among them are no pages for another detection. Each shard has a
manifest of its own, see `shards`: none of two that run at once writes a file of
the other, so that no lock is needed.
"""

import functools
import hashlib
import json
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TextIO

from dwd_jax.apps.detect import shards
from dwd_jax.core import files
from dwd_jax.core.errors import InputError

NAME = "detect.json"
# Pictures of a page, {} = its name.
OVERLAY, PICTURE = "{}-overlay.png", "pages/{}.jpg"
_MAX_BYTES = 256 << 20  # a million pages with names of 120 bytes
_RUN_FILES = (  # of manifests that do not name them
  "index.html", "predictions.json", "coco_images.json", "detections.csv",
)  # fmt: skip


class Manifest(NamedTuple):
  """What a manifest says.

  Attributes:
    path: of the file.
    claimed: names of pages whose files in the folder are ours.
    failed: reasons of the pages without results, by what they are.
    run_files: files of all pages that are ours, relative to the folder.
  """

  path: pathlib.Path
  settings: dict[str, Any]
  claimed: set[str]
  failed: dict[str, str]
  run_files: set[str]


def digest(settings: dict[str, Any]) -> str:
  """Identifies settings and detector in the file of a page."""
  text = json.dumps(settings, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def write(
  path: pathlib.Path,
  settings: dict[str, Any],
  claimed: Iterable[str],
  pages: Sequence[str] = (),
  failed: Sequence[dict[str, str]] = (),
  run_files: Iterable[str] = (),
) -> None:
  """Writes a manifest.

  Args:
    claimed: names of pages of which there may be files; those of `pages` are
      not repeated in the file.
    pages: names of those with results.
    failed: "what" and "reason" of others.
    run_files: files of all pages that are or will be there.
  """
  more = sorted(set(claimed).difference(pages))
  with files.atomic(path) as file:
    file.write(f'{{\n "settings": {json.dumps(settings)}')
    _write_list(file, "pages", pages)
    _write_list(file, "failed", failed)
    _write_list(file, "claimed", more)
    _write_list(file, "run_files", sorted(run_files))
    file.write("\n}\n")


def _write_list(file: TextIO, key: str, items: Iterable[Any]) -> None:
  """Writes a list, an item a line: a million names make no long text."""
  file.write(f',\n "{key}": [')
  before = "\n  "
  for item in items:
    # Names are valid Unicode, paths perhaps not.
    text = json.dumps(item, ensure_ascii=not isinstance(item, str))
    file.write(before + text)
    before = ",\n  "
  file.write("]")


def read(path: pathlib.Path) -> Manifest | None:
  """Reads a manifest; None = there is none.

  Raises:
    InputError: it is damaged, or of something else.
  """
  try:
    content = files.read_json(path, _MAX_BYTES)
    names = [*content["pages"], *content.get("claimed", ())]
    failed = content.get("failed", ())
    return Manifest(
      path,
      settings=dict(content["settings"]),
      # A name with a path in it would lead out of the folder.
      claimed={
        n for n in names if n and not re.search(r"[/\0\ud800-\udfff]", n)
      },
      failed={str(f["what"]): str(f["reason"]) for f in failed},
      run_files={str(f) for f in content.get("run_files", _RUN_FILES)},
    )
  except (FileNotFoundError, NotADirectoryError):
    return None
  except (OSError, ValueError, LookupError, TypeError, AttributeError):
    raise InputError(
      f"{path}: damaged, or of something else; remove it, or choose another"
      " --out"
    ) from None


def of_shards(out: pathlib.Path) -> list[Manifest]:
  """The manifests of shards in a folder; see `read`."""
  written = map(read, shards.manifests(out))
  return [found for found in written if found is not None]


def read_all(out: pathlib.Path) -> list[Manifest]:
  """The manifest of a folder, and those of its shards; see `read`."""
  whole = read(out / NAME)
  return [*([] if whole is None else [whole]), *of_shards(out)]


def claimed(out: pathlib.Path) -> set[str]:
  """Names of pages whose files in a folder are ours; see `read`."""
  return set().union(*(written.claimed for written in read_all(out)))


class Pictures:
  """Tells which files are pictures that an earlier detection has written."""

  def __init__(self):
    self._claimed = functools.cache(_claimed_if_readable)

  def __contains__(self, path: pathlib.Path) -> bool:
    folder, end = path.parent, OVERLAY.format("")
    if path.name.endswith(end):
      return path.name.removesuffix(end) in self._claimed(folder)
    if PICTURE.format(path.stem) == f"{folder.name}/{path.name}":
      return path.stem in self._claimed(folder.parent)
    return False


def _claimed_if_readable(folder: pathlib.Path) -> set[str]:
  try:
    return claimed(folder)
  except InputError:
    return set()
