"""The refinement head learns to see where boxes end."""

import functools

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
    box_refinement.create(_FEATURES)


def _page(rng):
  """Bars and their boxes, all on one image [1, H, W, 1]."""
  image, boxes = np.zeros((*_HW, 1), np.float32), []
  for y in (6, 30, 54, 78):
    for x in (8, 50, 92):
      height, width = rng.integers(3, 14), rng.integers(5, 28)
      top, left = y + rng.integers(3), x + rng.integers(6)
      image[top : top + height, left : left + width] = 1
      boxes.append([top, left, top + height, left + width])
  boxes.append([0, 0, 0, 0])  # padding
  return image[None], np.float32(boxes)[None]


def _predictions(image, boxes_yxyx):
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
def _loss(params, image, boxes_yxyx):
  groups = jnp.zeros(boxes_yxyx.shape[:2], jnp.int32)
  return refinement_loss.refinement_loss(
    params, _predictions(image, boxes_yxyx), boxes_yxyx, groups
  )


@functools.cache
def _params():
  return _Head().init(jax.random.key(0))["params"]


def test_training_makes_boxes_fit():
  rng, params = np.random.default_rng(0), _params()
  optimizer = optax.adam(3e-3)
  state = optimizer.init(params)

  @jax.jit
  def step(params, state, image, boxes_yxyx):
    grads, metrics = jax.grad(_loss, has_aux=True)(params, image, boxes_yxyx)
    updates, state = optimizer.update(grads, state)
    return optax.apply_updates(params, updates), state, metrics

  for _ in range(150):
    params, state, _ = step(params, state, *_page(rng))
  metrics = [_loss(params, *_page(rng))[1] for _ in range(5)]
  given, refined = (
    np.mean([m[name] for m in metrics]) for name in ("given_iou", "refined_iou")
  )
  assert given < 0.6 < 0.8 < refined


def test_padding_does_not_count():
  image, boxes = _page(np.random.default_rng(1))
  more = np.concatenate([boxes, np.zeros((1, 1, 4), np.float32)], 1)
  loss, _ = _loss(_params(), image, boxes)
  np.testing.assert_allclose(_loss(_params(), image, more)[0], loss, rtol=1e-6)
  nothing, _ = _loss(_params(), image, np.zeros_like(boxes))
  assert nothing == 0
