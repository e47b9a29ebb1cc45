"""Rectangles of any angle: their code, and their overlap beside OpenCV's."""

import cv2
import jax
import numpy as np
import pytest

from dwd_jax.core import boxes, rectangles

_iou = jax.jit(rectangles.pairwise_iou)


def _corners(centers, long, short, angles):
  """Corners [n, 4, 2]; angles of the longer sides to the x axis."""
  along = np.stack([np.sin(angles), np.cos(angles)], -1) * long[:, None] / 2
  across = np.stack([np.cos(angles), -np.sin(angles)], -1) * short[:, None] / 2
  ways = [-along - across, along - across, along + across, across - along]
  return (centers[:, None] + np.stack(ways, 1)).astype(np.float32)


def _random(rng, n, slim=1.0):
  long = rng.uniform(1, 30, n)
  short = np.maximum(long * rng.uniform(0.02, slim, n), 0.2)
  angles = rng.uniform(-7, 7, n)
  return _corners(rng.uniform(0, 25, (n, 2)), long, short, angles)


def _area(corners):
  y, x = corners[..., 0].astype(float), corners[..., 1].astype(float)
  turned = x * np.roll(y, -1, -1) - y * np.roll(x, -1, -1)
  return np.abs(turned.sum(-1)) / 2


def _by_opencv(a, b):
  inter = [[cv2.intersectConvexConvex(p, q)[0] for q in b] for p in a]
  return inter / (_area(a)[:, None] + _area(b) - inter)


@pytest.mark.parametrize("slim", [1.0, 0.1], ids=["any", "slim"])
def test_overlaps_of_random_rectangles_equal_those_of_opencv(slim):
  rng = np.random.default_rng(0)
  a, b = _random(rng, 40, slim), _random(rng, 40, slim)
  b[:10] = a[:10]  # the same
  b[10:20] = a[10:20, ::-1] + 2e-6  # nearly; corners the other way round
  b[20:25] = a[20:25, [2, 3, 0, 1]]  # from another corner on
  wanted = _by_opencv(a, b)
  wanted[np.arange(25), np.arange(25)] = 1  # where OpenCV is not exact
  np.testing.assert_allclose(_iou(a, b), wanted, atol=1e-4)
  np.testing.assert_allclose(rectangles.pairwise_iou(a, b), wanted, atol=1e-4)
  np.testing.assert_allclose(_iou(b, a), wanted.T, atol=1e-4)


def test_overlaps_of_upright_boxes_are_those_of_boxes():
  rng = np.random.default_rng(1)
  start = rng.integers(0, 9, (40, 2))
  upright = np.hstack([start, start + rng.integers(0, 6, (40, 2))])
  upright = upright.astype(np.float32)
  corners = boxes.corners_yx(upright)
  wanted = boxes.pairwise_iou(upright, upright)
  np.testing.assert_allclose(_iou(corners, corners), wanted, atol=1e-6)


def test_what_is_no_rectangle_overlaps_nothing():
  good = _random(np.random.default_rng(2), 40)
  bad = good.copy()
  bad[0] = 5  # a point
  bad[1] = good[1, [0, 1, 1, 0]]  # a line
  bad[2, 0] = np.nan
  bad[3] = np.inf
  bad[4] *= 1e30
  for iou in (_iou(good, bad), _iou(bad, good).T, _iou(bad, bad)):
    assert np.isfinite(iou).all()
    np.testing.assert_allclose(iou[:, :4], 0, atol=1e-6)
  np.testing.assert_allclose(_iou(good, bad)[5:, 5:], _iou(good, good)[5:, 5:])


def test_codes_give_the_rectangles_back():
  rng = np.random.default_rng(3)
  corners = _random(rng, 60)
  corners[:9] = boxes.corners_yx(
    np.float32([[1, 2, 1 + h, 2 + w] for h in (1, 5, 40) for w in (1, 5, 40)])
  )
  codes = rectangles.encode(corners)
  back = rectangles.decode(codes)
  overlap = np.diagonal(rectangles.pairwise_iou(back, corners))
  np.testing.assert_allclose(overlap, 1, atol=1e-4)
  around = np.concatenate([corners.min(1), corners.max(1)], 1)
  np.testing.assert_allclose(codes[:, :4], around, atol=1e-3)
  # Whatever corner comes first, and in either order.
  turned = rectangles.encode(np.roll(corners, 1, 1)[:, ::-1])
  np.testing.assert_allclose(turned, codes, atol=2e-3)
  np.testing.assert_allclose(codes[:9, 4], 0, atol=1e-6)
  # From the top left to the bottom right, and from the bottom left to the top.
  bars = _corners(
    np.zeros((4, 2)), np.full(4, 20), np.full(4, 2), [0.3, 1.2, -0.3, -1.2]
  )
  slants = rectangles.encode(bars)[:, 4]
  np.testing.assert_array_equal(np.sign(slants), [1, 1, -1, -1])
  of_jax = (
    jax.jit(rectangles.encode)(corners),
    jax.jit(rectangles.decode)(codes),
  )
  np.testing.assert_allclose(of_jax[0], codes, atol=2e-3)
  np.testing.assert_allclose(of_jax[1], back, atol=2e-3)


def test_codes_of_bars_have_no_jumps():
  """A little turn is a little change, over a whole turn."""
  angles = np.linspace(0, 2 * np.pi, 400)
  bars = _corners(
    np.zeros((400, 2)), np.full(400, 10.0), np.full(400, 2.0), angles
  )
  assert np.abs(np.diff(rectangles.encode(bars), axis=0)).max() < 0.2


def test_what_has_no_area_stays_finite():
  corners = np.zeros((3, 4, 2), np.float32)
  corners[1] += 7
  corners[2, 2:, 1] = 5
  codes = rectangles.encode(corners)
  assert np.isfinite(codes).all()
  assert np.isfinite(rectangles.decode(codes)).all()
