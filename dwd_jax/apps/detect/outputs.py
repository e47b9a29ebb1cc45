"""The files of a detection: of each page, and of the whole run.

In the folder OUT, for each page NAME

  NAME.json           size and symbols (name, score, bbox in pixels)
  NAME-overlay.png    the page with boxes and names
  mung/NAME.xml       MuNG, the notation graph of MUSCIMA++; nodes only
  pages/NAME.jpg      the page, for the viewer

and of all pages

  index.html          the viewer: open it in a browser
  predictions.json    COCO results: image_id, category_id, bbox, score
  coco_images.json    their images and categories
  detections.csv      a line for each symbol
  detect.json         settings, pages, and what failed

A further kind of output is a `formats.Format`, in a file of its own where it is
more than a few lines, and its entry in `FORMATS`.
"""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from dwd_jax.apps.detect import formats
from dwd_jax.apps.detect.formats import Format
from dwd_jax.apps.detect.inputs import Source
from dwd_jax.core import files
from dwd_jax.core.errors import InputError
from dwd_jax.predict.page_detections import PageDetections

FORMATS: tuple[type[Format], ...] = (
  formats.Overlay,
  formats.Viewer,
  formats.Mung,
  formats.CocoResults,
  formats.Table,
  formats.PageJson,  # last: it says that all files of the page are there
)
RUN = "detect.json"


def run_files() -> tuple[str, ...]:
  """Files of all pages together."""
  return (*(file for kind in FORMATS for file in kind.run_files), RUN)


def taken() -> tuple[str, ...]:
  """Names that no page may have: its files would collide with those."""
  return tuple(pathlib.PurePath(file).stem for file in run_files())


def write_page(
  out: pathlib.Path, found: PageDetections, source: Source
) -> None:
  """Writes the files of a page.

  Args:
    out: folder of the results.
    found: with its ink.
    source: that it was read from.
  """
  for kind in FORMATS:
    if kind.page_file:
      path = out / kind.page_file.format(source.name)
      kind.write_page(path, found, source)


def write_run(
  out: pathlib.Path,
  sources: Sequence[Source],
  class_names: tuple[str, ...],
  settings: dict[str, Any],
  failed: Sequence[dict[str, str]],
) -> None:
  """Writes what is of all pages, from the files of the pages.

  Args:
    out: folder of the results.
    sources: pages that have results; one is in memory at a time.
    class_names: C names.
    settings: of the run, see `write_settings`.
    failed: "what" and "reason" of the others.
  """
  kinds = [
    kind(out, class_names, float(settings["min_score"])) for kind in FORMATS
  ]
  for image_id, source in enumerate(sources, start=1):
    found = formats.read_page(out, source, class_names)
    if found is None:
      raise InputError(
        f"{out / source.name}.json: lost or changed while detecting; start the"
        " same command again"
      )
    for kind in kinds:
      kind.add(image_id, found, source)
  for kind in kinds:
    kind.finish()
  write_settings(out, settings, [s.name for s in sources], failed)


def write_settings(
  out: pathlib.Path,
  settings: dict[str, Any],
  pages: Sequence[str] = (),
  failed: Sequence[dict[str, str]] = (),
) -> None:
  """Writes `detect.json`, by which a folder is known again."""
  content = {"settings": settings, "pages": [*pages], "failed": [*failed]}
  files.write_atomic(out / RUN, json.dumps(content, indent=1) + "\n")


def check_folder(out: pathlib.Path, settings: dict[str, Any]) -> None:
  """Makes the folder, or stops where its results are of other settings.

  Raises:
    InputError: it cannot be made, or holds something that would be lost.
  """
  files.make_dir(out, "choose another --out")
  try:
    written = json.loads((out / RUN).read_text(encoding="utf8"))["settings"]
  except FileNotFoundError:
    for name in run_files():
      if (out / name).exists():
        raise InputError(
          f"{out / name}: is there already, and of something else; choose"
          " another --out"
        ) from None
    return
  except (OSError, ValueError, KeyError, TypeError):
    raise InputError(
      f"{out / RUN}: damaged; remove it, or choose another --out"
    ) from None
  for key in sorted(set(settings) | set(written)):
    had, want = written.get(key), settings.get(key)
    if had != want:
      raise InputError(
        f"{out}: holds results of another {key} ({had}, now {want}); choose"
        " another --out, or --overwrite"
      )


def remove(out: pathlib.Path) -> None:
  """Removes the results of an earlier run, and nothing else."""
  try:
    content = json.loads((out / RUN).read_text(encoding="utf8"))
    names = [str(name) for name in content["pages"]]
  except (OSError, ValueError, KeyError, TypeError):
    return  # what is there is not of a run
  for name in names:
    if pathlib.PurePath(name).name == name:
      for kind in FORMATS:
        if kind.page_file:
          (out / kind.page_file.format(name)).unlink(missing_ok=True)
  for file in run_files():
    (out / file).unlink(missing_ok=True)
