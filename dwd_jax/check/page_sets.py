"""Sets of pages, of records or original files, and one reading of all pages."""

import dataclasses
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from dwd_jax.check import choose_builder, draw_pages, measures
from dwd_jax.check.measures import Measures, Page
from dwd_jax.core import box_index, files, threads, words
from dwd_jax.core.errors import InputError
from dwd_jax.data import sources
from dwd_jax.imaging import grey
from dwd_jax.show import drawing, progress
from tfds_builders import base, checks, colour, polarity, record_folders

EXAMPLES = 8  # of each class
_LEVELS = 3  # of folders below the given one that may hold the records
_MAX_FOLDERS = 60  # at each level


@dataclasses.dataclass(frozen=True)
class PageSet:
  """Pages of a data set, to read one by one from any thread.

  Attributes:
    name: e.g. "deepscores".
    origin: one line: what is read, and how.
    class_names: C names.
    splits: split of each file or record.
    read: reads the pages of a file or record by index, nearly always one;
      raises `InputError` for a bad one.
    notes: counts from reading the lists of pages, by reason.
    keys: key of a config -> value with which a training reads the same.
    num_bytes: size of all pictures, or of the records.
    said: what its pages and objects are called.
    faint: see `polarity.Decision`.
  """

  name: str
  origin: str
  class_names: tuple[str, ...]
  splits: tuple[str, ...]
  read: Callable[[int], list[Page]]
  notes: Mapping[str, int]
  keys: Mapping[str, Any]
  num_bytes: int
  said: words.Words = words.MUSIC
  faint: str = ""


def open_set(
  folder: str | os.PathLike,
  builder: str = "",
  config: str = "",
  options: Mapping[str, Any] | None = None,
) -> PageSet:
  """Opens prepared records or original files.

  Args:
    folder: of either; records may lie up to three levels below.
    builder: reads the files; "" = any that can.
    config: of the builder; "" = the first that can.
    options: see `base.make_options`.

  Raises:
    InputError: nothing fits; see `choose_builder.choose`.
  """
  root = pathlib.Path(folder).expanduser()
  checks.require_dir(root, "name the folder of a data set")
  found = [] if builder else find_records(root)
  if len(found) > 1:
    some = ", ".join(str(path) for path in found[:5])
    raise InputError(
      f"{root}: {len(found)} folders of records in there; name one: {some}"
    )
  if found:
    return _records(found[0])
  options = options or {}
  reading = choose_builder.choose(
    root, builder=builder, config=config, options=options
  )
  chosen = {f"data.options.{key}": v for key, v in options.items() if v}
  return _files(root, reading, chosen)


def find_records(root: pathlib.Path) -> list[pathlib.Path]:
  """Folders with dataset_info.json, at most three levels down."""
  level = [root]
  for _ in range(_LEVELS + 1):
    found = [path for path in level if (path / "dataset_info.json").is_file()]
    if found:
      return found
    level = [q for path in level for q in choose_builder.folders_in(path)]
    level = level[:_MAX_FOLDERS]
  return []


def _records(folder: pathlib.Path) -> PageSet:
  opened = {
    split: sources.open_records(folder, split)
    for split in record_folders.builder_of(folder).info.splits
  }
  at = [(split, i) for split, s in opened.items() for i in range(len(s))]
  if not at:
    raise InputError(f"{folder}: nothing in the records; build them again")
  facts = record_folders.facts_of(folder)
  some = opened[at[0][0]]
  said = words.of_set(some.name.split("/")[0], facts["is_music"])

  def read(index: int) -> list[Page]:
    split, i = at[index]
    return [_record_page(opened[split], i, said)]

  return PageSet(
    name=some.name.split("/")[0],
    origin=f"records of {some.name} in {folder}",
    class_names=some.class_names,
    splits=tuple(split for split, _ in at),
    read=read,
    notes=_build_notes(folder),
    keys=_keys_of_records(some.name, folder),
    num_bytes=_size(folder.glob("*.array_record*")),
    said=said,
  )


def _keys_of_records(name: str, folder: pathlib.Path) -> dict[str, Any]:
  """Keys of a config for records in DATA_DIR/BUILDER/CONFIG/VERSION."""
  builder, config, *_ = *name.split("/"), ""
  above = folder.absolute().parents
  return {
    "data.builder": builder,
    "data.builder_config": config,
    "data.data_dir": str(above[2] if len(above) > 2 else folder),
  }


def _build_notes(folder: pathlib.Path) -> dict[str, int]:
  """Counts of the build, by reason; {} without a report."""
  try:
    counts = files.read_json(folder / base.REPORT_NAME)["counts"]
    return {str(kind): int(count) for kind, count in counts.items()}
  except (AttributeError, KeyError, OSError, TypeError, ValueError):
    return {}


def _record_page(source: sources.PageSource, i: int, said: words.Words) -> Page:
  example, class_names = source.example(i), source.class_names
  filename = box_index.filename_of(example)
  boxes = example["boxes_yxyx"].reshape(-1, 4)
  labels = example["labels"]
  known = (labels >= 0) & (labels < len(class_names))
  if not known.all() or not np.isfinite(boxes).all():
    raise InputError(
      f"{filename}: class ids or boxes of the record are out of range; prepare"
      " the records again"
    )
  image = source.image(i)
  seen = drawing.ground(image, source.polarity, said)
  return Page(
    split=source.split,
    filename=filename,
    ink=grey.ink_of(image),
    boxes_yxyx=boxes,
    labels=labels,
    picture=seen if seen.ndim == 3 else None,
    oriented_yx=source.feature("oriented_yx", i, example),
  )


def _files(
  root: pathlib.Path, reading: choose_builder.Reading, options: dict[str, Any]
) -> PageSet:
  at = [
    (split, page)
    for split, pages in reading.data_set.splits.items()
    for page in pages
  ]

  def parse(files: checks.PageFiles, report: checks.BuildReport):
    return reading.parser.read_page(
      files, reading.data_set.class_names, reading.options, report
    )

  workers = min(os.cpu_count() or 1, 16)
  decided = polarity.of_data_set(
    reading.data_set,
    lambda files: parse(files, checks.BuildReport()),
    workers=workers,
  )
  said = words.of_set(reading.builder, decided.is_music)
  coloured = reading.in_colour and not decided.is_music
  if coloured and colour.of_data_set(reading.data_set, workers).channels == 3:
    data_set = colour.in_colour(reading.data_set)
    at = [(split, p) for split, pages in data_set.splits.items() for p in pages]

  def page(
    split: str, name: str, part: checks.ParsedPage, skipped: dict[str, int]
  ) -> Page:
    ink = grey.to_ink(np.bitwise_not(part.ink), decided.polarity)
    seen = drawing.ground(ink, decided.polarity, said)
    return Page(
      split=split,
      filename=name,
      ink=grey.ink_of(ink),
      boxes_yxyx=part.boxes_yxyx,
      labels=part.labels,
      skipped=skipped,
      oriented_yx=part.extras.get("oriented_yx"),
      picture=seen if seen.ndim == 3 else None,
    )

  def read(index: int) -> list[Page]:
    split, files = at[index]
    report = checks.BuildReport()
    parsed = parse(files, report)
    own_name = files.filename or files.image.name
    if isinstance(parsed, checks.ParsedPage):
      named = [(own_name, parsed)]
    else:
      named = list(parsed)  # may be lazy and fill the report
    return [
      page(split, name, part, {} if n else dict(report.counts))
      for n, (name, part) in enumerate(named)
    ]

  return PageSet(
    name=reading.builder,
    origin=f"files in {root}, read with {reading.flags()}",
    class_names=reading.data_set.class_names,
    splits=tuple(split for split, _ in at),
    read=read,
    notes=dict(reading.report.counts),
    keys={
      "data.builder": reading.builder,
      "data.builder_config": reading.config,
      "data.manual_dir": str(root),
      **options,
    },
    num_bytes=_size({page.image for _, page in at}),
    said=said,
    faint=decided.faint,
  )


def _size(paths: Iterable[pathlib.Path]) -> int:
  """Bytes of the files that exist."""
  return sum(path.stat().st_size for path in paths if path.is_file())


@dataclasses.dataclass(frozen=True)
class Collected:
  """Result of reading all pages.

  Attributes:
    pages: all readable pages, in the order of the data set.
    at: (index for `PageSet.read`, place in its list) of each.
    bad: (split, reason) of each page that cannot be read.
    examples: class id -> pictures.
    seconds: wall time.
  """

  pages: list[Measures]
  at: list[tuple[int, int]]
  bad: list[tuple[str, str]]
  examples: dict[int, list[np.ndarray]]
  seconds: float


def collect(
  page_set: PageSet,
  *,
  keep_going: bool = True,
  workers: int = 1,
  log: Callable[[str], None] | None = None,
) -> Collected:
  """Reads and measures all pages.

  For options and errors see `check_data_set.check`.
  """
  start = time.monotonic()
  pages, at, bad = [], [], []
  examples: dict[int, list[tuple[float, np.ndarray]]] = {}

  def work(index: int):
    try:
      made = page_set.read(index)
    except (InputError, OSError) as e:
      if not keep_going:
        raise
      return str(e)
    return [
      (measures.measure(p), draw_pages.class_examples(p, seed=index))
      for p in made
    ]

  total = len(page_set.splits)
  results = threads.in_order(work, range(total), workers)
  shown = progress.show(results, "check", total, log, page_set.said)
  for index, result in enumerate(shown):
    if isinstance(result, str):
      bad.append((page_set.splits[index], result))
    else:
      for place, (measured, drawn) in enumerate(result):
        pages.append(measured)
        at.append((index, place))
        for label, example in drawn.items():
          kept = [*examples.get(label, ()), example]
          examples[label] = sorted(kept, key=lambda pair: pair[0])[:EXAMPLES]
  return Collected(
    pages=pages,
    at=at,
    bad=bad,
    examples={c: [x for _, x in examples[c]] for c in sorted(examples)},
    seconds=time.monotonic() - start,
  )
