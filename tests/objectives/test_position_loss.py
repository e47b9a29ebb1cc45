"""The loss of positions: which symbols count, and how much."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from dwd_jax.core.structs import NO_POSITION, Targets
from dwd_jax.models import staff_positions
from dwd_jax.objectives import position_loss


def _targets(centers_yx, positions):
  nothing = jnp.zeros((1, 1, 1, 1))
  centers = jnp.asarray(centers_yx, jnp.float32)
  boxes_yxyx = jnp.concatenate([centers - 1, centers + 1], -1)
  return Targets(
    energy=nothing,
    classes=nothing,
    sizes_px=nothing,
    owner=nothing,
    boxes_yxyx=boxes_yxyx,
    positions=jnp.asarray(positions, jnp.int32),
  )


def test_columns_are_shifted_evenly_whatever_their_number():
  for count in (5, 10, 25):
    shifts = position_loss._SHIFTS_PX[:count]
    assert not shifts.sum(0).any()
  assert len(np.unique(shifts, axis=0)) == 25
  assert np.abs(position_loss._SHIFTS_PX).max() == 2


def test_only_symbols_whose_staff_is_shown_count():
  # Lines 10 px apart, an image of 100 px: the middle line at 20..80 px.
  y = np.array([[50, 20, 19, 10, 95, 50, 5]])
  positions = np.array([[0, 0, 0, -2, 3, NO_POSITION, -4]])
  centers = np.stack([y, 0 * y], -1)
  shown = position_loss.staff_is_shown(positions, centers, 100, 10.0)
  wanted = [True, True, False, False, False, False, False]
  wanted[4] = 95 + 15 <= 80
  assert shown.tolist() == [wanted]
  above = position_loss.staff_is_shown(-positions, centers, 100, 10.0)
  assert above[0, 3] and above[0, 4] and above[0, 6]


def test_loss_is_a_mean_over_the_symbols_that_count():
  head = staff_positions.PositionHead().init(
    jax.random.key(0), jnp.zeros((1, *staff_positions.COLUMN))
  )["params"]
  # Answers +3 whatever it sees.
  head = jax.tree.map(jnp.zeros_like, head)
  head["out"]["bias"] = head["out"]["bias"].at[3 + 25].set(2.0)
  params = {staff_positions.NAME: head}
  image = jnp.zeros((2, 96, 64, 1))
  loss = jax.jit(functools.partial(position_loss.position_loss, space_px=9.0))
  centers = np.full((2, 4, 2), 48)
  positions = np.array([[3, 0, NO_POSITION, 3], [NO_POSITION] * 4])
  value, metrics = loss(params, image, _targets(centers, positions))
  norm = np.log(np.exp(2) + 50)
  np.testing.assert_allclose(value, norm - 4 / 3, rtol=1e-5)
  np.testing.assert_allclose(metrics["position_accuracy"], 2 / 3, rtol=1e-5)
  none = np.full((2, 4), NO_POSITION)
  assert loss(params, image, _targets(centers, none))[0] == 0
