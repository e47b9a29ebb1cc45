"""Pixel annotations: PNG files whose values name a class for every pixel.

Values are kept exactly: indices of a palette, grey values as in the file (0..1
for 1 bit), colours as RGB. Alpha is dropped.
"""

import io
import pathlib

import cv2
import numpy as np
import PIL.Image
from jaxtyping import UInt8

from dwd_jax.core.errors import InputError
from dwd_jax.imaging import images, tiled_tiff
from tfds_builders import checks

_GREY, _PALETTE = 0, 3  # colour types of PNG


def read(path: pathlib.Path, page_hw: tuple[int, int]) -> bytes:
  """Reads the feature `pixel_labels` of a page.

  Returns:
    A tiled TIFF for `tiled_tiff.read_pixels`; b"" if there is no file.

  Raises:
    InputError: not a readable PNG, not of the page's size, or 16-bit values
      above 255.
  """
  if not path.exists():
    return b""
  data = checks.read_bytes(path, checks.MAX_IMAGE_BYTES)
  hw = images.header_hw(data)
  if not data.startswith(b"\x89PNG") or hw is None or len(data) < 33:
    raise InputError(f"{path}: not a PNG file; save the pixel labels as PNG")
  if hw != tuple(page_hw):
    raise InputError(
      f"{path}: {hw[1]} x {hw[0]} px, but the page has {page_hw[1]} x"
      f" {page_hw[0]}; replace it by the labels of that page"
    )
  pixels = decode(data, path) if images.png_is_whole(data) else None
  if pixels is None or pixels.shape[:2] != hw:
    raise InputError(
      f"{path}: not a readable PNG, it is truncated or damaged; copy it again"
    )
  return tiled_tiff.encode(pixels)


def decode(
  data: bytes, path: pathlib.Path
) -> UInt8[np.ndarray, "H W"] | UInt8[np.ndarray, "H W 3"] | None:
  """The values of a PNG file; None if it cannot be decoded."""
  bits, colour = data[24], data[25]
  if colour == _PALETTE:
    return _indices(data, path)
  try:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
  except cv2.error:
    return None
  if pixels is None:
    return None
  if pixels.dtype == np.uint16:
    if pixels[..., :3].max(initial=0) > 255:
      raise InputError(f"{path}: values above 255; save it with 8 bits")
    pixels = pixels.astype(np.uint8)
  if colour == _GREY and bits < 8:
    pixels = pixels // (255 // (2**bits - 1))  # undoes OpenCV's stretching
  if pixels.ndim == 2:
    return pixels
  if colour == _GREY or colour == 4:
    return np.ascontiguousarray(pixels[..., 0])
  return np.ascontiguousarray(pixels[..., 2::-1])


def _indices(
  data: bytes, path: pathlib.Path
) -> UInt8[np.ndarray, "H W"] | None:
  hw = images.header_hw(data)
  limit = PIL.Image.MAX_IMAGE_PIXELS
  if hw is not None and limit is not None and hw[0] * hw[1] > limit:
    raise InputError(
      f"{path}: more than {limit:,} pixels with a palette; save it in grey"
    )
  try:
    with PIL.Image.open(io.BytesIO(data), formats=("PNG",)) as image:
      pixels = np.asarray(image)
  except Exception:  # of many types, for senseless chunks
    return None
  return pixels if pixels.dtype == np.uint8 and pixels.ndim == 2 else None
