"""Truth and detections of pages on disk, so that memory does not grow by them.

A file of boxes has 24 bytes of each: float32 (ymin, xmin, ymax, xmax), int32
label, float32 score, and 36 more where there are corners and positions, page by
page, the truth of a page before its detections. The index of the pages is in
memory; `save` writes it beside the boxes, as .npz, for another process.
"""

import array
import dataclasses
import functools
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

# Fields of `PageBoxes`: those of all boxes, those that a page may lack.
_ALWAYS = [("boxes_yxyx", "<f4", 4), ("labels", "<i4"), ("scores", "<f4")]
_MORE = [("oriented_yx", "<f4", (4, 2)), ("positions", "<i4")]
_MAX_INDEX_BYTES = 2 << 30
# `true_more`, `found_more`: bit i is set if the boxes have field i of `_MORE`.
_COLUMNS = ("height", "width", "true", "found", "true_more", "found_more")


@functools.cache
def _kind(more: int) -> np.dtype:
  """What the file has of a box."""
  return np.dtype(_ALWAYS + [f for i, f in enumerate(_MORE) if more >> i & 1])


class Page(NamedTuple):
  """One page.

  Attributes:
    found: detections of the page.
  """

  truth: PageBoxes
  found: PageBoxes

  def upright(self) -> "Page":
    """The page without the corners of oriented boxes."""
    return Page(self.truth.upright(), self.found.upright())


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
    self._starts = array.array("q", [0])  # of the pages, and the end, in bytes

  def add(self, truth: PageBoxes, found: PageBoxes) -> None:
    """Adds a page; boxes and scores are float32."""
    self._file.seek(0, os.SEEK_END)
    counts, more, end = [], [], self._starts[-1]
    for page in (truth, found):
      has = [getattr(page, name) is not None for name, *_ in _MORE]
      more.append(sum(1 << i for i, there in enumerate(has) if there))
      counts.append(len(page.labels))
      rows = np.zeros(counts[-1], _kind(more[-1]))
      for name in rows.dtype.names or ():
        if (values := getattr(page, name)) is not None:
          rows[name] = values
      self._file.write(rows.tobytes())
      end += rows.nbytes
    row = *map(int, truth.image_hw), *counts, *more
    for column, value in zip(self._index.values(), row, strict=True):
      column.append(value)
    self._names.append(truth.filename)
    self._starts.append(end)

  def __len__(self) -> int:
    return len(self._names)

  def __iter__(self) -> Iterator[Page]:
    return map(self._read, range(len(self)))

  def _read(self, i: int) -> Page:
    start, end = self._starts[i], self._starts[i + 1]
    self._file.seek(start)
    data = self._file.read(end - start)
    height, width, true, found, true_more, found_more = (
      column[i] for column in self._index.values()
    )

    def page(count, more, offset=0):
      rows = np.frombuffer(data, _kind(more), count, offset)
      fields = {
        name: np.ascontiguousarray(rows[name])
        for name in rows.dtype.names or ()
      }
      return PageBoxes(self._names[i], (height, width), **fields)

    truth = dataclasses.replace(page(true, true_more), scores=None)
    before = true * _kind(true_more).itemsize
    return Page(truth, page(found, found_more, before))

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
    for name in _COLUMNS:
      values = arrays.pop(name)
      if values.shape != (len(store),) or (values < 0).any():
        raise ValueError(f"{path}: damaged ({name})")
      if name.endswith("_more") and (values >> len(_MORE)).any():
        raise ValueError(f"{path}: damaged ({name})")
      store._index[name] = array.array("q", values.tolist())
    columns = (store._index[name] for name in _COLUMNS[2:])
    for true, found, *more in zip(*columns, strict=True):
      sizes = [_kind(bits).itemsize for bits in more]
      used = true * sizes[0] + found * sizes[1]
      store._starts.append(store._starts[-1] + used)
    size = file.seek(0, os.SEEK_END)
    if size != store._starts[-1]:
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
