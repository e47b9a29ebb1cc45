"""The staff space of a page: the distance of neighbouring staff lines.

Along a column of pixels a staff is a chain of five thin runs of ink at equal
distances. `estimate` looks for such chains in up to 512 columns of the page.
Two properties tell staves from chance, text and hatching: a chain continues at
the same height in the neighbouring columns, and it ends after five lines, or a
few more where notes have ledger lines.

Reference: run lengths as in Cardoso and Rebelo, "Robust staffline thickness and
distance estimation in binary and gray-level music scores" (ICPR 2010), who also
count the sum of a black and a white run; chains are ours.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

MIN_PX = 3.5  # lines closer than this cannot be told from noise
_MAX_SAMPLES = 1_400_000  # pixels examined: columns x height
_COLUMNS = (48, 512)  # fewest and most columns of a page
_WINDOWS = (15, 61)  # px, of the local mean that ink is compared with
_FAINT = 0.06  # contrast of a line relative to the darkest symbols
LINES = 5  # of a staff
_NO_GAP = 1e9  # px; between the runs of two columns
_MIN_CHAINS = 12
_THIN = 0.02  # least thickness of a line in spaces; less is no staff
_MIN_CONFIDENCE = 0.025
_MIN_CONFIDENCE_WIDE = 0.08  # of wide columns, in which text becomes bars
MIN_ALONE = 0.25  # share of the chains; ledger lines may continue the others
_SURE = 0.3  # confidence from which nothing else is tried
_WIDE_PX = 17  # columns averaged, so that broken lines become whole
_NEAR = 0.2  # relative difference of chains of one page, in perspective


class StaffSpace(NamedTuple):
  """The staff space of a page.

  Attributes:
    px: distance of the centres of neighbouring staff lines, pixels.
    confidence: 0..1; share of the columns that show a staff of this size times
      the share of such chains among all regular ones.
  """

  px: float
  confidence: float


class Chains(NamedTuple):
  """Five runs at equal distances in one column of pixels, n times.

  Attributes:
    column: index of the column among those examined.
    row: of the third run, px.
    space: mean distance, px.
    ends: whether it ends above or below, unlike hatching.
    alone: whether it ends above and below, unlike the six lines of a tablature.
  """

  column: Int[np.ndarray, " n"]
  row: Float[np.ndarray, " n"]
  space: Float[np.ndarray, " n"]
  ends: Bool[np.ndarray, " n"]
  alone: Bool[np.ndarray, " n"]


class Measured(NamedTuple):
  """The staff space of a page, and what it was measured on.

  Attributes:
    chains: of all sizes, staves or not.
    columns: those examined, px.
  """

  space: StaffSpace
  chains: Chains
  columns: Int[np.ndarray, " c"]


def estimate(ink: UInt8[np.ndarray, "H W"]) -> StaffSpace | None:
  """Estimates the staff space of a page; see `measure`."""
  found = measure(ink)
  return found.space if found else None


def measure(ink: UInt8[np.ndarray, "H W"]) -> Measured | None:
  """Measures the staff space of a page.

  Args:
    ink: 0 = paper, 255 = ink; may be grey, unevenly lit and noisy. Staves are
      horizontal within some 10 degrees, their space 3.5 px to a sixth of H.

  Returns:
    The most frequent staff space; the median where spaces differ a little, as
    in perspective. None if no staff of five lines was found.
  """
  height, width = ink.shape
  if height < LINES * MIN_PX or width < 16:
    return None
  at = _places(ink.shape)
  # Blurred lines may be as thick as the gaps between them. In wide columns,
  # where a line of text becomes a bar, lines must be thin.
  found = _best(_medians(ink, at), at, thickness=0.6, thickness_px=0.0)
  if found is None or found.space.confidence < _SURE:
    wide = _best(_means(ink, at), at, thickness=0.25, thickness_px=1.8)
    if wide and wide.space.confidence >= _MIN_CONFIDENCE_WIDE:
      found = max(found or wide, wide, key=lambda x: x.space.confidence)
  if found is None or found.space.confidence < _MIN_CONFIDENCE:
    return None
  return found


def _best(
  columns: UInt8[np.ndarray, "n H"],
  at: Int[np.ndarray, " n"],
  *,
  thickness: float,
  thickness_px: float,
) -> Measured | None:
  """The most confident estimate of any window.

  Args:
    columns: transposed, one column per row.
    at: their places, px.
    thickness: lines are at most this many spaces plus `thickness_px` thick.
    thickness_px: see `thickness`.
  """
  found, step = None, (at[-1] - at[0] + 3) / len(at)
  for window in _WINDOWS:
    binary = _binarise(columns, window)
    chains = _chains(binary, thickness, thickness_px)
    new = _choose(chains, len(columns), step)
    if new and (found is None or new.confidence > found.space.confidence):
      found = Measured(new, chains, at)
  return found


def _places(hw: tuple[int, ...]) -> Int[np.ndarray, " n"]:
  """Columns spread evenly over a page."""
  height, width = hw
  count = int(np.clip(_MAX_SAMPLES // height, *_COLUMNS))
  count = min(count, (width - 2) // 2)
  return np.linspace(1, width - 2, count).round().astype(np.int64)


def _medians(
  ink: UInt8[np.ndarray, "H W"], at: Int[np.ndarray, " n"]
) -> UInt8[np.ndarray, "n H"]:
  """Medians of three columns each, which remove specks and keep lines."""
  a, b, c = (ink[:, at + i] for i in (-1, 0, 1))
  median = np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))
  return np.ascontiguousarray(median.T)


def _means(
  ink: UInt8[np.ndarray, "H W"], at: Int[np.ndarray, " n"]
) -> UInt8[np.ndarray, "n H"]:
  """Means of 17 columns each, which turn dashes into lines."""
  total = np.zeros((ink.shape[0], len(at)), np.uint16)
  for shift in range(-(_WIDE_PX // 2), _WIDE_PX // 2 + 1):
    total += ink[:, (at + shift).clip(0, ink.shape[1] - 1)]
  return np.ascontiguousarray((total // _WIDE_PX).astype(np.uint8).T)


def _binarise(
  columns: UInt8[np.ndarray, "n H"], window: int
) -> UInt8[np.ndarray, "n H"]:
  """1 where a pixel is darker than the column around it, else 0."""
  values = columns.astype(np.float32)
  mean = cv2.blur(values, (window, 1), borderType=cv2.BORDER_REPLICATE)
  above = values - mean
  some = above[:: max(1, len(above) // 64)]
  # Relative to the page's own contrast and noise: faint pages have staves, too.
  noise = 1.5 * np.median(np.abs(np.diff(some, axis=1)))
  least = max(_FAINT * float(np.quantile(some, 0.99)), 2 * float(noise), 1.0)
  return (above > least).astype(np.uint8)


def _chains(
  binary: UInt8[np.ndarray, "n H"], thickness: float, thickness_px: float
) -> Chains:
  """All chains of five thin runs at equal distances."""
  n, height = binary.shape
  padded = np.zeros((n, height + 2), np.int8)
  padded[:, 1:-1] = binary
  edges = np.flatnonzero(np.diff(padded.ravel()))
  starts, stops = edges[0::2], edges[1::2]
  column = starts // (height + 2)
  thick = (stops - starts).astype(np.float32)
  # Centres of all columns on one axis, on which columns are far apart.
  centre = (starts + stops) * 0.5
  gaps = np.diff(centre).astype(np.float32)
  gaps[column[1:] != column[:-1]] = _NO_GAP
  size = LINES - 1
  if len(gaps) < size:
    nothing, no = centre[:0], centre[:0].astype(bool)
    return Chains(column[:0], nothing, nothing, no, no)
  of_chain = [gaps[i : len(gaps) - size + 1 + i] for i in range(size)]
  low, high = np.minimum.reduce(of_chain), np.maximum.reduce(of_chain)
  lines = [thick[i : len(thick) - size + i] for i in range(LINES)]
  heavy = np.maximum.reduce(lines)
  # In whole pixels each centre may be off by half a pixel.
  regular = (high - low <= 1.0 + 0.12 * low) & (low >= MIN_PX - 1)
  regular &= (heavy <= thickness * low + thickness_px) & (high < _NO_GAP)
  regular &= heavy >= _THIN * low
  first = np.flatnonzero(regular)
  space = (centre[first + size] - centre[first]) / size
  row = centre[first + size // 2] - column[first] * (height + 2)
  around = np.concatenate([[_NO_GAP], gaps, [_NO_GAP]])
  slack = 1.0 + 0.12 * space
  above = np.abs(around[first] - space) <= slack
  below = np.abs(around[first + size + 1] - space) <= slack
  return Chains(column[first], row, space, ~(above & below), ~(above | below))


def _choose(chains: Chains, num_columns: int, step: float) -> StaffSpace | None:
  """The staff space that most chains agree on, if they belong to staves."""
  if len(chains.space) < _MIN_CHAINS:
    return None
  # A histogram of ratios, smoothed to some percent.
  log = np.log(chains.space)
  bins = np.bincount(((log - np.log(2.0)) / 0.02).astype(np.int64).clip(0))
  smooth = np.convolve(bins, (1, 2, 3, 2, 1), "same")
  best = None
  for _ in range(2):  # the highest peak may be chance
    peak = float(np.exp(np.log(2.0) + 0.02 * (smooth.argmax() + 0.5)))
    near = np.abs(log - np.log(peak)) <= _NEAR
    new = _judge(Chains(*(x[near] for x in chains)), num_columns, step)
    if new and (best is None or new.confidence > best.confidence):
      best = new
    lo, hi = (int((np.log(peak * f / 2.0)) / 0.02) for f in (0.85, 1.15))
    smooth[max(lo, 0) : hi + 1] = 0
  return best


def interquartile_mean(values: Float[np.ndarray, " n"]) -> float:
  """Mean of the middle half, finer than a median in steps of half a pixel."""
  low, high = np.quantile(values, (0.25, 0.75))
  return float(values[(values >= low) & (values <= high)].mean())


def _judge(chains: Chains, num_columns: int, step: float) -> StaffSpace | None:
  """The staff space of chains of similar size, if they continue sideways."""
  if chains.ends.sum() < max(_MIN_CHAINS, 0.5 * len(chains.ends)):
    return None
  chains = Chains(*(values[chains.ends] for values in chains))
  if chains.alone.mean() < MIN_ALONE:
    return None
  px = float(np.median(chains.space))
  tall = max(1.5, 0.4 * px + 0.2 * step)
  row = (chains.row / tall).astype(np.int64)
  grid = np.zeros((num_columns + 8, int(row.max()) + 3), np.uint8)
  grid[chains.column + 4, row + 1] = 1
  wide = cv2.dilate(grid, np.ones((1, 3), np.uint8))
  beside = cv2.blur(
    wide.astype(np.float32), (1, 9), borderType=cv2.BORDER_CONSTANT
  )
  # Six of nine neighbouring columns, its own included.
  goes_on = beside[chains.column + 4, row + 1] * 9 >= 5.5
  if goes_on.sum() < _MIN_CHAINS:
    return None
  px = interquartile_mean(chains.space[goes_on])
  seen = len(np.unique(chains.column[goes_on])) / num_columns
  share = float(goes_on.mean())
  return StaffSpace(px, seen * share) if px >= MIN_PX else None
