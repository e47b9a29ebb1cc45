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
  detections.parquet  the same, if pyarrow is installed
  viewer/part-N.js    boxes of 500 pages each, where there are more
  detect.json         the manifest: settings, pages, and failures
  shards/I-of-N.json  that of a part of the pages, see `shards`

and on demand

  labelTxt/NAME.txt   DOTA: corners, class and score of each symbol
  proposals.json      see `obb_anns`

`formats` has their writers. A file that no earlier run has written is never
replaced.
"""

import contextlib
import os
import pathlib
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from dwd_jax.apps.detect import formats, manifest, obb_anns
from dwd_jax.apps.detect.inputs import Failure, Source
from dwd_jax.apps.detect.shards import Shard
from dwd_jax.core import files
from dwd_jax.core.errors import InputError
from dwd_jax.predict.page_detections import PageDetections


def taken() -> list[str]:
  """Names that no page may have: they would collide with files of the run."""
  known = (*formats.RUN_FILES, obb_anns.FILE, manifest.NAME)
  return [pathlib.PurePath(file).stem for file in known]


def write_page(
  out: pathlib.Path, found: PageDetections, origin: formats.Origin
) -> None:
  """Writes the files of a page; `found` has its ink."""
  for file, write in formats.PAGE_FILES.items():
    write(out / file.format(found.page), found, origin)


def write_run(
  out: pathlib.Path,
  pages: Iterable[tuple[Source, PageDetections]],
  facts: formats.RunFacts,
) -> None:
  """Writes the files of all pages from those of each page, in one pass.

  Memory does not grow with their number; see `claim_run` and `finish`.
  """
  with contextlib.ExitStack() as stack:
    adders = [
      stack.enter_context(write(out / file, facts))
      for file, write in formats.writable(facts.formats).items()
    ]
    for image_id, (source, found) in enumerate(pages, start=1):
      page = formats.RunPage(image_id, found, source)
      for add in adders:
        add(page)


def claim(
  out: pathlib.Path,
  settings: dict[str, Any],
  sources: Sequence[Source],
  shard: Shard | None = None,
  optional: Collection[str] = (),
) -> None:
  """Notes whose files the run writes, before it does.

  `optional`: keys of `formats.OPTIONAL`; those of all pages are only checked.

  Raises:
    InputError: there is a file that no earlier run has written, or another
      shard has begun with other settings.
  """
  ours = manifest.claimed(out)
  in_order = [source.name for source in sources]
  names = set(in_order)
  _page_files(out, "")  # no link is there
  for name in sorted(names - ours):
    for path in _page_files(out, name):
      _check_absent(path)
  path = out / (shard.manifest if shard else manifest.NAME)
  before = manifest.read(path)
  had, run_files = (before.claimed, before.run_files) if before else (set(), ())
  if not shard:
    had = ours
    _check_run_files(out, formats.run_files(in_order, optional))
  manifest.write(path, settings, had | names, run_files=run_files)
  try:
    _check_settings(out, settings)  # of shards that began at the same time
  except InputError:
    if before is None:
      path.unlink(missing_ok=True)
    raise


def claim_run(
  out: pathlib.Path,
  settings: dict[str, Any],
  pages: Sequence[str],
  optional: Collection[str] = (),
) -> None:
  """Notes the files of all pages, before `write_run` writes them.

  Raises:
    InputError: there is one that no earlier run has written.
  """
  names = formats.run_files(pages, optional)
  ours = _check_run_files(out, names)
  path = out / manifest.NAME
  before = manifest.read(path)
  claimed = before.claimed if before else set()
  manifest.write(path, settings, claimed, run_files=ours.union(names))


def finish(
  out: pathlib.Path,
  settings: dict[str, Any],
  pages: Sequence[str],
  failed: Sequence[Failure],
  shard: Shard | None = None,
  optional: Collection[str] = (),
) -> None:
  """Writes the manifest of a run, or of a shard of it, that has ended.

  Args:
    pages: names of those with results.
    failed: files and pages without.
    optional: see `claim`; files of other formats are removed.
  """
  path = out / (shard.manifest if shard else manifest.NAME)
  written = manifest.read(path)
  claimed = manifest.claimed(out) if shard is None else set()
  claimed |= written.claimed if written else set()
  claimed = {
    name
    for name in claimed.difference(pages)
    if any(map(os.path.lexists, _page_files(out, name)))
  }
  run_files = [] if shard else formats.run_files(pages, optional)
  if not shard:
    _remove_run_files(out, _run_files(written).difference(run_files))
  rows = [failure._asdict() for failure in failed]
  manifest.write(path, settings, claimed, pages, rows, run_files)


def _run_files(written: manifest.Manifest | None) -> set[str]:
  """Files of all pages that a manifest claims, of those that we write."""
  return set(filter(formats.is_run_file, written.run_files if written else ()))


def _check_run_files(out: pathlib.Path, names: Collection[str]) -> set[str]:
  """Those that are ours; raises InputError for one of something else."""
  ours = _run_files(manifest.read(out / manifest.NAME))
  for name, path in zip(names, _paths(out, names), strict=True):
    if name not in ours:
      _check_absent(path)
  return ours


def _remove_run_files(out: pathlib.Path, names: Collection[str]) -> None:
  for path in _paths(out, names):
    path.unlink(missing_ok=True)
    if path.parent != out:
      with contextlib.suppress(OSError):  # not empty
        path.parent.rmdir()


def _page_files(out: pathlib.Path, name: str) -> list[pathlib.Path]:
  return _paths(out, [file.format(name) for file in formats.PAGE_FILES])


def _paths(out: pathlib.Path, names: Collection[str]) -> list[pathlib.Path]:
  """Paths of files; raises InputError if their folder is a link elsewhere."""
  paths = [out / name for name in names]
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
  _check_run_files(out, formats.writable())
  _check_settings(out, settings)


def _check_settings(out: pathlib.Path, settings: dict[str, Any]) -> None:
  for written in manifest.read_all(out):
    for key in sorted(set(settings) | set(written.settings)):
      had, want = written.settings.get(key), settings.get(key)
      if had != want:
        raise InputError(
          f"{written.path}: holds results of other settings ({key} was {had},"
          f" is now {want}); choose another --out, or --overwrite"
        )


def remove(out: pathlib.Path) -> None:
  """Removes the results of an earlier run; see `manifest.read`."""
  written = manifest.read_all(out)
  if not written:
    return
  for name in set().union(*(of.claimed for of in written)):
    for path in _page_files(out, name):
      path.unlink(missing_ok=True)
  _remove_run_files(out, _run_files(manifest.read(out / manifest.NAME)))
  for of in written:
    of.path.unlink(missing_ok=True)
