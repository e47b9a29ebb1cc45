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
"""

import csv
import io
import json
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from dwd_jax.apps.detect.inputs import Source
from dwd_jax.core import files
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageBoxes
from dwd_jax.predict.page_detections import PageDetections, from_json
from dwd_jax.show.viewer import write as viewer

RUN = "detect.json"
INDEX = "index.html"
# Names of pages would collide with these.
TAKEN = ("predictions", "coco_images", "detect", "detections", "index")
_PICTURE_PX = 2400  # longer side of the viewer's pictures
_MAX_BYTES = 256 << 20  # of a page's JSON
_CSV_COLUMNS = (
  *("page", "file", "page_number", "name", "score"),
  *("x_min", "y_min", "x_max", "y_max", "page_width", "page_height"),
)


def write_page(
  out: pathlib.Path, found: PageDetections, source: Source
) -> None:
  """Writes the files of a page; NAME.json last, which says that all are there.

  Args:
    out: folder of the results.
    found: with its ink.
    source: that it was read from.
  """
  assert found.ink is not None
  name = source.name
  page, overlay, mung, picture = (out / file for file in _page_files(name))
  found.plot(overlay)
  files.write_atomic(picture, viewer.page_picture(found.ink, _PICTURE_PX))
  found.to_mung(mung)
  content = {**_origin(source), **found.to_json()}
  files.write_atomic(page, json.dumps(content, indent=1) + "\n")


def read_page(
  out: pathlib.Path, source: Source, class_names: tuple[str, ...]
) -> PageDetections | None:
  """What an earlier run has written of a page; None: nothing, or of another.

  A file that has changed since counts as another.
  """
  path = out / f"{source.name}.json"
  try:
    if path.stat().st_size > _MAX_BYTES:
      return None
    content = json.loads(path.read_text(encoding="utf8"))
    origin = _origin(source)
    if any(content[key] != value for key, value in origin.items()):
      return None
    return from_json(content, class_names)
  except (OSError, ValueError, KeyError, TypeError):
    return None


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
    sources: pages that have results.
    class_names: C names.
    settings: of the run, see `write_settings`.
    failed: "what" and "reason" of the others.
  """
  _write_coco(out, sources, class_names)
  _write_csv(out, sources, class_names)
  viewer.write(
    out / INDEX,
    _viewer_pages(out, sources, class_names),
    class_names,
    title="dwd_jax: detected symbols",
    min_score=float(settings["min_score"]),
  )
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
    there = [f"{name}.json" for name in TAKEN] + [INDEX, "detections.csv"]
    for name in there:
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
      for file in _page_files(name):
        (out / file).unlink(missing_ok=True)
  for file in (INDEX, "predictions.json", "coco_images.json", "detections.csv"):
    (out / file).unlink(missing_ok=True)
  (out / RUN).unlink(missing_ok=True)


def _page_files(name: str) -> tuple[str, ...]:
  return (
    f"{name}.json",
    f"{name}-overlay.png",
    f"mung/{name}.xml",
    f"pages/{name}.jpg",
  )


def _origin(source: Source) -> dict[str, Any]:
  """What a page is of, and when that was written."""
  status = source.path.stat()
  return {
    "file": str(source.path),
    "page_number": source.number,
    "file_bytes": status.st_size,
    "file_mtime_ns": status.st_mtime_ns,
  }


def _pages(
  out: pathlib.Path,
  sources: Iterable[Source],
  class_names: tuple[str, ...],
) -> Iterator[tuple[int, Source, PageDetections]]:
  """One page in memory at a time, with its COCO image id."""
  for image_id, source in enumerate(sources, start=1):
    found = read_page(out, source, class_names)
    if found is None:
      raise InputError(
        f"{out / source.name}.json: lost or changed while detecting; start the"
        " same command again"
      )
    yield image_id, source, found


def _write_coco(out, sources, class_names) -> None:
  results, images = [], []
  for image_id, _, found in _pages(out, sources, class_names):
    results += found.to_coco(image_id)
    height, width = found.image_hw
    images.append(
      {
        "id": image_id,
        "file_name": found.page,
        "height": height,
        "width": width,
      }
    )
  categories = [
    {"id": i, "name": name} for i, name in enumerate(class_names, start=1)
  ]
  content = {"images": images, "categories": categories}
  files.write_atomic(out / "predictions.json", json.dumps(results))
  files.write_atomic(out / "coco_images.json", json.dumps(content))


def _write_csv(out, sources, class_names) -> None:
  text = io.StringIO()
  rows = csv.writer(text, lineterminator="\n")
  rows.writerow(_CSV_COLUMNS)
  for _, source, found in _pages(out, sources, class_names):
    height, width = found.image_hw
    for symbol in found:
      x, y, w, h = symbol["bbox"]
      corners = [round(value, 2) for value in (x, y, x + w, y + h)]
      rows.writerow(
        (
          *(found.page, source.path, source.number),
          *(symbol["name"], symbol["score"], *corners, width, height),
        )
      )
  files.write_atomic(out / "detections.csv", text.getvalue())


def _viewer_pages(out, sources, class_names) -> Iterator[viewer.ViewerPage]:
  for _, source, found in _pages(out, sources, class_names):
    boxes = PageBoxes(
      found.page,
      found.image_hw,
      found.boxes_yxyx,
      found.labels,
      found.scores,
    )
    yield viewer.ViewerPage(found.page, f"pages/{source.name}.jpg", boxes)
