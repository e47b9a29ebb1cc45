"""Truth and detections of pages on disk, so that memory does not grow by them.

A file of boxes has 24 bytes of each: float32 (ymin, xmin, ymax, xmax), int32
label, float32 score, page by page, the truth of a page before its detections.
The index of the pages is in memory; `save` writes it beside the boxes, as .npz,
for another process.
"""

import array
import io
import itertools
import os
import pathlib
import zipfile
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple, Protocol

import numpy as np

from dwd_jax.core import files
from dwd_jax.core.structs import PageBoxes

_BOX = np.dtype([("box", "<f4", 4), ("label", "<i4"), ("score", "<f4")])
_MAX_INDEX_BYTES = 2 << 30
_COLUMNS = ("height", "width", "true", "found")


class Page(NamedTuple):
  """One page.

  Attributes:
    found: detections of the page.
  """

  truth: PageBoxes
  found: PageBoxes


class Pages(Protocol):
  """Pages, one after the other, as often as wanted."""

  def __len__(self) -> int: ...

  def __iter__(self) -> Iterator[Page]: ...


class PageStore:
  """Pages in the order in which they were added.

  Args of the constructor: an empty file that is opened to write and read.
  """

  def __init__(self, file: IO[bytes]):
    self._file = file
    self._names: list[str] = []
    self._index = {name: array.array("q") for name in _COLUMNS}
    self._starts = array.array("q", [0])  # of the pages, and the end, in boxes

  def add(self, truth: PageBoxes, found: PageBoxes) -> None:
    """Adds a page; boxes and scores are float32."""
    rows = np.zeros(len(truth.labels) + len(found.labels), _BOX)
    for part, page in (
      (rows[: len(truth.labels)], truth),
      (rows[len(truth.labels) :], found),
    ):
      part["box"], part["label"] = page.boxes_yxyx, page.labels
      if page.scores is not None:
        part["score"] = page.scores
    self._file.seek(0, os.SEEK_END)
    self._file.write(rows.tobytes())
    height, width = map(int, truth.image_hw)
    values = height, width, len(truth.labels), len(found.labels)
    for column, value in zip(self._index.values(), values, strict=True):
      column.append(value)
    self._names.append(truth.filename)
    self._starts.append(self._starts[-1] + len(rows))

  def __len__(self) -> int:
    return len(self._names)

  def __iter__(self) -> Iterator[Page]:
    return map(self._read, range(len(self)))

  def _read(self, i: int) -> Page:
    start, end = self._starts[i], self._starts[i + 1]
    self._file.seek(start * _BOX.itemsize)
    rows = np.frombuffer(self._file.read((end - start) * _BOX.itemsize), _BOX)
    height, width, true, _ = (column[i] for column in self._index.values())

    def page(part, scores):
      return PageBoxes(
        filename=self._names[i],
        image_hw=(height, width),
        boxes_yxyx=np.ascontiguousarray(part["box"], np.float32),
        labels=np.ascontiguousarray(part["label"], np.int32),
        scores=np.ascontiguousarray(part["score"], np.float32)
        if scores
        else None,
      )

    return Page(page(rows[:true], False), page(rows[true:], True))

  def save(self, path: pathlib.Path, **more: np.ndarray) -> None:
    """Writes all boxes to disk, then the index, with more arrays, to `path`."""
    self._file.flush()
    os.fsync(self._file.fileno())
    arrays = {k: np.frombuffer(v, np.int64) for k, v in self._index.items()}
    with files.atomic(path) as file:
      np.savez(
        file.buffer,
        allow_pickle=False,
        names=np.array(self._names, np.str_),
        **arrays,
        **more,
      )

  @classmethod
  def load(
    cls, file: IO[bytes], path: pathlib.Path
  ) -> tuple["PageStore", dict[str, np.ndarray]]:
    """Opens what `save` wrote; also returns the other arrays.

    Raises:
      OSError, ValueError, KeyError: it is missing or damaged.
    """
    data = path.read_bytes() if path.stat().st_size < _MAX_INDEX_BYTES else b""
    try:
      with np.load(io.BytesIO(data), allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files}
    except (zipfile.BadZipFile, EOFError) as e:
      raise ValueError(f"{path}: damaged ({e})") from None
    store = cls(file)
    store._names = [str(name) for name in arrays.pop("names")]
    counts = np.zeros(len(store), np.int64)
    for name in _COLUMNS:
      values = arrays.pop(name)
      if values.shape != counts.shape or (values < 0).any():
        raise ValueError(f"{path}: damaged ({name})")
      store._index[name] = array.array("q", values.tolist())
      counts += values if name in ("true", "found") else 0
    store._starts.extend(np.cumsum(counts).tolist())
    size = file.seek(0, os.SEEK_END)
    if size != store._starts[-1] * _BOX.itemsize:
      raise ValueError(f"{path}: damaged ({size} bytes of boxes)")
    return store, arrays


class Joined:
  """The pages of several stores, one after the other."""

  def __init__(self, parts: Sequence[Pages]):
    self._parts = parts

  def __len__(self) -> int:
    return sum(map(len, self._parts))

  def __iter__(self) -> Iterator[Page]:
    return itertools.chain.from_iterable(self._parts)
