"""Cuts pages into overlapping tiles, and selects among their detections.

All tiles of a page have one size (one compilation) and begin at multiples of
the network's stride, so that strides are aligned with those of the whole page.
Outer tiles end at the page's border, which the network sees as in the whole
page; a tile of a fixed size may extend beyond it, over paper. The tiles' cores
partition the page; an object belongs to the tile whose core holds its centre.
"""

import dataclasses
import itertools
import math

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from dwd_jax.core.errors import InputError

ALIGN_PX = 32  # the network's coarsest stride
# Tiles may place a centre differently by rounding: this many px on either side
# of a seam, detections of both tiles are taken, and duplicates removed.
SEAM_PX = 16.0
_SAME_PX = 4.0  # centres of one object seen by two tiles
_STEP = 4  # sides of tiles are multiples of this many `ALIGN_PX` if possible


@dataclasses.dataclass(frozen=True)
class Tile:
  """A rectangle of a page, px; `core_yxyx` is its part of the partition."""

  top: int
  left: int
  hw: tuple[int, int]
  core_yxyx: tuple[int, int, int, int]

  @property
  def slices(self) -> tuple[slice, slice]:
    """Rows and columns of the page that the tile covers."""
    height, width = self.hw
    return (
      slice(self.top, self.top + height),
      slice(self.left, self.left + width),
    )

  def cut(
    self, ink: UInt8[np.ndarray, "H W *c"]
  ) -> UInt8[np.ndarray, "h w *c"]:
    """The tile's pixels; 0 (paper) beyond the page."""
    part = ink[self.slices]
    if part.shape[:2] == self.hw:
      return part
    room = [(0, side - had) for side, had in zip(self.hw, part.shape)]  # noqa: B905
    return np.pad(part, [*room, *[(0, 0)] * (part.ndim - 2)])


def plan(
  page_hw: tuple[int, int],
  max_px: int,
  overlap_px: int,
  sizes: tuple[tuple[int, int], ...] = (),
) -> tuple[Tile, ...]:
  """Cuts a page into tiles of one size, row by row; one tile if it is small.

  Args:
    page_hw: height and width of the padded page, multiples of `ALIGN_PX`.
    max_px: most pixels of a tile.
    overlap_px: least overlap of two neighbours.
    sizes: heights and widths that tiles may have, multiples of `ALIGN_PX`; the
      one with the fewest pixels in all is taken. None = as the page needs.

  Raises:
    InputError: tiles of that size would be all overlap.
  """
  if sizes:
    plans = [
      _fixed(page_hw, hw, overlap_px)
      for hw in sizes
      if _reaches(page_hw, hw, overlap_px)
    ]
    return min(plans, key=lambda tiles: len(tiles) * math.prod(tiles[0].hw))
  if math.prod(page_hw) <= max_px:
    return (Tile(0, 0, page_hw, (0, 0, *page_hw)),)
  # Square tiles, but longer ones for a page narrower than those.
  side = max_px // min(*page_hw, math.isqrt(max_px))
  check(side, overlap_px)
  hw = tuple(_side(length, side, overlap_px) for length in page_hw)
  return _fixed(page_hw, (hw[0], hw[1]), overlap_px)


def check(side_px: int, overlap_px: int) -> None:
  """Raises InputError where tiles of that side would be all overlap."""
  if side_px // ALIGN_PX < _units(overlap_px) + 2:
    raise InputError(
      f"config: predict.overlap_px is {overlap_px}, too much for tiles of"
      f" {side_px} px; lower it or raise predict.max_mpx"
    )


def _units(px: int) -> int:
  return -(-px // ALIGN_PX)


def _reaches(
  page_hw: tuple[int, int], hw: tuple[int, int], overlap_px: int
) -> bool:
  """Whether tiles of that size cover the page without being all overlap."""
  return all(
    length <= side or side // ALIGN_PX >= _units(overlap_px) + 2
    for length, side in zip(page_hw, hw, strict=True)
  )


def _side(length_px: int, side_px: int, overlap_px: int) -> int:
  """The least side of as many tiles as those of `side_px` along an axis."""
  if length_px <= side_px:
    return length_px
  length, side = length_px // ALIGN_PX, side_px // ALIGN_PX
  overlap = _units(overlap_px)
  gaps = -(-(length - side) // (side - overlap))
  least = -(-(length + gaps * overlap) // (gaps + 1))
  # In steps, so that few sizes compile.
  return min(side, -(-least // _STEP) * _STEP) * ALIGN_PX


def _fixed(
  page_hw: tuple[int, int], hw: tuple[int, int], overlap_px: int
) -> tuple[Tile, ...]:
  """The tiles of that size."""
  rows, columns = (
    _cut(length, side, overlap_px)
    for length, side in zip(page_hw, hw, strict=True)
  )
  return tuple(
    Tile(top, left, hw, (y0, x0, y1, x1))
    for top, y0, y1 in rows
    for left, x0, x1 in columns
  )


def _cut(
  length_px: int, side_px: int, overlap_px: int
) -> list[tuple[int, int, int]]:
  """(start, core start, core end) of the tiles along an axis."""
  if length_px <= side_px:
    return [(0, 0, length_px)]
  length, side = length_px // ALIGN_PX, side_px // ALIGN_PX
  gaps = -(-(length - side) // (side - _units(overlap_px)))
  starts = [i * (length - side) // gaps * ALIGN_PX for i in range(gaps + 1)]
  seams = [(a + side_px + b) // 2 for a, b in itertools.pairwise(starts)]
  return list(zip(starts, [0, *seams], [*seams, length_px], strict=True))


def depth(
  centers_yx: Float[np.ndarray, "n 2"], tile: Tile, page_hw: tuple[int, int]
) -> Float[np.ndarray, " n"]:
  """Distance of points to the edge of a tile's core, px; negative outside.

  The page's border is no edge: no other tile covers what lies there.
  """
  y0, x0, y1, x1 = tile.core_yxyx
  y, x = centers_yx.T
  deep = np.full(len(y), np.inf)
  for inner, distance in (
    (y0 > 0, y - y0),
    (x0 > 0, x - x0),
    (y1 < page_hw[0], y1 - y),
    (x1 < page_hw[1], x1 - x),
  ):
    if inner:
      deep = np.minimum(deep, distance)
  return deep


def select(
  centers_yx: Float[np.ndarray, "n 2"],
  labels: Int[np.ndarray, " n"],
  tile_of: Int[np.ndarray, " n"],
  depths: Float[np.ndarray, " n"],
) -> Bool[np.ndarray, " n"]:
  """Selects the detections that belong to the page.

  Kept are those in their tile's core, and those up to `SEAM_PX` outside it that
  no other tile has found. Detections of two tiles are one object if their
  centres are at most 4 px apart; each has at most one partner in another tile,
  so close neighbours stay apart. Pairs of one class come first, then what is
  left over, whatever its class.

  Args:
    centers_yx: in pixels of the page; not finite: kept.
    tile_of: index of the tile that each was found in.
    depths: see `depth`.
  """
  keep = ~(depths <= -SEAM_PX)
  # Partners may lie a little beyond the seam.
  seam = np.flatnonzero(keep & (depths < SEAM_PX + _SAME_PX))
  seam = seam[np.argsort(-depths[seam], kind="stable")]
  centers, label, tile = centers_yx[seam], labels[seam], tile_of[seam]
  gone = np.zeros(len(seam), bool)
  seen_by = [{int(t)} for t in tile]
  for same_class in (True, False):
    for i in range(len(seam)):
      if gone[i]:
        continue
      later = np.s_[i + 1 :]
      dy, dx = (centers[later] - centers[i]).T
      distance = np.hypot(dy, dx)
      near = ~gone[later] & (distance <= _SAME_PX)
      near &= (label[later] == label[i]) == same_class
      near = np.flatnonzero(near)
      for j in near[np.argsort(distance[near], kind="stable")] + i + 1:
        if seen_by[i].isdisjoint(seen_by[j]):
          seen_by[i] |= seen_by[j]
          gone[j] = True
  keep[seam[gone]] = False
  return keep
