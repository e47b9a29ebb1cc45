"""Batches of symbol crops with their classes, for the level `class`."""

import flax.struct
import grain
import numpy as np
from jaxtyping import Float, Int, UInt8

from dwd_jax.core.structs import Array
from dwd_jax.data import pipeline, sampling
from dwd_jax.data.symbols import SymbolSet
from dwd_jax.imaging import page_windows

FILL = 0.75  # most of a side of the crop that a symbol takes
_SHRINK = 8  # larger symbols are shrunk by this at most; then they are cut
_JITTER = 1 / 8  # of the crop: the symbol lies this far from the middle at most


class SymbolBatch(flax.struct.PyTreeNode):
  """Crops with a symbol in the middle.

  Attributes:
    image: 0 = paper, 255 = ink.
    labels: class ids.
  """

  image: UInt8[Array, "B H W 1"]
  labels: Int[Array, " B"]


class SymbolCrops(grain.transforms.RandomMap):
  """Any number -> the crop of a symbol, drawn by the rarity of its class."""

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
    """Draws a symbol and where it lies in its crop."""
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
  """A window around a symbol, which lies near its middle.

  Args:
    rng: source of randomness.
    box_yxyx: of the symbol, px.
    out_hw: height and width of the crop after scaling, px.
    scale: crop pixels per pixel; smaller for symbols that would not fit.
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
  """Endless batches of symbol crops; what they show depends on seed and step.

  Args:
    symbols: to draw from.
    out_hw: height and width of a crop, px.
    data_cfg: `config.data`: scales, rare_power, workers.
    batch_size: crops of a step over all processes.
    seed: with the step, decides every crop.
    **processes: see `pipeline.loader`.

  Returns:
    Iterator of `SymbolBatch`.
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
