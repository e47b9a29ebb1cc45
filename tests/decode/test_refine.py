"""Boxes refined after the decode, with a head that is made up."""

import jax
import jax.numpy as jnp
import numpy as np

from dwd_jax.core import structs
from dwd_jax.decode import refine

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


@jax.jit
def _refine(found):
  """Half a height down; a fit by the width; boxes of page 1 say nothing."""

  def head(ink, features, boxes_yxyx):
    assert ink.shape == (64, 96) and features.shape == (16, 24, 3)
    width = boxes_yxyx[:, 3] - boxes_yxyx[:, 1]
    said = jnp.zeros((len(boxes_yxyx), 5)).at[:, 0].set(0.5)
    said = said.at[:, 4].set(width / 4)
    return jnp.where(ink.any(), jnp.nan, said)

  image = jnp.zeros((2, 64, 96, 1)).at[1].set(1)
  return refine.refine(found, head, image, jnp.zeros((2, 16, 24, 3)))


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
