"""How the pixels of a scan or a photo look: sampled effects, in their order.

Ink in and ink out, uint8, 0 = white, 255 = black; a page that is grey has ink
everywhere, as the reader of real scans and photos gives it. Lengths are in
staff spaces; `severity` is 1 for what is common.
"""

import numpy as np
from jaxtyping import Float, UInt8

from dwd_jax.imaging.degrade import camera, ink_and_paper, light
from dwd_jax.imaging.degrade import ink_and_paper as ink_lib
from dwd_jax.imaging.degrade.warps import Bend


def scan(
  ink: UInt8[np.ndarray, "h w"],
  rng: np.random.Generator,
  bend: Bend,
  severity: float,
  staff_space_px: float,
) -> UInt8[np.ndarray, "h w"]:
  """Worn print on the glass of a scanner."""
  space, s = staff_space_px, severity
  ink = _print(ink, rng, s, space)
  white = rng.uniform(1 - 0.12 * s, 1)
  grey = ink_and_paper.printed(
    ink,
    rng,
    staff_space_px=space,
    white=white,
    black=rng.uniform(0, 0.2) * min(s, 1.5),
    uneven=rng.uniform(0, 0.03) * s,
  )
  if rng.random() < 0.4:
    amount = rng.uniform(0.05, 0.22) * s
    grey = ink_and_paper.bleed_through(
      grey, ink, rng, staff_space_px=space, amount=amount
    )
  grey = _shade_spine(grey, bend, 0.45, s)
  pixels = camera.to_bytes(camera.expose(grey, white))
  kernel = camera.point_spread(
    defocus_px=rng.uniform(0.02, 0.1) * s * space, motion_px=0.0, turn=0.0
  )
  pixels = camera.blur(pixels, kernel)
  pixels = camera.noise(
    pixels, rng, deviation=rng.uniform(0, 5) * s, soft=False
  )
  if rng.random() < 0.6:
    pixels = camera.jpeg(pixels, round(95 - rng.uniform(0, 45) * s))
  if rng.random() < 0.35:
    # The share of the paper's grey: near it, paper turns black; far from it,
    # thin lines are lost.
    level = rng.uniform(0.62 - 0.12 * min(s, 2), 0.62 + 0.06 * min(s, 2))
    pixels = camera.two_tones(pixels, round(255 * white * level))
  return 255 - pixels


def photo(
  ink: UInt8[np.ndarray, "h w"],
  rng: np.random.Generator,
  bend: Bend,
  severity: float,
  staff_space_px: float,
) -> UInt8[np.ndarray, "h w"]:
  """A printed page in the light of a room, taken by a hand-held camera."""
  space, s = staff_space_px, severity
  ink = _print(ink, rng, 0.5 * s, space)
  grey = ink_and_paper.printed(
    ink,
    rng,
    staff_space_px=space,
    white=0.95,
    black=rng.uniform(0.05, 0.22) * min(s, 1.5),
    uneven=rng.uniform(0, 0.02) * s,
  )
  if rng.random() < 0.2:
    amount = rng.uniform(0.03, 0.1) * s
    grey = ink_and_paper.bleed_through(
      grey, ink, rng, staff_space_px=space, amount=amount
    )
  grey = _shade_spine(grey, bend, 0.5, s)
  shadows = rng.uniform(0.1, 0.45, 2)[: rng.choice(3, p=(0.4, 0.45, 0.15))]
  grey *= light.illumination(
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
    # After the exposure, or a faint symbol would be wiped out altogether.
    amount = min(rng.uniform(0.2, 0.55) * s, 0.65)
    spot = light.glare(rng, ink.shape, staff_space_px=space, amount=amount)
    grey += (255 - grey) * spot
  pixels = camera.blur(camera.to_bytes(grey), _shake(rng, s, space))
  pixels = camera.noise(
    pixels, rng, deviation=rng.uniform(0.5, 5) * s, soft=True
  )
  return 255 - camera.jpeg(pixels, round(95 - rng.uniform(0, 40) * s))


def _shade_spine(
  grey: Float[np.ndarray, "h w"], bend: Bend, most: float, severity: float
) -> Float[np.ndarray, "h w"]:
  """Darker where the page bends, by `most` at the spine of a thick book."""
  if not bend.depth:
    return grey
  return ink_and_paper.edge_shade(
    grey,
    spine_x=bend.spine_x,
    length_px=bend.length_px / 2,
    depth=min(most * bend.depth * severity, 0.8),
  )


def _shake(rng: np.random.Generator, s: float, space: float) -> np.ndarray:
  """Defocus, and in every second photo motion."""
  moves = rng.random() < 0.5
  return camera.point_spread(
    defocus_px=rng.uniform(0.03, 0.13) * s * space,
    motion_px=rng.uniform(0, 0.3) * moves * s * space,
    turn=rng.uniform(0, np.pi),
  )


def _print(
  ink: UInt8[np.ndarray, "h w"],
  rng: np.random.Generator,
  severity: float,
  space: float,
) -> UInt8[np.ndarray, "h w"]:
  """Ink spread and ink loss, dust, flakes, hairs."""
  s = severity
  ink = ink_lib.wear(
    ink,
    rng,
    staff_space_px=space,
    blur=rng.uniform(0.02, 0.07) * s,
    spread=rng.uniform(-0.1, 0.15) * s,
    uneven=rng.uniform(0, 0.06) * s,
    pits=rng.uniform(0, 0.08) * s,
  )
  for tone, density in ((255, 1.2), (0, 1.5)):
    ink = ink_lib.specks(
      ink,
      rng,
      staff_space_px=space,
      density=rng.uniform(0, density) * s,
      size=rng.uniform(0.03, 0.08) * (0.5 + 0.5 * s),
      tone=tone,
    )
  return ink_lib.hairs(
    ink, rng, staff_space_px=space, density=rng.uniform(0, 3) * s
  )
