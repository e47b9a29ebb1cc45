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
  detect.json         settings, pages, and failures

`formats` has their writers.
"""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from dwd_jax.apps.detect import formats
from dwd_jax.apps.detect.inputs import Source
from dwd_jax.core import files
from dwd_jax.core.errors import InputError
from dwd_jax.predict.page_detections import PageDetections

RUN = "detect.json"


def taken() -> list[str]:
  """Names that no page may have: they would collide with files of the run."""
  return [pathlib.PurePath(file).stem for file in (*formats.RUN_FILES, RUN)]


def write_page(
  out: pathlib.Path, found: PageDetections, source: Source
) -> None:
  """Writes the files of a page; `found` has its ink."""
  for file, write in formats.PAGE_FILES.items():
    write(out / file.format(source.name), found, source)


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
  kept: dict[str, list[Any]] = {file: [] for file in formats.RUN_FILES}
  for image_id, source in enumerate(sources, start=1):
    found = formats.read_page(out, source, class_names)
    if found is None:
      raise InputError(
        f"{out / source.name}.json: lost or changed while detecting; start the"
        " same command again"
      )
    for file, kind in formats.RUN_FILES.items():
      kept[file].append(kind.of_page(image_id, found, source))
  run = formats.RunFacts(class_names, float(settings["min_score"]))
  for file, kind in formats.RUN_FILES.items():
    kind.write(out / file, kept.pop(file), run)
  write_settings(out, settings, [s.name for s in sources], failed)


def write_settings(
  out: pathlib.Path,
  settings: dict[str, Any],
  pages: Sequence[str] = (),
  failed: Sequence[dict[str, str]] = (),
) -> None:
  """Writes `detect.json`, which identifies a folder of results."""
  content = {"settings": settings, "pages": [*pages], "failed": [*failed]}
  files.write_atomic(out / RUN, json.dumps(content, indent=1) + "\n")


def check_folder(out: pathlib.Path, settings: dict[str, Any]) -> None:
  """Makes the folder; raises InputError if its results have other settings."""
  files.make_dir(out, "choose another --out")
  try:
    written = json.loads((out / RUN).read_text(encoding="utf8"))["settings"]
  except FileNotFoundError:
    for name in formats.RUN_FILES:
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
  """Removes the results of an earlier run only."""
  try:
    content = json.loads((out / RUN).read_text(encoding="utf8"))
    names = [str(name) for name in content["pages"]]
  except (OSError, ValueError, KeyError, TypeError):
    return  # not a folder of results
  for name in names:
    if pathlib.PurePath(name).name == name:
      for file in formats.PAGE_FILES:
        (out / file.format(name)).unlink(missing_ok=True)
  for file in (*formats.RUN_FILES, RUN):
    (out / file).unlink(missing_ok=True)
