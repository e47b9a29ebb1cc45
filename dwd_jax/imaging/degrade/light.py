"""Light on a page that is photographed: gradients, shadows, glare.

Computed on grids of a few staff spaces; the images are float32 grey, 0..255.
"""

import numpy as np
from jaxtyping import Float

from dwd_jax.imaging.degrade import fields

_CELL = 1.5  # staff spaces
_DARKEST = 0.35  # of the light in a shadow, whatever overlaps


def illumination(
  rng: np.random.Generator,
  hw: tuple[int, int],
  *,
  staff_space_px: float,
  slope: float,
  vignette: float,
  shadows: tuple[float, ...],
) -> Float[np.ndarray, "h w"]:
  """How much light falls where, 1 = full.

  Args:
    rng: source of randomness.
    hw: of the image, px.
    staff_space_px: distance of two staff lines, px.
    slope: share of the light that is lost from one side to the other.
    vignette: share that is lost in the corners.
    shadows: share that each shadow takes.
  """
  y, x = fields.grid(hw, _CELL * staff_space_px)
  diagonal = float(np.hypot(*hw))
  v, u = (y - hw[0] / 2) / diagonal, (x - hw[1] / 2) / diagonal
  turn = rng.uniform(0, 2 * np.pi)
  light = 1 - slope * (0.5 + np.cos(turn) * u + np.sin(turn) * v)
  light = light * (1 - vignette * 4 * (u * u + v * v))
  for depth in shadows:
    light = light * (1 - depth * _shadow(rng, u, v, diagonal, staff_space_px))
  light = np.maximum(light, _DARKEST).astype(np.float32)
  return fields.enlarge(light, hw)


def _shadow(
  rng: np.random.Generator,
  u: Float[np.ndarray, "1 b"],
  v: Float[np.ndarray, "a 1"],
  diagonal: float,
  staff_space_px: float,
) -> Float[np.ndarray, "a b"]:
  """One shadow, 0..1: a half-plane or a band with a wavy, soft edge."""
  turn = rng.uniform(0, 2 * np.pi)
  across = np.cos(turn) * u + np.sin(turn) * v
  along = np.cos(turn) * v - np.sin(turn) * u
  bend = rng.uniform(0, 0.06) * np.sin(
    rng.uniform(3, 12) * along + rng.uniform(0, 2 * np.pi)
  )
  soft = rng.uniform(0.8, 6) * staff_space_px / diagonal
  near = across + bend - rng.uniform(-0.25, 0.3)
  shade = _step(near / soft)
  if rng.random() < 0.5:  # a band: an arm, a phone
    shade = shade * _step((rng.uniform(0.1, 0.35) - near) / soft)
  return shade


def _step(t: Float[np.ndarray, "a b"]) -> Float[np.ndarray, "a b"]:
  return 0.5 + 0.5 * np.tanh(t)


def glare(
  rng: np.random.Generator,
  hw: tuple[int, int],
  *,
  staff_space_px: float,
  amount: float,
) -> Float[np.ndarray, "h w"]:
  """The share by which a reflection washes out what is below it, 0..1.

  Args:
    rng: source of randomness.
    hw: of the image, px.
    staff_space_px: distance of two staff lines, px.
    amount: the share in its middle.
  """
  y, x = fields.grid(hw, _CELL * staff_space_px)
  centre = rng.uniform(0, 1, 2) * hw
  radii = rng.uniform(8, 30, 2) * staff_space_px
  turn = rng.uniform(0, np.pi)
  dy, dx = y - centre[0], x - centre[1]
  a = (np.cos(turn) * dx + np.sin(turn) * dy) / radii[0]
  b = (np.cos(turn) * dy - np.sin(turn) * dx) / radii[1]
  spot = amount * np.exp(-((a * a + b * b) ** 1.5))
  return fields.enlarge(spot.astype(np.float32), hw)
