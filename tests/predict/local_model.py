"""A network that sees locally, and pages for it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from dwd_jax.core.structs import PageImage, Predictions
from dwd_jax.decode.decode_config import DecodeConfig
from dwd_jax.predict import predict_pages


class LocalModel:
  """A real network that sees 12 px far: energy and class from blurred ink."""

  def apply(self, variables, image, train):
    assert not train
    side = np.array([1, 2, 3, 2, 1]) / 27**0.5
    kernel = np.outer(side, side)[..., None, None]
    cells = jax.lax.reduce_window(
      image, 0.0, jax.lax.add, (1, 4, 4, 1), (1, 4, 4, 1), "VALID"
    )
    blurred = jax.lax.conv_general_dilated(
      cells / 16,
      jnp.asarray(kernel, jnp.float32),
      (1, 1),
      "SAME",
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    level = 19 * jnp.minimum(blurred, 1)[..., None]
    logits = -((jnp.arange(20.0) - level) ** 2)
    size = jnp.log(8 + 8 * blurred)[..., None]
    return Predictions(
      energy_logits=logits,
      log_sizes=jnp.concatenate([size, size / 2], -1),
      class_features=jnp.concatenate([blurred, 1 - blurred], -1),
    )


def bound(place=lambda x: x):
  """Network and decode, compiled; `place` puts the variables on devices."""
  head = {"kernel": np.diag([9.0, 5.0]).astype(np.float32), "bias": np.zeros(2)}
  run = predict_pages.make_predict_fn(
    LocalModel(),  # pyright: ignore
    DecodeConfig(max_detections=512, energy_cutoff=4.0, min_seed_level=4.0),
    np.array([0, 0]),
  )
  return functools.partial(run, place({"params": {"class_head": head}}))


def page_of_squares(hw=(700, 500), seed=0):
  """Grey squares at random: objects of two classes."""
  rng = np.random.default_rng(seed)
  ink = np.zeros(hw, np.uint8)
  for y, x in rng.uniform(0, 1, (hw[0] * hw[1] // 2333, 2)) * hw:
    side = int(rng.integers(6, 30))
    ink[int(y) : int(y) + side, int(x) : int(x) + side] = rng.integers(90, 255)
  return PageImage("p.png", ink, 0.5)
