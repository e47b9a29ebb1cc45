"""Ink and paper: wear, dirt, paper tone, bleed-through, shade at a spine.

Ink is uint8, 0 = paper, 255 = ink; `printed` makes it grey, float32, 0 = black,
255 = white. `rng` is the source of randomness, `staff_space_px` the distance of
two staff lines.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

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
  """Spreads ink into the paper or removes it, unevenly.

  The ink is smoothed and thresholded softly; a lower threshold spreads it more.

  Args:
    blur: standard deviation of the smoothing, staff spaces.
    spread: lowers the threshold; below 0 raises it, share of full ink.
    uneven: variation of the threshold over the page, share of full ink.
    pits: variation from spot to spot, which makes holes in the ink.
  """
  hw = ink.shape
  sigma = max(blur * staff_space_px, 0.3)
  soft = cv2.GaussianBlur(ink, (0, 0), sigma)
  field = uneven * fields.smooth(rng, hw, 12 * staff_space_px)
  if pits > 0:
    field += pits * fields.smooth(rng, hw, max(0.22 * staff_space_px, 1.0))
  # Only lowered: if raised, the paper between two lines would turn to ink.
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
  """Dust and dirt or, with tone 0, flakes of lost ink.

  Args:
    density: specks in a square of ten staff spaces.
    size: median radius, staff spaces.
    tone: most ink of a speck.
  """
  height, width = ink.shape
  area = height * width / (10 * staff_space_px) ** 2
  count = min(int(rng.poisson(density * area)), 20_000)
  if not count:
    return ink
  result = ink.copy()
  centres = rng.uniform(0, 1, (count, 2)) * (width, height)
  # Most are tiny, few large, none as large as a notehead.
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
  """Hairs, fibres and scratches; `density` counts them per 100 x 100 spaces."""
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


def printed(
  ink: UInt8[np.ndarray, "h w"],
  rng: np.random.Generator,
  *,
  staff_space_px: float,
  white: float,
  black: float,
  uneven: float,
) -> Float[np.ndarray, "h w"]:
  """The grey of ink on uneven paper.

  Args:
    white: grey of the paper, 0..1.
    black: grey of the ink, 0..1.
    uneven: variation of the paper's grey over the page, 0..1.
  """
  tone = 255 * uneven * fields.smooth(rng, ink.shape, 18 * staff_space_px)
  tone += 255 * white
  share = ink.astype(np.float32)
  share *= (white - black) / white / 255
  cv2.multiply(tone, share, dst=share)
  cv2.subtract(tone, share, dst=tone)
  return tone


def bleed_through(
  grey: Float[np.ndarray, "h w"],
  ink: UInt8[np.ndarray, "h w"],
  rng: np.random.Generator,
  *,
  staff_space_px: float,
  amount: float,
) -> Float[np.ndarray, "h w"]:
  """Lets the other side of the sheet show, faint, blurred and mirrored.

  The other side is `ink` itself, mirrored and moved; `amount` is the share of
  it that shines through.
  """
  height, width = ink.shape
  move = rng.uniform(-0.25, 0.25, 2) * (height, width)
  other = np.roll(ink[:, ::-1], tuple(move.astype(int)), axis=(0, 1))
  sigma = max(0.14 * staff_space_px, 0.5)
  other = cv2.GaussianBlur(other, (0, 0), sigma)
  # Ink hides it.
  free = cv2.multiply(other, cv2.bitwise_not(ink), scale=amount / 255)
  return cv2.subtract(grey, free, dtype=cv2.CV_32F)


def edge_shade(
  grey: Float[np.ndarray, "h w"], spine_x: float, length_px: float, depth: float
) -> Float[np.ndarray, "h w"]:
  """Darkens a page towards the spine of a book, in place.

  Args:
    spine_x: column of the spine, px.
    length_px: over which the shade fades to 1 / e.
    depth: share of the light missing at the spine.
  """
  x = np.arange(grey.shape[1], dtype=np.float32)
  grey *= 1 - depth * np.exp(-np.abs(x - spine_x) / length_px)
  return grey
