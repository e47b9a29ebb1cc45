"""Positions on the staff: columns of features, positions of detections."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from dwd_jax.core.structs import NO_POSITION, Detections, Predictions
from dwd_jax.models import dwd, pixel_sampling, staff_positions
from dwd_jax.objectives import class_loss

HW = 16, 12  # of the maps
_columns_at = jax.jit(staff_positions.columns_at)


def _reads_off_the_middle():
  """A head that answers with the first feature of the pixel itself, rounded."""
  hidden = np.zeros((2 * len(dwd.COLUMN_PX), dwd.POSITION_HIDDEN), np.float32)
  hidden[2 * dwd.COLUMN_PX.index(0), 0] = 1
  positions = np.arange(-dwd.MAX_POSITION, dwd.MAX_POSITION + 1)
  head = np.zeros((dwd.POSITION_HIDDEN, len(positions)), np.float32)
  # -(value - 100 - position)^2 without what all positions have in common; the
  # hidden unit is not negative.
  head[0] = 2 * positions
  return {
    "position_hidden": {
      "kernel": hidden,
      "bias": np.eye(dwd.POSITION_HIDDEN, dtype=np.float32)[0] * 100,
    },
    "position_head": {
      "kernel": head,
      "bias": -(positions.astype(np.float32) ** 2) - 200 * positions,
    },
    "class_head": {"kernel": np.zeros((2, 3)), "bias": np.zeros(3)},
  }


def _maps(features):
  rest = jnp.zeros((*features.shape[:3], 1, 2))
  return Predictions(rest, rest, jnp.asarray(features))


def test_columns_are_the_pixels_above_and_below():
  features = np.random.default_rng(0).normal(size=(*HW, 3)).astype(np.float32)
  y, x = np.array([30, 0, 63, 40]), np.array([20, 0, 47, 5])
  columns = _columns_at(features, y, x)
  parts = np.split(np.asarray(columns), len(dwd.COLUMN_PX), axis=-1)
  for dy, part in zip(dwd.COLUMN_PX, parts, strict=True):
    rows = np.clip(y + dy, 0, 63)  # the edges are repeated
    wanted = pixel_sampling.gather_bilinear(features, rows, x)
    np.testing.assert_allclose(part, wanted, rtol=1e-6)


def test_detections_are_read_off_at_their_centres():
  features = np.zeros((2, *HW, 2), np.float32)
  features[0, 4:8, 2:6, 0], features[1, 13:, 9:, 0] = 7, -12
  cell = np.array([[20, 12, 24, 16], [60, 44, 64, 48]], np.float32)
  nan = np.full(4, np.nan, np.float32)
  far = np.array([1e9, 1e9, 2e9, 2e9], np.float32)
  boxes = np.stack([[cell[0], cell[0], nan], [far, cell[1], cell[1]]])
  found = Detections(
    boxes_yxyx=jnp.asarray(boxes),
    labels=jnp.asarray([[0, 1, 0], [2, 2, 2]]),
    scores=jnp.ones((2, 3)),
    valid=jnp.asarray([[True, True, True], [True, True, False]]),
    count=jnp.asarray([3, 2]),
  )
  positions = jax.jit(
    functools.partial(staff_positions.with_positions, position_classes=(0, 2))
  )(found, _reads_off_the_middle(), _maps(features)).positions
  assert positions.dtype == jnp.int32
  # Class 1 has no positions; the last slot is empty; what is off the page is
  # read at its edge.
  none = NO_POSITION
  assert positions.tolist() == [[7, none, 0], [-12, -12, none]]


def test_loss_by_hand():
  rng = np.random.default_rng(0)
  logits = rng.normal(0, 2, (6, 2 * dwd.MAX_POSITION + 1)).astype(np.float32)
  positions = np.array([-25, 3, NO_POSITION, 25, 40, 0], np.int32)
  valid = np.array([True, True, True, True, True, False])
  logits[1, 3 + 25] = 99  # right
  loss, metrics = jax.jit(class_loss.position_loss)(logits, positions, valid)
  rows, labels = [0, 1, 3, 4], [0, 28, 50, 50]  # beyond the last counts as last
  log_p = scipy.special.log_softmax(logits.astype(np.float64), -1)
  np.testing.assert_allclose(loss, -log_p[rows, labels].mean(), rtol=1e-5)
  right = (logits.argmax(-1)[rows] == labels).mean()
  np.testing.assert_allclose(metrics["position_accuracy"], right)
  none = jax.jit(class_loss.position_loss)(logits, positions, valid & False)
  assert none[0] == 0
