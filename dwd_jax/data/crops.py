"""Training crops: their place on a page, pixels and boxes."""

import grain
import numpy as np
from absl import logging

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.data import split_staff_spaces
from dwd_jax.data.degraded_crops import DegradedCrops
from dwd_jax.data.sampling import CropSampler
from dwd_jax.data.sources import PageSource
from dwd_jax.data.synthetic import Scene, SyntheticSymbols
from dwd_jax.imaging import page_windows
from dwd_jax.imaging.page_windows import Window


class TrainCrops(grain.transforms.RandomMap):
  """Page number -> one training crop with padded boxes."""

  def __init__(
    self,
    source: PageSource,
    data_cfg,
    synthetic: SyntheticSymbols | None = None,
  ):
    """Crops of the pages in `source`; `data_cfg` is `config.data`."""
    self._source = source
    self._synthetic = synthetic
    factors = split_staff_spaces.scale_factors(source, data_cfg)
    self._sampler = CropSampler(source.box_index(), data_cfg, factors)
    self._degraded = DegradedCrops(
      data_cfg.degrade, float(data_cfg.staff_space_px)
    )
    self._min_visible = float(data_cfg.min_visible)
    self._max_boxes = int(data_cfg.max_boxes)
    self._flip = bool(data_cfg.flip)
    self._warned: set[int] = set()

  def random_map(self, page, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draws a crop; `page` is the next one of the shuffled epoch."""
    page, window = self._sampler(int(page), rng)
    # A degradation needs more of the page than the crop shows.
    wear = self._degraded(window, rng)
    scene = self._scene(page, wear.shown if wear else window, rng)
    if wear:
      image, boxes = wear.apply(scene.ink, scene.boxes_yxyx)
    else:
      image = page_windows.resize(scene.ink, window.out_hw)
      boxes = window.at_origin.to_output(scene.boxes_yxyx)
    boxes, kept = boxes_lib.visible(boxes, window.out_hw, self._min_visible)
    boxes, labels = boxes[kept], scene.labels[kept]
    if self._flip and rng.random() < 0.5:
      image, boxes = page_windows.flip_horizontally(image, boxes)
    if len(boxes) > self._max_boxes:
      self._warn(page, len(boxes))
      rows = page_windows.nearest_to_centre(
        boxes, window.out_hw, self._max_boxes
      )
      boxes, labels = boxes[rows], labels[rows]
    padded, ids, mask = page_windows.pad_boxes(boxes, labels, self._max_boxes)
    return {
      "image": image,
      "boxes_yxyx": padded,
      "labels": ids,
      "box_mask": mask,
    }

  def _scene(
    self, page: int, window: Window, rng: np.random.Generator
  ) -> Scene:
    """A window of a page with synthetic symbols, in pixels of the page."""
    page_hw = tuple(self._source.box_index().page_hw[page].tolist())
    top, left, height, width = window.on_page(page_hw)
    region = self._source.image_window(
      page, top=top, left=left, height=height, width=width
    )
    labels, boxes = self._source.labels_and_boxes(page)
    scene = Scene(
      page_windows.pad(region, window, top=top, left=left),
      boxes - np.array([window.top, window.left] * 2, np.float32),
      labels,
    )
    if self._synthetic is None:
      return scene
    return self._synthetic(scene, rng, min(window.scale_hw))

  def _warn(self, page: int, count: int) -> None:
    if page in self._warned:
      return
    self._warned.add(page)
    logging.warning(
      "%s: a crop shows %d symbols, the %d nearest to its centre are kept;"
      " raise data.max_boxes",
      self._source.box_index().filenames[page],
      count,
      self._max_boxes,
    )
