"""One training crop: where it lies, its pixels, its boxes."""

import grain
import numpy as np
from absl import logging

from dwd_jax.data import transforms
from dwd_jax.data.degraded import DegradedCrops
from dwd_jax.data.sampling import CropSampler
from dwd_jax.data.sources import PageSource


class TrainCrops(grain.transforms.RandomMap):
  """Page number -> one training crop with padded boxes."""

  def __init__(self, source: PageSource, data_cfg):
    """Args: `source` gives the pages; `data_cfg` is config.data."""
    self._source = source
    self._sampler = CropSampler(source.box_index(), data_cfg)
    self._degraded = DegradedCrops(source, data_cfg.degrade)
    self._min_visible = float(data_cfg.min_visible)
    self._max_boxes = int(data_cfg.max_boxes)
    self._flip = bool(data_cfg.flip)
    self._warned: set[int] = set()

  def random_map(self, page, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draws a crop; `page` is where the shuffled epoch stands."""
    page, window = self._sampler(int(page), rng)
    labels, boxes = self._source.labels_and_boxes(page)
    degraded = self._degraded(page, window, boxes, rng)
    image, boxes = degraded or self._clean(page, window, boxes)
    boxes, kept = transforms.visible_boxes(
      boxes, window.out_hw, self._min_visible
    )
    boxes, labels = boxes[kept], labels[kept]
    if self._flip and rng.random() < 0.5:
      image, boxes = transforms.flip_horizontally(image, boxes)
    if len(boxes) > self._max_boxes:
      self._warn(page, len(boxes))
      rows = transforms.nearest_to_centre(boxes, window.out_hw, self._max_boxes)
      boxes, labels = boxes[rows], labels[rows]
    return _arrays(image, boxes, labels, self._max_boxes)

  def _clean(self, page: int, window: transforms.Window, boxes: np.ndarray):
    """Pixels and boxes as the page has them."""
    page_hw = tuple(self._source.box_index().page_hw[page].tolist())
    top, left, height, width = window.on_page(page_hw)
    region = self._source.image_window(page, top, left, height, width)
    return transforms.fit(region, window, top, left), window.to_output(boxes)

  def _warn(self, page: int, count: int) -> None:
    if page in self._warned:  # once for each page
      return
    self._warned.add(page)
    logging.warning(
      "%s: a crop shows %d symbols, the %d nearest to its centre are kept;"
      " raise data.max_boxes",
      self._source.box_index().filenames[page],
      count,
      self._max_boxes,
    )


def _arrays(image, boxes, labels, count: int) -> dict[str, np.ndarray]:
  padded, ids, mask = transforms.pad_boxes(boxes, labels, count)
  return {
    "image": image,
    "boxes_yxyx": padded,
    "labels": ids,
    "box_mask": mask,
  }
