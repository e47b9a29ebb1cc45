"""All boxes of a split in one table, so that no record need be read."""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping
from tokenize import TokenError
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from dwd_jax.core import files

FOLDER = "box_index"  # below the folder of the records
_ARRAYS = ("boxes_yxyx", "labels", "page", "page_hw")
_NAMES = "filenames.json"
_MAX_BYTES = 256 << 20  # of all names


@dataclasses.dataclass(frozen=True)
class BoxIndex:
  """All boxes of a split in one table, in the order of the pages.

  Attributes:
    boxes_yxyx: in pixels of the page's image.
    page: index of each box's page, ascending.
    page_hw: size of each page in pixels.
  """

  boxes_yxyx: Float[np.ndarray, "n 4"]
  labels: Int[np.ndarray, " n"]
  page: Int[np.ndarray, " n"]
  page_hw: Int[np.ndarray, "p 2"]
  filenames: tuple[str, ...]

  def of_page(self, i: int) -> slice:
    """The rows of page `i`."""
    start, stop = np.searchsorted(self.page, (i, i + 1))
    return slice(int(start), int(stop))

  def keep(self, new_id: Int[np.ndarray, " C"]) -> "BoxIndex":
    """The boxes under new class ids; a negative new id drops a box."""
    if np.array_equal(new_id, np.arange(len(new_id))):
      return self
    labels = new_id[self.labels]
    kept = labels >= 0
    return dataclasses.replace(
      self,
      boxes_yxyx=self.boxes_yxyx[kept],
      labels=labels[kept],
      page=self.page[kept],
    )


def build(examples: Iterable[Mapping[str, Any]]) -> BoxIndex:
  """Builds the index of the records of a data source."""
  boxes, labels, pages, hw, names = [], [], [], [], []
  for i, example in enumerate(examples):
    boxes.append(example["boxes_yxyx"].reshape(-1, 4))
    labels.append(example["labels"].astype(np.int32))
    pages.append(np.full(len(labels[-1]), i, np.int32))
    hw.append((int(example["image/height"]), int(example["image/width"])))
    names.append(filename_of(example))
  return BoxIndex(
    np.concatenate([*boxes, np.zeros((0, 4), np.float32)]),
    np.concatenate([*labels, np.zeros(0, np.int32)]),
    np.concatenate([*pages, np.zeros(0, np.int32)]),
    np.array(hw, np.int32).reshape(-1, 2),
    tuple(names),
  )


def save(index: BoxIndex, folder: pathlib.Path) -> None:
  """Writes the arrays and file names of an index to a folder."""
  folder.mkdir(parents=True, exist_ok=True)
  for name in _ARRAYS:
    np.save(folder / f"{name}.npy", getattr(index, name), allow_pickle=False)
  names = json.dumps(index.filenames)
  (folder / _NAMES).write_text(names, encoding="utf8")


def read_array(path: pathlib.Path, mapped: bool = False) -> np.ndarray:
  """Reads an array of `np.save`; no pickle.

  Args:
    mapped: it stays in the file.

  Raises:
    OSError: it cannot be read.
    ValueError: it is damaged.
  """
  try:
    return np.load(path, "r" if mapped else None, allow_pickle=False)
  except (EOFError, TypeError, SyntaxError, TokenError, MemoryError) as e:
    raise ValueError(f"{type(e).__name__}: {e}") from None


def load(folder: pathlib.Path) -> BoxIndex | None:
  """Reads what `save` wrote, large arrays memory-mapped; None if damaged."""
  try:
    arrays = {
      # Small files are read, as an empty one cannot be mapped.
      name: read_array(path, mapped=path.stat().st_size > 4096)
      for name in _ARRAYS
      if (path := folder / f"{name}.npy").is_file()
    }
    names = tuple(files.read_json(folder / _NAMES, _MAX_BYTES))
    index = BoxIndex(**arrays, filenames=names)
  except (OSError, TypeError, ValueError):
    return None
  whole = (
    index.boxes_yxyx.shape == (len(index.labels), 4)
    and len(index.page) == len(index.labels)
    and index.page_hw.shape == (len(names), 2)
    and index.boxes_yxyx.dtype == np.float32
    and all(getattr(index, name).dtype == np.int32 for name in _ARRAYS[1:])
    and all(isinstance(name, str) for name in names)
    and not np.any((index.page[:1] < 0) | (index.page[-1:] >= len(names)))
    and not np.any(index.page[1:] < index.page[:-1])
  )
  return index if whole else None


def filename_of(example: Mapping[str, Any]) -> str:
  """File name of a record's image."""
  name = example["image/filename"]
  return name.decode() if isinstance(name, bytes) else str(name)
