"""Ink on paper: which sets of pages have it, and how much is in a box.

Only pages of two clearly separate tones, the rarer one dark, have ink that can
be counted. Photographs and micrographs have tones of all kinds.
"""

from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from dwd_jax.check import integral_images

_MAX_PIXELS = 1 << 25  # larger pages are shrunk before they are measured
_BACKGROUND_PX = 16  # of the page for one pixel of the coarse paper tone
_CONTRAST = 48  # of ink against the paper around it
# Share of the pixels that are neither ink nor paper. 27 scans, prints and
# photos of music: up to 0.06; photos of cars and cells, micrographs of spheres:
# 0.09 and more on 9 of 10.
_MAX_BETWEEN = 0.07
_MAX_LIGHTER = 0.02  # share of the pixels that are lighter than paper
_MAX_OF_RARER = 0.6  # the same, as a share of the rarer tone


class Ink(NamedTuple):
  """The ink of a page.

  Attributes:
    sums: integral image of the ink pixels, for counts in any rectangle.
    scale: px of the measured picture for one of the page.
    is_clear: whether the page has two clearly separate tones.
  """

  sums: Int[np.ndarray, "H1 W1"]
  scale: float
  is_clear: bool


def find(ink: UInt8[np.ndarray, "H W"]) -> Ink:
  """Finds the ink (0 = paper, 255 = ink) after removing uneven light."""
  ink, scale = integral_images.shrunk(ink, _MAX_PIXELS)
  height, width = ink.shape
  coarse = (max(1, width // _BACKGROUND_PX), max(1, height // _BACKGROUND_PX))
  paper = cv2.resize(ink, coarse, interpolation=cv2.INTER_AREA)
  lighter = 0
  if min(coarse) >= 15:
    paper = cv2.resize(cv2.medianBlur(paper, 15), (width, height))
    lighter = np.count_nonzero(cv2.subtract(paper, ink) > _CONTRAST)
    ink = cv2.subtract(ink, paper)
  marks = (ink > _CONTRAST).astype(np.uint8)
  is_clear = lighter <= _MAX_LIGHTER * ink.size and _has_two_tones(ink)
  return Ink(cv2.integral(marks), scale, bool(is_clear))


def _has_two_tones(ink) -> bool:
  """Whether few pixels lie in the middle between the tones of Otsu (1979)."""
  share = cv2.calcHist([ink], [0], None, [256], [0, 256]).ravel() / ink.size
  tones = np.arange(256)
  bright = np.cumsum(share, dtype=np.float64)
  dark = np.maximum(1 - bright, 0)
  moment = np.cumsum(share * tones, dtype=np.float64)
  mean = moment[-1]
  product = bright * dark
  between = np.where(
    product > 1e-9, (mean * bright - moment) ** 2 / (product + 1e-12), 0
  )
  at = int(between.argmax())
  if between[at] <= 0:
    return True  # one tone: an empty page
  low, high = moment[at] / bright[at], (mean - moment[at]) / dark[at]
  quarter = (high - low) / 4
  middle = share[(tones > low + quarter) & (tones < high - quarter)].sum()
  rarer = min(bright[at], dark[at])
  return bool(middle < _MAX_BETWEEN and middle < _MAX_OF_RARER * rarer)


def is_print(are_clear: Iterable[bool]) -> bool:
  """Whether most pages of a set are ink on paper; takes `Ink.is_clear`."""
  return bool(np.mean([*are_clear]) > 0.5)


def inside(
  page: Ink, boxes_yxyx: Float[np.ndarray, "n 4"]
) -> Int[np.ndarray, " n"]:
  """Ink pixels in each box."""
  scaled = np.asarray(boxes_yxyx, np.float64) * page.scale
  y0, x0 = np.floor(scaled[:, :2]).astype(np.int64).T
  y1, x1 = np.ceil(scaled[:, 2:]).astype(np.int64).T
  return integral_images.sums_and_areas(page.sums, y0=y0, x0=x0, y1=y1, x1=x1)[
    0
  ]
