"""Copies of a page: photocopies, faxes, scans of one bit.

Pixels are uint8, 0 = black, 255 = white. `rng` is the source of randomness,
`staff_space_px` the distance of two staff lines. Nothing moves.
"""

import cv2
import numpy as np
from jaxtyping import UInt8

from dwd_jax.imaging import page_windows
from dwd_jax.imaging.degrade import fields

_STAFF_SPACE_MM = 1.75  # of staves 7 mm high
_MM_PER_INCH = 25.4
_FAX_PER_MM = (7.7, 8.03)  # rows and columns of fine resolution


def photocopy(
  pixels: UInt8[np.ndarray, "h w"],
  rng: np.random.Generator,
  *,
  staff_space_px: float,
  generations: int,
  blur: float,
  noise: float,
  threshold: float,
) -> UInt8[np.ndarray, "h w"]:
  """Copies of copies: each rounds edges and hardens what is grey.

  Args:
    blur: standard deviation of the smoothing, staff spaces.
    noise: deviation of the grain, in grey values of 255.
    threshold: grey between black and white, 0..255.
  """
  level = np.arange(256, dtype=np.float32)
  for _ in range(generations):
    pixels = cv2.GaussianBlur(pixels, (0, 0), max(blur * staff_space_px, 0.4))
    grain = fields.smooth(rng, pixels.shape, 0.12 * staff_space_px)
    grain *= noise
    pixels = cv2.add(pixels, grain, dtype=cv2.CV_8U)
    middle = threshold + rng.uniform(-12, 12)
    curve = np.clip(128 + 3.5 * (level - middle), 0, 255)
    pixels = cv2.LUT(pixels, curve.astype(np.uint8))
  return pixels


def one_bit(
  pixels: UInt8[np.ndarray, "h w"],
  *,
  staff_space_px: float,
  dpi: float,
  threshold: int,
) -> UInt8[np.ndarray, "h w"]:
  """Black and white at the resolution of a scanner; above is white.

  Where it is finer than the image, edges come back smooth, else in steps.

  Args:
    threshold: grey between black and white, 0..255.
  """
  scale = dpi * _STAFF_SPACE_MM / _MM_PER_INCH / staff_space_px
  seen = _scanned(pixels, (scale, scale), threshold)
  return page_windows.resize(seen, pixels.shape)


def fax(
  pixels: UInt8[np.ndarray, "h w"],
  rng: np.random.Generator,
  *,
  staff_space_px: float,
  threshold: int,
  fine: bool,
  errors: float,
) -> UInt8[np.ndarray, "h w"]:
  """A fax: 204 columns an inch, 196 rows or half of that, one bit.

  Args:
    threshold: grey between black and white, 0..255.
    fine: 196 rows an inch instead of 98.
    errors: share of the rows of which the rest is lost from some run on: it
      is white, or as in the row before.
  """
  per_mm = staff_space_px / _STAFF_SPACE_MM
  rows, columns = (n / per_mm for n in _FAX_PER_MM)
  seen = _scanned(pixels, (rows if fine else rows / 2, columns), threshold)
  height, width = seen.shape
  for row in np.flatnonzero(rng.random(height) < errors).tolist():
    first = int(rng.integers(width))
    white = row == 0 or rng.random() < 0.4
    seen[row, first:] = 255 if white else seen[row - 1, first:]
  return page_windows.resize(seen, pixels.shape)


def _scanned(
  pixels: UInt8[np.ndarray, "h w"],
  scale_yx: tuple[float, float],
  threshold: int,
) -> UInt8[np.ndarray, "a b"]:
  """Black and white in the pixels of a scanner, at most twice as many.

  Args:
    scale_yx: pixels of the scanner for one of the image.
  """
  height, width = (
    max(1, round(n * min(s, 2.0)))
    for n, s in zip(pixels.shape, scale_yx, strict=True)
  )
  seen = page_windows.resize(pixels, (height, width))
  return cv2.threshold(seen, threshold, 255, cv2.THRESH_BINARY)[1]
