"""How a page was printed: which of the defects of ink and plate it has.

Most pages are solid. The others come from worn plates, heavy or thin, or have
mottled ink; faded ink, streaks, a screen, dirt and scratches come on top, the
likelier the greater the severity.
"""

import numpy as np
from jaxtyping import UInt8

from dwd_jax.imaging.degrade import dirt, ink

# What a press does at severity 1: ranges of arguments of `ink.wear`.
_SOLID = {
  "blur": (0.02, 0.045),
  "gain": (-0.15, 0.4),
  "grain": (0, 0.15),
  "patchy": (0, 0.05),
  "uneven": (0, 0.1),
}
_HEAVY = _SOLID | {
  "blur": (0.03, 0.055),
  "gain": (0.25, 0.75),
  "grain": (0.1, 0.35),
}
_THIN = _SOLID | {
  "gain": (-0.3, -0.05),
  "grain": (0.1, 0.3),
  "patchy": (0, 0.16),
  "uneven": (0.03, 0.12),
}
_MOTTLED = _SOLID | {
  "gain": (-0.2, 0.2),
  "grain": (0.7, 1.5),
  "patchy": (0, 0.3),
  "uneven": (0, 0.25),
}
_WORN = (_HEAVY, _THIN, _MOTTLED, _MOTTLED)


def worn_print(
  pixels: UInt8[np.ndarray, "h w"],
  rng: np.random.Generator,
  severity: float,
  staff_space_px: float,
) -> UInt8[np.ndarray, "h w"]:
  """Spreads and removes ink; adds dust, dirt, hairs and scratches.

  Args:
    pixels: ink, 0 = paper, 255 = ink.
  """
  s, space = severity, staff_space_px
  pixels = _pressed(pixels, rng, s, space)
  if rng.random() < 0.15 * s:
    pixels = ink.fade(
      pixels,
      rng,
      staff_space_px=space,
      amount=rng.uniform(0.1, 0.35) * min(s, 1.7),
      grain_size=rng.uniform(0.1, 0.3),
    )
  if rng.random() < 0.1 * s:
    amount = rng.uniform(0.2, 0.45) * min(s, 2)
    pixels = ink.streaks(pixels, rng, staff_space_px=space, amount=amount)
  if rng.random() < 0.06 * s:
    pixels = ink.halftone(
      pixels,
      period_px=rng.uniform(0.12, 0.3) * space,
      turn=rng.choice((0, np.pi / 4)) + rng.normal(0, 0.1),
      tone=1 - rng.uniform(0.1, 0.3) * min(s, 1.7),
      paper=rng.uniform(0, 0.04) * s,
    )
  return _soiled(pixels, rng, s, space)


def _pressed(
  pixels: UInt8[np.ndarray, "h w"],
  rng: np.random.Generator,
  s: float,
  space: float,
) -> UInt8[np.ndarray, "h w"]:
  worn = rng.random() < 0.45 * s
  press = _WORN[rng.integers(len(_WORN))] if worn else _SOLID
  # Worn plates are worn on any page; how many pages have them, `s` decides.
  how_much = 0.5 + 0.5 * min(s, 2) if worn else min(s, 2)
  drawn = {
    name: how_much * rng.uniform(low, high)
    for name, (low, high) in press.items()
  }
  return ink.wear(
    pixels,
    rng,
    staff_space_px=space,
    grain_size=rng.uniform(0.08, 0.25),
    **drawn,
  )


def _soiled(
  pixels: UInt8[np.ndarray, "h w"],
  rng: np.random.Generator,
  s: float,
  space: float,
) -> UInt8[np.ndarray, "h w"]:
  for tone, density in ((255, 1.2), (0, 1.5)):
    pixels = dirt.specks(
      pixels,
      rng,
      staff_space_px=space,
      density=rng.uniform(0, density) * s,
      size=rng.uniform(0.03, 0.08) * (0.5 + 0.5 * s),
      tone=tone,
    )
  if rng.random() < 0.3 * s:  # as large as augmentation dots
    pixels = dirt.specks(
      pixels,
      rng,
      staff_space_px=space,
      density=rng.uniform(0.05, 0.4) * s,
      size=rng.uniform(0.1, 0.2),
    )
  if rng.random() < 0.25 * s:
    pixels = dirt.blots(
      pixels,
      rng,
      staff_space_px=space,
      share=rng.uniform(0.0001, 0.0015) * s,
      size=rng.uniform(0.06, 0.15),
    )
  pixels = dirt.strokes(
    pixels,
    rng,
    staff_space_px=space,
    density=rng.uniform(0, 3) * s,
    step=1.0,
    bend=0.25,
  )
  if rng.random() < 0.15 * s:
    pixels = dirt.strokes(
      pixels,
      rng,
      staff_space_px=space,
      density=rng.uniform(1, 12) * s,
      step=rng.uniform(0.5, 6),
      bend=0.02,
      width=0.1,
      tones=(0, 0) if rng.random() < 0.7 else (80, 255),
    )
  return pixels
