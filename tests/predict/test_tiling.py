"""Tiles cover a page, and what they find at seams is said exactly once."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from page_helpers import BlobFinder, page_of_blobs

from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageImage
from dwd_jax.predict import predict_pages, tiling
from dwd_jax.predict.predict_config import PredictConfig

_SIDES = st.integers(1, 150).map(lambda n: 32 * n)


@settings(deadline=None, max_examples=200)
@given(
  page_hw=st.tuples(_SIDES, _SIDES),
  tile_px=st.integers(128, 1200),
  overlap_px=st.integers(0, 700),
)
def test_tiles_cover_the_page(page_hw, tile_px, overlap_px):
  max_px = tile_px**2
  height, width = page_hw
  if tile_px // 32 < math.ceil(overlap_px / 32) + 2:
    overlap_px = 0
  tiles = tiling.plan(page_hw, max_px, overlap_px)
  assert len({tile.hw for tile in tiles}) == 1
  assert math.prod(tiles[0].hw) <= max_px
  owned = np.zeros((height // 16, width // 16), int)
  for tile in tiles:
    y0, x0, y1, x1 = tile.core_yxyx
    assert not (np.array(tile.core_yxyx) % 16).any()
    owned[y0 // 16 : y1 // 16, x0 // 16 : x1 // 16] += 1
    for start, size, low, high, length in (
      (tile.top, tile.hw[0], y0, y1, height),
      (tile.left, tile.hw[1], x0, x1, width),
    ):
      assert start % 32 == 0
      assert size % 32 == 0
      assert 0 <= start <= start + size <= length
      # The outer tiles end at the border, the others look beyond their cores.
      assert (low == start == 0) or low - start >= overlap_px / 2
      end = start + size
      assert (high == end == length) or end - high >= overlap_px / 2
  assert (owned == 1).all()


# Caption: page, most pixels, overlap -> number of tiles, their size.
PLANS = {
  "a page that fits stays whole": ((640, 480), 640 * 480, 128, 1, (640, 480)),
  "one pixel too much": ((640, 480), 640 * 480 - 1, 128, 2, (384, 480)),
  "a narrow page gets long tiles": ((96, 4096), 400_000, 128, 1, (96, 4096)),
  "a long one": ((64, 32000), 640_000, 128, 4, (64, 8192)),
  "tiles no larger than their number needs": (
    (1344, 1344),
    1_000_000,
    256,
    4,
    (896, 896),
  ),
}


@pytest.mark.parametrize("caption", PLANS)
def test_number_and_size_of_tiles(caption):
  page_hw, max_px, overlap_px, count, hw = PLANS[caption]
  tiles = tiling.plan(page_hw, max_px, overlap_px)
  assert len(tiles) == count
  assert tiles[0].hw == hw


SIZES = ((64, 320), (160, 320), (448, 320), (320, 448), (640, 480))

# Caption: page, overlap -> size of its tiles, their number.
FIXED = {
  "a line": ((32, 288), 128, (64, 320), 1),
  "a tall page": ((448, 320), 128, (448, 320), 1),
  "a wide page": ((192, 352), 128, (320, 448), 1),
  "what fits nowhere else": ((480, 320), 416, (640, 480), 1),
  "two small tiles are less than a large one": (
    (480, 320),
    128,
    (448, 320),
    2,
  ),
  "a tile that is all overlap is not taken": ((64, 640), 288, (320, 448), 3),
}


@pytest.mark.parametrize("caption", FIXED)
def test_tiles_of_fixed_sizes(caption):
  page_hw, overlap_px, hw, count = FIXED[caption]
  tiles = tiling.plan(page_hw, 10, overlap_px, SIZES)
  assert tiles[0].hw == hw
  assert len(tiles) == count
  ink = np.ones(page_hw, np.uint8)
  for tile in tiles:
    cut = tile.cut(ink)
    assert cut.shape == hw
    on_page = np.minimum(np.subtract(page_hw, (tile.top, tile.left)), hw)
    assert cut.sum() == on_page.prod()
  assert tiles[0].core_yxyx[:2] == (0, 0)
  assert tiles[-1].core_yxyx[2:] == page_hw


def test_tiles_that_are_all_overlap_are_refused():
  with pytest.raises(InputError, match=r"predict\.overlap_px is 640.*max_mpx"):
    tiling.plan((4000, 4000), 640 * 640, 640)


def test_the_border_of_the_page_is_no_seam():
  tiles = tiling.plan((1344, 1344), 1_000_000, 256)
  assert [tile.core_yxyx for tile in tiles] == [
    (0, 0, 672, 672),
    (0, 672, 672, 1344),
    (672, 0, 1344, 672),
    (672, 672, 1344, 1344),
  ]
  points = np.array([[2.0, 2.0], [670.0, 100.0], [10.0, 675.0], [700.0, 680.0]])
  np.testing.assert_array_equal(
    tiling.depth(points, tiles[0], (1344, 1344)), [670.0, 2.0, -3.0, -28.0]
  )
  whole = tiling.plan((640, 480), 1_000_000, 256)[0]
  assert tiling.depth(points, whole, (640, 480)).tolist() == [np.inf] * 4


# Caption: rows of (y, x, class, tile, depth, whether it is the page's).
SEAMS = {
  "both tiles see it: the owner's": [
    (100.0, 50.0, 0, 0, 1.0, True),
    (100.0, 50.0, 0, 1, -1.0, False),
  ],
  "both take it for their own": [
    (99.8, 50.0, 0, 0, 0.2, False),
    (100.3, 50.0, 0, 1, 0.3, True),
  ],
  "neither does: the nearer one's": [
    (100.2, 50.0, 0, 0, -0.2, True),
    (99.7, 50.0, 0, 1, -0.3, False),
  ],
  "the owner has not found it": [(101.0, 50.0, 0, 0, -1.0, True)],
  "far from its tile's core": [(120.0, 50.0, 0, 0, -20.0, False)],
  "another class at the same place": [
    (100.0, 50.0, 0, 0, 1.0, True),
    (100.0, 50.0, 1, 1, -1.0, False),
  ],
  "two objects share a centre, the second is missed by the owner": [
    (100.0, 50.0, 0, 0, 1.0, True),
    (100.0, 50.0, 0, 1, -1.0, False),
    (100.0, 50.0, 1, 1, -1.0, True),
  ],
  "near neighbours of one class stay two": [
    (99.0, 50.0, 0, 0, 1.0, True),
    (99.0, 53.0, 0, 0, 1.0, True),
    (99.0, 50.5, 0, 1, -1.0, False),
    (99.0, 53.5, 0, 1, -1.0, False),
  ],
  "a corner: four tiles see it": [
    (99.0, 49.0, 0, 0, 1.0, True),
    (99.0, 49.0, 0, 1, -1.0, False),
    (99.0, 49.5, 0, 2, -1.5, False),
    (99.5, 49.0, 0, 3, -1.5, False),
  ],
  "a page of one tile": [(5.0, 5.0, 0, 0, np.inf, True)] * 2,
  "not finite: left for the report": [(np.nan, 5.0, 0, 0, np.nan, True)],
}


@pytest.mark.parametrize("caption", SEAMS)
def test_what_several_tiles_see_is_said_once(caption):
  y, x, labels, tile, depths, expected = map(
    np.array, zip(*SEAMS[caption], strict=True)
  )
  kept = tiling.select(np.stack([y, x], 1), labels, tile, depths)
  assert kept.tolist() == expected.tolist()


@settings(deadline=None, max_examples=15)
@given(
  offset_yx=st.tuples(st.integers(0, 40), st.integers(0, 40)),
  pitch_px=st.integers(9, 40),
)
def test_nothing_is_lost_or_doubled_at_seams(offset_yx, pitch_px):
  ink, count = page_of_blobs(offset_yx, pitch_px)
  page = PageImage("p.png", ink, 1.0)
  tiles = PredictConfig(max_mpx=256 * 256 / 1e6, overlap_px=128)
  assert len(tiling.plan((608 + 32, 480 + 32), tiles.max_px, 128)) > 6
  finder = BlobFinder(slots=4096)
  whole = predict_pages.predict_page(finder, page).detections
  tiled = predict_pages.predict_page(finder, page, tiles).detections
  assert len(whole.labels) == len(tiled.labels) == count

  def rows(found):
    boxes = np.rint(found.boxes_yxyx).astype(int)
    return sorted(zip(*boxes.T.tolist(), found.labels.tolist(), strict=True))

  assert rows(whole) == rows(tiled)
