"""Random fields: smooth ones from coarse grids, fine ones from bytes."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

_MAX_NODES = 2048  # a side; finer fields look the same


def smooth(
  rng: np.random.Generator, hw: tuple[int, int], cell_px: float
) -> Float[np.ndarray, "h w"]:
  """A smooth field of mean 0 and about unit variance.

  `cell_px` is the distance of independent values.
  """
  return enlarge(rng.standard_normal(nodes(hw, cell_px), np.float32), hw)


def nodes(
  hw: tuple[int, int], cell_px: float | tuple[float, float]
) -> tuple[int, int]:
  """Height and width of the coarse field that `enlarge` brings to `hw`.

  `cell_px` is the distance of its values, or those along rows and columns.
  """
  cells = np.broadcast_to(cell_px, 2)
  height, width = (
    int(np.clip(np.ceil(n / max(cell, 1.0)) + 1, 2, _MAX_NODES))
    for n, cell in zip(hw, cells, strict=True)
  )
  return height, width


def layers(
  rng: np.random.Generator,
  hw: tuple[int, int],
  *cells_and_amounts: tuple[float, float],
) -> Float[np.ndarray, "a b"]:
  """A sum of smooth fields, still coarse: `enlarge` brings it to `hw`.

  Args:
    cells_and_amounts: distance of independent values, px, and deviation of each
      field, the finest first.
  """
  finest = max(cells_and_amounts[0][0], 1.0)
  total = np.zeros(nodes(hw, finest), np.float32)
  for cell, amount in cells_and_amounts:
    total += np.float32(amount) * smooth(rng, total.shape, cell / finest)
  return total


def enlarge(
  coarse: Float[np.ndarray, "a b"], hw: tuple[int, int]
) -> Float[np.ndarray, "h w"]:
  """Interpolates a coarse field over the whole image."""
  return cv2.resize(coarse, (hw[1], hw[0]), interpolation=cv2.INTER_LINEAR)


def grid(
  hw: tuple[int, int], cell_px: float
) -> tuple[Float[np.ndarray, "a 1"], Float[np.ndarray, "1 b"]]:
  """Centres of the cells of a coarse field, rows and columns, px."""
  axes = []
  for n in hw:
    count = int(np.clip(np.ceil(n / cell_px), 2, _MAX_NODES))
    axes.append((np.arange(count, dtype=np.float32) + 0.5) * (n / count))
  return axes[0][:, None], axes[1][None]


def grains(
  rng: np.random.Generator, hw: tuple[int, int]
) -> UInt8[np.ndarray, "h w"]:
  """Triangular noise on every pixel, mean 127.5, deviation 52."""
  size = hw[0] * hw[1]
  # The sum of two bytes: ten times faster than a Gaussian.
  noise = np.frombuffer(rng.bytes(2 * size), np.uint8).reshape(2, *hw)
  return cv2.addWeighted(noise[0], 0.5, noise[1], 0.5, 0)
