"""Tables of all symbols: detections.csv and detections.parquet, page by page.

Both have the same columns and values, but for names that a spreadsheet would
take for formulas.
"""

import contextlib
import csv
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator
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
  def rows(self) -> list[list[Any]]:
    """A row of the tables for each symbol."""
    height, width = self.found.image_hw
    page = [self.found.page, str(self.source.path), self.source.number]
    rows = []
    for symbol in self.found:
      x, y, w, h = symbol["bbox"]
      corners = [round(value, 2) for value in (x, y, x + w, y + h)]
      row = [*page, symbol["name"], symbol["score"], *corners, width, height]
      rows.append(row)
    return rows


@contextlib.contextmanager
def csv_file(path: pathlib.Path) -> Iterator[Callable[[RunPage], None]]:
  """Yields a function that adds a page to a CSV file."""
  with files.atomic(path) as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_COLUMNS)

    def add(page: RunPage) -> None:
      writer.writerows([_no_formula(cell) for cell in row] for row in page.rows)

    yield add


def _no_formula(cell: Any) -> Any:
  """Names that a spreadsheet would run get the quote that makes them text."""
  if not isinstance(cell, str):
    return cell
  # The writer does not quote \r, which ends a row, too.
  mark = "'" if cell.startswith(_STARTS_FORMULA) else ""
  return mark + cell.replace("\r", "\n")


@contextlib.contextmanager
def parquet_file(path: pathlib.Path) -> Iterator[Callable[[RunPage], None]]:
  """Yields a function that adds a page to a Parquet file; needs pyarrow."""
  import pyarrow  # an extra
  from pyarrow import parquet

  types = {"text": pyarrow.dictionary(pyarrow.int32(), pyarrow.string())}
  schema = pyarrow.schema(
    [(name, types.get(kind, kind)) for name, kind in _COLUMNS.items()]
  )
  held: list[list[Any]] = []

  def write_held() -> None:
    columns = zip(*held, strict=True)
    arrays = [
      pyarrow.array(map(_as_utf8, column), field.type)
      for column, field in zip(columns, schema, strict=True)
    ]
    writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
    held.clear()

  def add(page: RunPage) -> None:
    held.extend(page.rows)
    if len(held) >= _GROUP_ROWS:
      write_held()

  with (
    files.atomic(path) as file,
    parquet.ParquetWriter(file.buffer, schema, compression="zstd") as writer,
  ):
    yield add
    if held:
      write_held()


def _as_utf8(cell: Any) -> Any:
  """Names of files that are not UTF-8 get question marks, as in the CSV."""
  if not isinstance(cell, str):
    return cell
  return cell.encode("utf8", "replace").decode()
