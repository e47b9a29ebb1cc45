"""The files of an evaluation: lists, COCO files, pictures, report, summary.

The viewer's pictures of pages are written while the pages pass by, the rest
once the split is measured. Which files there are: `evaluate.evaluate_split`.
"""

import hashlib
import json
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from dwd_jax.core import files
from dwd_jax.core.structs import PageBoxes
from dwd_jax.data.pipeline import EvalPage
from dwd_jax.evaluate.report import report_data, report_page
from dwd_jax.evaluate.report.report_data import Measured
from dwd_jax.metrics import json_results
from dwd_jax.metrics.matching import Outcomes
from dwd_jax.predict.assemble import PagePrediction
from dwd_jax.show import drawing
from dwd_jax.show.drawing import Picture
from dwd_jax.show.viewer import write as viewer

PREDICTIONS = "predictions.json"
TRUTH = "truth.json"
REPORT = "report.json"
VIEWER = "index.html"
_MAX_SIDE_PX = 2400  # of the viewer's pictures


def picture_name(filename: str) -> str:
  """The file of a page's picture, relative to index.html.

  Args:
    filename: of the page. a.png becomes pages/a.jpg; what is no plain name, or
      ends in another way, gets a few digits that tell it from all others.
  """
  path = pathlib.PurePath(filename)
  stem = re.sub(r"[^\w.+-]", "_", path.stem, flags=re.ASCII)[:100]
  if f"{stem}.png" != filename:
    digest = hashlib.sha256(filename.encode(errors="surrogatepass"))
    stem += f"-{digest.hexdigest()[:8]}"
  return f"pages/{stem}.jpg"


class Pictures:
  """Writes the pictures of the first pages of a split, one at a time."""

  def __init__(self, folder: pathlib.Path, wanted: int, first: int = 0):
    """What to write.

    Args:
      folder: of index.html.
      wanted: number of pages of the split that get one; -1 = all.
      first: number of the first page that will come.
    """
    self._folder, self._wanted, self._next = folder, wanted, first

  def __call__(self, page: EvalPage) -> None:
    """Writes the picture of the next page, if it is wanted."""
    number, self._next = self._next, self._next + 1
    if 0 <= self._wanted <= number:
      return
    files.write_atomic(
      self._folder / picture_name(page.image.filename),
      viewer.page_picture(page.image.ink, _MAX_SIDE_PX),
    )


def draw(
  truth: Sequence[PageBoxes],
  outcomes: Outcomes,
  predictions: Sequence[PagePrediction],
  class_names: Sequence[str],
  min_score: float,
  threshold: float | None,
) -> dict[str, Picture]:
  """Pictures of the first pages by name: NAME-overlay and NAME-energy.

  Args:
    truth: of all pages.
    outcomes: of all pages, of the detections from `min_score` on.
    predictions: of the pages to draw, with their energy levels.
    min_score: see `outcomes`.
    threshold: less likely detections are not drawn; None: all are.
  """
  if threshold is not None:
    min_score = max(min_score, threshold)
    outcomes = outcomes.at_least(min_score)
  pictures = {}
  for i, prediction in enumerate(predictions):
    stem = pathlib.PurePath(truth[i].filename).stem
    ink, levels = prediction.ink, prediction.levels
    assert levels is not None
    pictures[f"{stem}-overlay"] = drawing.overlay(
      ink, truth[i], outcomes.of_page(i), class_names, min_score=min_score
    )
    pictures[f"{stem}-energy"] = drawing.energy_picture(ink, levels)
  return pictures


def write(
  out_dir: pathlib.Path,
  judged: Measured,
  pictures: dict[str, np.ndarray],
  viewer_pages: int,
) -> None:
  """Writes everything; the summary last, when all the others are there.

  Args:
    judged: the split, measured.
    pictures: by name.
    viewer_pages: so many of the first pages are in the viewer; -1 = all.
  """
  folder = out_dir / judged.name
  for picture_name, picture in pictures.items():
    drawing.save(folder / f"{picture_name}.png", picture)
  truth, detections = judged.truth, judged.detections
  image_ids = {page.filename: i for i, page in enumerate(truth, start=1)}
  found = json.dumps(
    json_results.coco_results(detections, image_ids, exact=True),
    allow_nan=False,
  )
  true = json.dumps(
    json_results.coco_truth(truth, judged.class_names), allow_nan=False
  )
  files.write_atomic(folder / PREDICTIONS, found)
  files.write_atomic(folder / TRUTH, true)
  write_scores(out_dir, judged, viewer_pages)


def write_scores(
  out_dir: pathlib.Path, judged: Measured, viewer_pages: int
) -> None:
  """Writes what depends on protocol and least score; the summary last.

  Args:
    judged: the split, measured; predictions.json is there.
    viewer_pages: see `write`. Only pages with a picture are in the viewer.
  """
  folder = out_dir / judged.name
  found = (folder / PREDICTIONS).read_bytes()
  files.write_atomic(out_dir / PREDICTIONS, found)
  for file, text in json_results.ap_lists(
    judged.table, judged.class_names
  ).items():
    files.write_atomic(folder / file, text)
    files.write_atomic(out_dir / file, text)
  content = report_data.content(judged)
  files.write_atomic(
    folder / REPORT, json.dumps(content, allow_nan=False) + "\n"
  )
  shown = _write_viewer(folder, judged, viewer_pages)
  page = report_page.render(judged.metrics, content, judged.class_names, shown)
  files.write_atomic(folder / "report.html", page)
  files.write_atomic(
    out_dir / f"{judged.name}.json",
    json.dumps(judged.metrics, indent=2, allow_nan=False) + "\n",
  )


def _write_viewer(
  folder: pathlib.Path, judged: Measured, viewer_pages: int
) -> set[str]:
  """Writes index.html; the names of the pages in it."""
  if not viewer_pages:
    (folder / VIEWER).unlink(missing_ok=True)  # of an evaluation before
    return set()
  many = len(judged.truth) if viewer_pages < 0 else viewer_pages
  pages = [
    viewer.ViewerPage(true.filename, picture_name(true.filename), found, true)
    for true, found in zip(
      judged.truth[:many], judged.detections[:many], strict=True
    )
  ]
  pages = [page for page in pages if (folder / page.image).is_file()]
  viewer.write(
    folder / VIEWER,
    pages,
    judged.class_names,
    title=f"{judged.metrics['dataset']}, {judged.name}",
    min_score=float(judged.metrics["min_score"]),
  )
  return {page.name for page in pages}
