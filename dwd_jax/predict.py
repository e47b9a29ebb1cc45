"""Whole pages -> detections in source-image pixels."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from dwd_jax import boxes as box_lib
from dwd_jax.data.pipeline import EvalPage
from dwd_jax.decode import watershed
from dwd_jax.decode.config import DecodeConfig
from dwd_jax.models import dwd
from dwd_jax.structs import Array, Detections, PageBoxes

# Image [1, H, W, 1] -> detections, energy levels [1, H, W, G].
PredictFn: TypeAlias = Callable[[Array], tuple[Detections, jax.Array]]


class PagePrediction(NamedTuple):
  """What the network and the decode say about one page.

  Attributes:
    detections: best score first, in source-image pixels.
    overflow: True if more objects were found than the decode has slots.
    levels: energy levels of the padded image, still on the device.
  """

  detections: PageBoxes
  overflow: bool
  levels: Float[Array, "H W G"]


def make_predict_fn(
  model: nn.Module,
  decode_cfg: DecodeConfig,
  group_of_class: Int[np.ndarray, " C"],
) -> Callable[[Any, Array], tuple[Detections, jax.Array]]:
  """The network and the decode as one compiled function.

  Args:
    model: a `DWDNet`.
    decode_cfg: settings of the decode.
    group_of_class: energy group of each class.

  Returns:
    A function of variables and image [B, H, W, 1], jit-ed: it compiles once
    for each size of image, and equal arguments give the same function again,
    so that the next evaluation of a run does not compile anew. It returns the
    detections and the energy levels [B, H, W, G], which stay on the device
    unless somebody looks at them. Batch norm uses the running averages.
  """
  return _predict_fn(model, decode_cfg, tuple(map(int, group_of_class)))


@functools.lru_cache(maxsize=4)
def _predict_fn(
  model: nn.Module, decode_cfg: DecodeConfig, group_of_class: tuple[int, ...]
):
  groups = np.array(group_of_class, np.int32)

  def predict(variables, image):
    predictions: Any = model.apply(variables, image, train=False)

    def class_fn(page, y, x, group):
      probs = dwd.class_probs_at(
        variables["params"],
        predictions.class_features,
        groups,
        page,
        y,
        x,
        group,
      )
      return jnp.asarray(probs)

    levels = watershed.expected_levels(
      jnp.asarray(dwd.energy_logits_full(predictions)), decode_cfg
    )
    sizes = jnp.asarray(dwd.sizes_px(predictions))
    found = watershed.decode_levels(levels, sizes, class_fn, decode_cfg)
    return found, levels

  return jax.jit(predict)


def predict_page(predict_fn: PredictFn, page: EvalPage) -> PagePrediction:
  """Runs the network and the decode on one page.

  Args:
    predict_fn: with its variables bound.
    page: one page.

  Returns:
    The prediction. A warning names the page if it holds more objects than the
    decode has slots for.
  """
  on_device, levels = predict_fn(page.batch.image)
  found: Detections = jax.device_get(on_device)
  count, slots = int(found.count[0]), found.valid.shape[1]
  if count > slots:
    warnings.warn(
      f"{page.truth.filename}: {count} objects found, only the best {slots} are"
      " kept; raise decode.max_detections",
      stacklevel=2,
    )
  return PagePrediction(to_page_boxes(found, page), count > slots, levels[0])


def to_page_boxes(found: Detections, page: EvalPage) -> PageBoxes:
  """Decoded boxes of a padded image -> boxes of the source image.

  Args:
    found: K slots for the page's image, on the host.
    page: where the image came from.

  Returns:
    The valid boxes whose centre lies on the page, cut at its edges, best
    score first; those in the padding are dropped.
  """
  height, width = page.truth.image_hw
  boxes = page.window.to_source(np.asarray(found.boxes_yxyx[0]))  # [K, 4]
  centers = np.asarray(box_lib.centers_yx(boxes))
  # Not finite is not "in the padding": the metrics report such boxes.
  outside = (centers >= (height, width)).any(-1) | (centers < 0).any(-1)
  keep = np.asarray(found.valid[0]) & ~outside
  return PageBoxes(
    filename=page.truth.filename,
    image_hw=page.truth.image_hw,
    boxes_yxyx=np.asarray(
      box_lib.clip(boxes[keep], float(height), float(width))
    ),
    labels=np.asarray(found.labels[0])[keep],
    scores=np.asarray(found.scores[0])[keep],
  )
