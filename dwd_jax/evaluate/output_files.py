"""Files of an evaluation: lists, COCO files, pictures, report, summary.

`evaluate.evaluate_split` lists them.
"""

import contextlib
import hashlib
import itertools
import json
import pathlib
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

import msgspec
import numpy as np

from dwd_jax.core import files
from dwd_jax.core.structs import PageImage
from dwd_jax.data.pipeline import EvalPage
from dwd_jax.evaluate import latex_table
from dwd_jax.evaluate.page_store import Page
from dwd_jax.evaluate.report import report_data, report_page
from dwd_jax.evaluate.report.report_data import Measured
from dwd_jax.evaluate.report.report_page import VIEWER
from dwd_jax.imaging import grey
from dwd_jax.metrics import json_results
from dwd_jax.predict.assemble import PagePrediction
from dwd_jax.show import drawing
from dwd_jax.show.drawing import Picture
from dwd_jax.show.viewer import write as viewer

PREDICTIONS = "predictions.json"
TRUTH = "truth.json"
REPORT = "report.json"


def picture_name(filename: str) -> str:
  """File of a page's picture, relative to index.html.

  a.png becomes pages/a.jpg; digits keep other names unique.
  """
  path = pathlib.PurePath(filename)
  stem = re.sub(r"[^\w.+-]", "_", path.stem, flags=re.ASCII)[:100]
  if f"{stem}.png" != filename:
    digest = hashlib.sha256(filename.encode(errors="surrogatepass"))
    stem += f"-{digest.hexdigest()[:8]}"
  return f"pages/{stem}.jpg"


class Pictures:
  """Writes the pictures of the first pages of a split, one at a time.

  Args of the constructor: the folder of index.html; the number of first pages
  with a picture, -1 = all; the number of the first page that will come.
  """

  def __init__(self, folder: pathlib.Path, wanted: int, first: int = 0):
    self._folder, self._wanted, self._next = folder, wanted, first

  def __call__(self, page: EvalPage) -> None:
    """Writes the picture of the next page, if wanted."""
    number, self._next = self._next, self._next + 1
    if 0 <= self._wanted <= number:
      return
    files.write_atomic(
      self._folder / picture_name(page.image.filename),
      viewer.page_picture(grey.tones_of(page.image.ink, page.image.polarity)),
    )


def draw(
  measured: Measured,
  predictions: Sequence[tuple[PageImage, PagePrediction]],
  threshold: float | None,
) -> dict[str, Picture]:
  """Draws the first pages; pictures by name: NAME-overlay and NAME-energy.

  `predictions` are of the pages to draw. Overlays have the page's resolution;
  detections below the threshold are not drawn.
  """
  min_score = measured.metrics["min_score"]
  if threshold is not None:
    min_score = max(min_score, threshold)
  pictures = {}
  for (truth, found), (page, prediction) in zip(
    measured.pages, predictions, strict=False
  ):
    levels = prediction.levels
    assert levels is not None
    stem = pathlib.PurePath(truth.filename).stem
    pictures[f"{stem}-overlay"] = drawing.overlay(
      drawing.ground(page.ink, page.polarity, measured.said),
      truth,
      found.at_least(min_score),
      measured.class_names,
      min_score=min_score,
    )
    pictures[f"{stem}-energy"] = drawing.energy_picture(
      grey.shown(prediction.ink, page.polarity), levels
    )
  return pictures


@contextlib.contextmanager
def coco_files(
  folder: pathlib.Path, class_names: Sequence[str]
) -> Iterator[Callable[[Page], None]]:
  """Yields a function that adds the next page to the COCO files of a split.

  The files replace those of an earlier evaluation at the end.
  """
  images = []
  with (
    files.atomic(folder / TRUTH) as true_file,
    files.atomic(folder / PREDICTIONS) as found_file,
  ):
    true_rows, found_rows = _Rows(true_file), _Rows(found_file)
    true_file.write('{"annotations": ')

    def add(page: Page) -> None:
      truth, number = page.truth, len(images) + 1
      name, hw = truth.filename, truth.image_hw
      images.append(json_results.coco_image(number, name, hw))
      first = true_rows.count + 1
      true_rows.add(json_results.coco_annotations(truth, number, first))
      found_rows.add(json_results.coco_results(page.found, number, exact=True))

    yield add
    true_rows.end()
    found_rows.end()
    rest = {
      "images": images,
      "categories": json_results.coco_categories(class_names),
    }
    true_file.write("," + json.dumps(rest)[1:] + "\n")
    found_file.write("\n")


class _Rows:
  """A list of objects in JSON, written some at a time, one a line."""

  def __init__(self, file: TextIO):
    self._file, self.count = file, 0

  def add(self, rows: Sequence[dict[str, Any]]) -> None:
    """Adds rows, whose numbers are finite."""
    if rows:
      text = msgspec.json.encode(rows)[1:-1].replace(b"},{", b"},\n{")
      self._file.write((",\n" if self.count else "[\n") + text.decode())
      self.count += len(rows)

  def end(self) -> None:
    """Ends the list."""
    self._file.write("\n]" if self.count else "[]")


def write(
  out_dir: pathlib.Path,
  measured: Measured,
  pictures: dict[str, np.ndarray],
  viewer_pages: int,
) -> None:
  """Writes pictures and scores, the summary last; see `write_scores`."""
  folder = out_dir / measured.name
  for picture_name, picture in pictures.items():
    drawing.save(folder / f"{picture_name}.png", picture)
  write_scores(out_dir, measured, viewer_pages)


def write_scores(
  out_dir: pathlib.Path, measured: Measured, viewer_pages: int
) -> None:
  """Writes what depends on protocol and `min_score`; predictions.json exists.

  The viewer has the first `viewer_pages` pages (-1 = all) that have pictures.
  """
  folder = out_dir / measured.name
  with (
    (folder / PREDICTIONS).open("rb") as source,
    files.atomic(out_dir / PREDICTIONS) as copy,
  ):
    shutil.copyfileobj(source, copy.buffer, 1 << 20)
  for file, text in json_results.ap_lists(
    measured.table, measured.class_names
  ).items():
    files.write_atomic(folder / file, text)
    files.write_atomic(out_dir / file, text)
  files.write_atomic(
    folder / latex_table.NAME,
    latex_table.class_table({measured.name: measured.metrics}),
  )
  content = report_data.content(measured)
  files.write_atomic(
    folder / REPORT, json.dumps(content, allow_nan=False) + "\n"
  )
  shown = _write_viewer(folder, measured, viewer_pages)
  page = report_page.render(
    measured.metrics, content, measured.class_names, shown, measured.said
  )
  files.write_atomic(folder / "report.html", page)
  files.write_atomic(
    out_dir / f"{measured.name}.json",
    json.dumps(measured.metrics, indent=2, allow_nan=False) + "\n",
  )


def _write_viewer(
  folder: pathlib.Path, measured: Measured, viewer_pages: int
) -> set[str]:
  """Writes index.html and its parts; returns the names of its pages."""
  if not viewer_pages:
    (folder / VIEWER).unlink(missing_ok=True)  # of an earlier evaluation
    viewer.remove_parts(folder, 0)
    return set()
  most = viewer_pages if viewer_pages > 0 else None
  shown: set[str] = set()

  def with_pictures() -> Iterator[viewer.ViewerPage]:
    for true, found in itertools.islice(measured.pages, most):
      image = picture_name(true.filename)
      if (folder / image).is_file():
        shown.add(true.filename)
        found = found.at_least(measured.metrics["min_score"])
        yield viewer.ViewerPage(true.filename, image, found, true)

  viewer.write(
    folder / VIEWER,
    with_pictures(),
    measured.class_names,
    title=f"{measured.metrics['dataset']}, {measured.name}",
    min_score=float(measured.metrics["min_score"]),
    said=measured.said,
  )
  viewer.remove_parts(folder, len(shown))
  return shown
