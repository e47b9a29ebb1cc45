"""Paper: its tone, its grain, and what shines through from behind.

Ink on paper becomes grey here: float32, 0 = black, 255 = white.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dwd_jax.imaging.degrade import fields


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
    ink: 0 = paper, 255 = ink.
    rng: source of randomness.
    staff_space_px: distance of two staff lines, px.
    white: grey of the paper, 0..1.
    black: grey of the ink, 0..1.
    uneven: how much the paper's grey varies over the page, 0..1.
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
  """The other side of the sheet is seen, faint, blurred and mirrored.

  Args:
    grey: of this side.
    ink: of this side; mirrored and moved it stands for the other one.
    rng: source of randomness.
    staff_space_px: distance of two staff lines, px.
    amount: share of the ink that shines through.
  """
  height, width = ink.shape
  move = rng.uniform(-0.25, 0.25, 2) * (height, width)
  other = np.roll(ink[:, ::-1], tuple(move.astype(int)), axis=(0, 1))
  sigma = max(0.14 * staff_space_px, 0.5)
  other = cv2.GaussianBlur(other, (0, 0), sigma)
  # Beneath ink nothing is seen of it.
  free = cv2.multiply(other, cv2.bitwise_not(ink), scale=amount / 255)
  return cv2.subtract(grey, free, dtype=cv2.CV_32F)


def edge_shade(
  grey: Float[np.ndarray, "h w"],
  *,
  spine_x: float,
  length_px: float,
  depth: float,
) -> Float[np.ndarray, "h w"]:
  """Darker towards the spine of a book, in place.

  Args:
    grey: the image.
    spine_x: column of the spine, px.
    length_px: over which the shade fades to 1 / e.
    depth: share of the light that is missing at the spine.
  """
  x = np.arange(grey.shape[1], dtype=np.float32)
  grey *= 1 - depth * np.exp(-np.abs(x - spine_x) / length_px)
  return grey
