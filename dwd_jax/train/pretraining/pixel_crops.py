"""Batches of crops with a class for every pixel, for the level `semseg`."""

import cv2
import flax.struct
import grain
import numpy as np
from jaxtyping import Int, Int32, UInt8

from dwd_jax.core.structs import Array
from dwd_jax.data import pipeline, split_staff_spaces
from dwd_jax.data.pixel_classes import PixelClasses, at_stride
from dwd_jax.data.sampling import CropSampler
from dwd_jax.data.sources import PageSource
from dwd_jax.imaging import page_windows
from dwd_jax.models.dwd import STRIDE


class PixelBatch(flax.struct.PyTreeNode):
  """Crops with the classes of their pixels.

  Attributes:
    image: 0 = paper, 255 = ink.
    classes: class + 1 of each cell of 4 x 4 pixels, 0 = background.
  """

  image: UInt8[Array, "B H W 1"]
  classes: Int[Array, "B h w"]


class PixelCrops(grain.transforms.RandomMap):
  """Page number -> one training crop, drawn as for the detection."""

  def __init__(self, source: PageSource, pixels: PixelClasses, data_cfg):
    """Args: `pixels` of the same source; `data_cfg` is config.data."""
    self._page_hw = source.box_index().page_hw
    self._pixels = pixels
    factors = split_staff_spaces.factors(source, data_cfg)
    self._sampler = CropSampler(source.box_index(), data_cfg, factors)
    self._flip = bool(data_cfg.flip)

  def random_map(self, page, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draws a crop; `page` is where the shuffled epoch stands."""
    page, window = self._sampler(int(page), rng)
    hw = tuple(self._page_hw[page].tolist())
    top, left, height, width = window.on_page(hw)
    ink, classes = self._pixels.window(page, top, left, height, width)
    image = page_windows.fit(ink, window, top, left)
    classes = at_stride(fit_classes(classes, window, top, left), STRIDE)
    if self._flip and rng.random() < 0.5:
      image = np.ascontiguousarray(image[:, ::-1])
      classes = np.ascontiguousarray(classes[:, ::-1])
    return {"image": image, "classes": classes.astype(np.int16)}


def fit_classes(
  region: Int32[np.ndarray, "h w"],
  window: page_windows.Window,
  top: int,
  left: int,
) -> Int32[np.ndarray, "H W"]:
  """As `transforms.fit`, for classes: nothing is mixed, outside is 0."""
  padded = np.zeros(window.source_hw, np.int32)
  y, x = top - window.top, left - window.left
  padded[y : y + region.shape[0], x : x + region.shape[1]] = region
  if padded.shape == window.out_hw:
    return padded
  size = (window.out_hw[1], window.out_hw[0])
  return cv2.resize(padded, size, interpolation=cv2.INTER_NEAREST_EXACT)


def pixel_loader(
  source: PageSource,
  pixels: PixelClasses,
  data_cfg,
  *,
  batch_size: int,
  seed: int,
  **processes: int | None,
) -> pipeline.TrainLoader:
  """Endless batches of crops; what they show depends on seed and step.

  Args:
    source: pages of the training split.
    pixels: their classes by pixel.
    data_cfg: `config.data`, with the crop_hw that is wanted.
    batch_size: crops of a step over all processes.
    seed: with the step, decides every crop.
    **processes: see `pipeline.loader`.

  Returns:
    Iterator of `PixelBatch`.

  Raises:
    InputError: a value of the config makes no sense, or no pages.
  """
  pipeline.check(source, data_cfg)
  crops = pipeline.shuffled_pages(source, seed).random_map(
    PixelCrops(source, pixels, data_cfg)
  )
  return pipeline.loader(
    crops,
    int(data_cfg.workers),
    batch_size=batch_size,
    make=PixelBatch,
    **processes,
  )
