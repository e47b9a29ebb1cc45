"""What a photo or scan does to a page: light, blur, noise, exposure, JPEG.

Grey images are float32, 0..255, while light falls on them, then uint8. Light is
computed on a grid of a few staff spaces and enlarged. `rng` is the source of
randomness, `staff_space_px` the distance of two staff lines.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dwd_jax.imaging.degrade import fields

_CELL = 1.5  # staff spaces, of the grid of light
_DARKEST = 0.35  # least light in overlapping shadows
_LEAST_MEDIAN = 145.0  # grey value of a page, with some room above the middle
_MAX_KERNEL_PX = 31  # side; wider blurs are cut, as nothing would be legible
# Share of blue, green and red in a grey value (ITU-R BT.601, as in OpenCV).
_LUMA_BGR = np.array([0.114, 0.587, 0.299], np.float32)


def illumination(
  rng: np.random.Generator,
  hw: tuple[int, int],
  *,
  staff_space_px: float,
  slope: float,
  vignette: float,
  shadows: tuple[float, ...],
) -> Float[np.ndarray, "h w"]:
  """The share of light on every pixel, 1 = full.

  Args:
    slope: share of the light lost from one side to the other.
    vignette: share lost in the corners.
    shadows: share that each shadow takes.
  """
  y, x = fields.grid(hw, _CELL * staff_space_px)
  diagonal = float(np.hypot(*hw))
  v, u = (y - hw[0] / 2) / diagonal, (x - hw[1] / 2) / diagonal
  turn = rng.uniform(0, 2 * np.pi)
  light = 1 - slope * (0.5 + np.cos(turn) * u + np.sin(turn) * v)
  light = light * (1 - vignette * 4 * (u * u + v * v))
  for depth in shadows:
    light = light * (1 - depth * _shadow(rng, u, v, diagonal, staff_space_px))
  light = np.maximum(light, _DARKEST).astype(np.float32)
  return fields.enlarge(light, hw)


def _shadow(
  rng: np.random.Generator,
  u: Float[np.ndarray, "1 b"],
  v: Float[np.ndarray, "a 1"],
  diagonal: float,
  staff_space_px: float,
) -> Float[np.ndarray, "a b"]:
  """One shadow, 0..1: a half-plane or a band with a wavy, soft edge."""
  turn = rng.uniform(0, 2 * np.pi)
  across = np.cos(turn) * u + np.sin(turn) * v
  along = np.cos(turn) * v - np.sin(turn) * u
  bend = rng.uniform(0, 0.06) * np.sin(
    rng.uniform(3, 12) * along + rng.uniform(0, 2 * np.pi)
  )
  soft = rng.uniform(0.8, 6) * staff_space_px / diagonal
  near = across + bend - rng.uniform(-0.25, 0.3)
  shade = _step(near / soft)
  if rng.random() < 0.5:  # a band: an arm, a phone
    shade = shade * _step((rng.uniform(0.1, 0.35) - near) / soft)
  return shade


def _step(t: Float[np.ndarray, "a b"]) -> Float[np.ndarray, "a b"]:
  return 0.5 + 0.5 * np.tanh(t)


def glare(
  rng: np.random.Generator,
  hw: tuple[int, int],
  *,
  staff_space_px: float,
  amount: float,
) -> Float[np.ndarray, "h w"]:
  """The share by which a reflection washes out what is below it, 0..1.

  `amount` is the share in its middle.
  """
  y, x = fields.grid(hw, _CELL * staff_space_px)
  centre = rng.uniform(0, 1, 2) * hw
  radii = rng.uniform(8, 30, 2) * staff_space_px
  turn = rng.uniform(0, np.pi)
  dy, dx = y - centre[0], x - centre[1]
  a = (np.cos(turn) * dx + np.sin(turn) * dy) / radii[0]
  b = (np.cos(turn) * dy - np.sin(turn) * dx) / radii[1]
  spot = amount * np.exp(-((a * a + b * b) ** 1.5))
  return fields.enlarge(spot.astype(np.float32), hw)


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
  """Smears every pixel by a kernel of `point_spread`."""
  return cv2.filter2D(pixels, -1, kernel, borderType=cv2.BORDER_REPLICATE)


def noise(
  pixels: UInt8[np.ndarray, "h w"],
  rng: np.random.Generator,
  *,
  deviation: float,
  soft: bool,
) -> UInt8[np.ndarray, "h w"]:
  """Adds sensor noise.

  Args:
    deviation: in grey values of 255.
    soft: correlate neighbours, as cameras do by denoising.
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
  """Brings lit paper to a tone, as metering does, in place.

  Most of a page stays light even in shadows, so that readers tell paper from
  ink.

  Args:
    grey: 0..255.
    white: tone of the lit paper, 0..1.
  """
  step = max(1, min(grey.shape) // 128)
  median, lit = np.percentile(grey[::step, ::step], (50, 90))
  gain = max(255 * white / max(lit, 1.0), _LEAST_MEDIAN / max(median, 1.0))
  # Blank, black and other pages without paper keep nearly their tone.
  grey *= np.float32(np.clip(gain, 0.5, 2.0))
  return grey


def to_bytes(grey: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
  """Clips grey values to 0..255 and rounds them."""
  return cv2.convertScaleAbs(np.maximum(grey, 0, out=grey))


def jpeg(
  pixels: UInt8[np.ndarray, "h w"], quality: int
) -> UInt8[np.ndarray, "h w"]:
  """Compresses and decompresses; quality 1..100."""
  done, data = cv2.imencode(
    ".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(np.clip(quality, 1, 100))]
  )
  decoded = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if done else None
  if decoded is None:
    raise RuntimeError("OpenCV cannot write and read JPEG")
  return decoded


def colour_cast(
  ink: UInt8[np.ndarray, "h w"],
  rng: np.random.Generator,
  *,
  severity: float,
  staff_space_px: float,
) -> UInt8[np.ndarray, "h w 3"]:
  """Puts a grey page (ink 255 = black) in coloured light.

  `severity` is 1 for common light. Grey values stay, up to clipping.

  Returns:
    Blue, green, red; 255 = light.
  """
  # Two lamps, such as a window and a bulb, share the page.
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
