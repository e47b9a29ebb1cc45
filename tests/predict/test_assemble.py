"""From the boxes of a padded image to boxes of the source image."""

import numpy as np
import pytest

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core.structs import (
  NO_POSITION,
  Detections,
  PageBoxes,
  PageImage,
)
from dwd_jax.imaging import page_windows
from dwd_jax.predict import assemble, tiling

# A source of 100 x 150 px at scale 0.5: 50 x 75 px inside 64 x 128.
SOURCE_HW = (100, 150)
PAGE = PageImage("p.png", np.zeros(SOURCE_HW, np.uint8), 0.5)
WINDOW = page_windows.page_window(SOURCE_HW, 0.5, 64)


def on_page(boxes):
  """Boxes with labels 0, 1, ... and falling scores, in the source image."""
  n = len(boxes)
  found = PageBoxes(
    "p.png",
    WINDOW.out_hw,
    np.array(boxes, np.float32).reshape(n, 4),
    np.arange(n, dtype=np.int32),
    np.linspace(1, 0.1, n, dtype=np.float32),
  )
  return assemble.to_source(found, PAGE, WINDOW)


# Caption: box in the padded image -> box in the source, None if dropped.
BOXES = {
  "inside": ((10, 20, 14, 30), (20, 40, 28, 60)),
  "over the page's right edge: cut": ((10, 70, 14, 78), (20, 140, 28, 150)),
  "over the lower edge: cut": ((44, 0, 54, 4), (88, 0, 100, 8)),
  "centre in the padding on the right": ((10, 72, 14, 80), None),
  "centre in the padding below": ((46, 0, 56, 4), None),
  "centre above the page": ((-9, 4, 7, 8), None),
}


@pytest.mark.parametrize("caption", BOXES)
def test_boxes_of_the_source(caption):
  box, expected = BOXES[caption]
  found = on_page([box])
  expected = np.array([] if expected is None else [expected]).reshape(-1, 4)
  np.testing.assert_allclose(found.boxes_yxyx, expected, atol=1e-4)
  assert found.filename == "p.png"
  assert found.image_hw == SOURCE_HW


def test_labels_and_scores_stay_with_their_boxes():
  boxes = [(1, 1, 3, 3), (60, 1, 62, 3), (5, 5, 9, 9)]  # the second is dropped
  found = on_page(boxes)
  np.testing.assert_array_equal(found.labels, [0, 2])
  assert found.scores is not None
  np.testing.assert_allclose(found.scores, [1, 0.1])


def test_boxes_that_are_not_finite_are_kept_for_the_report():
  found = on_page([[np.nan] * 4])
  assert len(found.labels) == 1


def test_corners_and_positions_stay_with_their_boxes():
  # Two tiles of 96 x 96 px below each other; both see the third box.
  tiles = tiling.plan((160, 96), max_px=96 * 96, overlap_px=32)
  assert [tile.top for tile in tiles] == [0, 64]
  true = np.array([[4, 8, 12, 20], [140, 30, 150, 50], [74, 10, 82, 22]])
  seen = []
  for tile, rows in zip(tiles, ([0, 2], [1, 2]), strict=True):
    boxes = (true[rows] - [tile.top, 0] * 2).astype(np.float32)
    seen.append(
      Detections(
        boxes_yxyx=np.pad(boxes, [(0, 1), (0, 0)]),
        labels=np.array([*rows, 0], np.int32),
        scores=np.array([0.9 - 0.1 * rows[0], 0.3, 0], np.float32),
        valid=np.array([True, True, False]),
        count=np.int32(2),
        oriented_yx=np.pad(
          boxes_lib.corners_yx(boxes), [(0, 1), (0, 0), (0, 0)]
        ),
        positions=np.array([*rows, 0], np.int32) * 10,
      )
    )
  page = PageImage("p.png", np.zeros((320, 192), np.uint8), 0.5)
  window = page_windows.page_window(page.ink.shape, 0.5, 32)
  found = assemble.join(
    page,
    window,
    np.zeros(window.out_hw, np.uint8),
    tiles=tiles,
    found=[(slots, None) for slots in seen],
    keep_levels=False,
  ).detections
  np.testing.assert_array_equal(found.labels, [0, 1, 2])
  np.testing.assert_array_equal(found.boxes_yxyx, 2 * true)
  np.testing.assert_array_equal(
    found.oriented_yx, boxes_lib.corners_yx(found.boxes_yxyx)
  )
  np.testing.assert_array_equal(found.positions, [0, 10, 20])


@pytest.mark.parametrize(("scale", "wanted"), [(0.5, 3), (0.6, NO_POSITION)])
def test_positions_of_another_scale_are_dropped(scale, wanted):
  found = PageBoxes(
    "p.png",
    WINDOW.out_hw,
    np.float32([[10, 10, 20, 20]]),
    labels=np.int32([0]),
    scores=np.float32([1]),
    positions=np.int32([3]),
  )
  window = page_windows.page_window(SOURCE_HW, scale, 64)
  assert assemble.to_source(found, PAGE, window).positions.tolist() == [wanted]
