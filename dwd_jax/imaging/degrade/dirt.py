"""Dirt and damage: specks, blots, flakes of lost ink, hairs, scratches.

Ink is uint8, 0 = paper, 255 = ink. `rng` is the source of randomness,
`staff_space_px` the distance of two staff lines.
"""

import statistics

import cv2
import numpy as np
from jaxtyping import UInt8

from dwd_jax.imaging.degrade import fields

_SHIFT = 4  # fractional bits of the coordinates that OpenCV draws at
_SCALE = 1 << _SHIFT
_MOST_SPECKS = 20_000


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
    size: median radius, staff spaces; that of an augmentation dot is 0.2.
    tone: most ink of a speck.
  """
  height, width = ink.shape
  area = height * width / (10 * staff_space_px) ** 2
  count = min(int(rng.poisson(density * area)), _MOST_SPECKS)
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


def blots(
  ink: UInt8[np.ndarray, "h w"],
  rng: np.random.Generator,
  *,
  staff_space_px: float,
  share: float,
  size: float,
) -> UInt8[np.ndarray, "h w"]:
  """Clusters of irregular specks and blots, as on dirty plates.

  Args:
    share: of the paper that is covered, about; above 0.
    size: of a small one, staff spaces.
  """
  cell = max(size * staff_space_px, 1.0)
  nodes = fields.nodes(ink.shape, cell)
  field = rng.standard_normal(nodes, np.float32)
  field += 0.7 * fields.smooth(rng, nodes, 3.0)  # blots of several specks
  field += 0.9 * fields.smooth(rng, nodes, 3.0 / size)  # clusters
  # Less than the deviation at nodes, as it is less between them.
  field -= 0.97 * statistics.NormalDist().inv_cdf(1 - share)
  if field.max() <= 0:
    return ink
  field = fields.enlarge(field, ink.shape)
  field = cv2.convertScaleAbs(np.maximum(field, 0, out=field), alpha=600)
  return cv2.max(ink, field)


def strokes(
  ink: UInt8[np.ndarray, "h w"],
  rng: np.random.Generator,
  *,
  staff_space_px: float,
  density: float,
  step: float,
  bend: float,
  width: float = 0.0,
  tones: tuple[int, int] = (60, 200),
) -> UInt8[np.ndarray, "h w"]:
  """Hairs and fibres or, straight and of tone 0, scratches.

  Args:
    density: strokes in a square of 100 staff spaces.
    step: longest distance between two of twelve points, staff spaces.
    bend: deviation of the turn at a point, radians.
    width: greatest, staff spaces; at least a pixel is drawn.
    tones: least and most ink.
  """
  height, breadth = ink.shape
  area = height * breadth / (100 * staff_space_px) ** 2
  count = min(int(rng.poisson(density * area)), 200)
  result = ink.copy() if count else ink
  for _ in range(count):
    start = rng.uniform(0, 1, 2) * (breadth, height)
    turns = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, bend, 12))
    steps = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    length = rng.uniform(0.2, 1) * step * staff_space_px
    line = start + np.cumsum(steps, axis=0) * length
    cv2.polylines(
      result,
      [(line * _SCALE).astype(np.int32)],
      False,
      int(rng.integers(tones[0], tones[1], endpoint=True)),
      max(1, round(rng.uniform(0, width) * staff_space_px)),
      cv2.LINE_AA,
      _SHIFT,
    )
  return result
