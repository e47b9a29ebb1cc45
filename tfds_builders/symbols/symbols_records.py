"""Pages of prepared records to cut symbols from; the part that needs TFDS."""

import collections
import functools
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from dwd_jax.data import box_index, tiles
from dwd_jax.errors import InputError
from tfds_builders import checks

_INFO = "dataset_info.json"
SPLIT = "train"  # no symbol of a page to be evaluated on may reach training


def class_names_of(folder: pathlib.Path) -> tuple[tuple[str, ...], str]:
  """Class names and vocabulary of the records in `folder`.

  Raises:
    InputError: no records there, or symbols instead of pages.
  """
  if not (folder / _INFO).is_file():
    below = sorted(folder.glob(f"*/*/*/{_INFO}")) if folder.is_dir() else []
    hint = f", such as {below[0].parent}" if below else "; build them first"
    raise InputError(
      f"{folder}: no prepared records of pages; data.manual_dir must name the"
      f" folder that holds their {_INFO}{hint}"
    )
  _open.cache_clear()  # they may have been built anew since
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
  facts, records = _open(str(folder))
  num_classes = len(facts["class_names"])
  index = box_index.load(folder / box_index.FOLDER / SPLIT)
  if index is None or len(index.filenames) != len(records):
    index = box_index.build(_example(folder, i) for i in range(len(records)))
  labels, hw = index.labels, index.page_hw[index.page]
  inside = np.all(index.boxes_yxyx[:, 2:] <= hw, axis=1)
  valid = np.all(index.boxes_yxyx[:, :2] < index.boxes_yxyx[:, 2:], axis=1)
  known = (labels >= 0) & (labels < num_classes)
  if not np.all(inside & valid & known & (index.boxes_yxyx.min(axis=1) >= 0)):
    raise _damaged(folder, "boxes outside their pages, or unknown classes")
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
  return checks.ParsedPage(
    tiles.read_page(example["image"], page.image.name),
    example["boxes_yxyx"].reshape(-1, 4),
    example["labels"],
  )


def _example(folder: pathlib.Path, i: int) -> dict[str, Any]:
  _, records = _open(str(folder))
  try:
    example = records[i]
  except RuntimeError as e:  # what array_record raises, opening or reading
    raise _damaged(folder, str(e)) from None
  if example["image"] is None:  # what it gives for some truncated files
    raise _damaged(folder, f"record {i} is empty")
  return example


@functools.lru_cache(maxsize=1)
def _open(folder: str) -> tuple[dict[str, Any], Any]:
  """Facts and records; kept, since every page of a build asks for them."""
  path = pathlib.Path(folder)
  try:
    facts = json.loads((path / "metadata.json").read_text())
    names = tuple(str(name) for name in facts["class_names"])
    made = tfds.builder_from_directory(folder)
    if SPLIT not in made.info.splits:
      raise InputError(
        f"{folder}: no split {SPLIT!r}, and symbols are taken from no other;"
        " name records that have it"
      )
    records = made.as_data_source(
      SPLIT,  # pyright: ignore[reportCallIssue]: hidden by a decorator
      decoders={"image": tfds.decode.SkipDecoding()},
    )
  except InputError:
    raise
  except Exception as e:  # TFDS and protobuf raise errors of many kinds
    raise _damaged(path, str(e)) from None
  known = {
    "name": made.info.name,
    "class_names": names,
    "vocabulary": str(facts.get("vocabulary", "")),
  }
  return known, records


def _damaged(folder: pathlib.Path, reason: str) -> InputError:
  reason = " ".join(reason.split())[:300]
  return InputError(
    f"{folder}: damaged or missing records ({reason}); remove the folder and"
    " prepare them again"
  )
