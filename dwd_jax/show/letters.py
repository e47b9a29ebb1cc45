"""Text on pictures in the letters of many languages.

OpenCV's own fonts know ASCII only. The font is DejaVu Sans, which comes with
matplotlib: Latin, Greek, Cyrillic, Arabic, Hebrew and more, no Chinese.
"""

import functools
import pathlib

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

_KEPT = 4096  # drawn words
_MOST_LETTERS = 256  # as names of files have


def write(
  canvas: UInt8[np.ndarray, "H W 3"],
  text: str,
  left: int,
  baseline: int,
  size_px: int,
  rgb: tuple[int, int, int],
) -> None:
  """Writes a line, in place; what is beyond the edges is cut.

  Args:
    left: where it begins, px.
    baseline: row on which letters stand, px.
    size_px: height of the font.
  """
  mask, above = _drawn(text[:_MOST_LETTERS], size_px)
  top = baseline - above
  y0, x0 = max(top, 0), max(left, 0)
  y1 = min(top + mask.shape[0], canvas.shape[0])
  x1 = min(left + mask.shape[1], canvas.shape[1])
  if y0 >= y1 or x0 >= x1:
    return
  share = mask[y0 - top : y1 - top, x0 - left : x1 - left, None] / np.float32(
    255
  )
  part = canvas[y0:y1, x0:x1]
  part[:] = np.rint(part * (1 - share) + np.array(rgb) * share)


def width(text: str, size_px: int) -> int:
  """Pixels from the beginning of a line to its end."""
  return _drawn(text[:_MOST_LETTERS], size_px)[0].shape[1]


@functools.lru_cache(_KEPT)
def _drawn(text: str, size_px: int) -> tuple[np.ndarray, int]:
  """How much a line covers each pixel, 0..255, and its rows above the base."""
  font = _font(size_px)
  above, below = font.getmetrics()
  size = max(1, round(font.getlength(text))), above + below
  image = Image.new("L", size)
  ImageDraw.Draw(image).text((0, 0), text, fill=255, font=font)
  return np.asarray(image), above


@functools.lru_cache
def _font(size_px: int) -> ImageFont.FreeTypeFont:
  import matplotlib  # late: it takes longer than all our own modules

  folder = pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf")
  return ImageFont.truetype(str(folder / "DejaVuSans.ttf"), size_px)
