"""Pages of prepared records to cut symbols from; this part needs TFDS."""

import collections
import functools
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from dwd_jax.core import box_index
from dwd_jax.core.errors import InputError
from dwd_jax.imaging import tiled_tiff
from tfds_builders import checks, record_folders
from tfds_builders.symbols.symbols_crops import SPLIT

_INFO = "dataset_info.json"


def class_names_of(folder: pathlib.Path) -> tuple[tuple[str, ...], str]:
  """Class names and vocabulary of the records in `folder`.

  Raises:
    InputError: there are no records, or they are symbols instead of pages.
  """
  if not (folder / _INFO).is_file():
    below = sorted(folder.glob(f"*/*/*/{_INFO}")) if folder.is_dir() else []
    hint = f", such as {below[0].parent}" if below else "; build them first"
    raise InputError(
      f"{folder}: no prepared records of pages; data.manual_dir must name the"
      f" folder that holds their {_INFO}{hint}"
    )
  _open.cache_clear()  # they may have been built anew
  facts, _ = _open(str(folder))
  if facts["name"] == "symbols":
    raise InputError(
      f"{folder}: these records are symbols already; name those of pages"
    )
  return facts["class_names"], facts["vocabulary"]


def pages(
  folder: pathlib.Path,
) -> Iterator[tuple[checks.PageFiles, np.ndarray, np.ndarray]]:
  """Files, boxes_yxyx and labels of each training page; decodes no image."""
  _, records = _open(str(folder))
  try:
    index = box_index.load(folder / box_index.FOLDER / SPLIT)
    if index is None or len(index.filenames) != len(records):
      index = box_index.build(_example(folder, i) for i in range(len(records)))
    _check(folder, index.boxes_yxyx, index.labels, index.page_hw[index.page])
  except InputError:
    raise
  except Exception as e:  # damaged arrays, missing features
    raise record_folders.damaged(folder, f"{type(e).__name__}: {e}") from None
  stems = collections.Counter(
    pathlib.PurePath(name).stem for name in index.filenames
  )
  for i, filename in enumerate(index.filenames):
    stem = pathlib.PurePath(filename).stem
    name = stem if stems[stem] == 1 else f"{i:06d}-{stem}"
    if not checks.is_plain_name(name):
      name = f"{i:06d}"
    rows = index.of_page(i)
    page = checks.PageFiles(name, pathlib.Path(filename), folder, i)
    yield page, index.boxes_yxyx[rows], index.labels[rows]


def read_page(page: checks.PageFiles) -> checks.ParsedPage:
  """A page of records; `page.annotation` is their folder, `rows` the index."""
  example = _example(page.annotation, page.rows)
  facts, _ = _open(str(page.annotation))
  ink = tiled_tiff.read_page(
    example["image"], page.image.name, polarity=facts["polarity"]
  )
  boxes, labels = example["boxes_yxyx"].reshape(-1, 4), example["labels"]
  _check(page.annotation, boxes, labels, np.array([ink.shape]))
  return checks.ParsedPage(ink, boxes, labels)


def _check(
  folder: pathlib.Path,
  boxes_yxyx: np.ndarray,
  labels: np.ndarray,
  page_hw: np.ndarray,
) -> None:
  """Raises for boxes [n, 4] and labels [n] that no builder writes.

  `page_hw` is [n, 2] or [1, 2].
  """
  facts, _ = _open(str(folder))
  good = np.all(boxes_yxyx[:, 2:] <= page_hw, axis=1)
  good &= np.all(boxes_yxyx[:, :2] < boxes_yxyx[:, 2:], axis=1)
  good &= np.all(boxes_yxyx >= 0, axis=1)
  good &= (labels >= 0) & (labels < len(facts["class_names"]))
  if not np.all(good):
    raise record_folders.damaged(
      folder, "boxes outside their pages, or unknown classes"
    )


def _example(folder: pathlib.Path, i: int) -> dict[str, Any]:
  _, records = _open(str(folder))
  try:
    example = records[i]
  # From array_record, on opening or reading, and from TFDS, on decoding.
  except (RuntimeError, ValueError) as e:
    raise record_folders.damaged(folder, str(e)) from None
  if example["image"] is None:  # from some truncated files
    raise record_folders.damaged(folder, f"record {i} is empty")
  return example


@functools.lru_cache(maxsize=1)
def _open(folder: str) -> tuple[dict[str, Any], Any]:
  """Facts and records, cached for all pages of a build."""
  facts = record_folders.facts_of(folder)
  made = record_folders.builder_of(folder)
  if SPLIT not in made.info.splits:
    raise InputError(
      f"{folder}: no split {SPLIT!r}, and symbols are taken from no other;"
      " name records that have it"
    )
  known = {"name": made.info.name, "polarity": ""} | facts
  return known, record_folders.pages_of(made, SPLIT)
