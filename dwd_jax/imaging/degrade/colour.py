"""Photos in colour: the light of a room is never white."""

import numpy as np
from jaxtyping import Float, UInt8

from dwd_jax.imaging.degrade import fields

# Share of blue, green and red in a grey value (ITU-R BT.601, as OpenCV has it).
_LUMA_BGR = np.array([0.114, 0.587, 0.299], np.float32)


def cast(
  ink: UInt8[np.ndarray, "h w"],
  rng: np.random.Generator,
  *,
  severity: float,
  staff_space_px: float,
) -> UInt8[np.ndarray, "h w 3"]:
  """A grey page in coloured light; its grey values stay, up to clipping.

  Args:
    ink: 0 = white, 255 = black.
    rng: source of randomness.
    severity: 1 = as common.
    staff_space_px: distance of two staff lines, px.

  Returns:
    Blue, green, red; 255 = light.
  """
  # Two lamps, as a window and a bulb, that share the page.
  lamps = [_lamp(rng, severity) for _ in range(2)]
  mix = fields.smooth(rng, ink.shape, 60 * staff_space_px)
  mix = np.clip(0.5 + 0.3 * mix, 0, 1)[..., None]
  grey = (255 - ink).astype(np.float32)[..., None]
  light = lamps[0] + mix * (lamps[1] - lamps[0])
  return np.clip(grey * light + 0.5, 0, 255).astype(np.uint8)


def _lamp(rng: np.random.Generator, severity: float) -> Float[np.ndarray, " 3"]:
  """Gains of blue, green and red that keep the grey value of grey."""
  warm = rng.normal(0.08, 0.08) * severity  # bulbs are more common than shade
  green = rng.normal(0, 0.02) * severity
  gains = np.exp(np.clip([-warm, green, warm], -0.5, 0.5)).astype(np.float32)
  return gains / (gains @ _LUMA_BGR)
