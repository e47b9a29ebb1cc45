"""Output formats: files of each page, and files of all pages together.

To add one, write a function and enter it in `PAGE_FILES` or `RUN_FILES`.
"""

import csv
import io
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from dwd_jax.apps.detect import manifest
from dwd_jax.apps.detect.inputs import Source
from dwd_jax.core import files
from dwd_jax.metrics import json_results
from dwd_jax.predict import page_detections
from dwd_jax.predict.page_detections import PageDetections
from dwd_jax.show.viewer import write as viewer

_PAGE = "{}.json"
_STARTS_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_MAX_BYTES = 64 << 20  # of a page's JSON
_CSV_COLUMNS = (
  "page", "file", "page_number", "name", "score",
  "x_min", "y_min", "x_max", "y_max", "page_width", "page_height",
)  # fmt: skip

Origin: TypeAlias = dict[str, Any]  # see `origin`


class RunFacts(NamedTuple):
  """Facts of a run that its files state."""

  class_names: tuple[str, ...]
  min_score: float


class RunFile(NamedTuple):
  """A file of all pages together, which are processed one at a time.

  Attributes:
    of_page: image id, page from `read_page`, its source -> what to keep of it.
    write: writes the file from what was kept of all pages, in order.
  """

  of_page: Callable[[int, PageDetections, Source], Any]
  write: Callable[[pathlib.Path, list[Any], RunFacts], None]


def _write_picture(path: pathlib.Path, found: PageDetections, _: Origin):
  assert found.ink is not None
  files.write_atomic(path, viewer.page_picture(found.ink))


def _write_page(path: pathlib.Path, found: PageDetections, origin: Origin):
  content = {**origin, **found.to_json()}
  files.write_atomic(path, json.dumps(content, indent=1) + "\n")


def _coco_results(image_id: int, found: PageDetections, _: Source) -> str:
  return json.dumps(found.to_coco(image_id))[1:-1]


def _write_coco_results(path: pathlib.Path, pages: list[str], _: RunFacts):
  files.write_atomic(path, f"[{', '.join(filter(None, pages))}]")


def _coco_image(image_id: int, found: PageDetections, _: Source):
  return json_results.coco_image(image_id, found.page, found.image_hw)


def _write_coco_images(path: pathlib.Path, images: list[Any], run: RunFacts):
  categories = json_results.coco_categories(run.class_names)
  content = {"images": images, "categories": categories}
  files.write_atomic(path, json.dumps(content))


def _csv_lines(_: int, found: PageDetections, source: Source) -> str:
  height, width = found.image_hw
  rows = []
  for symbol in found:
    x, y, w, h = symbol["bbox"]
    corners = [round(value, 2) for value in (x, y, x + w, y + h)]
    row = [found.page, str(source.path), source.number, symbol["name"]]
    rows.append([*row, symbol["score"], *corners, width, height])
  return _as_csv(rows)


def _as_csv(rows) -> str:
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerows([_no_formula(cell) for cell in row] for row in rows)
  return text.getvalue()


def _no_formula(cell: Any) -> Any:
  """Names that a spreadsheet would run get the quote that makes them text."""
  if not isinstance(cell, str):
    return cell
  # The writer does not quote \r, which ends a row, too.
  mark = "'" if cell.startswith(_STARTS_FORMULA) else ""
  return mark + cell.replace("\r", "\n")


def _write_csv(path: pathlib.Path, pages: list[str], _: RunFacts):
  files.write_atomic(path, _as_csv([_CSV_COLUMNS]) + "".join(pages))


def _viewer_page(_: int, found: PageDetections, source: Source):
  picture = manifest.PICTURE.format(source.name)
  return viewer.ViewerPage(found.page, picture, found.page_boxes())


def _write_viewer(path: pathlib.Path, pages: list[Any], run: RunFacts):
  title = "dwd_jax: detected symbols"
  viewer.write(
    path, pages, run.class_names, title=title, min_score=run.min_score
  )


# File name, {} = the page's name -> writer, called with the path, the page with
# its ink, and its origin.
PAGE_FILES: Mapping[
  str, Callable[[pathlib.Path, PageDetections, Origin], object]
] = {
  manifest.OVERLAY: lambda path, found, _: found.plot(path),
  "mung/{}.xml": lambda path, found, _: found.to_mung(path),
  manifest.PICTURE: _write_picture,
  _PAGE: _write_page,  # last: it marks the page as complete
}
RUN_FILES: Mapping[str, RunFile] = {
  "predictions.json": RunFile(_coco_results, _write_coco_results),
  "coco_images.json": RunFile(_coco_image, _write_coco_images),
  "detections.csv": RunFile(_csv_lines, _write_csv),
  "index.html": RunFile(_viewer_page, _write_viewer),
}


def read_page(
  out: pathlib.Path, source: Source, class_names: tuple[str, ...], run: str
) -> PageDetections | None:
  """Reads a page's results.

  None if they are missing, of another file, or of another `run`, see `origin`.
  """
  path = out / _PAGE.format(source.name)
  try:
    content = files.read_json(path, _MAX_BYTES)
    if any(content[key] != value for key, value in origin(source, run).items()):
      return None
    found = page_detections.from_json(content, class_names)
  except (OSError, ValueError, LookupError, TypeError, OverflowError):
    return None
  return found if found.page == source.name else None


def origin(source: Source, run: str) -> Origin:
  """Identifies a page, the version of its file, and how it is read.

  Args:
    run: `manifest.digest` of the settings.
  """
  status = source.path.stat()
  return {
    "file": str(source.path),
    "page_number": source.number,
    "file_bytes": status.st_size,
    "file_mtime_ns": status.st_mtime_ns,
    "settings": run,
  }
