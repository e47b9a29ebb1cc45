"""Output formats: files of each page, and files of all pages together.

To add one, write a function and enter it in `PAGE_FILES`, `RUN_FILES` or
`OPTIONAL`.
"""

import contextlib
import importlib.util
import json
import pathlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, TextIO, TypeAlias

from dwd_jax.apps.detect import inputs, manifest, obb_anns, tables
from dwd_jax.apps.detect.inputs import Source
from dwd_jax.apps.detect.tables import RunPage
from dwd_jax.core import files
from dwd_jax.core import words as words_lib
from dwd_jax.imaging import grey
from dwd_jax.metrics import json_results
from dwd_jax.predict import page_detections
from dwd_jax.predict.page_detections import PageDetections
from dwd_jax.show.viewer import write as viewer

_PAGE = "{}.json"
_MAX_BYTES = 64 << 20  # of a page's JSON
_PARQUET = "detections.parquet"
_DOTA = "labelTxt"

Origin: TypeAlias = dict[str, Any]  # see `origin`


class RunFacts(NamedTuple):
  """Facts of a run that its files state.

  Attributes:
    words: of the detector's field.
    extras: see `RunPage.rows`.
    formats: keys of `OPTIONAL`.
    numbers: for the format obb_anns.
  """

  class_names: tuple[str, ...]
  min_score: float
  words: words_lib.Words = words_lib.MUSIC
  extras: tuple[str, ...] = ()
  formats: tuple[str, ...] = ()
  numbers: obb_anns.Numbers | None = None


# Path, facts -> a context that gives the function to call with each page, in
# order, and completes the file at the end.
RunFile: TypeAlias = Callable[
  [pathlib.Path, RunFacts],
  contextlib.AbstractContextManager[Callable[[RunPage], None]],
]


def _write_picture(path: pathlib.Path, found: PageDetections, _: Origin):
  assert found.ink is not None
  files.write_atomic(
    path, viewer.page_picture(grey.tones_of(found.ink, found.polarity))
  )


def write_page_json(
  path: pathlib.Path, found: PageDetections, origin: Origin
) -> None:
  """Writes NAME.json, which `read_page` reads."""
  content = {**origin, **found.to_json()}
  files.write_atomic(path, json.dumps(content, indent=1) + "\n")


@contextlib.contextmanager
def _coco_results(path: pathlib.Path, _: RunFacts):
  with files.atomic(path) as file:
    add = _joined(file)
    file.write("[")
    yield lambda page: add(json.dumps(page.coco)[1:-1])
    file.write("]")


@contextlib.contextmanager
def _coco_images(path: pathlib.Path, run: RunFacts):
  def add_image(page: RunPage) -> None:
    name, hw = page.found.page, page.found.image_hw
    add(json.dumps(json_results.coco_image(page.image_id, name, hw)))

  categories = json_results.coco_categories(run.class_names)
  with files.atomic(path) as file:
    add = _joined(file)
    file.write('{"images": [')
    yield add_image
    file.write(f'], "categories": {json.dumps(categories)}}}')


def _joined(file: TextIO) -> Callable[[str], None]:
  """A function that writes texts with a comma between them, none if empty."""
  before = ""

  def add(text: str) -> None:
    nonlocal before
    if text:
      file.write(before + text)
      before = ", "

  return add


@contextlib.contextmanager
def _viewer(path: pathlib.Path, run: RunFacts):
  def add_page(page: RunPage) -> None:
    picture = manifest.PICTURE.format(page.source.name)
    boxes, staves = page.found.page_boxes(), page.found.staves
    add(viewer.ViewerPage(page.source.name, picture, boxes, staves=staves))

  with viewer.writing(
    path,
    run.class_names,
    title=f"dwd_jax: detected {run.words.objects}",
    min_score=run.min_score,
    said=run.words,
  ) as add:
    yield add_page


@contextlib.contextmanager
def _dota(path: pathlib.Path, run: RunFacts):
  """A file for each page: corners, class without spaces, score."""
  names = [re.sub(r"\s", "_", name) for name in run.class_names]

  def add_page(page: RunPage) -> None:
    lines = []
    for symbol in page.coco:
      x, y, w, h = symbol["bbox"]
      upright = [x, y, x + w, y, x + w, y + h, x, y + h]
      corners = symbol.get("segmentation", [upright])[0]
      numbers = " ".join(f"{value:.2f}" for value in corners)
      name = names[symbol["category_id"] - 1]
      lines.append(f"{numbers} {name} {symbol['score']:.4f}\n")
    files.write_atomic(path / f"{page.source.name}.txt", "".join(lines))

  yield add_page


def _proposals(path: pathlib.Path, run: RunFacts):
  assert run.numbers is not None
  return obb_anns.proposals_file(path, run.numbers)


# File name, {} = the page's name -> writer, called with the path, the page with
# its ink, and its origin.
PAGE_FILES: Mapping[
  str, Callable[[pathlib.Path, PageDetections, Origin], object]
] = {
  manifest.OVERLAY: lambda path, found, _: found.plot(path),
  "mung/{}.xml": lambda path, found, _: found.to_mung(path),
  manifest.PICTURE: _write_picture,
  _PAGE: write_page_json,  # last: it marks the page as complete
}
RUN_FILES: Mapping[str, RunFile] = {
  "predictions.json": _coco_results,
  "coco_images.json": _coco_images,
  "detections.csv": lambda path, run: tables.csv_file(path, run.extras),
  _PARQUET: lambda path, run: tables.parquet_file(path, run.extras),
  "index.html": _viewer,
}
# Name of a format that is written only if asked for -> file or folder, writer.
OPTIONAL: Mapping[str, tuple[str, RunFile]] = {
  "dota": (_DOTA, _dota),
  "obb_anns": (obb_anns.FILE, _proposals),
}


def writable(formats: Collection[str] = ()) -> dict[str, RunFile]:
  """Those of `RUN_FILES` for which the packages are installed, and formats."""
  without = set() if importlib.util.find_spec("pyarrow") else {_PARQUET}
  always = {file: w for file, w in RUN_FILES.items() if file not in without}
  return always | dict(OPTIONAL[name] for name in formats)


def run_files(pages: Sequence[str], formats: Collection[str] = ()) -> list[str]:
  """Files of all pages together, relative to the folder of results."""
  names = [*writable(formats), *viewer.part_files(len(pages))]
  if _DOTA in names:
    names.remove(_DOTA)
    names += [f"{_DOTA}/{page}.txt" for page in pages]
  return names


def is_run_file(name: str) -> bool:
  """Whether a run of any number of pages may write it."""
  return (
    name in RUN_FILES
    or name == obb_anns.FILE
    or re.fullmatch(rf"{_DOTA}/[^/]+\.txt", name) is not None
    or viewer.is_part_file(name)
  )


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

  Raises:
    InputError: its file cannot be read.
  """
  with inputs.reading(source.path):
    status = source.path.stat()
  return {
    "file": source.file,
    "page_number": source.number,
    "file_bytes": status.st_size,
    "file_mtime_ns": status.st_mtime_ns,
    "settings": run,
  }
