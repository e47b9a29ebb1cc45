"""Image files -> pages as the network sees them: grey ink, or colours.

The bytes are decoded here; what the pixels mean is in `grey`.
"""

import contextlib
import io
import logging
import re
import struct
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyvips
from jaxtyping import UInt8
from PIL import (
  BmpImagePlugin,
  JpegImagePlugin,
  PngImagePlugin,
  TiffImagePlugin,
)

from dwd_jax.core.errors import InputError
from dwd_jax.imaging import grey

MAX_PIXELS = 1 << 28  # 16384 x 16384: a decoded page takes 256 MiB
_MAX_SIDE = 1 << 17
_MAX_BYTES = 1 << 30  # of all samples of an image
_SAMPLE_BYTES = {"uchar": 1, "char": 1, "ushort": 2, "short": 2}
_SAMPLE_BYTES |= {"uint": 4, "int": 4, "float": 4, "double": 8}
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_MAGIC = b"\xff\xd8\xff"
_BMP_MAGIC = b"BM"
_TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Strange bytes do no harm before segments other than scans.
_DAMAGE = re.compile(
  r"Corrupt JPEG data: (?!\d+ extraneous bytes before marker 0x(?!d[0-9a]))"
  r"([\w ]+)"
)
_BITS_TAG, _COMPRESSION_TAG, _COLOURS_TAG, _SAMPLES_TAG = 258, 259, 262, 339
_JPEG_IN_TIFF, _YCBCR = 7, 6
_SAMPLES = {
  1: "integers",
  2: "integers",
  3: "floats",
  5: "complex integers",
  6: "complex floats",
}


def header_hw(data: bytes, number: int = 1) -> tuple[int, int] | None:
  """(height, width) in the header of a PNG, JPEG, TIFF or BMP; None if invalid.

  To be checked before decoding: a file of a few kilobytes may claim a size that
  fills the memory. Orientation is not applied; `number`: see `read_page`.
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
      with _warnings_of_vips():  # they come again when it is decoded
        page: Any = pyvips.Image.tiffload_buffer(data, page=number - 1)
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
  end = data.rfind(b"IEND")
  return 0 < end <= len(data) - 8  # with its checksum


def _unread_values(data: bytes, number: int) -> str:
  """Values of a TIFF that libvips takes for others, or not at all; "" = none.

  Such as "floats of 64 bits". YCbCr is converted only in a JPEG.
  """
  if not data.startswith(_TIFF_MAGICS):
    return ""
  file = io.BytesIO(data)
  try:
    big = data[2:4] in (b"+\0", b"\0+")
    tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(16 if big else 8))
    for _ in range(number):
      file.seek(tags.next)
      tags.load(file)
    if tags.get(_COLOURS_TAG) == _YCBCR:
      return "" if tags.get(_COMPRESSION_TAG) == _JPEG_IN_TIFF else "YCbCr"
    kind = _SAMPLES[tags.get(_SAMPLES_TAG, (1,))[0]]
    bits = int(tags.get(_BITS_TAG, (1,))[0])
  except Exception:  # damage raises many types
    return ""
  usual = bits <= 32 and not kind.startswith("complex")
  return "" if usual else f"{kind} of {bits} bits"


def num_pages(data: bytes) -> int:
  """Pages of a TIFF; 1 for other files, and for those that are not readable."""
  if not data.startswith(_TIFF_MAGICS):
    return 1
  try:
    with _warnings_of_vips():
      image: Any = pyvips.Image.tiffload_buffer(data)
    return int(image.get("n-pages")) if image.get_typeof("n-pages") else 1
  except pyvips.Error:
    return 1


def read_page(
  data: bytes,
  filename: str,
  number: int = 1,
  polarity: str = "",
  channels: int = 1,
) -> UInt8[np.ndarray, "H W *c"]:
  """Decodes a PNG, JPEG, TIFF or BMP to upright ink: 0 = paper, 255 = ink.

  Orientation, transparency, more than 8 bits: see `grey`.

  Args:
    filename: named in errors.
    number: of the page in a TIFF, from 1.
    polarity: see `grey.to_ink`.
    channels: 1 = ink; 3 = colours [H, W, 3] as they are.

  Raises:
    InputError: no readable image of these formats, damaged as far as it can be
      told, more than `MAX_PIXELS`, 131,072 pixels on a side or 1 GiB, or values
      that could mean anything.
  """
  hw = header_hw(data, number)
  if values := _unread_values(data, number):
    raise InputError(
      f"{filename}: a TIFF of {values}, which is not read; save it as grey or"
      " RGB, with 8 or 16 bits, or as floats of 32"
    )
  if hw is None:
    raise InputError(
      f"{filename}: not a readable PNG, JPEG, TIFF or BMP; convert the image"
    )
  if hw[0] * hw[1] > MAX_PIXELS:
    raise InputError(
      f"{filename}: {hw[1]} x {hw[0]} pixels are more than the"
      f" {MAX_PIXELS:,} allowed; scale the image down"
    )
  if max(hw) > _MAX_SIDE:
    raise InputError(
      f"{filename}: {hw[1]} x {hw[0]} pixels, a side has more than the"
      f" {_MAX_SIDE:,} allowed; cut the image"
    )
  if data.startswith(_PNG_MAGIC) and not png_is_whole(data):
    raise InputError(
      f"{filename}: not a readable PNG, it is truncated or a checksum is wrong;"
      " copy the file again"
    )
  said = []
  try:
    if data.startswith(_BMP_MAGIC):
      page = grey.of_pillow(_bmp(data), channels)
    else:
      with _warnings_of_vips() as said:
        page = _of_vips(data, number, channels)
  except (pyvips.Error, OSError):
    raise InputError(
      f"{filename}: not a readable image; replace it by an intact one"
    ) from None
  except ValueError as e:
    raise InputError(f"{filename}: {e}") from None
  except MemoryError:
    raise InputError(
      f"{filename}: too little memory to read it; scale the image down"
    ) from None
  if damage := _DAMAGE.search(" ".join(said)):
    raise InputError(
      f"{filename}: damaged JPEG ({damage[1]}), a part of the picture is not"
      " what it was; replace it by an intact copy"
    )
  return grey.to_ink(page, polarity)


@contextlib.contextmanager
def _warnings_of_vips() -> Iterator[list[str]]:
  """Collects what libvips says in this thread while it reads an image.

  It tells damage in the middle of a JPEG only in its log, when the image is
  closed; `fail_on` misses most of it.
  """
  pyvips.vips_lib.vips_error_clear()  # it would say earlier errors again
  _said.lines = said = []
  try:
    yield said
  finally:
    del _said.lines


def _keep(record: logging.LogRecord) -> bool:
  """Filter of the log of libvips: takes lines that are collected."""
  lines = getattr(_said, "lines", None)
  if lines is None:
    # Threads of libvips work for a reading: it raises what they say, too.
    return not isinstance(threading.current_thread(), threading._DummyThread)
  lines.append(record.getMessage())
  return False


# Pillow says of a TIFF, whose tags it reads only, what libvips will raise.
warnings.filterwarnings(
  "ignore", "Corrupt EXIF data", UserWarning, r"PIL\.TiffImagePlugin"
)
_said = threading.local()
_log = logging.getLogger("pyvips")
_log.addFilter(_keep)
_log.setLevel(_log.level or logging.WARNING)


def _bmp(data: bytes) -> BmpImagePlugin.BmpImageFile:
  image = BmpImagePlugin.BmpImageFile(io.BytesIO(data))
  try:
    image.load()
  except ValueError as e:  # of damage in run lengths
    raise OSError(e) from None
  return image


def _of_vips(
  data: bytes, number: int, channels: int
) -> UInt8[np.ndarray, "H W *c"]:
  options: dict[str, Any] = {"access": "sequential", "fail_on": "error"}
  if data.startswith(_PNG_MAGIC):
    image: Any = pyvips.Image.pngload_buffer(data, unlimited=True, **options)
  elif data.startswith(_JPEG_MAGIC):
    image = pyvips.Image.jpegload_buffer(data, unlimited=True, **options)
  else:
    image = pyvips.Image.tiffload_buffer(data, page=number - 1, **options)
  _check_size(image)
  turn = image.get("orientation") if image.get_typeof("orientation") else 1
  cmyk = image.interpretation == "cmyk"
  if image.interpretation in ("lab", "labs"):
    image = image.colourspace("srgb")
  pixels = image.numpy().reshape(image.height, image.width, image.bands)
  if cmyk:
    if pixels.dtype == np.uint16:
      pixels = (pixels >> 8).astype(np.uint8)
    pixels = grey.cmyk_to_rgb(pixels[..., :4])
  return grey.upright(grey.to_tones(pixels, channels), turn)


def _check_size(image: Any) -> None:
  """Raises ValueError for what takes too much memory to decode.

  Here the decoder itself says what it will make, whatever `header_hw` found.
  """
  sample = _SAMPLE_BYTES.get(image.format, 16)
  size = image.width * image.height * image.bands * sample
  if size > _MAX_BYTES or image.width * image.height > MAX_PIXELS:
    raise ValueError(
      f"{image.width} x {image.height} pixels of {image.bands * sample} bytes"
      " are more than the 1 GiB allowed; scale the image down, or save it with"
      " 8 bits"
    )
