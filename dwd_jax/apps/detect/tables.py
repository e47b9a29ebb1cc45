"""Tables of all symbols: detections.csv and detections.parquet, page by page.

Both have the same columns and values, but for names that a spreadsheet would
take for formulas.
"""

import contextlib
import csv
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Collection, Iterator
from typing import Any

from dwd_jax.apps.detect.inputs import Source
from dwd_jax.core import files
from dwd_jax.predict.page_detections import PageDetections

# In Parquet "text" is a dictionary of strings.
_COLUMNS = {
  "page": "text", "file": "text", "page_number": "int32", "name": "text",
  "score": "float64", "x_min": "float64", "y_min": "float64",
  "x_max": "float64", "y_max": "float64", "page_width": "int32",
  "page_height": "int32",
}  # fmt: skip

# Columns of what only some detectors find, in this order, behind those.
_EXTRAS = {
  "oriented": {f"{axis}{i}": "float64" for i in range(1, 5) for axis in "xy"},
  "position": {"position": "int32"},
}
_STARTS_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_GROUP_ROWS = 1 << 16  # of Parquet, written at once


@dataclasses.dataclass(frozen=True)
class RunPage:
  """A page of a run as its files take it.

  Attributes:
    image_id: from 1, in the order of the pages.
  """

  image_id: int
  found: PageDetections
  source: Source

  @functools.cached_property
  def coco(self) -> list[dict[str, Any]]:
    """See `PageDetections.to_coco`."""
    return self.found.to_coco(self.image_id)

  def rows(
    self, text: Callable[[str], str], extras: Collection[str] = ()
  ) -> list[list[Any]]:
    """A row of the tables for each symbol; `text` is applied to names.

    `extras`: what the detector finds besides upright boxes: "oriented",
    "position".
    """
    height, width = self.found.image_hw
    page, path = text(self.found.page), text(self.source.file)
    names = [text(name) for name in self.found.class_names]
    rows = []
    for symbol in self.coco:
      x, y, w, h = symbol["bbox"]
      row = [
        page,
        path,
        self.source.number,
        names[symbol["category_id"] - 1],
        round(symbol["score"], 4),
        x,
        y,
        round(x + w, 2),
        round(y + h, 2),
        width,
        height,
      ]
      if "oriented" in extras:
        row += symbol["segmentation"][0]
      if "position" in extras:
        row.append(symbol.get("position"))
      rows.append(row)
    return rows


@contextlib.contextmanager
def csv_file(
  path: pathlib.Path, extras: Collection[str] = ()
) -> Iterator[Callable[[RunPage], None]]:
  """Yields a function that adds a page to a CSV file; see `RunPage.rows`."""
  with files.atomic(path) as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_columns(extras))
    yield lambda page: writer.writerows(page.rows(_no_formula, extras))


def _columns(extras: Collection[str]) -> dict[str, str]:
  columns = dict(_COLUMNS)
  for extra, more in _EXTRAS.items():
    if extra in extras:
      columns |= more
  return columns


def _no_formula(name: str) -> str:
  """Names that a spreadsheet would run get the quote that makes them text."""
  # The writer does not quote \r, which ends a row, too.
  mark = "'" if name.startswith(_STARTS_FORMULA) else ""
  return mark + name.replace("\r", "\n")


@contextlib.contextmanager
def parquet_file(
  path: pathlib.Path, extras: Collection[str] = ()
) -> Iterator[Callable[[RunPage], None]]:
  """Yields a function that adds a page to a Parquet file; needs pyarrow."""
  import pyarrow  # an extra
  from pyarrow import parquet

  types = {"text": pyarrow.dictionary(pyarrow.int32(), pyarrow.string())}
  schema = pyarrow.schema(
    [(name, types.get(kind, kind)) for name, kind in _columns(extras).items()]
  )
  held: list[list[Any]] = []

  def write_held() -> None:
    columns = zip(*held, strict=True)
    arrays = [
      pyarrow.array(column, field.type)
      for column, field in zip(columns, schema, strict=True)
    ]
    writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
    held.clear()

  def add(page: RunPage) -> None:
    held.extend(page.rows(_as_utf8, extras))
    if len(held) >= _GROUP_ROWS:
      write_held()

  with (
    files.atomic(path) as file,
    parquet.ParquetWriter(file.buffer, schema, compression="zstd") as writer,
  ):
    yield add
    if held:
      write_held()


def _as_utf8(name: str) -> str:
  """Names of files that are not UTF-8 get question marks, as in the CSV."""
  return name.encode("utf8", "replace").decode()
