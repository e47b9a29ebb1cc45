"""Whole pages -> detections in source-image pixels."""

import warnings
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias

import jax
import numpy as np
from jaxtyping import Float

from dwd_jax import boxes as box_lib
from dwd_jax.structs import Array, Batch, Detections, PageBoxes


class Page(Protocol):
  """A page as the pipeline gives it (`data.pipeline.EvalPage`).

  Attributes:
    batch: one image, scaled and padded below and to the right.
    truth: true boxes in source-image pixels.
    scaled_hw: size of the page inside the padding, pixels of the image.
  """

  @property
  def batch(self) -> Batch:
    """See above."""
    ...

  @property
  def truth(self) -> PageBoxes:
    """See above."""
    ...

  @property
  def scaled_hw(self) -> tuple[int, int]:
    """See above."""
    ...


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


def predict_page(predict_fn: PredictFn, page: Page) -> PagePrediction:
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


def to_page_boxes(found: Detections, page: Page) -> PageBoxes:
  """Decoded boxes of a padded image -> boxes of the source image.

  Args:
    found: K slots for the page's image, on the host.
    page: where the image came from.

  Returns:
    The valid boxes whose centre lies on the page, cut at its edges, best
    score first; those in the padding are dropped.
  """
  height, width = page.scaled_hw
  boxes = np.asarray(found.boxes_yxyx[0], np.float32)  # [K, 4]
  centers = np.asarray(box_lib.centers_yx(boxes))
  # Not finite is not "in the padding": the metrics report such boxes.
  outside = (centers >= (height, width)).any(-1) | (centers < 0).any(-1)
  keep = np.asarray(found.valid[0]) & ~outside
  # The scaled page has whole pixels, so its scale may differ by axis.
  zoom = np.divide(page.truth.image_hw, (height, width))
  boxes = np.asarray(box_lib.clip(boxes[keep], height, width))
  return PageBoxes(
    filename=page.truth.filename,
    image_hw=page.truth.image_hw,
    boxes_yxyx=(boxes * np.tile(zoom, 2)).astype(np.float32),
    labels=np.asarray(found.labels[0])[keep].astype(np.int32),
    scores=np.asarray(found.scores[0])[keep].astype(np.float32),
  )
