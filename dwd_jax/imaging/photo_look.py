"""What differs between photographs of a thing: light, colour, focus, noise."""

import cv2
import numpy as np
from jaxtyping import UInt8

_BRIGHTNESS = 0.12  # of white, either way
_CONTRAST = 1.25  # and its inverse, about the mean
_HUE = 6  # steps of 2 degrees, either way
_SATURATION = 1.3  # and its inverse
_BLUR_PROB, _BLUR_PX = 0.25, 1.0  # largest standard deviation
_NOISE_PROB, _NOISE = 0.35, 10.0  # largest standard deviation, of 255


def vary(
  image: UInt8[np.ndarray, "h w *c"], rng: np.random.Generator
) -> UInt8[np.ndarray, "h w *c"]:
  """Draws another look; objects stay where they are.

  Args:
    image: ink or another grey picture [h, w], or RGB [h, w, 3].
  """
  if image.ndim == 3:
    image = _colours(image, rng)
  values = image.astype(np.float32)
  contrast = _CONTRAST ** rng.uniform(-1, 1)
  middle = float(values.mean())
  values = (values - middle) * contrast + middle
  values += 255 * rng.uniform(-_BRIGHTNESS, _BRIGHTNESS)
  if rng.random() < _BLUR_PROB:
    values = cv2.GaussianBlur(values, (0, 0), rng.uniform(0.3, _BLUR_PX))
  if rng.random() < _NOISE_PROB:
    noise = rng.standard_normal(values.shape, np.float32)
    values = values + rng.uniform(1, _NOISE) * noise
  return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _colours(
  image: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
  """Turns hues a little and changes how strong colours are."""
  hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV).astype(np.float32)
  hsv[..., 0] = (hsv[..., 0] + rng.uniform(-_HUE, _HUE)) % 180
  hsv[..., 1] *= _SATURATION ** rng.uniform(-1, 1)
  hsv = np.clip(np.rint(hsv), 0, (179, 255, 255)).astype(np.uint8)
  return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
