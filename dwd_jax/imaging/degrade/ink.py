"""What happens to ink: it spreads or is lost, and dirt looks like it.

Images are uint8, 0 = paper, 255 = ink.
"""

import cv2
import numpy as np
from jaxtyping import UInt8

from dwd_jax.imaging.degrade import fields

_SHIFT = 4  # fractional bits of the coordinates that OpenCV draws at
_SCALE = 1 << _SHIFT


def wear(
  ink: UInt8[np.ndarray, "h w"],
  rng: np.random.Generator,
  *,
  staff_space_px: float,
  blur: float,
  spread: float,
  uneven: float,
  pits: float,
) -> UInt8[np.ndarray, "h w"]:
  """Ink spreads into the paper, or is lost; here more, there less.

  The ink is smoothed and thresholded softly; where the threshold lies decides
  how far it spreads.

  Args:
    ink: the image.
    rng: source of randomness.
    staff_space_px: distance of two staff lines, px.
    blur: standard deviation of the smoothing, staff spaces.
    spread: lowers the threshold (ink spreads) or raises it (below 0: ink is
      lost), share of full ink.
    uneven: how much that varies over the page, share of full ink.
    pits: how much it varies from spot to spot: holes in the ink.
  """
  hw = ink.shape
  sigma = max(blur * staff_space_px, 0.3)
  soft = cv2.GaussianBlur(ink, (0, 0), sigma)
  field = uneven * fields.smooth(rng, hw, 12 * staff_space_px)
  if pits > 0:
    field += pits * fields.smooth(rng, hw, max(0.22 * staff_space_px, 1.0))
  # Only lowered: raised, the paper between two lines would turn to ink.
  np.clip(255 * (field - 2 * uneven), -150, 40, out=field)
  soft = cv2.add(soft, field, dtype=cv2.CV_8U)
  level = np.arange(256, dtype=np.float32) / 255
  # Steep around the threshold, as ink is black or absent; 0 stays 0.
  middle = float(np.clip(0.33 - spread - 2 * uneven, 0.14, 0.55))
  curve = np.clip((level - middle) / 0.3 + 0.5, 0, 1)
  return cv2.LUT(soft, (255 * curve).astype(np.uint8))


def specks(
  ink: UInt8[np.ndarray, "h w"],
  rng: np.random.Generator,
  *,
  staff_space_px: float,
  density: float,
  size: float,
  tone: int = 255,
) -> UInt8[np.ndarray, "h w"]:
  """Dust and dirt (or, with tone 0, flakes of lost ink).

  Args:
    ink: the image.
    rng: source of randomness.
    staff_space_px: distance of two staff lines, px.
    density: specks in a square of ten staff spaces.
    size: median radius, staff spaces.
    tone: most ink of a speck; dirt is lighter or darker.
  """
  height, width = ink.shape
  area = height * width / (10 * staff_space_px) ** 2
  count = min(int(rng.poisson(density * area)), 20_000)
  if not count:
    return ink
  result = ink.copy()
  centres = rng.uniform(0, 1, (count, 2)) * (width, height)
  # Many are tiny and few are large, but none is as large as a notehead.
  radius = np.minimum(size * np.exp(0.6 * rng.standard_normal(count)), 0.3)
  flat = rng.uniform(0.4, 1, count)
  angle = rng.uniform(0, 180, count)
  tones = (tone * rng.uniform(0.45, 1, count)).astype(int)
  axes = np.stack([radius, radius * flat], axis=1) * staff_space_px
  for centre, axis, turn, value in zip(
    (centres * _SCALE).astype(int).tolist(),
    np.maximum(axes * _SCALE, _SCALE // 3).astype(int).tolist(),
    angle.tolist(),
    tones.tolist(),
    strict=True,
  ):
    cv2.ellipse(
      result, centre, axis, turn, 0, 360, value, -1, cv2.LINE_AA, _SHIFT
    )
  return result


def hairs(
  ink: UInt8[np.ndarray, "h w"],
  rng: np.random.Generator,
  *,
  staff_space_px: float,
  density: float,
) -> UInt8[np.ndarray, "h w"]:
  """Hairs, fibres and scratches: thin bent lines.

  Args:
    ink: the image.
    rng: source of randomness.
    staff_space_px: distance of two staff lines, px.
    density: hairs in a square of a hundred staff spaces.
  """
  height, width = ink.shape
  area = height * width / (100 * staff_space_px) ** 2
  count = min(int(rng.poisson(density * area)), 200)
  result = ink.copy() if count else ink
  for _ in range(count):
    start = rng.uniform(0, 1, 2) * (width, height)
    turns = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.25, 12))
    steps = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    line = (
      start + np.cumsum(steps, axis=0) * rng.uniform(0.2, 1) * staff_space_px
    )
    cv2.polylines(
      result,
      [(line * _SCALE).astype(np.int32)],
      False,
      int(rng.integers(60, 200)),
      1,
      cv2.LINE_AA,
      _SHIFT,
    )
  return result
