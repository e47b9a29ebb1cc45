"""Positions on the staff: columns of ink, positions of detections."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dwd_jax.core.structs import NO_POSITION, Detections
from dwd_jax.models import staff_positions
from dwd_jax.models.staff_positions import Ruler

HW = 90, 120
_ROWS = staff_positions._ROWS
_MIDDLE = staff_positions.COLUMN[1] // 2


def _columns(image, y, x, space_px=9.0):
  ruler = Ruler(space_px)
  means = staff_positions.stretches(jnp.asarray(image)[None, ..., None], ruler)
  at = jnp.asarray(y, jnp.float32), jnp.asarray(x, jnp.float32)
  return np.asarray(staff_positions.columns_at(means[0], *at, ruler))


def test_stretches_are_means_with_paper_beyond_the_edges():
  image = np.random.default_rng(0).random((1, 5, 30, 1)).astype(np.float32)
  means = staff_positions.stretches(jnp.asarray(image), Ruler(9.0))
  padded = np.pad(image[0, ..., 0], ((0, 0), (4, 4)))
  windows = np.lib.stride_tricks.sliding_window_view(padded, 9, axis=1)
  np.testing.assert_allclose(means[0], windows.mean(-1), atol=1e-6)


@pytest.mark.parametrize("space_px", [9.0, 18.0, 0.0])
def test_columns_show_lines_at_their_distance(space_px):
  space = space_px or 9.0
  image = np.zeros((400, 400), np.float32)
  first = 150
  for line in range(5):
    top = first + round(line * space)
    image[top : top + round(space / 9)] = 1
  y = first + 2 * space + space / 18  # on the middle line
  columns = _columns(image, [y, y - space / 2], [200.0, 200.0], space_px)
  assert columns.shape == (2, *staff_positions.COLUMN)
  for at, shift in enumerate((0, 4.5)):
    for row in columns[at].T:  # the lines cross the page
      seen = _ROWS[row > 0.45]
      wanted = np.arange(-18, 19, 9) + shift
      assert set(np.floor(wanted)) <= set(seen) | set(seen - 1)
      assert np.abs(seen[:, None] - wanted).min(1).max() <= 1


def test_beyond_the_image_there_is_paper():
  ones = np.ones((20, 20), np.float32)
  columns = _columns(ones, [10.0, 1e6], [10.0, -1e6])
  assert not columns[1].any()
  inside = np.abs(_ROWS + 9.5 - 9.5) < 10
  assert columns[0, :, _MIDDLE][inside].min() > 0.9
  assert not columns[0, np.abs(_ROWS) > 12].any()


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
  middle = len(_ROWS) // 2 // 4  # after two strides of 2
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
      staff_positions.with_positions, ruler=Ruler(9.0), position_classes=(0, 2)
    )
  )(found, _counts_the_ink(), jnp.asarray(image)).positions
  assert positions.dtype == jnp.int32
  # Class 1 has no positions, the last slot is empty, off the page is paper.
  none = NO_POSITION
  assert positions.tolist() == [[7, none, 0], [0, 3, none]]
