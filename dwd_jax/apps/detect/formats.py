"""The kinds of output: files of each page, and files of all pages together."""

import csv
import io
import json
import pathlib
from typing import Any, ClassVar

from dwd_jax.apps.detect.inputs import Source
from dwd_jax.core import files
from dwd_jax.core.structs import PageBoxes
from dwd_jax.predict import page_detections
from dwd_jax.predict.page_detections import PageDetections
from dwd_jax.show.viewer import write as viewer


class Format:
  """A kind of output; a subclass says which files it writes, and writes them.

  `write_page` is called while pages are detected. At the end of a run an
  instance is made, which is given all pages one by one (`add`), those of
  earlier runs too, and then writes the files of the run (`finish`).

  Attributes:
    page_file: of a page, in the folder of the results, {} standing for the
      page's name; "" = none.
    run_files: of all pages together, in the folder of the results.
  """

  page_file: ClassVar[str] = ""
  run_files: ClassVar[tuple[str, ...]] = ()

  def __init__(
    self, out: pathlib.Path, class_names: tuple[str, ...], min_score: float
  ):
    """Begins the files of a run.

    Args:
      out: folder of the results.
      class_names: C names.
      min_score: of the detections.
    """
    self.out, self.class_names, self.min_score = out, class_names, min_score

  @staticmethod
  def write_page(
    path: pathlib.Path, found: PageDetections, source: Source
  ) -> None:
    """Writes `page_file`.

    Args:
      path: of the file.
      found: with its ink.
      source: that the page was read from.
    """

  def add(self, image_id: int, found: PageDetections, source: Source) -> None:
    """Takes a page into the files of the run.

    Args:
      image_id: counts the pages from 1.
      found: as `read_page` gives it, without the ink.
      source: that the page was read from.
    """

  def finish(self) -> None:
    """Writes `run_files`."""


class PageJson(Format):
  """Size and symbols (name, score, bbox in pixels), and where they are from."""

  page_file = "{}.json"

  @staticmethod
  def write_page(path, found, source):
    """See `Format`."""
    content = {**origin(source), **found.to_json()}
    files.write_atomic(path, json.dumps(content, indent=1) + "\n")


_MAX_BYTES = 256 << 20  # of a page's JSON


def read_page(
  out: pathlib.Path, source: Source, class_names: tuple[str, ...]
) -> PageDetections | None:
  """What `PageJson` has written of a page; None: nothing, or of another.

  A file that has changed since counts as another.
  """
  path = out / PageJson.page_file.format(source.name)
  try:
    if path.stat().st_size > _MAX_BYTES:
      return None
    content = json.loads(path.read_text(encoding="utf8"))
    if any(content[key] != value for key, value in origin(source).items()):
      return None
    return page_detections.from_json(content, class_names)
  except (OSError, ValueError, KeyError, TypeError):
    return None


def origin(source: Source) -> dict[str, Any]:
  """What a page is of, and when that was written."""
  status = source.path.stat()
  return {
    "file": str(source.path),
    "page_number": source.number,
    "file_bytes": status.st_size,
    "file_mtime_ns": status.st_mtime_ns,
  }


class Overlay(Format):
  """The page with boxes and names."""

  page_file = "{}-overlay.png"

  @staticmethod
  def write_page(path, found, source):
    """See `Format`."""
    found.plot(path)


class Mung(Format):
  """MuNG, the notation graph of MUSCIMA++; nodes only."""

  page_file = "mung/{}.xml"

  @staticmethod
  def write_page(path, found, source):
    """See `Format`."""
    found.to_mung(path)


class CocoResults(Format):
  """COCO results: image_id, category_id, bbox, score; images and categories."""

  run_files = ("predictions.json", "coco_images.json")

  def __init__(self, *run):
    """See `Format`."""
    super().__init__(*run)
    self._results: list[str] = []  # as JSON: a tenth of the objects' memory
    self._images: list[dict[str, Any]] = []

  def add(self, image_id, found, source):
    """See `Format`."""
    self._results += map(json.dumps, found.to_coco(image_id))
    height, width = found.image_hw
    self._images.append(
      {
        "id": image_id,
        "file_name": found.page,
        "height": height,
        "width": width,
      }
    )

  def finish(self):
    """See `Format`."""
    categories = [
      {"id": i, "name": name}
      for i, name in enumerate(self.class_names, start=1)
    ]
    content = {"images": self._images, "categories": categories}
    results, images = (self.out / file for file in self.run_files)
    files.write_atomic(results, f"[{', '.join(self._results)}]")
    files.write_atomic(images, json.dumps(content))


class Table(Format):
  """A line for each symbol."""

  run_files = ("detections.csv",)
  _COLUMNS = (
    *("page", "file", "page_number", "name", "score"),
    *("x_min", "y_min", "x_max", "y_max", "page_width", "page_height"),
  )

  def __init__(self, *run):
    """See `Format`."""
    super().__init__(*run)
    self._text = io.StringIO()
    self._rows = csv.writer(self._text, lineterminator="\n")
    self._rows.writerow(self._COLUMNS)

  def add(self, image_id, found, source):
    """See `Format`."""
    height, width = found.image_hw
    for symbol in found:
      x, y, w, h = symbol["bbox"]
      corners = [round(value, 2) for value in (x, y, x + w, y + h)]
      self._rows.writerow(
        (
          *(found.page, source.path, source.number),
          *(symbol["name"], symbol["score"], *corners, width, height),
        )
      )

  def finish(self):
    """See `Format`."""
    files.write_atomic(self.out / self.run_files[0], self._text.getvalue())


class Viewer(Format):
  """A page for the browser that shows all pages, and their pictures."""

  page_file = "pages/{}.jpg"
  run_files = ("index.html",)
  _PICTURE_PX = 2400  # longer side of the pictures

  def __init__(self, *run):
    """See `Format`."""
    super().__init__(*run)
    self._pages: list[viewer.ViewerPage] = []

  @staticmethod
  def write_page(path, found, source):
    """See `Format`."""
    assert found.ink is not None
    picture = viewer.page_picture(found.ink, Viewer._PICTURE_PX)
    files.write_atomic(path, picture)

  def add(self, image_id, found, source):
    """See `Format`."""
    boxes = PageBoxes(
      filename=found.page,
      image_hw=found.image_hw,
      boxes_yxyx=found.boxes_yxyx,
      labels=found.labels,
      scores=found.scores,
    )
    picture = self.page_file.format(source.name)
    self._pages.append(viewer.ViewerPage(found.page, picture, boxes))

  def finish(self):
    """See `Format`."""
    viewer.write(
      self.out / self.run_files[0],
      self._pages,
      self.class_names,
      title="dwd_jax: detected symbols",
      min_score=self.min_score,
    )
