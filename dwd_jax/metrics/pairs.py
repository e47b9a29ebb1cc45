"""Pairs of boxes that overlap, and their assignment one to one.

Most boxes of a page overlap few others, so pairs are listed, not tabulated.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core import rectangles
from dwd_jax.core.structs import PageBoxes

_AT_ONCE = 1 << 20  # candidates
_RECTANGLES_AT_ONCE = 1 << 14  # pairs
_ANY = 1e-300  # IoU of boxes that overlap


class Pairs(NamedTuple):
  """k pairs of a row and a column, by row, then column."""

  row: Int[np.ndarray, " k"]
  column: Int[np.ndarray, " k"]
  iou: Float[np.ndarray, " k"]

  def keep(self, which: np.ndarray) -> "Pairs":
    """Some of the pairs, by any index of an array [k]."""
    return Pairs(*(values[which] for values in self))


def are_oriented(rows: PageBoxes, columns: PageBoxes) -> bool:
  """Whether `of_pages` compares oriented boxes."""
  return rows.oriented_yx is not None and columns.oriented_yx is not None


def of_pages(rows: PageBoxes, columns: PageBoxes, min_iou: float) -> Pairs:
  """Pairs of oriented boxes if both pages have them, else of upright ones.

  Args:
    rows: detections, which are rectangles.
    columns: true boxes.
    min_iou: see `overlapping`; `PageBoxes.upright` makes boxes upright.
  """
  if not are_oriented(rows, columns):
    return overlapping(rows.boxes_yxyx, columns.boxes_yxyx, min_iou)
  assert rows.oriented_yx is not None and columns.oriented_yx is not None
  return overlapping_oriented(rows.oriented_yx, columns.oriented_yx, min_iou)


def overlapping(
  rows_yxyx: Float[np.ndarray, "n 4"],
  columns_yxyx: Float[np.ndarray, "m 4"],
  min_iou: float,
) -> Pairs:
  """Pairs with at least this IoU, which must be above 0.

  The IoU is that of `boxes.pairwise_iou`.
  """
  rows = np.asarray(rows_yxyx, np.float64)
  columns = np.asarray(columns_yxyx, np.float64)
  areas = [np.asarray(boxes_lib.areas(boxes)) for boxes in (rows, columns)]
  found = []
  for row, column in _candidates(rows, columns):
    a, b = rows[row], columns[column]
    hw = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    inter = np.maximum(hw[:, 0], 0) * np.maximum(hw[:, 1], 0)
    union = areas[0][row] + areas[1][column] - inter
    iou = np.where(union > 0, inter / np.maximum(union, 1e-9), 0)
    at = np.flatnonzero(iou >= min_iou)
    found.append((row[at], column[at], iou[at]))
  if not found:
    return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
  pairs = Pairs(*(np.concatenate(part) for part in zip(*found, strict=True)))
  return pairs.keep(np.argsort(pairs.row * len(columns) + pairs.column))


def overlapping_oriented(
  rows_yx: Float[np.ndarray, "n 4 2"],
  columns_yx: Float[np.ndarray, "m 4 2"],
  min_iou: float,
) -> Pairs:
  """Pairs of oriented boxes with at least this IoU, which must be above 0.

  The IoU is that of `rectangles.iou`: rows are rectangles.
  """
  rows, columns = (c.astype(np.float64) for c in (rows_yx, columns_yx))
  bounds = [np.hstack([c.min(axis=1), c.max(axis=1)]) for c in (rows, columns)]
  pairs = overlapping(bounds[0], bounds[1], _ANY)
  iou = np.zeros(len(pairs.row))
  for start in range(0, len(iou), _RECTANGLES_AT_ONCE):
    part = slice(start, start + _RECTANGLES_AT_ONCE)
    iou[part] = rectangles.iou(
      rows[pairs.row[part]], columns[pairs.column[part]]
    )
  return pairs._replace(iou=iou).keep(iou >= min_iou)


def _candidates(rows, columns) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Pairs that overlap along y or x, whichever are fewer, some at a time.

  The one that begins later does so before the other ends.
  """
  sweeps = [_sweep(rows, columns, axis) for axis in (0, 1)]
  first, later = min(sweeps, key=lambda s: sum(part[2].sum() for part in s))
  for (order, lowest, count), swapped in ((first, False), (later, True)):
    ends = np.cumsum(count)
    start = 0
    while start < len(count):
      done = ends[start] - count[start]
      end = max(start + 1, int(np.searchsorted(ends, done + _AT_ONCE, "right")))
      here = count[start:end]
      owner = np.repeat(np.arange(start, end), here)
      shift = lowest[start:end] - (ends[start:end] - here - done)
      other = order[np.arange(len(owner)) + np.repeat(shift, here)]
      yield (other, owner) if swapped else (owner, other)
      start = end


def _sweep(rows, columns, axis):
  """Per row the columns that begin in it, per column the rows.

  Each as the others by rising start, the first of them, their number.
  """
  (a0, a1), (b0, b1) = (boxes.T[axis::2] for boxes in (rows, columns))
  parts = []
  for start, end, other, with_equal in (
    (a0, a1, b0, True),
    (b0, b1, a0, False),
  ):
    order = np.argsort(other, kind="stable")
    rising = other[order]
    lowest = np.searchsorted(rising, start, "left" if with_equal else "right")
    count = np.maximum(np.searchsorted(rising, end) - lowest, 0)
    parts.append((order, lowest, count))
  return parts


def best(
  pairs: Pairs, num_rows: int
) -> tuple[Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
  """IoU and column that each row overlaps most, of equal ones the first.

  0 and -1 without a pair.
  """
  pairs = pairs.keep(np.lexsort((pairs.column, -pairs.iou, pairs.row)))
  rows, first = np.unique(pairs.row, return_index=True)
  iou, column = np.zeros(num_rows), np.full(num_rows, -1)
  iou[rows], column[rows] = pairs.iou[first], pairs.column[first]
  return iou, column


def one_to_one(
  pairs: Pairs,
  num_rows: int,
  num_columns: int,
  ious: Sequence[float],
  *,
  last_of_equals: bool = False,
) -> Int[np.ndarray, "T n"]:
  """The column that each row takes at each least IoU; -1 = none.

  Rows choose in their order. Each takes the free column that it overlaps most,
  of equal ones the first, or the last.

  All rows ask for their best column at once, and a column keeps the first of
  those that ask; the others ask for their next best. As all columns prefer rows
  in the same order, this ends where choosing in turn does.
  """
  tie = -pairs.column if last_of_equals else pairs.column
  pairs = pairs.keep(np.lexsort((tie, -pairs.iou, pairs.row)))
  least = np.array(ious, np.float64)
  taken = np.full((len(least), num_rows), -1, np.int64)
  alone = np.bincount(pairs.row, minlength=num_rows)[pairs.row] == 1
  alone &= np.bincount(pairs.column, minlength=num_columns)[pairs.column] == 1
  row, column, iou = pairs.keep(alone)
  taken[:, row] = np.where(iou >= least[:, None], column, -1)
  row, column, iou = pairs.keep(~alone)
  # The thresholds are asked side by side, with rows and columns of their own.
  at, pair = np.nonzero(iou >= least[:, None])
  asks, asked = at * num_rows + row[pair], at * num_columns + column[pair]
  rows, nth = np.unique(asks, return_index=True)
  ends = np.append(nth[1:], len(asks))
  holder = np.full(len(least) * num_columns, len(least) * num_rows)
  while rows.size:
    np.minimum.at(holder, asked[nth], rows)
    lost = holder[asked[nth]] != rows
    if not lost.any():
      break
    nth = nth + lost
    left = nth < ends
    rows, nth, ends = rows[left], nth[left], ends[left]
  taken.reshape(-1)[rows] = asked[nth] % max(num_columns, 1)
  return taken
