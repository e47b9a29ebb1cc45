"""How the pages of a scan or a photo lie: sampled maps.

All lengths are in staff spaces, so that they fit any resolution; `severity` is
1 for what is common.
"""

from typing import NamedTuple

import numpy as np

from dwd_jax.imaging.degrade import warps


class Bend(NamedTuple):
  """A sampled map, and where the page bends.

  Attributes:
    warp: the map.
    spine_x: column of the spine, px.
    length_px: over which the bend fades.
    depth: 0 = flat, 1 = a thick book at severity 1.
  """

  warp: warps.Warp
  spine_x: float
  length_px: float
  depth: float


def scan(
  rng: np.random.Generator,
  hw: tuple[int, int],
  severity: float,
  staff_space_px: float,
) -> Bend:
  """A sheet on the glass, or a book pressed onto it."""
  space, s = staff_space_px, severity
  view = warps.flat_view(
    hw,
    roll=np.radians(_normal(rng, 0.7 * s, 2.0 * s)),
    scale_yx=tuple(1 + s * rng.uniform(-0.004, 0.004, 2)),
  )
  spine_x, length, depth, sign = _spine(rng, hw[1], space, 0.3, (6.0, 14.0))
  warp = warps.curl(
    hw,
    view,
    staff_space_px=space,
    spine_x=spine_x,
    length_px=length,
    rise_px=0.8 * sign * depth * s * space,
    compress=0.12 * depth * s,
    wave_px=rng.uniform(0, 0.08) * s * space,
    wave_length_px=rng.uniform(60, 200) * space,
    phase=rng.uniform(0, 2 * np.pi),
  )
  return Bend(warp, spine_x, length, depth)


def photo(
  rng: np.random.Generator,
  hw: tuple[int, int],
  severity: float,
  staff_space_px: float,
) -> Bend:
  """A page on a desk or a stand, seen by a camera held in the hand."""
  space, s = staff_space_px, severity
  view = warps.flat_view(
    hw,
    roll=np.radians(_normal(rng, 1.2 * s, 3.5 * s)),
    pitch=np.radians(_normal(rng, 5 * s, 12 * s)),
    yaw=np.radians(_normal(rng, 5 * s, 12 * s)),
    distance_px=rng.uniform(250, 500) * space,
  )
  spine_x, length, depth, sign = _spine(rng, hw[1], space, 0.6, (12.0, 35.0))
  warp = warps.curl(
    hw,
    view,
    staff_space_px=space,
    spine_x=spine_x,
    length_px=length,
    rise_px=2.2 * sign * depth * s * space,
    compress=0.16 * depth * s,
    stretch=rng.uniform(0, 0.04) * depth * s,
    wave_px=rng.uniform(0, 0.45) * s * space,
    wave_length_px=rng.uniform(60, 160) * space,
    phase=rng.uniform(0, 2 * np.pi),
  )
  return Bend(warp, spine_x, length, depth)


def _spine(
  rng: np.random.Generator,
  width: int,
  space: float,
  likely: float,
  lengths: tuple[float, float],
) -> tuple[float, float, float, float]:
  """Column of the spine, length of the bend, its depth (0 = flat) and sign.

  Args:
    rng: source of randomness.
    width: of the image, px.
    space: distance of two staff lines, px.
    likely: probability of a bend.
    lengths: shortest and longest, staff spaces.
  """
  bent = rng.random() < likely
  spine_x = float(width * rng.integers(2))
  length = rng.uniform(*lengths) * space
  depth = rng.uniform(0.2, 1) * bent
  return spine_x, length, depth, rng.choice((-1.0, 1.0))


def _normal(rng: np.random.Generator, deviation: float, most: float) -> float:
  return float(np.clip(rng.normal(0, 1) * deviation, -most, most))
