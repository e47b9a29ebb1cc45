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
  nodes = [int(np.clip(np.ceil(n / cell_px) + 1, 2, _MAX_NODES)) for n in hw]
  coarse = rng.standard_normal(nodes, np.float32)
  return enlarge(coarse, hw)


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
