"""Boxes follow the pixels: on shapes drawn alone and on engraved pages."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwd_jax.imaging import degrade
from dwd_jax.imaging.degrade import moved_boxes, warps

_HW = (240, 320)


def _warp(recipe, seed, hw=_HW, severity=1.0):
  rng = np.random.default_rng(seed)
  return degrade.RECIPES[recipe][0](rng, hw, severity, 9.0).warp


def _box(ink, least=1):
  ys, xs = np.nonzero(ink >= least)
  return np.array([ys.min(), xs.min(), ys.max() + 1, xs.max() + 1], np.float32)


def _shape(kind, y, x, size, turn):
  """One symbol on an empty page."""
  ink = np.zeros(_HW, np.uint8)
  if kind == "ellipse":
    cv2.ellipse(ink, (x, y), (size, max(size // 3, 2)), turn, 0, 360, 255, -1)
  elif kind == "arc":
    cv2.ellipse(ink, (x, y), (size, max(size // 3, 2)), 0, 180, 360, 255, 2)
  elif kind == "line":
    along = np.array([np.cos(np.radians(turn)), np.sin(np.radians(turn))])
    ends = (np.array([x, y]) + size * np.array([[1], [-1]]) * along).astype(int)
    cv2.line(ink, tuple(ends[0].tolist()), tuple(ends[1].tolist()), 255, 3)
  else:
    cv2.rectangle(ink, (x, y), (x + size, y + size // 2), 255, -1)
  return ink


@settings(max_examples=150, deadline=None)
@given(
  kind=st.sampled_from(["ellipse", "arc", "line", "block"]),
  y=st.integers(90, 150),
  x=st.integers(110, 210),
  size=st.integers(2, 70),
  turn=st.integers(0, 179),
  recipe=st.sampled_from(["scan", "photo"]),
  seed=st.integers(0, 10_000),
  severity=st.floats(0, 2.4),
)
def test_the_box_is_that_of_the_moved_ink(
  kind, y, x, size, turn, recipe, seed, severity
):
  ink = _shape(kind, y, x, size, turn)
  warp = _warp(recipe, seed, severity=severity)
  seen = warps.move_pixels(ink, warp, _HW)
  moved = moved_boxes.move(_box(ink)[None], warp, ink)[0]
  true = _box(seen, 100)
  inside = (true[:2] > 0).all() and (true[2:] < _HW).all()
  if inside:
    np.testing.assert_allclose(moved, true, atol=2)


def test_nothing_moves_where_nothing_changes():
  ink = np.zeros(_HW, np.uint8)
  boxes = np.array([[1.25, 20.5, 33, 44.75], [0, 0, 240, 320]], np.float32)
  warp = _warp("photo", 1, severity=0.0)
  np.testing.assert_allclose(
    moved_boxes.move(boxes, warp, ink), boxes, atol=1e-3
  )


def test_air_around_the_ink_is_kept():
  ink = _shape("arc", 120, 160, 60, 0)
  warp = _warp("scan", 4, severity=2.0)
  tight = _box(ink)
  air = np.array([-3, -2, 4, 5], np.float32)
  moved = moved_boxes.move(np.stack([tight, tight + air]), warp, ink)
  np.testing.assert_allclose(moved[1] - moved[0], air, atol=0.5)


def test_lines_that_run_through_a_box_do_not_hold_its_edges():
  turn = warps.flat_view(_HW, roll=np.radians(4))
  warp = warps.curl(_HW, turn, staff_space_px=9.0)
  arc = _shape("arc", 120, 160, 90, 0)
  crowded = arc.copy()
  for y in range(94, 130, 9):
    crowded[y : y + 2] = 255
  for x in range(90, 240, 30):
    crowded[92:150, x : x + 2] = 255
  alone = moved_boxes.move(_box(arc)[None], warp, arc)[0]
  among = moved_boxes.move(_box(arc)[None], warp, crowded)[0]
  corners = moved_boxes.move(_box(arc)[None], warp, np.zeros_like(arc))[0]
  np.testing.assert_allclose(among, alone, atol=2)
  assert np.abs(corners - alone).max() > 4


def test_a_space_between_lines_keeps_its_corners():
  # What has no ink of its own is not tightened to the notes in it.
  turn = warps.flat_view(_HW, roll=np.radians(4))
  warp = warps.curl(_HW, turn, staff_space_px=9.0)
  ink = np.zeros(_HW, np.uint8)
  ink[100:103], ink[119:122] = 255, 255
  for x in (90, 150, 170):
    cv2.ellipse(ink, (x, 111), (9, 7), 0, 0, 360, 255, -1)
    ink[60:111, x + 8 : x + 10] = 255
  box = np.array([[103, 40, 119, 280]], np.float32)
  moved = moved_boxes.move(box, warp, ink)
  corners = moved_boxes.move(box, warp, np.zeros_like(ink))
  np.testing.assert_allclose(moved, corners, atol=2)


def test_without_ink_the_edges_are_moved():
  warp = _warp("photo", 7, severity=2.0)
  box = np.array([[60, 50, 150, 260]], np.float32)
  moved = moved_boxes.move(box, warp, np.zeros(_HW, np.uint8))[0]
  y, x = np.meshgrid(np.linspace(60, 150, 40), np.linspace(50, 260, 40))
  seen = warp.forward(np.stack([y, x], axis=-1)).reshape(-1, 2)
  np.testing.assert_allclose(moved[:2], seen.min(0), atol=1)
  np.testing.assert_allclose(moved[2:], seen.max(0), atol=1)


@pytest.mark.parametrize(
  ("caption", "box"),
  [
    ("empty", (20, 30, 20, 30)),
    ("inverted", (40, 50, 20, 30)),
    ("beside the page", (-50, -60, -20, -10)),
    ("larger than the page", (-100, -100, 900, 900)),
    ("across the edge", (-10, 300, 40, 350)),
  ],
)
def test_odd_boxes_stay_finite(caption, box):
  ink = _shape("ellipse", 120, 160, 40, 10)
  boxes = np.array([box], np.float32)
  moved = moved_boxes.move(boxes, _warp("photo", 3, severity=2.0), ink)
  assert moved.shape == (1, 4) and np.isfinite(moved).all(), caption
  no_boxes = moved_boxes.move(boxes[:0], _warp("scan", 3), ink)
  assert no_boxes.shape == (0, 4) and no_boxes.dtype == np.float32
