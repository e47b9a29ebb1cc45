"""Pieces of staves: where they are on a page, how large, and how skewed.

A page is cut into vertical strips. In each, chains of five lines (see
`staff_space`) at one height are a piece of a staff.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dwd_jax.imaging.staff_space import (
  MIN_ALONE,
  Chains,
  Measured,
  interquartile_mean,
)

_RANGE = 2.0  # spaces of a page differ at most by this factor from its own
_COLUMNS = 40  # of a strip, at least
_MAX_STRIPS = 12
_COVERS = 0.25  # of the columns of its strip
_MAX_SLOPE = 0.27  # 15 degrees
_STEPS = 109  # of slopes tried, 0.005 apart
_BIN = 0.25  # spaces, of heights
_GAP = 0.5  # spaces between the heights of two pieces
_SIDEWAYS = 0.1  # a px to the side is as far as this many upwards


class Pieces(NamedTuple):
  """Pieces of staves, n of them.

  Attributes:
    y: of the middle line, px.
    x: middle of the piece, px.
    half_width: half of the width of a strip, px.
    space: distance of two lines, measured vertically, px.
    slope: of the lines, px down per px to the right.
    weight: number of chains.
  """

  y: Float[np.ndarray, " n"]
  x: Float[np.ndarray, " n"]
  half_width: float
  space: Float[np.ndarray, " n"]
  slope: Float[np.ndarray, " n"]
  weight: Float[np.ndarray, " n"]

  def upside_down(self, hw: tuple[int, int]) -> "Pieces":
    """The pieces after half a turn of the page of that size."""
    return self._replace(y=hw[0] - self.y, x=hw[1] - self.x)

  def skew(self) -> float:
    """Weighted median of slopes in degrees, positive = falling to the right."""
    if not len(self.y):
      return 0.0
    slope = np.quantile(
      self.slope, 0.5, weights=self.weight, method="inverted_cdf"
    )
    return float(np.degrees(np.arctan(slope)))

  def nearest(
    self, points_yx: Float[np.ndarray, "m 2"]
  ) -> Int[np.ndarray, " m"]:
    """Index of the piece nearest to each point, in staff spaces.

    Distances are counted from the outer lines and from the strip's edges.
    """
    y, x = (v[:, None].astype(np.float64) for v in points_yx.T)
    middle = self.y + self.slope * np.clip(
      x - self.x, -self.half_width, self.half_width
    )
    up = np.maximum(np.abs(y - middle) - 2 * self.space, 0)
    side = np.maximum(np.abs(x - self.x) - self.half_width, 0)
    return ((up + _SIDEWAYS * side) / self.space).argmin(1)


def find(measured: Measured) -> Pieces:
  """Finds the pieces of staves of all sizes around the page's own."""
  chains, px = measured.chains, measured.space.px
  fits = chains.ends & (np.abs(np.log(chains.space / px)) < np.log(_RANGE))
  chains = Chains(*(values[fits] for values in chains))
  columns = len(measured.columns)
  strips = int(np.clip(columns // _COLUMNS, 1, _MAX_STRIPS))
  strip = chains.column * strips // columns
  x = measured.columns[chains.column].astype(np.float64)
  slope = _common_slope(strip, x, chains.row, _BIN * px)
  found = []
  for number in range(strips):
    rows = np.flatnonzero(strip == number)
    flat = chains.row[rows] - slope * x[rows]
    order = np.argsort(flat, kind="stable")
    cuts = np.flatnonzero(np.diff(flat[order]) > _GAP * px) + 1
    for piece in np.split(rows[order], cuts):
      seen = len(np.unique(chains.column[piece]))
      # Chains in a tablature are never alone.
      alone = int(chains.alone[piece].sum()) >= MIN_ALONE * len(piece)
      if alone and seen >= _COVERS * columns / strips:
        found.append(_piece(chains, x, piece, slope))
  width = float(measured.columns[-1] - measured.columns[0]) / strips
  y, x, space, slopes, weight = np.array(found).reshape(-1, 5).T
  return Pieces(y, x, width / 2, space, slopes, weight)


def _common_slope(
  strip: Int[np.ndarray, " n"],
  x: Float[np.ndarray, " n"],
  row: Float[np.ndarray, " n"],
  bin_px: float,
) -> float:
  """The slope along which rows of a strip gather most, px per px."""
  best, most = 0.0, -1
  apart = int(row.max(initial=0) / bin_px) + 1
  room = int(x.max(initial=0) * _MAX_SLOPE / bin_px) + 1
  for slope in np.linspace(-_MAX_SLOPE, _MAX_SLOPE, _STEPS):
    at = ((row - slope * x) / bin_px).astype(np.int64) + room
    counts = np.bincount(at + strip * (apart + 2 * room))
    gathered = int((counts**2).sum())
    # Of equals the flattest.
    if (gathered, -abs(slope)) > (most, -abs(best)):
      best, most = float(slope), gathered
  return best


def _piece(
  chains: Chains,
  x: Float[np.ndarray, " n"],
  rows: Int[np.ndarray, " k"],
  slope: float,
) -> tuple[float, float, float, float, float]:
  """Height, place, space, slope and weight of one piece."""
  space = interquartile_mean(chains.space[rows])
  x, y = x[rows], chains.row[rows]
  middle = float(x.mean())
  spread = float(((x - middle) ** 2).sum())
  left = y - slope * (x - middle)
  more = float(((x - middle) * (left - left.mean())).sum())
  slope += more / spread if spread else 0.0
  return float(np.median(left)), middle, space, slope, float(len(rows))
