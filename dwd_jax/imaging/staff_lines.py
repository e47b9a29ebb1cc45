"""Traces staff lines: five polylines for each staff of a page.

They are measured on the page itself, along the paths of `staff_paths`.
"""

import dataclasses
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from dwd_jax.imaging import staff_paths
from dwd_jax.imaging.staff_paths import NUMBERS, SMOOTH, Grid, Path
from dwd_jax.imaging.staff_pieces import Pieces

_WINDOW = 0.45  # staff spaces around a line, in which it is measured
_PRIOR = 0.5  # cells that say a line is where its staff says
_TOLERANCE = 0.02  # staff spaces, of polylines
_SEEN = 0.5  # of the lines, from which a column belongs to a staff
_LINE = np.array([0.2, 0.5])  # least and most tone of lines, of solid ink
_BAR = (0.75, 0.9)  # of the gaps it fills, and its width in staff spaces
_ENDS = (1.5, 6.0)  # staff spaces out and in, where the end is looked for


@dataclasses.dataclass(frozen=True, eq=False)
class Staff:
  """A staff of five lines.

  Attributes:
    lines_yx: the middle of each line from its left to its right end, the upper
      line first; points (y, x) in px, the first pixel is 0..1.
    space_px: distance of neighbouring lines.
    thickness_px: of the lines.
  """

  lines_yx: tuple[Float[np.ndarray, "_ 2"], ...]
  space_px: float
  thickness_px: float

  @property
  def box_yxyx(self) -> Float[np.ndarray, " 4"]:
    """The box around all lines, half-open."""
    points = np.concatenate(self.lines_yx)
    low, high = points.min(0), points.max(0)
    down, right = np.abs(self.lines_yx[0][-1] - self.lines_yx[0][0])
    across = np.array([right, down]) / max(np.hypot(down, right), 1e-9)
    half = across * self.thickness_px / 2
    return np.concatenate([low - half, high + half])

  def upside_down(self) -> "Staff":
    """The same staff read from its other side."""
    lines = tuple(line[::-1] for line in self.lines_yx[::-1])
    return dataclasses.replace(self, lines_yx=lines)


def trace(
  ink: UInt8[np.ndarray, "H W"], space_px: float, pieces: Pieces
) -> list[Staff]:
  """Traces the lines of all staves.

  Args:
    ink: 0 = paper, 255 = ink; staves are horizontal within some 10 degrees, and
      may bend.
    space_px: staff space of the page.
    pieces: of its staves, which tell their sizes and their slope.

  Returns:
    Staves from top to bottom, side by side ones from left to right.
  """
  grid = staff_paths.reduced(ink, space_px, pieces)
  paths = staff_paths.find(grid, space_px, pieces)
  staves = [_staff(ink, grid, path) for path in paths]
  return sorted(staves, key=lambda staff: tuple(staff.box_yxyx[:2]))


def _blurred(values: Float[np.ndarray, "k _"]) -> Float[np.ndarray, "k _"]:
  """Sums along a path with weights of up to 1."""
  offsets = np.arange(-3 * SMOOTH, 3 * SMOOTH + 1)
  kernel = np.exp(-0.5 * (offsets / SMOOTH) ** 2)
  return cv2.filter2D(
    values, -1, kernel[:, None], borderType=cv2.BORDER_CONSTANT
  )


class _Measured(NamedTuple):
  """What was measured around the lines of a path.

  Attributes:
    off: of each line from where it was looked for, px.
    weight: 0..1.
    thickness: px.
  """

  off: Float[np.ndarray, "k 5"]
  weight: Float[np.ndarray, "k 5"]
  thickness: Float[np.ndarray, "k 5"]


def _measure(
  grid: Grid, first: int, lines: Float[np.ndarray, "k 5"], space_px: float
) -> _Measured:
  """Measures lines near to where they should be."""
  half = max(2, round(_WINDOW * space_px))
  offsets = np.arange(-half, half + 1)
  row = np.floor(lines).astype(np.int64)
  at = (row[:, :, None] + offsets).clip(0, len(grid.columns) - 1)
  column = first + np.arange(len(lines))
  tone = grid.columns[at, column[:, None, None]].astype(np.float64)
  outer = max(1, half // 4)
  paper = np.maximum(
    tone[..., :outer].mean(-1, keepdims=True),
    tone[..., -outer:].mean(-1, keepdims=True),
  )
  ink = (tone - paper).clip(0)
  place = row[:, :, None] + offsets + 0.5 - lines[:, :, None]
  near = np.exp(-0.5 * (place / (0.25 * space_px)) ** 2)
  peak = (ink * near).argmax(-1)[..., None]
  ink *= np.abs(offsets + half - peak) <= max(1, round(0.2 * space_px))
  total = ink.sum(-1)
  off = (ink * place).sum(-1) / np.maximum(total, 1e-9)
  top = np.take_along_axis(ink, peak, -1)[..., 0]
  weight = (top / grid.line).clip(0, 1) * (top > 0.25 * grid.line)
  weight *= np.abs(off) < 0.3 * space_px
  return _Measured(off, weight, total / grid.ink)


def _staff(ink: UInt8[np.ndarray, "H W"], grid: Grid, path: Path) -> Staff:
  """Measures the lines of a path."""
  middle, space = path.middle, path.space
  space_px = float(np.median(space))
  for _ in range(2):
    lines = middle[:, None] + space[:, None] * NUMBERS
    measured = _measure(grid, path.first, lines, space_px)
    up, wider = _common(measured)
    middle, space = middle + up, space + wider
  off = measured.off - up[:, None] - wider[:, None] * NUMBERS
  weight = measured.weight
  own = _blurred(weight * off) / (_blurred(weight) + _PRIOR)
  lines = middle[:, None] + space[:, None] * NUMBERS + own
  sure = weight > 0.7
  thickness = float(np.median(measured.thickness[sure])) if sure.any() else 1.0
  x = (path.first + np.arange(len(lines)) + 0.5) * grid.column_px
  start, stop = _ends(ink, x, lines, grid.ink)
  return Staff(
    tuple(_polyline(x, line, start, stop, space_px) for line in lines.T),
    float(np.median(space)),
    max(1.0, thickness),
  )


def _common(
  measured: _Measured,
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
  """How far all lines are off, and how much wider they are apart."""
  off, weight = measured.off, measured.weight
  # Weighted least squares of off = up + number * wider, along the path.
  terms = [weight, weight * NUMBERS, weight * NUMBERS**2]
  terms += [weight * off, weight * off * NUMBERS]
  sums = _blurred(np.stack([term.sum(1) for term in terms], 1))
  n, k, kk, y, ky = sums.T
  n, kk = n + _PRIOR, kk + _PRIOR * (NUMBERS**2).sum()
  determinant = n * kk - k * k
  return (kk * y - k * ky) / determinant, (n * ky - k * y) / determinant


def _ends(
  ink: UInt8[np.ndarray, "H W"],
  x: Float[np.ndarray, " k"],
  lines: Float[np.ndarray, "k 5"],
  solid: float,
) -> tuple[float, float]:
  """Where the lines of a staff start and stop, px."""
  space_px = float(np.median(np.diff(lines, axis=1)))
  out, inside = (round(v * space_px) for v in _ENDS)

  def tone(
    rows: Float[np.ndarray, "k n"], column: Int[np.ndarray, " n"]
  ) -> Float[np.ndarray, "k n"]:
    near = np.floor(rows).astype(np.int64)[:, :, None] + (-1, 0, 1)
    dark = ink[near.clip(0, len(ink) - 1), column[:, None]].max(-1)
    return dark.astype(np.float64)

  def reach(edge: float, direction: int) -> float:
    """The end from `edge` outwards, +1 = to the right."""
    at = edge + direction * (np.arange(-inside, out) + 0.5)
    at = at[(at >= 0) & (at < ink.shape[1])]
    column = np.floor(at).astype(np.int64)
    y = np.stack([_extended(at, x, line) for line in lines.T])
    on, off = tone(y, column), tone((y[1:] + y[:-1]) / 2, column)
    paper = np.quantile(off, 0.25)
    line = np.clip(np.median(on[:, :inside]) - paper, *(solid * _LINE))
    seen, between = (((v - paper) / line).clip(0, 1).mean(0) for v in (on, off))
    # What fills the gaps, too, hides lines: clefs, barlines, brackets.
    bar = between > _BAR[0]
    gain = np.cumsum(np.where(bar, 0, (seen - _SEEN) * (1 - between)))
    last = int(gain.argmax())
    # A barline that ends a staff is its own, the bracket beside it is not.
    more = int(np.append(bar[last + 1 :], False).argmin())
    if more <= _BAR[1] * space_px:
      last += more
    return float(column[last] + (direction > 0))

  half = (x[1] - x[0]) / 2
  return reach(x[0] - half, -1), reach(x[-1] + half, 1)


def _extended(
  at: Float[np.ndarray, " n"],
  x: Float[np.ndarray, " k"],
  y: Float[np.ndarray, " k"],
) -> Float[np.ndarray, " n"]:
  """A line at places that may be beyond its ends, where it goes on straight."""
  few = min(len(x) - 1, 2 * SMOOTH)
  left = (y[few] - y[0]) / (x[few] - x[0])
  right = (y[-1] - y[-1 - few]) / (x[-1] - x[-1 - few])
  beyond = left * np.minimum(at - x[0], 0) + right * np.maximum(at - x[-1], 0)
  return np.interp(at, x, y) + beyond


def _polyline(
  x: Float[np.ndarray, " k"],
  y: Float[np.ndarray, " k"],
  start: float,
  stop: float,
  space_px: float,
) -> Float[np.ndarray, "_ 2"]:
  """The few points (y, x) that a line needs, from start to stop."""
  at = np.concatenate([[start], x[(x > start) & (x < stop)], [stop]])
  points = np.stack([at, _extended(at, x, y)], 1).astype(np.float32)
  simple = cv2.approxPolyDP(points[:, None], _TOLERANCE * space_px, False)
  return simple[:, 0, ::-1].astype(np.float64)
