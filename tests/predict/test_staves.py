"""Staves tell polarity and direction; boxes come back to the page as it was."""

import cv2
import numpy as np
import pytest
from staff_helpers import staves

from dwd_jax.predict import staves as staves_lib
from dwd_jax.predict.staves import Staves

_PAGE = staves(10)


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("turned", [0, 90])
def test_staves_are_found_however_the_page_lies(turned, inverted):
  page = np.rot90(_PAGE, turned // 90)
  found = staves_lib.find(255 - page if inverted else page)
  assert found == Staves(inverted, turned, 0.0, found.staff_space_px)
  assert found.staff_space_px == pytest.approx(10, rel=0.02)
  np.testing.assert_array_equal(
    found.applied(255 - page if inverted else page), _PAGE
  )


def test_a_dark_table_is_not_taken_for_paper():
  table = np.full((1100, 800), 40, np.uint8)  # grey; most of the picture
  table[200:900, 150:650] = 255 - _PAGE
  assert staves_lib.find(table).inverted
  assert not staves_lib.find(255 - table).inverted


def test_pages_without_staves_stay():
  rng = np.random.default_rng(0)
  text = np.zeros((700, 500), np.uint8)
  for y in range(40, 660, 24):  # words of strokes
    for x in range(30, 460, 9):
      if rng.random() < 0.8:
        text[y : y + rng.integers(6, 14), x : x + 2] = 255
  assert staves_lib.find(text) == Staves()


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_boxes_come_back_to_the_page_as_it_came(turn):
  came = np.zeros((30, 50), np.uint8)
  came[4:9, 20:41] = 255
  how = Staves(turn=turn)
  rows, columns = np.nonzero(how.applied(came))
  box = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
  boxes = np.array([box], np.float32)
  found = how.boxes_back(boxes, came.shape)
  np.testing.assert_array_equal(found, [[4, 20, 9, 41]])
  assert found.dtype == np.float32
  assert how.on_its_head((50, 30)).turn == (turn + 180) % 360
  assert isinstance(how.turned, int)


@pytest.mark.parametrize("turned", [0, 90])
@pytest.mark.parametrize("skew", [-8, 5])
def test_skewed_pages_are_levelled(skew, turned):
  page = staves(10, (800, 600), thickness=2)
  matrix = cv2.getRotationMatrix2D((300, 400), -skew, 1)
  came = cv2.warpAffine(page, matrix, (600, 800)).astype(np.uint8)
  came = np.rot90(came, turned // 90)
  found = staves_lib.find(came)
  assert found.turned == pytest.approx(turned - skew, abs=0.2)
  assert found.staff_space_px == pytest.approx(10, rel=0.02)
  assert (found.applied(came).max(1) > 127).mean() < 0.4  # rows with ink


def test_slight_skew_changes_no_pixel():
  page = staves(10, (800, 600), thickness=2)
  matrix = cv2.getRotationMatrix2D((300, 400), -1, 1)
  came = cv2.warpAffine(page, matrix, (600, 800)).astype(np.uint8)
  found = staves_lib.find(came)
  assert found.turned == 0
  np.testing.assert_array_equal(found.applied(came), came)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("level", [-7.0, 4.0])
def test_boxes_come_back_to_the_skewed_page(level, turn):
  came = np.zeros((300, 500), np.uint8)
  cv2.circle(came, (420, 60), 20, 255, -1)
  how = Staves(turn=turn, level=level)
  rows, columns = np.nonzero(how.applied(came) > 127)
  box = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
  (found,) = how.boxes_back(np.array([box], np.float32), came.shape)
  np.testing.assert_allclose(found, [40, 400, 81, 441], atol=2.5)
  middle = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
  np.testing.assert_allclose(
    how.points_back(middle, came.shape), [60.5, 420.5], atol=0.6
  )


@pytest.mark.parametrize("turned", [0, 90])
@pytest.mark.parametrize("skew", [0, -8])
def test_lines_come_back_to_the_page_as_it_came(skew, turned):
  page = staves(10, (380, 600), thickness=2)
  matrix = cv2.getRotationMatrix2D((300, 190), -skew, 1)
  came = np.rot90(cv2.warpAffine(page, matrix, (600, 380)), turned // 90)
  came = np.ascontiguousarray(came)
  how = staves_lib.find(came)
  found = how.traced(how.applied(came), came.shape)
  assert len(found) >= 2
  for line in (line for staff in found for line in staff.lines_yx):
    y, x = np.linspace(line[0], line[-1], 50)[5:-5].T
    near = cv2.dilate(came, np.ones((3, 3), np.uint8))
    # The corners of the page were cut off.
    assert (near[y.astype(int), x.astype(int)] > 127).mean() > 0.8
