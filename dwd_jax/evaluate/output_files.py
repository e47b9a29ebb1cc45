"""Files of an evaluation: lists, COCO files, pictures, report, summary.

`evaluate.evaluate_split` lists them.
"""

import hashlib
import json
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from dwd_jax.core import files
from dwd_jax.data.pipeline import EvalPage
from dwd_jax.evaluate.report import report_data, report_page
from dwd_jax.evaluate.report.report_data import Measured
from dwd_jax.evaluate.report.report_page import VIEWER
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
      viewer.page_picture(page.image.ink),
    )


def draw(
  measured: Measured,
  predictions: Sequence[PagePrediction],
  threshold: float | None,
) -> dict[str, Picture]:
  """Draws the first pages; pictures by name: NAME-overlay and NAME-energy.

  `predictions` are of the pages to draw. Detections below the threshold are not
  drawn.
  """
  outcomes, min_score = measured.outcomes, measured.metrics["min_score"]
  if threshold is not None:
    min_score = max(min_score, threshold)
    outcomes = outcomes.at_least(min_score)
  pictures = {}
  for i, prediction in enumerate(predictions):
    page, levels = measured.truth[i], prediction.levels
    assert levels is not None
    stem = pathlib.PurePath(page.filename).stem
    pictures[f"{stem}-overlay"] = drawing.overlay(
      prediction.ink,
      page,
      outcomes.of_page(i),
      measured.class_names,
      min_score=min_score,
    )
    pictures[f"{stem}-energy"] = drawing.energy_picture(prediction.ink, levels)
  return pictures


def write(
  out_dir: pathlib.Path,
  measured: Measured,
  pictures: dict[str, np.ndarray],
  viewer_pages: int,
) -> None:
  """Writes everything, the summary last; see `write_scores`."""
  folder = out_dir / measured.name
  for picture_name, picture in pictures.items():
    drawing.save(folder / f"{picture_name}.png", picture)
  truth, detections = measured.truth, measured.detections
  image_ids = {page.filename: i for i, page in enumerate(truth, start=1)}
  found = json.dumps(
    json_results.coco_results(detections, image_ids, exact=True),
    allow_nan=False,
  )
  true = json.dumps(
    json_results.coco_truth(truth, measured.class_names), allow_nan=False
  )
  files.write_atomic(folder / PREDICTIONS, found)
  files.write_atomic(folder / TRUTH, true)
  write_scores(out_dir, measured, viewer_pages)


def write_scores(
  out_dir: pathlib.Path, measured: Measured, viewer_pages: int
) -> None:
  """Writes what depends on protocol and `min_score`; predictions.json exists.

  The viewer has the first `viewer_pages` pages (-1 = all) that have pictures.
  """
  folder = out_dir / measured.name
  files.write_atomic(out_dir / PREDICTIONS, (folder / PREDICTIONS).read_bytes())
  for file, text in json_results.ap_lists(
    measured.table, measured.class_names
  ).items():
    files.write_atomic(folder / file, text)
    files.write_atomic(out_dir / file, text)
  content = report_data.content(measured)
  files.write_atomic(
    folder / REPORT, json.dumps(content, allow_nan=False) + "\n"
  )
  shown = _write_viewer(folder, measured, viewer_pages)
  page = report_page.render(
    measured.metrics, content, measured.class_names, shown
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
  many = len(measured.truth) if viewer_pages < 0 else viewer_pages
  pages = [
    viewer.ViewerPage(true.filename, picture_name(true.filename), found, true)
    for true, found in zip(
      measured.truth[:many], measured.detections[:many], strict=True
    )
  ]
  pages = [page for page in pages if (folder / page.image).is_file()]
  viewer.write(
    folder / VIEWER,
    pages,
    measured.class_names,
    title=f"{measured.metrics['dataset']}, {measured.name}",
    min_score=float(measured.metrics["min_score"]),
  )
  viewer.remove_parts(folder, len(pages))
  return {page.name for page in pages}
