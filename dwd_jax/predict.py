"""Whole pages -> detections in source-image pixels."""

import warnings
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import numpy as np
from jaxtyping import Float

from dwd_jax import boxes as box_lib
from dwd_jax.data.pipeline import EvalPage
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
    boxes_yxyx=np.asarray(box_lib.clip(boxes[keep], height, width)),
    labels=np.asarray(found.labels[0])[keep],
    scores=np.asarray(found.scores[0])[keep],
  )
