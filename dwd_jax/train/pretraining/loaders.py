"""Batches of the pretraining: symbols with classes, crops with pixel classes.

The former train the level `class`, the latter the level `semseg`.
"""

import cv2
import flax.struct
import grain
import numpy as np
from jaxtyping import Float, Int, Int32, UInt8

from dwd_jax.core.structs import Array
from dwd_jax.data import pipeline, sampling, split_staff_spaces
from dwd_jax.data.pixel_classes import PixelClasses, at_stride
from dwd_jax.data.sampling import CropSampler
from dwd_jax.data.sources import PageSource
from dwd_jax.data.symbols import SymbolSet
from dwd_jax.imaging import page_windows
from dwd_jax.models.dwd import STRIDE

FILL = 0.75  # largest share of a side of the crop that a symbol takes
_SHRINK = 8  # shrinks large symbols by at most this; still larger ones are cut
_JITTER = 1 / 8  # largest distance from the middle, as a share of the crop


class SymbolBatch(flax.struct.PyTreeNode):
  """Crops (255 = ink) with a symbol in the middle, and its class id."""

  image: UInt8[Array, "B H W 1"]
  labels: Int[Array, " B"]


class SymbolCrops(grain.transforms.RandomMap):
  """Draws crops of symbols by the rarity of their class; ignores its input."""

  def __init__(
    self,
    symbols: SymbolSet,
    out_hw: tuple[int, int],
    scales: tuple[float, ...],
    rare_power: float,
  ):
    """Args: `out_hw` in px; `scales`, `rare_power` as in config.data."""
    self._symbols = symbols
    self._out_hw = out_hw
    self._scales = scales
    self._known = np.flatnonzero(symbols.labels >= 0)
    self._draw = sampling.RareObjects(symbols.labels[self._known], rare_power)

  def random_map(
    self, number, rng: np.random.Generator
  ) -> dict[str, np.ndarray]:
    """Draws a symbol and its place in the crop."""
    del number
    row = int(self._known[self._draw(rng)])
    scale = self._scales[int(rng.integers(len(self._scales)))]
    symbol = self._symbols[row]
    window = symbol_window(rng, symbol.box_yxyx, self._out_hw, scale)
    top, left, height, width = window.on_page(symbol.image_hw)
    ink = symbol.read(top, left, height, width)
    return {
      "image": page_windows.fit(ink, window, top, left),
      "labels": np.asarray(self._symbols.labels[row], np.int32),
    }


def symbol_window(
  rng: np.random.Generator,
  box_yxyx: Float[np.ndarray, " 4"],
  out_hw: tuple[int, int],
  scale: float,
) -> page_windows.Window:
  """Draws a window with a symbol near its middle.

  Args:
    box_yxyx: of the symbol, px.
    out_hw: size of the crop after scaling, px.
    scale: crop pixels per pixel; reduced for symbols that would not fit.
  """
  sides = np.maximum(box_yxyx[2:] - box_yxyx[:2], 1)
  fitting = float((FILL * np.array(out_hw) / sides).min())
  scale = max(min(scale, fitting), scale / _SHRINK)
  corner, size = [], []
  for axis in (0, 1):
    length = page_windows.source_size(out_hw[axis], scale)
    spare = max((length - sides[axis]) / 2, 0)
    shift = rng.uniform(-1, 1) * min(spare, _JITTER * length)
    middle = (box_yxyx[axis] + box_yxyx[axis + 2]) / 2
    corner.append(round(float(middle - length / 2 + shift)))
    size.append(length)
  return page_windows.Window(
    corner[0], corner[1], (size[0], size[1]), (out_hw[0], out_hw[1])
  )


def symbol_loader(
  symbols: SymbolSet,
  out_hw: tuple[int, int],
  data_cfg,
  *,
  batch_size: int,
  seed: int,
  **processes: int | None,
) -> pipeline.TrainLoader:
  """Endless iterator of `SymbolBatch`, which depend on seed and step alone.

  Args:
    out_hw: size of a crop, px.
    data_cfg: `config.data`, of which scales, rare_power and workers are read.
    batch_size: crops of a step over all processes.
    **processes: see `pipeline.loader`.
  """
  crops = pipeline.endless(seed).random_map(
    SymbolCrops(
      symbols, out_hw, tuple(data_cfg.scales), float(data_cfg.rare_power)
    )
  )
  return pipeline.loader(
    crops,
    int(data_cfg.workers),
    batch_size=batch_size,
    make=SymbolBatch,
    **processes,
  )


class PixelBatch(flax.struct.PyTreeNode):
  """Crops (255 = ink) with class + 1 of each cell of 4 x 4 px, 0 = none."""

  image: UInt8[Array, "B H W 1"]
  classes: Int[Array, "B h w"]


class PixelCrops(grain.transforms.RandomMap):
  """Page number -> a training crop, drawn as for the detection."""

  def __init__(self, source: PageSource, pixels: PixelClasses, data_cfg):
    """Args: `pixels` of the same source; `data_cfg` is config.data."""
    self._page_hw = source.box_index().page_hw
    self._pixels = pixels
    factors = split_staff_spaces.scale_factors(source, data_cfg)
    self._sampler = CropSampler(source.box_index(), data_cfg, factors)
    self._flip = bool(data_cfg.flip)

  def random_map(self, page, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draws a crop; `page` is the next one of the shuffled epoch."""
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
  """As `page_windows.fit`, for classes: nearest neighbour, 0 outside."""
  padded = page_windows.pad(region, window, top, left)
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
  """Endless iterator of `PixelBatch`, which depend on seed and step alone.

  Args:
    data_cfg: `config.data`.
    batch_size: crops of a step over all processes.
    **processes: see `pipeline.loader`.
  """
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
