"""Geometry of crops: pixels and boxes go through the same map."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.imaging import page_windows

_quick = settings(max_examples=100, deadline=None, derandomize=True)
_SIDES = st.integers(1, 90)
_SCALES = st.sampled_from([0.25, 1 / 3, 0.5, 0.9, 1.0, 1.3, 2.0])


@st.composite
def _windows(draw):
  """(page_hw, window, focus) of a random crop around a random box."""
  page_hw = draw(_SIDES), draw(_SIDES)
  corners = []  # in quarters of a pixel
  for side in page_hw:
    start = draw(st.integers(0, 4 * side - 1))
    corners.append((start, draw(st.integers(start + 1, 4 * side))))
  focus = np.array(corners, np.float32).T.reshape(4) / 4
  window = page_windows.random_window(
    np.random.default_rng(draw(st.integers(0, 99))),
    page_hw,
    (draw(_SIDES), draw(_SIDES)),
    draw(_SCALES),
    focus,
  )
  return page_hw, window, focus


@_quick
@given(_windows())
def test_a_crop_shows_its_object_and_as_much_page_as_it_can(case):
  page_hw, window, focus = case
  for axis, corner in enumerate((window.top, window.left)):
    length, side = window.source_hw[axis], page_hw[axis]
    # On the page if it fits there; else the page is in it.
    assert min(0, side - length) <= corner <= max(0, side - length)
    start, stop = focus[axis], focus[axis + 2]
    # Whole pixels: an object that just fits may touch one pixel too many.
    if np.ceil(stop) - np.floor(start) <= length:
      assert corner <= start
      assert stop <= corner + length
    elif side >= length:  # a part of it
      assert corner < stop
      assert start < corner + length


@_quick
@given(_windows())
def test_boxes_go_there_and_back(case):
  _, window, focus = case
  there = window.to_output(focus[None])
  np.testing.assert_allclose(window.to_source(there)[0], focus, atol=1e-3)


def _coverage(start: float, stop: float, size: int) -> np.ndarray:
  """How much of each pixel [i, i + 1) the interval covers, 0..1."""
  i = np.arange(size)
  return np.clip(np.minimum(stop, i + 1) - np.maximum(start, i), 0, 1)


@_quick
@given(_windows())
def test_the_pixels_go_where_the_box_goes(case):
  """A filled box inks each pixel of the crop as far as its box covers it."""
  page_hw, window, focus = case
  if max(window.scale_hw) > 1:
    return  # enlarging interpolates
  box = np.concatenate([np.floor(focus[:2]), np.ceil(focus[2:])])
  page = np.zeros(page_hw, np.uint8)
  y0, x0, y1, x1 = box.astype(int)
  page[y0:y1, x0:x1] = 255
  crop = page_windows.cut(page, window)
  y0, x0, y1, x1 = window.to_output(box[None])[0]
  covered = np.outer(
    _coverage(y0, y1, window.out_hw[0]), _coverage(x0, x1, window.out_hw[1])
  )
  np.testing.assert_allclose(crop / 255, covered, atol=0.01)


def test_every_position_that_shows_the_object_occurs():
  rng = np.random.default_rng(0)
  focus = np.array([50, 50, 54, 54], np.float32)
  tops = {
    page_windows.random_window(rng, (100, 100), (8, 8), 1.0, focus).top
    for _ in range(200)
  }
  assert tops == {46, 47, 48, 49, 50}


def test_without_an_object_every_position_occurs():
  rng = np.random.default_rng(0)
  lefts = {
    page_windows.random_window(rng, (9, 12), (8, 8), 1.0).left
    for _ in range(99)
  }
  assert lefts == {0, 1, 2, 3, 4}


@_quick
@given(
  side=st.integers(1, 4000),
  scale=_SCALES,
  multiple=st.sampled_from([1, 8, 64]),
)
def test_whole_pages_are_padded_to_multiples(side, scale, multiple):
  window = page_windows.page_window((side, 50), scale, multiple)
  assert (window.top, window.left) == (0, 0)
  assert window.out_hw[0] % multiple == 0
  assert window.source_hw[0] >= side  # nothing is cut off
  assert window.out_hw[0] < side * scale + 2 * multiple + 1
  assert abs(window.source_hw[0] * scale - window.out_hw[0]) <= scale


def test_half_scale_is_exact():
  window = page_windows.page_window((3828, 2707), 0.5, 64)
  assert window.scale_hw == (0.5, 0.5)
  assert window.out_hw == (1920, 1408)


def test_outside_of_the_page_is_paper():
  page = np.full((4, 4), 255, np.uint8)
  window = page_windows.Window(-2, -3, (8, 8), (8, 8))
  crop = page_windows.cut(page, window)
  assert crop.sum() == 255 * 16
  assert crop[2:6, 3:7].min() == 255


@pytest.mark.parametrize(
  "box, kept, clipped, caption",
  [
    ((2, 2, 4, 4), True, (2, 2, 4, 4), "inside"),
    ((-4, 2, 6, 4), True, (0, 2, 6, 4), "60 % visible: its part stays"),
    ((-6, 2, 4, 4), True, (0, 2, 4, 4), "just 40 %"),
    ((-7, 2, 4, 4), False, (0, 2, 4, 4), "36 % visible"),
    ((-4, 2, -1, 4), False, (0, 2, 0, 4), "outside"),
    ((-90, -90, 90, 90), False, (0, 0, 8, 8), "larger than the crop"),
  ],
)
def test_boxes_cut_by_the_crop(box, kept, clipped, caption):
  boxes, keep = boxes_lib.visible(np.array([box], np.float32), (8, 8), 0.4)
  assert keep.tolist() == [kept], caption
  np.testing.assert_array_equal(boxes[0], clipped)


def test_boxes_stay_while_any_part_is_visible():
  boxes = [[-9, 2, 0.5, 4], [-9, 2, 0, 4], [8, 8, 9, 9], [-90, -90, 90, 90]]
  clipped, keep = boxes_lib.visible(np.array(boxes, np.float32), (8, 8), 0.0)
  assert keep.tolist() == [True, False, False, True]
  np.testing.assert_array_equal(clipped[keep], [[0, 2, 0.5, 4], [0, 0, 8, 8]])


def test_flip_moves_boxes_with_their_pixels():
  page = np.zeros((6, 9), np.uint8)
  page[1:3, 2:7] = 255
  page[1, 2] = 100
  boxes = np.array([[1, 2, 3, 7]], np.float32)
  flipped, moved = page_windows.flip_horizontally(page, boxes)
  y0, x0, y1, x1 = moved[0].astype(int)
  assert flipped[y0:y1, x0:x1].min() == 100
  assert np.count_nonzero(flipped) == (y1 - y0) * (x1 - x0)
  again, back = page_windows.flip_horizontally(flipped, moved)
  np.testing.assert_array_equal(again, page)
  np.testing.assert_array_equal(back, boxes)


def test_the_boxes_nearest_to_the_centre_stay_in_order():
  boxes = np.array(
    [[0, 0, 1, 1], [4, 4, 5, 5], [9, 9, 10, 10], [5, 5, 6, 6]], np.float32
  )
  rows = page_windows.nearest_to_centre(boxes, (10, 10), 2)
  assert rows.tolist() == [1, 3]


def test_padding_of_boxes():
  boxes = np.array([[1, 2, 3, 4]], np.float32)
  padded, labels, mask = page_windows.pad_boxes(boxes, np.array([7]), 3)
  assert padded.tolist() == [[1, 2, 3, 4], [0] * 4, [0] * 4]
  assert labels.tolist() == [7, 0, 0]
  assert mask.tolist() == [True, False, False]
  with pytest.raises(ValueError, match="2 boxes do not fit"):
    page_windows.pad_boxes(np.tile(boxes, (2, 1)), np.array([7, 7]), 1)


def test_thin_lines_survive_shrinking():
  page = np.zeros((64, 64), np.uint8)
  page[::8] = 255
  window = page_windows.Window(0, 0, (64, 64), (16, 16))
  crop = page_windows.cut(page, window)
  assert abs(crop.mean() - page.mean()) < 1
  assert cv2.countNonZero(crop) > 0
