"""Boxes refined after the decode, with a head that is made up."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dwd_jax.core import boxes, rectangles, structs
from dwd_jax.decode import refine, suppression

_SLOTS = 300  # more than are refined at once
_USED = (280, 3)


def _found():
  rng = np.random.default_rng(0)
  low = rng.uniform(0, 50, (2, _SLOTS, 2))
  high = low + rng.uniform(4, 20, (2, _SLOTS, 2))
  valid = np.arange(_SLOTS) < np.array(_USED)[:, None]
  boxes = np.where(valid[..., None], np.concatenate([low, high], -1), 0)
  scores = -np.sort(-rng.uniform(0.1, 1, (2, _SLOTS)), 1) * valid
  return structs.Detections(
    boxes_yxyx=jnp.asarray(boxes, jnp.float32),
    labels=jnp.asarray(np.arange(_SLOTS) * valid, jnp.int32),
    scores=jnp.asarray(scores, jnp.float32),
    valid=jnp.asarray(valid),
    count=jnp.array([400, 3], jnp.int32),
  )


@functools.partial(jax.jit, static_argnames="oriented")
def _refine(found, oriented=False):
  """Half a height down; a fit by the width; boxes of page 1 say nothing.

  Oriented boxes are as the given ones, with a slant of 0.5.
  """

  def head(ink, features, boxes_yxyx):
    assert ink.shape == (64, 96) and features.shape == (16, 24, 3)
    width = boxes_yxyx[:, 3] - boxes_yxyx[:, 1]
    said = jnp.zeros((len(boxes_yxyx), 10)).at[:, 0].set(0.5)
    said = said.at[:, 4].set(width / 4).at[:, 9].set(0.5)
    return jnp.where(ink.any(), jnp.nan, said)

  image = jnp.zeros((2, 64, 96, 1)).at[1].set(1)
  features = jnp.zeros((2, 16, 24, 3))
  return refine.refine(found, head, image, features, oriented)


def test_boxes_move_and_scores_follow_the_fit():
  given = _found()
  found = jax.tree.map(np.asarray, _refine(given))
  given = jax.tree.map(np.asarray, given)
  n = _USED[0]
  assert found.valid[0].sum() == n and found.valid[0, :n].all()
  assert (np.diff(found.scores[0]) <= 0).all()
  was = found.labels[0, :n]  # each its former slot
  assert sorted(was) == list(range(n))
  before = given.boxes_yxyx[0][was]
  height, width = before[:, 2] - before[:, 0], before[:, 3] - before[:, 1]
  shift = np.stack([height / 2, 0 * height] * 2, 1)
  np.testing.assert_allclose(found.boxes_yxyx[0, :n], before + shift, atol=1e-4)
  fit = 1 / (1 + np.exp(-width / 4))
  wanted = given.scores[0][was] * np.sqrt(fit)
  np.testing.assert_allclose(found.scores[0, :n], wanted, rtol=1e-5)
  assert not found.boxes_yxyx[0, n:].any() and not found.scores[0, n:].any()
  np.testing.assert_array_equal(found.count, given.count)


def test_what_is_not_finite_changes_nothing():
  given = _found()
  found = _refine(given)
  for name in ("boxes_yxyx", "scores", "labels"):
    a, b = (np.asarray(getattr(x, name)[1]) for x in (given, found))
    np.testing.assert_array_equal(a, b)
  broken = given.replace(boxes_yxyx=given.boxes_yxyx.at[0, 0].set(jnp.nan))
  found = _refine(broken)
  assert np.isfinite(found.scores).all()
  assert np.isfinite(np.asarray(found.boxes_yxyx)[0]).all()


def test_oriented_boxes_come_with_the_second_look():
  given = _found()
  found = jax.tree.map(np.asarray, _refine(given, oriented=True))
  n, before = _USED[0], np.asarray(given.boxes_yxyx)[0]
  before = before[found.labels[0, :n]]
  around = found.oriented_yx[0, :n].min(1), found.oriented_yx[0, :n].max(1)
  np.testing.assert_allclose(np.concatenate(around, 1), before, atol=1e-3)
  codes = rectangles.encode(found.oriented_yx[0, :n])
  slim = np.ptp(before[:, 2:] - before[:, :2], axis=1) > 1  # not a square
  np.testing.assert_allclose(codes[slim, 4], 0.5, atol=1e-3)
  assert not found.oriented_yx[0, n:].any()
  # Nothing is said of page 1.
  boxes_yxyx = found.boxes_yxyx[1, :3]
  upright = boxes.corners_yx(boxes_yxyx)
  np.testing.assert_allclose(found.oriented_yx[1, :3], upright)


@pytest.mark.parametrize(("most_iou", "count"), [(0.0, 3), (0.3, 2)])
def test_crossing_bars_are_two_objects(most_iou, count):
  """Their upright boxes are the same; a third one lies on the first."""
  codes = np.float32([[0, 0, 50, 60, s] for s in (1.5, -1.5, 1.4)])
  given = structs.Detections(
    boxes_yxyx=jnp.asarray(codes[None, :, :4]),
    labels=jnp.zeros((1, 3), jnp.int32),
    scores=jnp.array([[0.9, 0.8, 0.7]]),
    valid=jnp.ones((1, 3), bool),
    count=jnp.array([3]),
    oriented_yx=jnp.asarray(rectangles.decode(codes))[None],
  )
  found = suppression.suppress_pages(given, most_iou)
  assert found.count == found.valid.sum() == count
