"""Where staves run across a page: the path of the middle line of each.

A page is reduced to cells of half a staff space by a tenth. In each, a line is
darker than what lies a little above and below it. A staff is a path from cell
to cell along which a comb of five such lines, and no sixth, is seen; paths that
gather most are found by dynamic programming, as local alignments are, so that
they start and end where the lines do, bend with them, and cross what hides
them.

References: lines as paths of an image: Cardoso et al., "Staff detection with
stable paths" (PAMI 2009), of single lines; local alignment: Smith and Waterman
(1981).
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from dwd_jax.imaging.staff_pieces import Pieces
from dwd_jax.imaging.staff_space import LINES

NUMBERS = np.arange(LINES) - LINES // 2  # of lines, the middle one is 0
SMOOTH = 4  # columns of cells along which lines are averaged, as deviation
_ROWS = 10  # of cells, in a staff space
_SAMPLED = 3  # one of so many rows; no divisor of _ROWS, or lines keep step
_COLUMN = 0.5  # staff spaces, the width of cells
_BESIDE = 3  # rows above and below a line that are paper
_GAPS = (NUMBERS[1:] + NUMBERS[:-1]) / 2
_FILLED = 0.5  # what lines between them take away
_STEP = 0.04  # relative, of the staff spaces tried
_SPACES = (0.5, 2.0)  # least and most of them, of the page's
_THICK = 2  # rows above and below the middle of what is no line
_ALONG = 5  # columns
_DARKER = 0.3  # what is beside a line may be darker, in strengths of lines
_FAINT = 0.35  # strength of a line that is certain, of that of most
_NOISE = 4.0  # the same in that of most cells
_SIXTH = 0.7  # what a sixth line takes away
_ABOUT = (9, 49)  # rows and columns in which it is looked for
_LEAST = 0.5  # evidence of a cell from which it counts for a staff
_SEED = 0.7  # of some cells of a staff
_START = 2  # a step that begins a path
_BEND = 0.15  # what a step to the next row costs
_SHORTEST = 5.0  # staff spaces, of a staff
# Of the clearest stretch of a staff, the share of its lines that is seen, and
# what its length in staff spaces times the share above that must be.
_CERTAIN, _GAIN = 0.5, 3.0
_BETWEEN = 5.7  # staff spaces from middle line to middle line, at least
_UNSEEN = 0.05  # what a cell takes away in which nothing is seen
_EACH = 0.4  # the least share of each line
_WORN = 0.8  # the most of the second weakest line, where one may be less
_AT_ONCE = 2  # columns within which the lines of a staff end
_EMPTY = 0.15  # evidence of a cell between two staves side by side
_APART = 1.5  # staff spaces between them


class Grid(NamedTuple):
  """A page as cells; of n rows and m columns.

  Attributes:
    columns: the page with its own rows and the columns of the cells.
    evidence: of a line in each cell, 0..1, along the slope of the page.
    shift: rows by which each column was moved up.
    row_px: height of a row.
    column_px: width of a column.
    ink: tone of solid ink above paper.
    line: the same of lines, in the cells.
  """

  columns: UInt8[np.ndarray, "H m"]
  evidence: Float[np.ndarray, "n m"]
  shift: Int[np.ndarray, " m"]
  row_px: float
  column_px: float
  ink: float
  line: float


class Path(NamedTuple):
  """Middle line and space of a staff, both in px, in columns from `first`."""

  first: int
  middle: Float[np.ndarray, " m"]
  space: Float[np.ndarray, " m"]


def reduced(
  ink: UInt8[np.ndarray, "H W"], space_px: float, pieces: Pieces
) -> Grid:
  """Reduces a page to cells, and says in which of them lines are.

  Args:
    ink: 0 = paper, 255 = ink.
    space_px: staff space of the page.
    pieces: of its staves, which tell their slope and how dark lines are.
  """
  height, width = ink.shape
  num_columns = max(1, round(width / (_COLUMN * space_px)))
  num_rows = max(1, round(height * _ROWS / space_px))
  columns = cv2.resize(ink, (num_columns, height), interpolation=cv2.INTER_AREA)
  how = cv2.INTER_AREA if num_rows < height else cv2.INTER_LINEAR
  tone = cv2.resize(columns, (num_columns, num_rows), interpolation=how)
  row_px, column_px = height / num_rows, width / num_columns
  slope = np.tan(np.radians(pieces.skew()))
  middle = (num_columns - 1) / 2
  fall = slope * (np.arange(num_columns) - middle) * column_px / row_px
  shift = np.rint(fall).astype(np.int64)
  at = np.arange(num_rows)[:, None] + shift
  outside = (at < 0) | (at >= num_rows)
  tone = np.take_along_axis(tone, at.clip(0, num_rows - 1), 0)
  tone = tone.astype(np.float32)
  tone[outside] = 0
  above, below = _moved(tone, -_BESIDE), _moved(tone, _BESIDE)
  ridge = tone - np.maximum(above, below)
  at = (pieces.x / column_px).astype(np.int64).clip(0, num_columns - 1)
  # Of the lines of each piece: [n, 5].
  rows = pieces.y[:, None] + pieces.space[:, None] * NUMBERS
  rows = rows / row_px - 0.5 - shift[at, None]
  solid = max(1.0, _solid(tone, rows))
  line = _strength(_widened(ridge), rows, at)
  if line <= 0:
    line = 0.3 * solid
  # Broken and faint lines are darker on the whole than what is beside them.
  ridge = cv2.blur(ridge.clip(-_DARKER * line, line), (_ALONG, 1))
  noise = float(np.median(np.abs(ridge[::_SAMPLED])))
  evidence = (ridge / max(_FAINT * line, _NOISE * noise)).clip(0, 1)
  # What is thicker than a line may hide one.
  thick = np.minimum(_moved(tone, -_THICK), _moved(tone, _THICK))
  evidence[np.minimum(thick, tone) > 0.5 * solid] = _LEAST
  return Grid(columns, evidence, shift, row_px, column_px, solid, line)


def _solid(
  tone: Float[np.ndarray, "n m"], rows: Float[np.ndarray, "k 5"]
) -> float:
  """The tone of solid ink in staves; on the whole page without any.

  Most of a page with few staves is paper.

  Args:
    rows: of the lines of pieces of staves.
  """
  beside = np.arange(len(tone))[:, None]
  near = (beside > rows[:, 0] - _ROWS) & (beside < rows[:, -1] + _ROWS)
  inside = tone[near.any(1)] if len(rows) else tone
  return float(np.quantile(inside[::_SAMPLED], 0.995))


def _strength(
  ridge: Float[np.ndarray, "n m"],
  rows: Float[np.ndarray, "k 5"],
  columns: Int[np.ndarray, " k"],
) -> float:
  """How much the lines of pieces stand out; 0 without any.

  Args:
    rows: of the lines in the middles of the pieces.
    columns: of these middles.
  """
  height, width = ridge.shape
  row = np.rint(rows).astype(np.int64).clip(0, height - 1)
  column = (columns[:, None] + np.arange(-2, 3)).clip(0, width - 1)
  lines = ridge[row[:, :, None], column[:, None]]
  return float(np.median(lines)) if lines.size else 0.0


def _moved(
  values: Float[np.ndarray, "n m"], rows: int
) -> Float[np.ndarray, "n m"]:
  """Of each cell the value so many rows below it, 0 outside."""
  above, below = max(-rows, 0), max(rows, 0)
  padded = np.pad(values, ((above, below), (0, 0)))
  return padded[below:][: len(values)]


def _mean_at(
  values: Float[np.ndarray, "n m"], spaces: Float[np.ndarray, " k"]
) -> Float[np.ndarray, "n m"]:
  """Of each cell the mean of those so many staff spaces below it, 0 outside."""
  rows = np.rint(spaces * _ROWS).astype(np.int64)
  reach = int(np.abs(rows).max())
  kernel = np.bincount(rows + reach, minlength=2 * reach + 1) / len(rows)
  return cv2.filter2D(
    values, -1, kernel[:, None], borderType=cv2.BORDER_CONSTANT
  )


def _widened(values: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n m"]:
  """Of each cell the most of itself and those above and below."""
  return cv2.dilate(values, np.ones((3, 1), np.uint8))


def _combs(pieces: Pieces, space_px: float) -> Float[np.ndarray, " c"]:
  """The staff spaces to look for, in those of the page."""
  spaces = np.append(pieces.space, space_px) / space_px
  steps = np.rint(np.log(spaces.clip(*_SPACES)) / _STEP)
  around = steps[:, None] + np.arange(-1, 2)
  return np.exp(np.unique(around) * _STEP)


def _comb_evidence(
  grid: Grid, combs: Float[np.ndarray, " c"]
) -> tuple[Float[np.ndarray, "n m"], Int[np.ndarray, "n m"]]:
  """Evidence of a staff around each cell, and the comb that shows it best."""
  best = np.full(grid.evidence.shape, -np.inf, np.float32)
  which = np.zeros(grid.evidence.shape, np.int16)
  # Beams and ledger lines are shorter than a sixth line.
  lines = _widened(grid.evidence)  # which need not be in the middle of a row
  about = cv2.dilate(grid.evidence, np.ones((_ABOUT[0], 1), np.uint8))
  about = (cv2.blur(about, (_ABOUT[1], 1)) - _LEAST).clip(0) / (1 - _LEAST)
  for i, comb in enumerate(combs.tolist()):
    total = _mean_at(lines, comb * NUMBERS)
    total -= _FILLED * _mean_at(grid.evidence, comb * _GAPS)
    sixth = round(3 * comb * _ROWS)
    total -= _SIXTH * np.maximum(_moved(about, -sixth), _moved(about, sixth))
    total = cv2.blur(total, (3, 1))
    better = total > best
    best[better], which[better] = total[better], i
  return best, which


class _Gathered(NamedTuple):
  """Evidence gathered along the best path to each cell, and its last step.

  Attributes:
    step: rows down, from the column before; 2 = the path starts here.
  """

  total: Float[np.ndarray, "m n"]
  step: Int[np.ndarray, "m n"]


def _gather(score: Float[np.ndarray, "m n"]) -> _Gathered:
  """Gathers a score from the first column on."""
  total = np.empty_like(score)
  step = np.full(score.shape, _START, np.int8)
  total[0] = score[0]
  for i in range(1, len(score)):
    before = total[i - 1]
    best, come = before.copy(), np.zeros(len(before), np.int8)
    down, up = before[:-1] - _BEND, before[1:] - _BEND
    better = down > best[1:]
    best[1:][better], come[1:][better] = down[better], 1
    better = up > best[:-1]
    best[:-1][better], come[:-1][better] = up[better], -1
    goes_on = best > 0
    step[i][goes_on] = come[goes_on]
    total[i] = score[i] + best.clip(0)
  return _Gathered(total, step)


def find(grid: Grid, space_px: float, pieces: Pieces) -> list[Path]:
  """Finds the paths of staves, which do not cover each other.

  Args:
    space_px: staff space of the page.
    pieces: of its staves, which tell their sizes.
  """
  combs = _combs(pieces, space_px)
  evidence, which = _comb_evidence(grid, combs)
  score = np.ascontiguousarray(evidence.T - _LEAST)
  # That nothing is seen tells less than that something else is.
  empty = (evidence.T >= -_EMPTY) & (score < -_UNSEEN)
  score[empty] = -_UNSEEN
  forth, back = _gather(score), _gather(score[::-1])
  back = _Gathered(back.total[::-1], back.step[::-1])
  total = forth.total + back.total - score
  # Others are only on the way to a staff.
  total[score < _SEED - _LEAST] = -np.inf
  free = np.ones(score.shape, bool)
  least = _SHORTEST / _COLUMN * (_SEED - _LEAST)
  paths = []
  while True:
    column, row = divmod(int(total.argmax()), total.shape[1])
    if total[column, row] < least:
      return paths
    first, rows = _follow(forth, back, free, column, row)
    columns = first + np.arange(len(rows))
    space = combs[which[rows, columns]]
    parts = _parts(grid, columns, rows, space)
    near = rows[:, None] + np.arange(-_ROWS, _ROWS + 1)
    total[columns[:, None], near.clip(0, total.shape[1] - 1)] = -np.inf
    for part in parts:
      _cover(free, total, columns[part], rows[part], space[part])
      paths.append(_path(grid, columns[part], rows[part], space[part]))


def _follow(
  forth: _Gathered,
  back: _Gathered,
  free: Bool[np.ndarray, "m n"],
  column: int,
  row: int,
) -> tuple[int, Int[np.ndarray, " k"]]:
  """First column and rows of the best path through a cell."""

  def walk(step: Int[np.ndarray, "m n"], direction: int) -> list[int]:
    at, y, rows = column, row, []
    while (come := step[at, y]) != _START:
      at, y = at + direction, y - int(come)
      if not free[at, y]:
        break
      rows.append(y)
    return rows

  left, right = walk(forth.step, -1), walk(back.step, 1)
  return column - len(left), np.array([*left[::-1], row, *right])


def _parts(
  grid: Grid,
  columns: Int[np.ndarray, " k"],
  rows: Int[np.ndarray, " k"],
  space: Float[np.ndarray, " k"],
) -> list[slice]:
  """The staves along a path; those side by side are apart."""
  offsets = np.rint(space[:, None] * NUMBERS * _ROWS).astype(np.int64)
  at = rows[:, None] + offsets
  near = (at[:, :, None] + (-1, 0, 1)).clip(0, len(grid.evidence) - 1)
  seen = grid.evidence[near, columns[:, None, None]].max(-1)
  edges = [0, len(seen)]
  empty = seen.mean(1) < _EMPTY
  changes = np.flatnonzero(np.diff(empty, prepend=False, append=False))
  for start, stop in changes.reshape(-1, 2):
    wide = (stop - start) * _COLUMN >= _APART
    if wide and _together(seen[:start][::-1]) and _together(seen[stop:]):
      edges += [start, stop]
  return [
    slice(int(start), int(stop))
    for start, stop in np.sort(edges).reshape(-1, 2)
    if _is_staff(seen[start:stop])
  ]


def _together(seen: Float[np.ndarray, "k 5"]) -> bool:
  """Whether all lines start at once, which worn ones do not."""
  return bool(len(seen) and np.ptp((seen > _LEAST).argmax(0)) <= _AT_ONCE)


def _is_staff(seen: Float[np.ndarray, "k 5"]) -> bool:
  """Whether five lines are clear somewhere along a path, each of them.

  Args:
    seen: evidence of each line.
  """
  if len(seen) * _COLUMN < _SHORTEST:
    return False
  # What hides a line tells nothing.
  share = np.where(seen == _LEAST, _CERTAIN, seen > _LEAST)
  gain = np.cumsum(np.append(0, share.mean(1) - _CERTAIN))
  more = gain - np.minimum.accumulate(gain)
  stop = int(more.argmax())
  start = int(gain[: stop + 1].argmin())
  each = share[start:stop].mean(0)
  weakest, second = np.sort(each)[:2]
  # An outer line that is missing where the others are whole is none.
  lost = 0 < each.argmin() < LINES - 1 or second < _WORN
  lines = weakest >= _EACH or (second >= _EACH and lost)
  return bool(lines and more[stop] * _COLUMN >= _GAIN)


def _cover(
  free: Bool[np.ndarray, "m n"],
  total: Float[np.ndarray, "m n"],
  columns: Int[np.ndarray, " k"],
  rows: Int[np.ndarray, " k"],
  space: Float[np.ndarray, " k"],
) -> None:
  """Leaves no room for other staves where one is."""
  half = round(_BETWEEN * float(np.median(space)) * _ROWS)
  at = (rows[:, None] + np.arange(-half, half + 1)).clip(0, free.shape[1] - 1)
  free[columns[:, None], at] = False
  total[columns[:, None], at] = -np.inf


def _path(
  grid: Grid,
  columns: Int[np.ndarray, " k"],
  rows: Int[np.ndarray, " k"],
  space: Float[np.ndarray, " k"],
) -> Path:
  """A path in px, smooth."""
  middle = (rows + grid.shift[columns] + 0.5) * grid.row_px
  return Path(
    int(columns[0]),
    _smooth(middle),
    _smooth(space * grid.row_px * _ROWS),
  )


def _smooth(values: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
  """Averages along a path, which goes straight on at its ends."""
  size = min(3 * SMOOTH, len(values) - 1)
  wide = np.pad(values, size, "reflect", reflect_type="odd")
  kernel = cv2.getGaussianKernel(2 * size + 1, SMOOTH)[:, 0]
  return np.convolve(wide, kernel, "valid")
