"""Network and decode as one StableHLO file, by `jax.export`."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from dwd_jax.apps.export.manifest import MULTIPLE
from dwd_jax.checkpoints.weights import Weights
from dwd_jax.models import dwd
from dwd_jax.predict import predict_pages

PLATFORMS = ("cpu", "cuda", "tpu")


def make(weights: Weights, most_hw: tuple[int, int]) -> bytes:
  """Images float32 [B, H, W, 1] -> detections, the variables inside.

  B is free; H and W may be any multiples of 64 up to `most_hw`. The network
  follows the size of the image; the decode, which needs fixed sizes, works on a
  plane of `most_hw`, where its work follows the objects all the same.

  Args:
    weights: the detector; computed in float32.
    most_hw: largest padded page, px; multiples of 64.

  Returns:
    What `jax.export.deserialize` reads. Its `call` returns a dictionary with
    the fields of `structs.Detections`; boxes are in pixels of the image.
  """
  rows, columns = (side // MULTIPLE for side in most_hw)
  constraints = [f"h <= {rows}", f"w <= {columns}"]
  b, h, w = export.symbolic_shape("b, h, w", constraints=constraints)
  image = jax.ShapeDtypeStruct((b, MULTIPLE * h, MULTIPLE * w, 1), jnp.float32)
  detect = jax.jit(_detector(weights, most_hw))
  exported = export.export(detect, platforms=PLATFORMS)(image)
  return bytes(exported.serialize())


def _detector(weights: Weights, most_hw: tuple[int, int]):
  """Image -> dictionary, for sizes that are not known yet."""
  model = dwd.make_model(dataclasses.replace(weights.model, dtype="float32"))
  groups = np.asarray(weights.group_of_class, np.int32)
  both = predict_pages.network_and_decode(
    model, weights.decode, groups, most_hw
  )

  def detect(image):
    found: Any = both(weights.variables, image)[0]
    return {
      "boxes_yxyx": found.boxes_yxyx,
      "labels": found.labels,
      "scores": found.scores,
      "valid": found.valid,
      "count": found.count,
    }

  return detect
