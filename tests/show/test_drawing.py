"""Pictures: where the colours are."""

import dataclasses

import cv2
import numpy as np
import pytest
from box_helpers import FAR, A, B, page

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core import words
from dwd_jax.imaging import grey
from dwd_jax.show import drawing, letters

NAMES = ("notehead", "clef")


def _has(picture, rgb, rows=slice(None)):
  return bool((picture[rows] == rgb).all(axis=-1).any())


def _overlay(truth, found, scores, hw=(120, 160)):
  ink, true = np.zeros(hw, np.uint8), page(truth)
  detections = page(found, scores)
  return drawing.overlay(ink, true, detections, NAMES, min_width_px=160)


def test_overlay_colours_lie_on_their_boxes():
  truth = [(0, *A), (1, *B)]
  picture = _overlay(truth, [(0, *A), (0, *FAR)], [0.9, 0.8])
  assert picture.dtype == np.uint8
  legend = picture.shape[0] - 120
  canvas = picture[legend:]
  assert tuple(canvas[20, 30]) == drawing.HIT_RGB  # top edge of A
  assert tuple(canvas[39, 30]) == drawing.HIT_RGB  # last row inside A
  assert tuple(canvas[30, 80]) == drawing.MISSED_RGB  # left edge of B
  assert tuple(canvas[80, 39]) == drawing.WRONG_RGB  # right edge of FAR
  assert tuple(canvas[60, 150]) == (255, 255, 255)
  assert _has(picture, drawing.FOUND_RGB, slice(legend))


def test_overlay_of_a_page_without_anything_has_no_colour_below_the_legend():
  picture = _overlay([], [], [])
  assert (picture[-120:] == 255).all()


def test_overlay_draws_source_pixels_on_a_scaled_page():
  picture = _overlay([(0, *B)], [], [], hw=(60, 80))  # half of the source
  canvas = picture[-120:]
  assert canvas.shape[1] == 160  # enlarged twice: source pixels again
  assert tuple(canvas[30, 80]) == drawing.MISSED_RGB


def test_oriented_boxes_are_drawn_from_corner_to_corner():
  corners = np.array([[[20, 10], [60, 50], [50, 60], [10, 20]]], np.float32)
  truth = page([(0, 10, 10, 60, 60)])
  truth = dataclasses.replace(truth, oriented_yx=corners)
  ink = np.zeros((120, 160), np.uint8)
  nameless = [""] * len(NAMES)  # letters have the same colour
  picture = drawing.boxes_picture(ink, truth, nameless, min_width_px=160)
  rows, columns = np.nonzero((picture == drawing.class_rgb(0)).all(axis=-1))
  off = rows - columns  # 10 and -10 along the sides, less in the ends
  assert rows.min() == columns.min() == 10 and rows.max() == 59
  assert np.abs(off).max() <= 10 and (np.abs(off) >= 9).sum() > 70
  # Upright corners are drawn as upright boxes are.
  upright = dataclasses.replace(
    truth, oriented_yx=boxes_lib.corners_yx(truth.boxes_yxyx)
  )
  bare = dataclasses.replace(truth, oriented_yx=None)
  np.testing.assert_array_equal(
    *(drawing.boxes_picture(ink, t, NAMES) for t in (upright, bare))
  )


def test_overlay_judges_the_boxes_that_it_draws():
  slope = np.array([[[20, 10], [60, 50], [50, 60], [10, 20]]], np.float32)
  truth = page([(0, 10, 10, 60, 60)])
  found = page([(0, 10, 10, 60, 60)], [0.9])
  # The other way up, between the same sides.
  other = slope[..., ::-1] * (1, -1) + (0, 70)
  ink, nameless = np.zeros((120, 160), np.uint8), [""] * len(NAMES)

  def colours(true_yx, found_yx):
    canvas = drawing.overlay(
      ink,
      dataclasses.replace(truth, oriented_yx=true_yx),
      dataclasses.replace(found, oriented_yx=found_yx),
      nameless,
      min_width_px=160,
    )[-120:]
    return _has(canvas, drawing.HIT_RGB), _has(canvas, drawing.MISSED_RGB)

  assert colours(slope, slope) == (True, False)
  assert colours(slope, other.astype(np.float32)) == (False, True)
  assert colours(slope, None) == (True, False)  # upright, as one side is


def test_overlay_survives_boxes_that_make_no_sense():
  rows = [(1, -1e30, -1e30, 1e30, 1e30), (0, 90, 90, 10, 10)]
  picture = _overlay([(0, *A)], rows, [0.9, 0.5])
  assert picture.shape[1:] == (160, 3)


def test_energy_is_hot_at_the_peak_and_paper_elsewhere():
  ink = np.zeros((20, 30), np.uint8)
  ink[15, 25] = 255
  levels = np.zeros((32, 32, 2), np.float32)  # padded, two groups
  levels[5, 6, 1] = 19
  levels[10, 10, 0] = np.nan
  picture = drawing.energy_picture(ink, levels)
  assert picture.shape == (20, 30, 3)
  red, green, blue = picture[5, 6].astype(int)
  assert red > green + 50
  assert red > blue + 50
  np.testing.assert_array_equal(picture[0, 0], [255, 255, 255])
  np.testing.assert_array_equal(picture[10, 10], [255, 255, 255])
  np.testing.assert_array_equal(picture[15, 25], [0, 0, 0])


def test_png_keeps_the_colours(tmp_path):
  picture = np.zeros((4, 5, 3), np.uint8)
  picture[..., 0] = 200  # red
  drawing.save(tmp_path / "new" / "a.png", picture)
  read = cv2.imread(str(tmp_path / "new" / "a.png"))
  assert read is not None
  np.testing.assert_array_equal(read[0, 0], [0, 0, 200])  # OpenCV reads BGR


def test_boxes_picture_shows_classes_and_marked_boxes():
  ink = np.zeros((120, 160), np.uint8)
  truth = page([(0, *A), (1, *B), (0, *FAR)])
  marked = np.array([False, False, True])
  picture = drawing.boxes_picture(ink, truth, NAMES, marked, min_width_px=160)
  assert picture.shape == (120, 160, 3)
  for i, rgb in enumerate(
    (drawing.class_rgb(0), drawing.class_rgb(1), drawing.WRONG_RGB)
  ):
    y0, x0 = truth.boxes_yxyx[i, :2].astype(int)
    assert tuple(picture[y0 + 10, x0]) == rgb


def test_neighbouring_classes_have_other_colours():
  colours = np.array([drawing.class_rgb(c) for c in range(300)], int)
  assert np.abs(np.diff(colours, axis=0)).max(axis=1).min() > 60
  assert colours.min() >= 0 and colours.max() <= 255


def _ring(hw=(40, 60)):
  """A light ring on dark ground, as in a file."""
  tones = np.full(hw, 30, np.uint8)
  cv2.circle(tones, (30, 20), 8, 220, 2)
  return tones


@pytest.mark.parametrize("polarity", ["dark", "light", "keep"])
def test_pictures_of_any_kind_look_as_their_files_do(polarity):
  tones = _ring()
  ink = grey.to_ink(tones, polarity)
  seen = drawing.ground(ink, polarity, words.ANYTHING)
  np.testing.assert_array_equal(seen, np.dstack([tones] * 3))
  drawn = drawing.boxes_picture(
    seen, page([], image_hw=tones.shape), NAMES, min_width_px=60
  )
  np.testing.assert_array_equal(drawn, seen)
  # Printed music is pale below the boxes; inverted scans stay inverted.
  music = drawing.ground(ink, polarity, words.MUSIC)
  assert (music is ink) == (polarity == "dark")


def test_classes_are_light_on_dark_pictures():
  seen = drawing.ground(_ring(), "light", words.ANYTHING)
  truth = page([(1, 5, 5, 30, 40)], image_hw=seen.shape[:2])
  picture = drawing.boxes_picture(seen, truth, ["", ""], min_width_px=60)
  assert _has(picture, drawing.class_rgb(1, on_dark=True))
  assert not _has(picture, drawing.class_rgb(1))


@pytest.mark.parametrize("width", [8, 40, 300])
def test_no_entry_of_a_legend_is_cut(width):
  truth = page([], image_hw=(30, width))
  name = "Красные кровяные клетки, " * 4 + "17.tif"
  truth = dataclasses.replace(truth, filename=name)
  found = page([], [], image_hw=(30, width))
  ink = np.zeros((30, width), np.uint8)
  picture = drawing.overlay(ink, truth, found, NAMES)
  zoom = 4
  bar = picture[: -30 * zoom]
  assert picture.shape[1] >= letters.width(name, 9)
  assert (bar[:, -8:] == 255).all()  # nothing reaches the edge
  assert (picture[-30 * zoom :] == 255).all()


def test_names_at_the_edges_are_whole():
  def drawn(x0, y0):
    truth = page([(0, y0, x0, y0 + 9, x0 + 9)], image_hw=(120, 400))
    ink = np.zeros((120, 400), np.uint8)
    picture = drawing.boxes_picture(
      ink, truth, ["дрожжи, почкующиеся"], min_width_px=400
    )
    return int((picture != 255).any(axis=-1).sum())

  middle = drawn(100, 50)
  for corner in ((390, 50), (390, 0), (390, 110), (0, 0)):
    assert drawn(*corner) > 0.8 * middle  # some of it on the box
