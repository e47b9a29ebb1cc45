"""What image files claim to be, read before a decoder takes memory for it."""

import struct

import pyvips

from dwd_jax.data import images
from dwd_jax.errors import InputError

_IN_DECODE_PAGE = (b"\x89PNG", b"\xff\xd8\xff")
_BMP = b"BM"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def refuse_bombs(data: bytes, filename: str) -> None:
  """Stops where a file is no known image or claims too many pixels.

  PNG and JPEG are checked by `images.decode_page`. It would decode other
  formats too, whatever the file is called; of those only TIFF and BMP pass.

  Args:
    data: the bytes of the file.
    filename: named in errors.

  Raises:
    InputError: neither PNG, JPEG, TIFF nor BMP, or more pixels than
      `images.MAX_PIXELS`.
  """
  if data.startswith(_IN_DECODE_PAGE):
    return
  pixels = _claimed_pixels(data)
  if not pixels:
    raise InputError(
      f"{filename}: not a readable PNG, JPEG, TIFF or BMP; convert the image"
    )
  if pixels > images.MAX_PIXELS:
    raise InputError(
      f"{filename}: {pixels:,} pixels are more than the {images.MAX_PIXELS:,}"
      " allowed; scale the page down"
    )


def _claimed_pixels(data: bytes) -> int:
  """Width x height of a TIFF or BMP; 0 for anything else."""
  if data.startswith(_BMP) and len(data) >= 26:
    if data[14:18] == b"\x0c\0\0\0":  # the header of OS/2: 16-bit sides
      width, height = struct.unpack("<HH", data[18:22])
    else:  # the height is negative where the rows go down
      width, height = struct.unpack("<ii", data[18:26])
    return abs(width * height)
  if data.startswith(_TIFF):
    try:
      page = pyvips.Image.tiffload_buffer(data)
    except pyvips.Error:
      return 0
    return page.width * page.height  # pyright: ignore
  return 0
