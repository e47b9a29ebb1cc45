"""Network and decode as one StableHLO file, by `jax.export`."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from dwd_jax.decode import levels as levels_lib
from dwd_jax.decode import watershed
from dwd_jax.exporting.card import MULTIPLE
from dwd_jax.models import at_pixels, dwd
from dwd_jax.models.refinenet import upsample
from dwd_jax.weights import Weights

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
  """As `predict.make_predict_fn`, for sizes that are not known yet."""
  model = dwd.make_model(dataclasses.replace(weights.model, dtype="float32"))
  variables: Any = weights.variables
  groups = np.asarray(weights.group_of_class, np.int32)

  def detect(image):
    predictions: Any = model.apply(variables, image, train=False)

    def class_fn(page, y, x, group):
      probs = at_pixels.class_probs_at(
        variables["params"],
        predictions.class_features,
        groups,
        *(page, y, x, group),
      )
      return jnp.asarray(probs)

    def size_fn(page, y, x, group):
      return jnp.asarray(at_pixels.boxes_at(predictions, page, y, x, group))

    levels = levels_lib.from_logits(predictions.energy_logits, weights.decode)
    levels = upsample(levels, dwd.STRIDE)  # [B, H, W, G]
    room = [(0, most_hw[i] - levels.shape[i + 1]) for i in range(2)]
    levels = jnp.pad(levels, ((0, 0), *room, (0, 0)))
    found: Any = watershed.decode_levels(
      levels, size_fn, class_fn, weights.decode
    )
    return {
      "boxes_yxyx": found.boxes_yxyx,
      "labels": found.labels,
      "scores": found.scores,
      "valid": found.valid,
      "count": found.count,
    }

  return detect
