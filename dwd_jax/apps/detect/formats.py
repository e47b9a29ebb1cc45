"""The kinds of output: files of each page, and files of all pages together.

A further kind is a function, in a file of its own where it is long, and its
entry in `PAGE_FILES` or `RUN_FILES`.
"""

import csv
import io
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from dwd_jax.apps.detect.inputs import Source
from dwd_jax.core import files
from dwd_jax.core.structs import PageBoxes
from dwd_jax.predict import page_detections
from dwd_jax.predict.page_detections import PageDetections
from dwd_jax.show.viewer import write as viewer

_PICTURE = "pages/{}.jpg"
_PICTURE_PX = 2400  # longer side of the viewer's pictures
_PAGE = "{}.json"
_MAX_BYTES = 256 << 20  # of a page's JSON
_CSV_COLUMNS = (
  *("page", "file", "page_number", "name", "score"),
  *("x_min", "y_min", "x_max", "y_max", "page_width", "page_height"),
)


class Run(NamedTuple):
  """What the files of all pages say of the run.

  Attributes:
    class_names: C names.
    min_score: of the detections.
  """

  class_names: tuple[str, ...]
  min_score: float


class RunFile(NamedTuple):
  """A file of all pages together, which pass by one at a time.

  Attributes:
    of_page: image id, page as `read_page` gives it, its source -> what is kept
      of it in memory.
    write: writes the file, of what was kept of all pages in their order.
  """

  of_page: Callable[[int, PageDetections, Source], Any]
  write: Callable[[pathlib.Path, list[Any], Run], None]


def _write_picture(path: pathlib.Path, found: PageDetections, _: Source):
  assert found.ink is not None
  files.write_atomic(path, viewer.page_picture(found.ink, _PICTURE_PX))


def _write_page(path: pathlib.Path, found: PageDetections, source: Source):
  content = {**_origin(source), **found.to_json()}
  files.write_atomic(path, json.dumps(content, indent=1) + "\n")


def _coco_results(image_id: int, found: PageDetections, _: Source) -> str:
  return json.dumps(found.to_coco(image_id))[1:-1]


def _write_coco_results(path: pathlib.Path, pages: list[str], _: Run):
  files.write_atomic(path, f"[{', '.join(filter(None, pages))}]")


def _coco_image(image_id: int, found: PageDetections, _: Source):
  height, width = found.image_hw
  return {
    "id": image_id,
    "file_name": found.page,
    "height": height,
    "width": width,
  }


def _write_coco_images(path: pathlib.Path, images: list[Any], run: Run):
  categories = [
    {"id": i, "name": name} for i, name in enumerate(run.class_names, start=1)
  ]
  content = {"images": images, "categories": categories}
  files.write_atomic(path, json.dumps(content))


def _csv_lines(_: int, found: PageDetections, source: Source) -> str:
  height, width = found.image_hw
  rows = []
  for symbol in found:
    x, y, w, h = symbol["bbox"]
    corners = [round(value, 2) for value in (x, y, x + w, y + h)]
    rows.append(
      (
        *(found.page, source.path, source.number),
        *(symbol["name"], symbol["score"], *corners, width, height),
      )
    )
  return _as_csv(rows)


def _as_csv(rows) -> str:
  text = io.StringIO()
  csv.writer(text, lineterminator="\n").writerows(rows)
  return text.getvalue()


def _write_csv(path: pathlib.Path, pages: list[str], _: Run):
  files.write_atomic(path, _as_csv([_CSV_COLUMNS]) + "".join(pages))


def _viewer_page(_: int, found: PageDetections, source: Source):
  boxes = PageBoxes(
    filename=found.page,
    image_hw=found.image_hw,
    boxes_yxyx=found.boxes_yxyx,
    labels=found.labels,
    scores=found.scores,
  )
  return viewer.ViewerPage(found.page, _PICTURE.format(source.name), boxes)


def _write_viewer(path: pathlib.Path, pages: list[Any], run: Run):
  title = "dwd_jax: detected symbols"
  viewer.write(
    path, pages, run.class_names, title=title, min_score=run.min_score
  )


# File, {} standing for the page's name -> function that writes it, given its
# path, the page with its ink, and the source that the page was read from.
PAGE_FILES: Mapping[
  str, Callable[[pathlib.Path, PageDetections, Source], object]
] = {
  "{}-overlay.png": lambda path, found, _: found.plot(path),
  "mung/{}.xml": lambda path, found, _: found.to_mung(path),
  _PICTURE: _write_picture,
  _PAGE: _write_page,  # last: it says that all files of the page are there
}
RUN_FILES: Mapping[str, RunFile] = {
  "predictions.json": RunFile(_coco_results, _write_coco_results),
  "coco_images.json": RunFile(_coco_image, _write_coco_images),
  "detections.csv": RunFile(_csv_lines, _write_csv),
  "index.html": RunFile(_viewer_page, _write_viewer),
}


def read_page(
  out: pathlib.Path, source: Source, class_names: tuple[str, ...]
) -> PageDetections | None:
  """What is in the folder of results of a page; None: nothing, or of another.

  A file that has changed since counts as another.
  """
  path = out / _PAGE.format(source.name)
  try:
    if path.stat().st_size > _MAX_BYTES:
      return None
    content = json.loads(path.read_text(encoding="utf8"))
    if any(content[key] != value for key, value in _origin(source).items()):
      return None
    return page_detections.from_json(content, class_names)
  except (OSError, ValueError, KeyError, TypeError):
    return None


def _origin(source: Source) -> dict[str, Any]:
  """What a page is of, and when that was written."""
  status = source.path.stat()
  return {
    "file": str(source.path),
    "page_number": source.number,
    "file_bytes": status.st_size,
    "file_mtime_ns": status.st_mtime_ns,
  }
