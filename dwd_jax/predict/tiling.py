"""Overlapping tiles of a page, and their detections put together again.

All tiles of a page have one size (one compilation) and begin at multiples of
the network's stride, so that a pixel meets the same grid of strides in every
tile as in the whole page. The outer tiles end at the page's border: there the
network sees the same border in both. Every tile owns a core, the cores cut the
page into pieces, and an object belongs to the tile whose core holds its centre.
"""

import dataclasses
import itertools
import math

import numpy as np
from jaxtyping import Bool, Float, Int

from dwd_jax.core.errors import InputError

ALIGN_PX = 32  # the network's coarsest stride
# Two tiles may place a centre differently by rounding: on this many px on
# either side of a seam both are listened to, and what both say is said once.
SEAM_PX = 16.0
_SAME_PX = 4.0  # centres of one object seen by two tiles
_STEP = 4  # sides of tiles are multiples of this many `ALIGN_PX`, if they can


@dataclasses.dataclass(frozen=True)
class Tile:
  """A rectangle of a page and the part of it that it answers for.

  Attributes:
    top: first row, px.
    left: first column, px.
    hw: height and width, px.
    core_yxyx: the core, in pixels of the page.
  """

  top: int
  left: int
  hw: tuple[int, int]
  core_yxyx: tuple[int, int, int, int]

  @property
  def slices(self) -> tuple[slice, slice]:
    """Rows and columns of the tile on the page."""
    height, width = self.hw
    return (
      slice(self.top, self.top + height),
      slice(self.left, self.left + width),
    )


def plan(
  page_hw: tuple[int, int], max_px: int, overlap_px: int
) -> tuple[Tile, ...]:
  """Cuts a page into tiles; one tile if the page is small enough.

  Args:
    page_hw: height and width of the padded page, multiples of `ALIGN_PX`.
    max_px: most pixels of a tile.
    overlap_px: least overlap of two neighbours.

  Returns:
    Tiles of one size, row by row.

  Raises:
    InputError: tiles of that size would be all overlap.
  """
  height, width = page_hw
  if height * width <= max_px:
    return (Tile(0, 0, page_hw, (0, 0, height, width)),)
  # Square tiles; a page that is narrower than those gets longer ones.
  side = max_px // min(*page_hw, math.isqrt(max_px))
  check(side, overlap_px)
  rows, row_px = _cut(height, side, overlap_px)
  columns, column_px = _cut(width, side, overlap_px)
  return tuple(
    Tile(top, left, (row_px, column_px), (y0, x0, y1, x1))
    for top, y0, y1 in rows
    for left, x0, x1 in columns
  )


def check(side_px: int, overlap_px: int) -> None:
  """Stops where tiles of that side would be all overlap."""
  if side_px // ALIGN_PX < _units(overlap_px) + 2:
    raise InputError(
      f"config: predict.overlap_px is {overlap_px}, too much for tiles of"
      f" {side_px} px; lower it or raise predict.max_mpx"
    )


def _units(px: int) -> int:
  return -(-px // ALIGN_PX)


def _cut(
  length_px: int, side_px: int, overlap_px: int
) -> tuple[list[tuple[int, int, int]], int]:
  """(start, first and end of the core) of tiles along an axis; their length."""
  if length_px <= side_px:
    return [(0, 0, length_px)], length_px
  length, side = length_px // ALIGN_PX, side_px // ALIGN_PX
  overlap = _units(overlap_px)
  gaps = -(-(length - side) // (side - overlap))
  # As many tiles reach with less: less work. In steps, to compile seldom.
  least = -(-(length + gaps * overlap) // (gaps + 1))
  side = min(side, -(-least // _STEP) * _STEP)
  starts = [i * (length - side) // gaps * ALIGN_PX for i in range(gaps + 1)]
  side *= ALIGN_PX
  seams = [(a + side + b) // 2 for a, b in itertools.pairwise(starts)]
  ends = [*seams, length_px]
  return list(zip(starts, [0, *seams], ends, strict=True)), side


def depth(
  centers_yx: Float[np.ndarray, "n 2"], tile: Tile, page_hw: tuple[int, int]
) -> Float[np.ndarray, " n"]:
  """How deep points lie in a tile's core, px; negative outside of it.

  The page's border does not count: nobody else answers for what lies there.
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
  """Which of the detections of all tiles are the page's.

  Those in their tile's core, and those up to `SEAM_PX` beside it that no other
  tile has found. Two tiles mean the same object if their centres are at most 4
  px apart; each object of one tile stands for one of another at most, so near
  neighbours stay two. Classes are compared first; what is then left over at the
  same place with another class is the same object, too.

  Args:
    centers_yx: in pixels of the page; not finite: kept.
    labels: class ids.
    tile_of: number of the tile that found it.
    depths: in the core of that tile, see `depth`.
  """
  keep = ~(depths <= -SEAM_PX)
  # Beyond the seam's width, too: the partner may lie a little deeper.
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
      distance = np.hypot(*(centers[later] - centers[i]).T)
      near = ~gone[later] & (distance <= _SAME_PX)
      near &= (label[later] == label[i]) == same_class
      near = np.flatnonzero(near)
      for j in near[np.argsort(distance[near], kind="stable")] + i + 1:
        if seen_by[i].isdisjoint(seen_by[j]):
          seen_by[i] |= seen_by[j]
          gone[j] = True
  keep[seam[gone]] = False
  return keep
