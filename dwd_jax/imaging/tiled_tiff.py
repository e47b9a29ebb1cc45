"""Pages as tiled TIFF files: a crop reads only the tiles that it touches.

A training crop shows a few percent of a page. Decoding the whole page from a
PNG for it costs the loader 1.7 times (small pages) to 21 times (10 megapixels)
the processor time (`benchmarks.data`). The files are ordinary lossless TIFFs,
which other tools open.
"""

import numpy as np
import pyvips
from jaxtyping import UInt8

from dwd_jax.core.errors import InputError
from dwd_jax.imaging import grey, images

TILE_PX = 256
Area = tuple[int, int, int, int]  # top, left, height, width in px

# The loader's workers and the builder's threads already run in parallel; more
# threads per small window cost a fifth of the time.
pyvips.vips_lib.vips_concurrency_set(1)  # pyright: ignore


def encode(pixels: np.ndarray) -> bytes:
  """Encodes uint8 pixels [H, W] or [H, W, 3] as a tiled TIFF."""
  return pyvips.Image.new_from_array(pixels).tiffsave_buffer(  # pyright: ignore
    tile=True,
    tile_width=TILE_PX,
    tile_height=TILE_PX,
    compression="deflate",
    keep="none",  # pyright: ignore
  )


def encode_page(ink: UInt8[np.ndarray, "H W *c"]) -> bytes:
  """Encodes a page (0 = white, 255 = black) as a TIFF in its own tones."""
  return encode(np.bitwise_not(ink))


def read_page(
  data: bytes,
  filename: str,
  area: Area | None = None,
  *,
  polarity: str,
  channels: int = 1,
) -> UInt8[np.ndarray, "H W *c"]:
  """Decodes a page of `encode_page`, or an area of it, to ink.

  Args:
    polarity: of the records, see `grey.to_ink`; "" of older ones, whose pages
      all have white paper.
    channels: 1 = ink, also of a page in colour; 3 = colours, of such a page.

  Returns:
    0 = paper, 255 = ink; or colours [H, W, 3] as they are.

  Raises:
    InputError: see `read_pixels`.
  """
  pixels = read_pixels(data, filename, area)
  if pixels.ndim == 3 and channels == 1:
    pixels = grey.to_grey(pixels)
  if pixels.ndim != (2 if channels == 1 else 3):
    raise InputError(
      f"{filename}: not a stored page in colour; prepare the records again"
    )
  return grey.to_ink(pixels, polarity or "dark")


def read_pixels(
  data: bytes, filename: str, area: Area | None = None
) -> UInt8[np.ndarray, "H W"] | UInt8[np.ndarray, "H W 3"]:
  """Decodes an image of `encode`, such as the feature `pixel_labels`.

  Args:
    area: decode only this, which must lie inside the image; None = all.

  Raises:
    InputError: damaged, empty, smaller than `area`, or more pixels than
      `images.MAX_PIXELS`.
  """
  try:
    # Only the TIFF loader, whatever the bytes claim to be.
    page = pyvips.Image.tiffload_buffer(data)
    if area is not None:
      top, left, height, width = area
      page = page.crop(left, top, width, height)  # pyright: ignore
    if page.width * page.height > images.MAX_PIXELS:  # pyright: ignore
      raise InputError(f"{filename}: the stored page is too large; build anew")
    pixels = page.numpy()  # pyright: ignore
  except pyvips.Error as e:
    reason = " ".join(str(e).split())[:200]
    raise InputError(
      f"{filename}: the stored page is damaged ({reason}); prepare the records"
      " again"
    ) from None
  if pixels.dtype != np.uint8:
    raise InputError(
      f"{filename}: not a stored page; prepare the records again"
    )
  return pixels
