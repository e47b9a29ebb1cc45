"""Image files -> grey pages with ink = 255 on paper = 0."""

import io
import struct
from typing import Any

import cv2
import numpy as np
import pyvips
from jaxtyping import Shaped, UInt8
from PIL import BmpImagePlugin, JpegImagePlugin, PngImagePlugin

from dwd_jax.core.errors import InputError

MAX_PIXELS = 1 << 28  # 16384 x 16384: a decoded page takes 256 MiB
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_MAGIC = b"\xff\xd8\xff"
_BMP_MAGIC = b"BM"
_TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def header_hw(data: bytes) -> tuple[int, int] | None:
  """(height, width) in the header of a PNG, JPEG, TIFF or BMP; None if invalid.

  To be checked before decoding: a file of a few kilobytes may claim a size that
  fills the memory.
  """
  try:
    if data.startswith(_PNG_MAGIC):
      # Pillow would refuse a large colour profile.
      width, height = struct.unpack(">II", data[16:24])
    elif data.startswith(_JPEG_MAGIC):
      width, height = JpegImagePlugin.JpegImageFile(io.BytesIO(data)).size
    elif data.startswith(_BMP_MAGIC):
      width, height = BmpImagePlugin.BmpImageFile(io.BytesIO(data)).size
    elif data.startswith(_TIFF_MAGICS):
      page: Any = pyvips.Image.tiffload_buffer(data)
      width, height = page.width, page.height
    else:
      return None
  except Exception:  # invalid headers raise many types
    return None
  return height, width


def png_is_whole(data: bytes) -> bool:
  """Whether a PNG file has all its chunks, with the right checksums.

  Some versions of the decoder return the upper part of a truncated page without
  an error.
  """
  file = io.BytesIO(data)
  file.seek(len(_PNG_MAGIC))
  try:
    PngImagePlugin.ChunkStream(file).verify()
  except Exception:  # damage raises many types
    return False
  return True


def decode_page(data: bytes, filename: str) -> UInt8[np.ndarray, "H W"]:
  """Decodes a PNG, JPEG, TIFF or BMP to grey, 0 = paper, 255 = ink.

  Transparent pixels count as white, 16-bit samples are reduced to 8 bits, and
  the EXIF orientation of JPEGs is applied; see also `normalize_polarity`.

  Raises:
    InputError: no readable image of these formats, or more than `MAX_PIXELS`.
  """
  hw = header_hw(data)
  if hw is None:
    raise InputError(
      f"{filename}: not a readable PNG, JPEG, TIFF or BMP; convert the image"
    )
  if hw[0] * hw[1] > MAX_PIXELS:
    raise InputError(
      f"{filename}: {hw[1]} x {hw[0]} pixels are more than the"
      f" {MAX_PIXELS:,} allowed; scale the page down"
    )
  if data.startswith(_PNG_MAGIC) and not png_is_whole(data):
    raise InputError(
      f"{filename}: not a readable PNG, it is truncated or a checksum is wrong;"
      " copy the file again"
    )
  # IMREAD_UNCHANGED keeps alpha but ignores the EXIF orientation; JPEG has no
  # alpha, so there the converting mode is right.
  jpeg = data.startswith(_JPEG_MAGIC)
  flags = cv2.IMREAD_GRAYSCALE if jpeg else cv2.IMREAD_UNCHANGED
  try:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
  except cv2.error:
    pixels = None
  if pixels is None:
    raise InputError(
      f"{filename}: not a readable image; replace it by an intact one"
    )
  return normalize_polarity(to_grey(pixels))


def to_grey(
  pixels: Shaped[np.ndarray, "H W"] | Shaped[np.ndarray, "H W c"],
) -> UInt8[np.ndarray, "H W"]:
  """Grey values of pixels as OpenCV decodes them, composited on white.

  Args:
    pixels: uint8, uint16 or float (0..1); one channel, BGR or BGRA.
  """
  if pixels.dtype == np.uint16:
    pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
  elif pixels.dtype != np.uint8:
    pixels = (np.clip(np.nan_to_num(pixels), 0, 1) * 255).round()
    pixels = pixels.astype(np.uint8)
  if pixels.ndim == 2:
    return pixels
  if pixels.shape[2] == 1:
    return pixels[..., 0]
  if pixels.shape[2] == 3:
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
  if pixels[..., 3].min() == 255:
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2GRAY)
  grey = cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2GRAY).astype(np.uint16)
  alpha = pixels[..., 3].astype(np.uint16)
  return ((grey * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def normalize_polarity(
  grey: UInt8[np.ndarray, "H W"],
) -> UInt8[np.ndarray, "H W"]:
  """Makes ink 255 and paper 0, taking the majority of pixels for paper."""
  bright = np.count_nonzero(grey > 127)
  return cv2.bitwise_not(grey) if 2 * bright >= grey.size else grey
