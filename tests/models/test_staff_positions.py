"""Positions of detections."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from dwd_jax.core.structs import NO_POSITION, Detections
from dwd_jax.models import ink_columns, staff_positions

HW = 90, 120
_MIDDLE = len(ink_columns.ACROSS) // 2


def _counts_the_ink():
  """A head whose answer is the ink at the middle, in steps of a tenth."""
  shapes = jax.eval_shape(
    lambda: staff_positions.PositionHead().init(
      jax.random.key(0), jnp.zeros((1, *staff_positions.COLUMN))
    )
  )["params"]
  head = jax.tree.map(lambda x: np.zeros(x.shape, np.float32), dict(shapes))
  for conv, channel in (("conv1", _MIDDLE), ("conv2", 0), ("conv3", 0)):
    head[conv]["kernel"][4, channel, 0] = 1  # the middle one of 9 rows
  middle = len(ink_columns.ROWS) // 2 // 4  # after two strides of 2
  head["hidden"]["kernel"][middle * 32, 0] = 10
  steps = np.arange(-25, 26)
  head["out"]["kernel"][0] = 2 * steps
  head["out"]["bias"][:] = -(steps**2)
  return {staff_positions.NAME: head, "class_head": {"bias": np.zeros(3)}}


def test_detections_are_read_off_at_their_middles():
  image = np.zeros((2, *HW, 1), np.float32)
  image[0, 40:44, 40:80] = 0.7
  image[1, 20:24, 20:60] = 0.3
  there = np.array([[38, 56, 46, 64], [18, 36, 26, 44]], np.float32)
  nan, far = np.full(4, np.nan), np.array([1e9, 1e9, 2e9, 2e9])
  boxes = np.stack(
    [[there[0], there[0], nan], [far, there[1], there[1]]]
  ).astype(np.float32)
  found = Detections(
    boxes_yxyx=jnp.asarray(boxes),
    labels=jnp.asarray([[0, 1, 0], [2, 2, 2]]),
    scores=jnp.ones((2, 3)),
    valid=jnp.asarray([[True, True, True], [True, True, False]]),
    count=jnp.asarray([3, 2]),
  )
  positions = jax.jit(
    functools.partial(
      staff_positions.with_positions, space_px=9.0, position_classes=(0, 2)
    )
  )(found, _counts_the_ink(), jnp.asarray(image)).positions
  assert positions.dtype == jnp.int32
  # Class 1 has no positions, the last slot is empty, off the page is paper.
  none = NO_POSITION
  assert positions.tolist() == [[7, none, 0], [0, 3, none]]
