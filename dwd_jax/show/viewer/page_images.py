"""Pictures of the viewer: pages as JPEG, thumbnails, data URIs."""

import base64

import cv2
import numpy as np
import pyvips
from jaxtyping import UInt8

from dwd_jax.imaging.images import MAX_PIXELS, header_hw

# Of ink on paper; the rings that JPEG leaves around it are faint from here on.
_QUALITY = 60
_THUMBNAIL_HW = (200, 160)  # px; drawn smaller, so it is sharp on fine screens
_TYPES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


def page_picture(ink: UInt8[np.ndarray, "h w"], max_side_px: int) -> bytes:
  """Makes the picture of a page: a grey JPEG, black on white.

  A dense page of 2000 x 2800 px takes 200 to 400 KB.

  Args:
    ink: the page, 0 = paper, 255 = ink.
    max_side_px: larger pages are scaled down to this.

  Returns:
    The bytes of the file.

  Raises:
    ValueError: the page is empty.
  """
  height, width = ink.shape
  if not height or not width:
    raise ValueError(f"a page of {width} x {height} px has no picture")
  scale = min(1.0, max_side_px / max(height, width))
  if scale < 1:
    size = max(1, round(width * scale)), max(1, round(height * scale))
    ink = cv2.resize(ink, size, interpolation=cv2.INTER_AREA)
  options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
  ok, data = cv2.imencode(".jpg", 255 - ink, options)
  if not ok:
    raise ValueError(f"a page of {width} x {height} px could not be encoded")
  return data.tobytes()


def media_type(data: bytes) -> str:
  """image/png or image/jpeg; "" for anything else or a size no one can load."""
  hw = header_hw(data)
  if hw is None or not 0 < hw[0] * hw[1] <= MAX_PIXELS:
    return ""
  return next((t for magic, t in _TYPES.items() if data.startswith(magic)), "")


def thumbnail(data: bytes) -> bytes:
  """A small JPEG of a PNG or JPEG; b"" where it cannot be decoded."""
  height, width = _THUMBNAIL_HW
  try:
    small = pyvips.Image.thumbnail_buffer(data, width, height=height)
    # Transparent pixels count as paper.
    small = small.flatten(background=255) if small.hasalpha() else small  # pyright: ignore
    return small.jpegsave_buffer(Q=55, keep="none", optimize_coding=True)  # pyright: ignore
  except pyvips.Error:
    return b""


def data_uri(data: bytes, kind: str) -> str:
  """The bytes as a URI that an <img> takes."""
  return f"data:{kind};base64,{base64.b64encode(data).decode()}"
