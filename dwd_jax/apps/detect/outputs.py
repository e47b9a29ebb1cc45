"""Files of a detection run.

The folder OUT gets, for each page NAME

  NAME.json           size and symbols (name, score, bbox in pixels)
  NAME-overlay.png    the page with boxes and names
  mung/NAME.xml       MuNG, the notation graph of MUSCIMA++; nodes only
  pages/NAME.jpg      the page, for the viewer

and for all pages

  index.html          the viewer: open it in a browser
  predictions.json    COCO results: image_id, category_id, bbox, score
  coco_images.json    their images and categories
  detections.csv      a line for each symbol
  detect.json         the manifest: settings, pages, and failures

`formats` has their writers. A file that no earlier run has written is never
replaced.
"""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

from dwd_jax.apps.detect import formats, manifest
from dwd_jax.apps.detect.inputs import Source
from dwd_jax.core import files
from dwd_jax.core.errors import InputError
from dwd_jax.predict.page_detections import PageDetections


def taken() -> list[str]:
  """Names that no page may have: they would collide with files of the run."""
  known = (*formats.RUN_FILES, manifest.NAME)
  return [pathlib.PurePath(file).stem for file in known]


def write_page(
  out: pathlib.Path, found: PageDetections, source: Source, run: str
) -> None:
  """Writes the files of a page; `found` has its ink, `run`: see `formats`."""
  origin = formats.origin(source, run)
  for file, write in formats.PAGE_FILES.items():
    write(out / file.format(source.name), found, origin)


def write_run(
  out: pathlib.Path,
  sources: Sequence[Source],
  class_names: tuple[str, ...],
  settings: dict[str, Any],
  failed: Sequence[dict[str, str]],
) -> None:
  """Writes the files of all pages from those of each page in `sources`.

  One page is in memory at a time. `failed` has "what" and "reason" of others.
  """
  run = manifest.digest(settings)
  kept: dict[str, list[Any]] = {file: [] for file in formats.RUN_FILES}
  for image_id, source in enumerate(sources, start=1):
    found = formats.read_page(out, source, class_names, run)
    if found is None:
      raise InputError(
        f"{out / source.name}.json: lost or changed while detecting; start the"
        " same command again"
      )
    for file, kind in formats.RUN_FILES.items():
      kept[file].append(kind.of_page(image_id, found, source))
  facts = formats.RunFacts(class_names, float(settings["min_score"]))
  for file, kind in formats.RUN_FILES.items():
    kind.write(out / file, kept.pop(file), facts)
  names = [source.name for source in sources]
  claimed = [
    name
    for name in manifest.claimed(out)
    if any(map(os.path.lexists, _page_files(out, name)))
  ]
  manifest.write(out, settings, claimed, pages=names, failed=failed)


def claim(
  out: pathlib.Path, settings: dict[str, Any], sources: Sequence[Source]
) -> None:
  """Notes whose files the run writes, before it does.

  Raises:
    InputError: there is a file that no earlier run has written.
  """
  ours = manifest.claimed(out)
  names = {source.name for source in sources}
  for name in sorted(names):
    for path in _page_files(out, name):
      if name not in ours:
        _check_absent(path)
  manifest.write(out, settings, ours | names)


def _page_files(out: pathlib.Path, name: str) -> list[pathlib.Path]:
  """Files of a page; raises InputError if their folder is a link elsewhere."""
  paths = [out / file.format(name) for file in formats.PAGE_FILES]
  for path in paths:
    if path.parent != out and path.parent.is_symlink():
      raise InputError(
        f"{path.parent}: a link; remove it, or choose another --out"
      )
  return paths


def _check_absent(path: pathlib.Path) -> None:
  if os.path.lexists(path):
    raise InputError(
      f"{path}: is there already, and of something else; choose another --out"
    )


def check_folder(out: pathlib.Path, settings: dict[str, Any]) -> None:
  """Makes the folder; raises InputError if its results have other settings."""
  files.make_dir(out, "choose another --out")
  written = manifest.read(out)
  if written is None:
    for name in formats.RUN_FILES:
      _check_absent(out / name)
    return
  for key in sorted(set(settings) | set(written.settings)):
    had, want = written.settings.get(key), settings.get(key)
    if had != want:
      raise InputError(
        f"{out}: holds results of another {key} ({had}, now {want}); choose"
        " another --out, or --overwrite"
      )


def remove(out: pathlib.Path) -> None:
  """Removes the results of an earlier run; see `manifest.read`."""
  written = manifest.read(out)
  if written is None:
    return
  for name in written.claimed:
    for path in _page_files(out, name):
      path.unlink(missing_ok=True)
  for file in (*formats.RUN_FILES, manifest.NAME):
    (out / file).unlink(missing_ok=True)
