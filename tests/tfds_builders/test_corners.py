"""Oriented boxes as annotated: mended, replaced, counted."""

import pathlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwd_jax.core.errors import InputError
from tfds_builders import checks, corners
from tfds_builders.boxes import boxes_dota

_WHERE = pathlib.Path("page.txt")
_NAN = float("nan")
# Corners x, y of an object with the upright box (10, 20)..(40, 60) of (y, x).
_GOOD = [20, 30, 40, 10, 60, 20, 40, 40]
_UPRIGHT = [[10, 20], [10, 60], [40, 60], [40, 20]]


def _clean(xy):
  report = checks.BuildReport()
  given = corners.of_polygon(xy, "object 0", report)[None]
  boxes = np.array([[10, 20, 40, 60]], np.float32)
  kept = np.ones(1, bool)
  found = corners.clean(given, boxes, kept, (100, 100), _WHERE, report)
  assert found.dtype == np.float32
  return found[0], [kind.partition(": ")[2] for kind in report.counts]


def test_good_corners_stay_as_they_are():
  found, kinds = _clean(_GOOD)
  assert found.tolist() == [[30, 20], [10, 40], [20, 60], [40, 40]]
  assert not kinds
  # Whichever way around, and with two corners in one place.
  assert not _clean(np.reshape(_GOOD, (4, 2))[::-1].ravel().tolist())[1]
  assert not _clean([20, 10, 60, 10, 60, 40, 60, 40])[1]


@pytest.mark.parametrize(
  ("kind", "xy"),
  [
    ("not 8 numbers", [20, 30, 40, 10, 60, 20]),
    ("not 8 numbers", []),
    ("not 8 numbers", [*_GOOD, 5]),
    ("not 8 numbers", [*_GOOD[:-1], _NAN]),
    ("not 8 numbers", [*_GOOD, _NAN, 5]),
    ("not 8 numbers", [1.0] * 4000),
    ("of no area", [20, 10, 40, 25, 60, 40, 40, 25]),
    ("of no area", [30, 30] * 4),
    ("of no area", [30, 30] * 5),
    ("elsewhere", [70, 70, 80, 70, 80, 80, 70, 80]),
    ("far beside the page", [20, 10, 1e7, 10, 1e7, 40, 20, 40]),
  ],
)
def test_bad_ones_become_the_upright_box(kind, xy):
  found, kinds = _clean(xy)
  assert found.tolist() == _UPRIGHT
  assert kind in kinds


@pytest.mark.parametrize(
  ("kind", "xy"),
  [
    ("more than four points", [20, 10, 40, 9, 60, 10, 60, 40, 20, 40]),
    ("crossed or dented", [20, 10, 60, 40, 60, 10, 20, 40]),
    ("crossed or dented", [20, 10, 60, 10, 24, 12, 20, 40]),
  ],
)
def test_those_of_clear_meaning_are_mended(kind, xy):
  found, kinds = _clean(xy)
  assert kinds == [kind]
  points = np.reshape(xy, (-1, 2))[:, ::-1]
  for point in points.tolist():
    assert cv2.pointPolygonTest(found, point, True) > -1e-3
  sides = np.roll(found, -1, axis=0) - found
  assert abs(sides[0] @ sides[1]) < 1e-2


@settings(max_examples=200, deadline=None)
@given(
  st.lists(st.floats() | st.integers(-99, 199), max_size=12)
  | st.lists(st.integers(0, 60), min_size=8, max_size=12)
)
def test_whatever_is_given_a_box_comes_out(xy):
  found, kinds = _clean(xy)
  assert np.isfinite(found).all() and len(kinds) <= 2
  sides = np.roll(found, -1, axis=0) - found
  after = np.roll(sides, -1, axis=0)
  turns = sides[:, 0] * after[:, 1] - sides[:, 1] * after[:, 0]
  turns = np.sign(turns.round(2))
  assert turns.min() >= 0 or turns.max() <= 0  # not crossed
  assert turns.any()


def test_only_kept_objects_are_reported():
  report = checks.BuildReport()
  given = np.full((2, 4, 2), _NAN)
  boxes = np.zeros((2, 4), np.float32)
  kept = np.zeros(2, bool)
  corners.clean(given, boxes, kept, (9, 9), _WHERE, report)
  corners.clean(given[:0], boxes[:0], kept[:0], (9, 9), _WHERE, report)
  assert not report.counts


def test_dota_takes_polygons_of_more_corners(tmp_path):
  path = tmp_path / "page.txt"
  path.write_text("0 0 9 0 9 9 0 9 3 1\n0 0 5 -1 9 0 9 9 0 9 disc 1\n")
  report = checks.BuildReport()
  objects = boxes_dota.read_objects(path, report)
  assert objects.names == ("3", "disc")  # a name may be a number
  assert objects.difficult.tolist() == [True, True]
  np.testing.assert_allclose(objects.boxes_yxyx[1], [-1, 0, 9, 9], atol=1e-5)
  assert len(report.counts) == 1
  for line in ("0 0 9 0 9 9 disc", "0 0 9 0 9 9 0 9 9 disc 0", "1 " * 12):
    path.write_text(line)
    with pytest.raises(InputError, match=r"page\.txt: line 1 has \d+ columns"):
      boxes_dota.read_objects(path, report)
