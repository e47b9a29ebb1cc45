"""What scanners and cameras do: blur, noise, exposure, JPEG, thresholds.

Photos in colour: the light of a room is never white.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dwd_jax.imaging.degrade import fields

_LEAST_MEDIAN = 145.0  # grey value of a page; above the middle with some room
_MAX_KERNEL_PX = 31  # a side; wider blurs are cut, nothing would be legible


def point_spread(
  *, defocus_px: float, motion_px: float, turn: float
) -> Float[np.ndarray, "k k"]:
  """The image of a point: a disc smeared along a line; sums to 1.

  Args:
    defocus_px: radius of the disc.
    motion_px: length of the line.
    turn: direction of the line, radians.
  """
  reach = defocus_px + motion_px / 2
  half = int(np.clip(np.ceil(reach), 1, _MAX_KERNEL_PX // 2))
  fine = 4  # samples of a pixel, along both axes
  side = fine * (2 * half + 1)
  c = (np.arange(side) + 0.5) / fine - (half + 0.5)
  y, x = c[:, None], c[None]
  along = np.cos(turn) * x + np.sin(turn) * y
  across = np.cos(turn) * y - np.sin(turn) * x
  past = np.maximum(np.abs(along) - motion_px / 2, 0)
  inside = np.hypot(past, across) <= max(defocus_px, 0.5)
  kernel = inside.reshape(2 * half + 1, fine, 2 * half + 1, fine).mean((1, 3))
  return (kernel / kernel.sum()).astype(np.float32)


def blur(
  pixels: UInt8[np.ndarray, "h w"], kernel: Float[np.ndarray, "k k"]
) -> UInt8[np.ndarray, "h w"]:
  """Smears every pixel as the kernel says."""
  return cv2.filter2D(pixels, -1, kernel, borderType=cv2.BORDER_REPLICATE)


def noise(
  pixels: UInt8[np.ndarray, "h w"],
  rng: np.random.Generator,
  *,
  deviation: float,
  soft: bool,
) -> UInt8[np.ndarray, "h w"]:
  """Sensor noise.

  Args:
    pixels: the image.
    rng: source of randomness.
    deviation: in grey values of 255.
    soft: neighbours are alike, as cameras leave it after denoising.
  """
  grain = fields.grains(rng, pixels.shape)
  if soft:
    grain = cv2.blur(grain, (3, 3))
    deviation *= 3
  scale = deviation / 52  # of the grains
  return cv2.addWeighted(pixels, 1, grain, scale, -127.5 * scale)


def expose(
  grey: Float[np.ndarray, "h w"], white: float
) -> Float[np.ndarray, "h w"]:
  """Brings lit paper to a wanted tone, as metering does, in place.

  Most of a page stays light even in shadows: by that a reader tells paper from
  ink.

  Args:
    grey: 0..255.
    white: wanted tone of the lit paper, 0..1.
  """
  step = max(1, min(grey.shape) // 128)
  median, lit = np.percentile(grey[::step, ::step], (50, 90))
  gain = max(255 * white / max(lit, 1.0), _LEAST_MEDIAN / max(median, 1.0))
  # Blank, black and other pages without paper are left nearly as they are.
  grey *= np.float32(np.clip(gain, 0.5, 2.0))
  return grey


def to_bytes(
  grey: Float[np.ndarray, "h w"],
) -> UInt8[np.ndarray, "h w"]:
  """Grey values as a file has them; what is too bright or dark is clipped."""
  return cv2.convertScaleAbs(np.maximum(grey, 0, out=grey))


def jpeg(
  pixels: UInt8[np.ndarray, "h w"], quality: int
) -> UInt8[np.ndarray, "h w"]:
  """Compressed and decompressed again; quality 1..100."""
  done, data = cv2.imencode(
    ".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(np.clip(quality, 1, 100))]
  )
  decoded = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if done else None
  if decoded is None:
    raise RuntimeError("OpenCV cannot write and read JPEG")
  return decoded


def two_tones(
  pixels: UInt8[np.ndarray, "h w"], threshold: int
) -> UInt8[np.ndarray, "h w"]:
  """Black and white: above the threshold is white."""
  return cv2.threshold(pixels, threshold, 255, cv2.THRESH_BINARY)[1]


# Share of blue, green and red in a grey value (ITU-R BT.601, as OpenCV has it).
_LUMA_BGR = np.array([0.114, 0.587, 0.299], np.float32)


def colour_cast(
  ink: UInt8[np.ndarray, "h w"],
  rng: np.random.Generator,
  *,
  severity: float,
  staff_space_px: float,
) -> UInt8[np.ndarray, "h w 3"]:
  """A grey page in coloured light; its grey values stay, up to clipping.

  Args:
    ink: 0 = white, 255 = black.
    rng: source of randomness.
    severity: 1 = as common.
    staff_space_px: distance of two staff lines, px.

  Returns:
    Blue, green, red; 255 = light.
  """
  # Two lamps, as a window and a bulb, that share the page.
  lamps = [_lamp(rng, severity) for _ in range(2)]
  mix = fields.smooth(rng, ink.shape, 60 * staff_space_px)
  mix = np.clip(0.5 + 0.3 * mix, 0, 1)[..., None]
  grey = (255 - ink).astype(np.float32)[..., None]
  light = lamps[0] + mix * (lamps[1] - lamps[0])
  return np.clip(grey * light + 0.5, 0, 255).astype(np.uint8)


def _lamp(rng: np.random.Generator, severity: float) -> Float[np.ndarray, " 3"]:
  """Gains of blue, green and red that keep the grey value of grey."""
  warm = rng.normal(0.08, 0.08) * severity  # bulbs are more common than shade
  green = rng.normal(0, 0.02) * severity
  gains = np.exp(np.clip([-warm, green, warm], -0.5, 0.5)).astype(np.float32)
  return gains / (gains @ _LUMA_BGR)
