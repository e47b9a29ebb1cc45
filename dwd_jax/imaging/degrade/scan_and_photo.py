"""Scan and photo: how a page bends, and which effects its ink undergoes.

A recipe is a bend (a sampled map of the page) and a look (sampled effects on
pixels, in order). Looks take and return ink, uint8, 0 = white, 255 = black; on
grey paper ink is nowhere 0, as in real scans and photos. Lengths are in staff
spaces, to fit any resolution; `severity` is 1 for what is common.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from dwd_jax.imaging.degrade import camera, copies, paper, printing
from dwd_jax.imaging.degrade.warps import Warp, curl, flat_view

_DPI = (200.0, 300.0, 600.0)  # of scans of one bit


class Bend(NamedTuple):
  """A sampled map, and where the page bends.

  Attributes:
    spine_x: column of the spine, px.
    length_px: over which the bend fades to 1 / e.
    depth: 0 = flat, 1 = a thick book at severity 1.
  """

  warp: Warp
  spine_x: float
  length_px: float
  depth: float


def scan_bend(
  rng: np.random.Generator,
  hw: tuple[int, int],
  severity: float,
  staff_space_px: float,
) -> Bend:
  """A sheet on the glass, or a book pressed onto it."""
  space, s = staff_space_px, severity
  view = flat_view(
    hw,
    roll=np.radians(_normal(rng, 0.7 * s, 2.0 * s)),
    scale_yx=tuple(1 + s * rng.uniform(-0.004, 0.004, 2)),
  )
  return _bend(
    rng,
    hw,
    view,
    s,
    space,
    likely=0.3,
    lengths=(6.0, 14.0),
    rise=0.8,
    compress=0.12,
    wave=0.08,
    wave_lengths=(60.0, 200.0),
  )


def photo_bend(
  rng: np.random.Generator,
  hw: tuple[int, int],
  severity: float,
  staff_space_px: float,
) -> Bend:
  """A page on a desk or a stand, seen by a camera held in the hand."""
  space, s = staff_space_px, severity
  view = flat_view(
    hw,
    roll=np.radians(_normal(rng, 1.2 * s, 3.5 * s)),
    pitch=np.radians(_normal(rng, 5 * s, 12 * s)),
    yaw=np.radians(_normal(rng, 5 * s, 12 * s)),
    distance_px=rng.uniform(250, 500) * space,
  )
  return _bend(
    rng,
    hw,
    view,
    s,
    space,
    likely=0.6,
    lengths=(12.0, 35.0),
    rise=2.2,
    compress=0.16,
    stretch=0.04,
    wave=0.45,
    wave_lengths=(60.0, 160.0),
  )


def _bend(
  rng: np.random.Generator,
  hw: tuple[int, int],
  view: Float[np.ndarray, "3 3"],
  severity: float,
  space: float,
  *,
  likely: float,
  lengths: tuple[float, float],
  rise: float,
  compress: float,
  wave: float,
  wave_lengths: tuple[float, float],
  stretch: float = 0.0,
) -> Bend:
  """A sheet seen in `view` that waves and, often, bends towards a spine.

  `likely` is the probability of a bend. Its `lengths` and `rise`, the height of
  the waves and their lengths are in staff spaces; for the others see `curl`.
  """
  bent = rng.random() < likely
  spine_x = float(hw[1] * rng.integers(2))
  length = rng.uniform(*lengths) * space
  depth = rng.uniform(0.2, 1) * bent
  sign = rng.choice((-1.0, 1.0))
  stretched = rng.uniform(0, stretch) if stretch else 0.0
  warp = curl(
    hw,
    view,
    staff_space_px=space,
    spine_x=spine_x,
    length_px=length,
    rise_px=rise * sign * depth * severity * space,
    compress=compress * depth * severity,
    stretch=stretched * depth * severity,
    wave_px=rng.uniform(0, wave) * severity * space,
    wave_length_px=rng.uniform(*wave_lengths) * space,
    phase=rng.uniform(0, 2 * np.pi),
  )
  return Bend(warp, spine_x, length, depth)


def scan_look(
  ink: UInt8[np.ndarray, "h w"],
  rng: np.random.Generator,
  bend: Bend,
  severity: float,
  staff_space_px: float,
) -> UInt8[np.ndarray, "h w"]:
  """Worn print on the glass of a scanner."""
  space, s = staff_space_px, severity
  ink = printing.worn_print(ink, rng, s, space)
  white = rng.uniform(1 - 0.12 * s, 1)
  grey = paper.printed(
    ink,
    rng,
    staff_space_px=space,
    white=white,
    black=rng.uniform(0, 0.2) * min(s, 1.5),
    uneven=rng.uniform(0, 0.03) * s,
  )
  if rng.random() < 0.4:
    amount = rng.uniform(0.05, 0.22) * s
    grey = paper.bleed_through(
      grey, ink, rng, staff_space_px=space, amount=amount
    )
  grey = _shade_spine(grey, bend, 0.45, s)
  grey = camera.expose(grey, white)
  copied = rng.random() < 0.2 * s
  if rng.random() < (0.5 if copied else 0.2 * s):
    grey = paper.grain(
      grey,
      rng,
      staff_space_px=space,
      size=rng.uniform(0.1, 0.25),
      deviation=rng.uniform(4, 18) * min(s, 2),
    )
  pixels = camera.to_bytes(grey)
  if copied:
    pixels = copies.photocopy(
      pixels,
      rng,
      staff_space_px=space,
      generations=int(rng.integers(1, 4)),
      blur=rng.uniform(0.02, 0.05),
      noise=rng.uniform(2, 16) * min(s, 2),
      threshold=_threshold(rng, pixels, white, s),
    )
  return 255 - _scanned(pixels, rng, white, s, space)


def _scanned(
  pixels: UInt8[np.ndarray, "h w"],
  rng: np.random.Generator,
  white: float,
  s: float,
  space: float,
) -> UInt8[np.ndarray, "h w"]:
  """What a scanner or a fax machine makes of a page."""
  kernel = camera.point_spread(
    defocus_px=rng.uniform(0.02, 0.1) * s * space, motion_px=0.0, turn=0.0
  )
  pixels = camera.blur(pixels, kernel)
  pixels = camera.noise(
    pixels, rng, deviation=rng.uniform(0, 5) * s, soft=False
  )
  if rng.random() < 0.6:
    pixels = camera.jpeg(pixels, round(95 - rng.uniform(0, 45) * s))
  kind = rng.random()
  threshold = round(_threshold(rng, pixels, white, s))
  if kind < 0.06 * s:
    pixels = copies.fax(
      pixels,
      rng,
      staff_space_px=space,
      threshold=threshold,
      fine=bool(rng.random() < 0.6),
      errors=rng.uniform(0, 0.01) * s,
    )
  elif kind < 0.06 * s + 0.35:
    # Staves are 5 to 9 mm high.
    dpi = float(rng.choice(_DPI) * rng.uniform(0.8, 1.3))
    pixels = copies.one_bit(
      pixels, staff_space_px=space, dpi=dpi, threshold=threshold
    )
  return pixels


def _threshold(
  rng: np.random.Generator,
  pixels: UInt8[np.ndarray, "h w"],
  white: float,
  severity: float,
) -> float:
  """A grey between ink and paper, 0..255, as one sets it for this page.

  Too high, paper turns black; too low, thin lines are lost.

  Args:
    white: grey of the paper, 0..1.
  """
  s = min(severity, 2)
  level = rng.uniform(0.58 - 0.1 * s, 0.58 + 0.06 * s)
  step = max(1, min(pixels.shape) // 128)
  dark = np.percentile(pixels[::step, ::step], 1)
  dark = min(dark, 0.5 * 255 * white)  # of pages without ink
  return float(dark + level * (255 * white - dark))


def photo_look(
  ink: UInt8[np.ndarray, "h w"],
  rng: np.random.Generator,
  bend: Bend,
  severity: float,
  staff_space_px: float,
) -> UInt8[np.ndarray, "h w"]:
  """A printed page in the light of a room, taken by a hand-held camera."""
  space, s = staff_space_px, severity
  ink = printing.worn_print(ink, rng, 0.5 * s, space)
  grey = paper.printed(
    ink,
    rng,
    staff_space_px=space,
    white=0.95,
    black=rng.uniform(0.05, 0.22) * min(s, 1.5),
    uneven=rng.uniform(0, 0.02) * s,
  )
  if rng.random() < 0.2:
    amount = rng.uniform(0.03, 0.1) * s
    grey = paper.bleed_through(
      grey, ink, rng, staff_space_px=space, amount=amount
    )
  grey = _shade_spine(grey, bend, 0.5, s)
  shadows = rng.uniform(0.1, 0.45, 2)[: rng.choice(3, p=(0.4, 0.45, 0.15))]
  grey *= camera.illumination(
    rng,
    ink.shape,
    staff_space_px=space,
    slope=min(rng.uniform(0, 0.35) * s, 0.7),
    vignette=min(rng.uniform(0, 0.25) * s, 0.5),
    shadows=tuple(np.minimum(shadows * s, 0.65).tolist()),
  )
  tone = 1 - rng.uniform(0.02, 0.3) * min(s, 1.3)
  grey = camera.expose(grey, tone)
  if rng.random() < 0.3:
    # After the exposure, or it would wipe out faint symbols.
    amount = min(rng.uniform(0.2, 0.55) * s, 0.65)
    spot = camera.glare(rng, ink.shape, staff_space_px=space, amount=amount)
    grey += (255 - grey) * spot
  pixels = camera.blur(camera.to_bytes(grey), _shake(rng, s, space))
  pixels = camera.noise(
    pixels, rng, deviation=rng.uniform(0.5, 5) * s, soft=True
  )
  return 255 - camera.jpeg(pixels, round(95 - rng.uniform(0, 40) * s))


def _shade_spine(
  grey: Float[np.ndarray, "h w"], bend: Bend, most: float, severity: float
) -> Float[np.ndarray, "h w"]:
  """Darkens the page where it bends, by `most` at a thick book's spine."""
  if not bend.depth:
    return grey
  return paper.edge_shade(
    grey,
    spine_x=bend.spine_x,
    length_px=bend.length_px / 2,
    depth=min(most * bend.depth * severity, 0.8),
  )


def _shake(rng: np.random.Generator, s: float, space: float) -> np.ndarray:
  """The kernel of defocus and, in every second photo, motion."""
  moves = rng.random() < 0.5
  return camera.point_spread(
    defocus_px=rng.uniform(0.03, 0.13) * s * space,
    motion_px=rng.uniform(0, 0.3) * moves * s * space,
    turn=rng.uniform(0, np.pi),
  )


def _normal(rng: np.random.Generator, deviation: float, most: float) -> float:
  return float(np.clip(rng.normal(0, 1) * deviation, -most, most))
