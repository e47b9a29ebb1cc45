"""Pixels of any kind -> upright tones of 8 bits -> what the network sees.

Every entrance reads pictures with these functions: files, arrays and Pillow's
images. Tones are grey [H, W], or RGB [H, W, 3] for detectors of pictures in
colour. Exported detectors carry a copy of this file, so it imports nothing of
dwd_jax, and raises `ValueError`.
"""

import numpy as np

_BITS = (8, 10, 12, 14, 16)  # of grey values that cameras and scanners make
_MORE_BITS = {"int8": (7,), "int16": (15,), "int32": (15, 31), "uint32": (32,)}
_OVERSHOOT = 0.05  # of floats beyond black and white, as resampling makes
_BLOCK_PX = 1 << 20
# Dark objects on light ground, light on dark, or both: pixels as they are.
POLARITIES = ("dark", "light", "keep")


def to_grey(pixels: np.ndarray) -> np.ndarray:
  """Grey values 0 (black) to 255 (white), uint8 [H, W]; see `to_tones`."""
  return to_tones(pixels, 1)


def to_tones(pixels: np.ndarray, channels: int) -> np.ndarray:
  """Values 0 (black) to 255 (white), uint8.

  The value of white is told by the largest value, see `white_of`. Transparent
  pixels, NaN and infinity count as white.

  Args:
    pixels: [H, W] or [H, W, c], c = 1: grey, 2: grey, alpha, 3: RGB, 4: RGBA;
      bool, integers or floats.
    channels: 1 or 3.

  Returns:
    Grey [H, W], or RGB [H, W, 3].

  Raises:
    ValueError: another shape or type, or a range that cannot be told.
  """
  if pixels.ndim == 2:
    pixels = pixels[..., None]
  if (
    pixels.ndim != 3
    or not 1 <= pixels.shape[2] <= 4
    or not pixels.size
    or pixels.dtype.kind not in "biuf"
  ):
    shape = ", ".join(map(str, pixels.shape))
    raise ValueError(
      f"pixels [{shape}] of type {pixels.dtype}; give [H, W], [H, W, 3] or"
      " [H, W, 4] of numbers"
    )
  colours, alpha = pixels, None
  if pixels.shape[2] in (2, 4):
    colours, alpha = pixels[..., :-1], pixels[..., -1]
  white = white_of(colours)
  opaque = 0.0 if alpha is None else white_of(alpha)
  height, width = pixels.shape[:2]
  size = (height, width) if channels == 1 else (height, width, 3)
  tones = np.empty(size, np.uint8)
  rows = max(1, _BLOCK_PX // width)
  for top in range(0, height, rows):
    part = slice(top, top + rows)
    values = _bytes(colours[part], white)
    if channels == 1:
      values = _luma(values)
    if alpha is not None:
      values = _on_white(values, _bytes(alpha[part], opaque))
    tones[part] = values  # grey fills all three of RGB
  return tones


def white_of(values: np.ndarray) -> float:
  """The value of white, as the largest value tells it.

  8 bits for uint8, 7 for int8; 8, 10, 12, 14 or 16 for longer integers, also 15
  and 31 for those with a sign, and 32; 1 or the same for floats.

  Raises:
    ValueError: the values go below black, or are none of these ranges.
  """
  kind = values.dtype.kind
  if kind == "b":
    return 1.0
  if values.dtype == np.uint8:
    return 255.0
  bits = (*_BITS, *_MORE_BITS.get(values.dtype.name, ()))
  whites = sorted(2.0**b - 1 for b in bits)
  if kind == "f":
    whites = [1.0, *whites]
  low, high = _limits(values)
  slack = _OVERSHOOT if kind == "f" else 0.0
  for before, white in zip([0.0, *whites[:-1]], whites):  # noqa: B905
    if high > white * (1 + slack):
      continue
    # 10 bits follow on 8: their largest value is a quarter of white or more.
    if low < -slack * white or (before and high < white / 4.2):
      break
    return white
  raise ValueError(
    f"values {low:g} to {high:g} of type {values.dtype}: their range cannot be"
    " told; scale them to 0..255, or to 0..1 as floats"
  )


def _limits(values: np.ndarray) -> tuple[float, float]:
  """The least and the largest finite value, block by block; 0, 0 if none."""
  low, high = np.inf, -np.inf
  rows = max(1, _BLOCK_PX // max(1, values[0].size))
  for top in range(0, len(values), rows):
    part = values[top : top + rows]
    if part.dtype.kind == "f":
      part = part[np.isfinite(part)]
    if part.size:
      low, high = min(low, float(part.min())), max(high, float(part.max()))
  return (low, high) if low <= high else (0.0, 0.0)


def _bytes(values: np.ndarray, white: float) -> np.ndarray:
  if values.dtype == np.uint8:
    return values
  values = np.where(np.isfinite(values), values, np.inf) * (255 / white)
  return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)


def _luma(values: np.ndarray) -> np.ndarray:
  """Y of ITU-R BT.601, in integers as OpenCV computes it."""
  if values.shape[2] == 1:
    return values[..., 0]
  red, green, blue = (values[..., i].astype(np.uint32) for i in range(3))
  return ((9798 * red + 19235 * green + 3735 * blue + 16384) >> 15).astype(
    np.uint8
  )


def _on_white(tones: np.ndarray, alpha: np.ndarray) -> np.ndarray:
  if alpha.min() == 255:
    return tones
  tones, alpha = tones.astype(np.uint16), alpha.astype(np.uint16)
  alpha = alpha[..., None] if tones.ndim == 3 else alpha
  return ((tones * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def cmyk_to_rgb(pixels: np.ndarray) -> np.ndarray:
  """RGB of cyan, magenta, yellow and black, uint8, without colour profiles."""
  light = 255 - pixels.astype(np.uint16)
  return ((light[..., :3] * light[..., 3:] + 127) // 255).astype(np.uint8)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
  """Turns pixels [H, W, ...] as the EXIF or TIFF tag Orientation (1..8) says.

  Other values leave them alone.
  """
  if orientation in (5, 6, 7, 8):
    pixels = pixels.swapaxes(0, 1)
  if orientation in (3, 4, 7, 8):
    pixels = pixels[::-1]
  if orientation in (2, 3, 6, 7):
    pixels = pixels[:, ::-1]
  return np.ascontiguousarray(pixels)


def of_pillow(image, channels: int = 1) -> np.ndarray:
  """Upright tones of an image of Pillow, see `to_tones`.

  Its EXIF orientation is applied: whoever turns an image by hand has to remove
  it, as `PIL.ImageOps.exif_transpose` does.

  Raises:
    ValueError: see `to_tones`; or colours of 16 bits of which fewer are in use,
      as Pillow cuts the lower 8.
  """
  cut = image.mode in ("RGB", "RGBA", "LA") and ";16" in str(
    getattr(image, "tile", "")
  )
  if hasattr(image, "tag_v2"):
    # Pillow turns TIFFs itself, but exchanges the sides too early of files that
    # it maps into memory, which it does only if it knows their name.
    name, image.filename = image.filename, ""
    image.load()
    image.filename = name
  if image.mode == "CMYK":
    pixels = cmyk_to_rgb(np.asarray(image))
  elif "transparency" in image.info and image.mode.startswith("I"):
    pixels = np.asarray(image)  # of 16 bits, which Pillow would cut off
    alpha = np.where(pixels == image.info["transparency"], 0, 65535)
    pixels = np.dstack([pixels, alpha.astype(pixels.dtype)])
  elif (
    image.mode == "P"
    and image.palette.mode == "RGB"
    and "transparency" not in image.info
  ):
    colours = np.zeros(3 * 256, np.uint8)
    palette = image.getpalette()
    colours[: len(palette)] = palette
    # RGBA would take four times the memory.
    pixels = to_tones(colours.reshape(1, 256, 3), channels)
    pixels = pixels[0][np.asarray(image)]
  elif "transparency" in image.info or image.mode in ("P", "PA", "La", "RGBa"):
    pixels = np.asarray(image.convert("RGBA"))
  elif image.mode in ("YCbCr", "LAB", "HSV"):
    pixels = np.asarray(image.convert("RGB"))
  else:
    pixels = np.asarray(image)
  if cut and pixels[..., :3].max() < 64:
    raise ValueError(
      "colours of 16 bits with fewer in use, which Pillow cuts off; give an"
      " array of the whole values"
    )
  return upright(to_tones(pixels, channels), image.getexif().get(274, 1))


def to_ink(tones: np.ndarray, polarity: str = "") -> np.ndarray:
  """What the network sees: ink 255 on paper 0; colours as they are.

  Args:
    tones: see `to_tones`.
    polarity: of grey tones, one of `POLARITIES`; "" = the tone of most pixels
      is that of paper.
  """
  if tones.ndim == 3:
    return tones
  if polarity:
    return 255 - tones if polarity == "dark" else tones
  bright = np.count_nonzero(tones > 127)
  return 255 - tones if 2 * bright >= tones.size else tones


def ink_of(ink: np.ndarray) -> np.ndarray:
  """Ink [H, W] of what `to_ink` returns; of colours, what is dark."""
  return ink if ink.ndim == 2 else 255 - to_grey(ink)


def tones_of(ink: np.ndarray, polarity: str = "") -> np.ndarray:
  """The tones that `to_ink` was given; without polarity, ink is black."""
  as_they_are = ink.ndim == 3 or polarity in ("light", "keep")
  return ink if as_they_are else 255 - ink


def shown(ink: np.ndarray, polarity: str = "") -> np.ndarray:
  """RGB [H, W, 3] of `tones_of`."""
  tones = tones_of(ink, polarity)
  if tones.ndim == 3:
    return tones
  return np.repeat(tones[..., None], 3, axis=-1)
