"""Ink as it lies on the paper: spread, eroded, holed, faded, screened.

Ink is uint8, 0 = paper, 255 = ink. `rng` is the source of randomness,
`staff_space_px` the distance of two staff lines.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dwd_jax.imaging.degrade import fields

_THRESHOLD = 0.33  # of smoothed ink; lower than a half, or thin lines are lost
_SOFT = 0.3  # of full ink, from none to full
_LEAST_SIGMA_PX = 0.3
_GLYPH = 1.4  # staff spaces, over which the ink of a symbol varies
_REGION = 12.0  # staff spaces, over which the ink of a page varies


def wear(
  ink: UInt8[np.ndarray, "h w"],
  rng: np.random.Generator,
  *,
  staff_space_px: float,
  blur: float,
  gain: float,
  grain: float,
  grain_size: float,
  patchy: float,
  uneven: float,
) -> UInt8[np.ndarray, "h w"]:
  """Spreads ink into the paper or removes it, unevenly.

  The ink is smoothed, multiplied by a random field and thresholded softly.
  Where the field is high, edges move out and counters close; where it is low,
  thin lines break first, then edges move in, then there are holes in what was
  solid. Paper far from ink stays clean.

  Args:
    blur: standard deviation of the smoothing, staff spaces; how far edges move.
    gain: logarithm of the field's middle; above 0 spreads the ink.
    grain: deviation of the logarithm from spot to spot, which makes edges
      ragged, lines broken and, above about 0.5, solid ink holed.
    grain_size: of a spot, staff spaces.
    patchy: deviation of the logarithm within a symbol.
    uneven: deviation of the logarithm over the page.
  """
  hw, space = ink.shape, staff_space_px
  soft = cv2.GaussianBlur(ink, (0, 0), max(blur * space, _LEAST_SIGMA_PX))
  field = fields.layers(
    rng,
    hw,
    (grain_size * space, grain),
    (_GLYPH * space, patchy),
    (_REGION * space, uneven),
  )
  field = fields.enlarge(np.exp(gain + field), hw)
  soft = cv2.multiply(soft, field, dtype=cv2.CV_8U)
  level = np.arange(256, dtype=np.float32) / 255
  # Steep around the threshold, as ink is black or absent; 0 stays 0.
  curve = np.clip((level - _THRESHOLD) / _SOFT + 0.5, 0, 1)
  return cv2.LUT(soft, (255 * curve).astype(np.uint8))


def fade(
  ink: UInt8[np.ndarray, "h w"],
  rng: np.random.Generator,
  *,
  staff_space_px: float,
  amount: float,
  grain_size: float,
) -> UInt8[np.ndarray, "h w"]:
  """Turns ink grey, mottled within symbols and uneven over the page.

  Args:
    amount: share of the ink that is missing on average, 0..1.
    grain_size: of a spot, staff spaces.
  """
  space = staff_space_px
  field = fields.layers(
    rng,
    ink.shape,
    (grain_size * space, 0.5),
    (_GLYPH * space, 0.3),
    (_REGION * space, 0.35),
  )
  left = np.clip(1 - amount * (1 + field), 0.1, 1)
  return _times(ink, left)


def streaks(
  ink: UInt8[np.ndarray, "h w"],
  rng: np.random.Generator,
  *,
  staff_space_px: float,
  amount: float,
) -> UInt8[np.ndarray, "h w"]:
  """Toner that is missing along the path of the paper.

  Args:
    amount: share of the ink that is missing in the middle of a streak, 0..1.
  """
  space = staff_space_px
  along, across = 60 * space, float(rng.uniform(0.4, 3)) * space
  cells = (along, across) if rng.random() < 0.7 else (across, along)
  field = rng.standard_normal(fields.nodes(ink.shape, cells), np.float32)
  return _times(ink, 1 - amount * np.clip(field - 0.6, 0, 1))


def _times(
  ink: UInt8[np.ndarray, "h w"], share: Float[np.ndarray, "a b"]
) -> UInt8[np.ndarray, "h w"]:
  """Ink of which a share is left, given as a coarse field."""
  share = fields.enlarge(share.astype(np.float32), ink.shape)
  return cv2.multiply(ink, share, dtype=cv2.CV_8U)


def halftone(
  ink: UInt8[np.ndarray, "h w"],
  *,
  period_px: float,
  turn: float,
  tone: float,
  paper: float,
) -> UInt8[np.ndarray, "h w"]:
  """Ink and paper as dots of a screen.

  Args:
    period_px: distance of two dots.
    turn: angle of the screen, radians.
    tone: of the ink, 0..1: at 0.5 half of it is left, at 1 all.
    paper: tone of empty paper, 0..1.
  """
  step = 2 * np.pi / max(period_px, 2.0)
  c, s = float(step * np.cos(turn)), float(step * np.sin(turn))
  y, x = (np.arange(n, dtype=np.float32) for n in ink.shape)
  # cos(cx + sy) + cos(cy - sx) from products of rows and columns.
  rows = [np.cos(s * y), np.sin(s * y), np.cos(c * y), np.sin(c * y)]
  columns = [np.cos(c * x), -np.sin(c * x), np.cos(s * x), np.sin(s * x)]
  screen = (3 * 255 / 4 * np.stack(rows, axis=1)) @ np.stack(columns)
  soft = cv2.GaussianBlur(ink, (0, 0), max(0.2 * period_px, _LEAST_SIGMA_PX))
  # A threshold with a slope of 3; no dots on white, none missing in black.
  level = 1023 * np.linspace(paper, tone, 256, dtype=np.float32) - 384
  over = cv2.subtract(cv2.LUT(soft, level), screen)
  return cv2.convertScaleAbs(np.maximum(over, 0))
