"""Paper: its tone and grain, bleed-through, shade at a spine.

`printed` makes ink (uint8, 0 = paper, 255 = ink) grey, float32, 0 = black,
255 = white. `rng` is the source of randomness, `staff_space_px` the distance of
two staff lines.
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


def grain(
  grey: Float[np.ndarray, "h w"],
  rng: np.random.Generator,
  *,
  staff_space_px: float,
  size: float,
  deviation: float,
) -> Float[np.ndarray, "h w"]:
  """Adds the grain of a photocopier, coarser than pixels, in place.

  It is strong in some regions and weak in others.

  Args:
    size: of a grain, staff spaces.
    deviation: where it is strong, in grey values of 255.
  """
  space, hw = staff_space_px, grey.shape
  nodes = fields.nodes(hw, size * space)
  coarse = rng.standard_normal(nodes, np.float32)
  region = fields.smooth(rng, nodes, 12 / size)
  coarse *= deviation * np.clip(0.6 + 0.5 * region, 0.1, 1.2)
  grey += fields.enlarge(coarse, hw)
  return grey


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
