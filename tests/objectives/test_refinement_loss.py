"""The refinement head learns to see where boxes end."""

import functools

import cv2
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from dwd_jax.core.structs import Predictions
from dwd_jax.models import box_refinement
from dwd_jax.objectives import refinement_loss

_HW, _FEATURES = (96, 128), 4


class _Head(nn.Module):
  @nn.compact
  def __call__(self):
    box_refinement.create(_FEATURES, oriented=True)


def _page(rng):
  """Slanted bars on one image [1, H, W, 1], their boxes and corners."""
  image, corners = np.zeros(_HW, np.float32), []
  for y in (14, 38, 62, 86):
    for x in (22, 64, 106):
      center = np.array([y, x]) + rng.uniform(-2, 2, 2)
      along, angle = rng.uniform(10, 24), rng.uniform(-0.5, 0.5)
      across = rng.uniform(3, 6)
      one = np.array([np.sin(angle), np.cos(angle)]) * along / 2
      two = np.array([np.cos(angle), -np.sin(angle)]) * across / 2
      corners.append(
        center + np.stack([-one - two, one - two, one + two, two - one])
      )
      points = np.round((corners[-1][:, ::-1] - 0.5) * 16).astype(np.int32)
      cv2.fillPoly(image, [points], 1.0, shift=4)
  corners = np.float32([*corners, np.zeros((4, 2))])  # padding
  boxes = np.concatenate([corners.min(1), corners.max(1)], 1)
  return image[None, ..., None], boxes[None], corners[None]


def _predictions(image):
  """A network that takes every box for 9 x 15 px, two pixels too far left."""
  h, w = (side // 4 for side in _HW)
  maps = jnp.zeros((1, h, w, 1, 2))
  return Predictions(
    energy_logits=jnp.zeros((1, h, w, 1, 3)),
    log_sizes=maps + jnp.log(jnp.array([9.0, 15.0])),
    class_features=jnp.zeros((1, h, w, _FEATURES)),
    offsets=maps + jnp.array([0.0, -2.0]),
    image=jnp.asarray(image),
  )


@jax.jit
def _loss(params, image, boxes_yxyx, corners):
  groups = jnp.zeros(boxes_yxyx.shape[:2], jnp.int32)
  return refinement_loss.refinement_loss(
    params, _predictions(image), boxes_yxyx, groups, corners
  )


@functools.cache
def _params():
  return _Head().init(jax.random.key(0))["params"]


def test_training_makes_boxes_fit():
  rng, params = np.random.default_rng(0), _params()
  optimizer = optax.adam(3e-3)
  state = optimizer.init(params)

  @jax.jit
  def step(params, state, *page):
    grads, metrics = jax.grad(_loss, has_aux=True)(params, *page)
    updates, state = optimizer.update(grads, state)
    return optax.apply_updates(params, updates), state, metrics

  for _ in range(150):
    params, state, _ = step(params, state, *_page(rng))
  metrics = [_loss(params, *_page(rng))[1] for _ in range(5)]
  given, refined, oriented = (
    np.mean([m[f"{name}_iou"] for m in metrics])
    for name in ("given", "refined", "oriented")
  )
  assert given < 0.6 < 0.75 < refined and oriented > 0.6


def test_padding_does_not_count():
  image, *page = _page(np.random.default_rng(1))
  more = [np.concatenate([x, 0 * x[:, :1]], 1) for x in page]
  loss, _ = _loss(_params(), image, *page)
  np.testing.assert_allclose(_loss(_params(), image, *more)[0], loss, rtol=1e-6)
  nothing, _ = _loss(_params(), image, *(0 * x for x in page))
  assert nothing == 0
