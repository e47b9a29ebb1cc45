"""Smooth maps of pages, computed both ways: for pixels and for points.

A point is a continuous (y, x) in pixels; the centre of pixel (r, c) is at
(r + 0.5, c + 0.5). A map goes from the flat page to the degraded image, both
in the frame of the image.
"""

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float, Shaped

_STEP_PX = 8  # of the grid on which the inverse map is computed
# Largest angle between a page and the image plane: no page is seen from behind.
_MAX_TILT = np.radians(35)


@dataclasses.dataclass(frozen=True)
class Warp:
  """A curl along the columns, then a homography.

  The curl moves column x to X(x), and there y to
  `middle_y + (y - middle_y) * K(x) + F(x)`; X, K and F are linear between
  knots, so it is undone exactly.

  Attributes:
    knots_x: increasing columns, px.
    moved_x: X at the knots, increasing, px.
    stretch: K at the knots, around 1.
    shift: F at the knots, px.
    middle_y: the row that is not stretched, px.
    homography: of (x, y, 1).
  """

  knots_x: Float[np.ndarray, " k"]
  moved_x: Float[np.ndarray, " k"]
  stretch: Float[np.ndarray, " k"]
  shift: Float[np.ndarray, " k"]
  middle_y: float
  homography: Float[np.ndarray, "3 3"]

  def forward(
    self, points_yx: Float[np.ndarray, "*n 2"]
  ) -> Float[np.ndarray, "*n 2"]:
    """Points of the page -> points of the image, px."""
    y, x = points_yx[..., 0], points_yx[..., 1]
    middle = self.middle_y
    y = (
      middle
      + (y - middle) * np.interp(x, self.knots_x, self.stretch)
      + np.interp(x, self.knots_x, self.shift)
    )
    x = np.interp(x, self.knots_x, self.moved_x)
    return _project(self.homography, y, x)

  def inverse(
    self, points_yx: Float[np.ndarray, "*n 2"]
  ) -> Float[np.ndarray, "*n 2"]:
    """Points of the image -> points of the page, px."""
    flat = _project(
      np.linalg.inv(self.homography), points_yx[..., 0], points_yx[..., 1]
    )
    x = np.interp(flat[..., 1], self.moved_x, self.knots_x)
    y = flat[..., 0] - np.interp(x, self.knots_x, self.shift) - self.middle_y
    y = y / np.interp(x, self.knots_x, self.stretch) + self.middle_y
    return np.stack([y, x], axis=-1)

  def source_extent(self, hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of the page that an image of `hw` shows, px.

    May exceed the image's frame; includes a margin of two pixels.
    """
    along = np.linspace(0, 1, 65)
    ends = np.stack([np.zeros(65), along], 1), np.stack([np.ones(65), along], 1)
    edge = np.concatenate([*ends, *(e[:, ::-1] for e in ends)]) * np.array(hw)
    seen = self.inverse(edge)
    low, high = np.floor(seen.min(0)) - 2, np.ceil(seen.max(0)) + 2
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _project(
  matrix: Float[np.ndarray, "3 3"],
  y: Float[np.ndarray, "*n"],
  x: Float[np.ndarray, "*n"],
) -> Float[np.ndarray, "*n 2"]:
  (a, b, c), (d, e, f), (g, h, i) = matrix
  depth = g * x + h * y + i
  return np.stack(
    [(d * x + e * y + f) / depth, (a * x + b * y + c) / depth], axis=-1
  )


def flat_view(
  hw: tuple[int, int],
  *,
  roll: float = 0.0,
  pitch: float = 0.0,
  yaw: float = 0.0,
  distance_px: float = 1e6,
  scale_yx: tuple[float, float] = (1.0, 1.0),
) -> Float[np.ndarray, "3 3"]:
  """The homography of a flat page before a camera; fixes the centre.

  Args:
    roll: angle in the image plane, radians.
    pitch: of the page about its horizontal axis, radians.
    yaw: of the page about its vertical axis, radians.
    distance_px: of the camera; raised to one and a half diagonals, so that no
      part of the page is behind it.
    scale_yx: of the page before it turns.
  """
  distance_px = max(distance_px, 1.5 * float(np.hypot(*hw)))
  pitch, yaw = np.clip([pitch, yaw], -_MAX_TILT, _MAX_TILT)
  turn = _rotation(roll, 0, 1) @ _rotation(pitch, 1, 2) @ _rotation(yaw, 0, 2)
  turn[:, 0] *= scale_yx[1]
  turn[:, 1] *= scale_yx[0]
  view = turn.copy()
  view[2] = turn[2] / distance_px
  view[:, 2] = (0, 0, 1)
  to_centre = np.eye(3)
  to_centre[:2, 2] = (-hw[1] / 2, -hw[0] / 2)
  return np.linalg.inv(to_centre) @ view @ to_centre


def _rotation(angle: float, a: int, b: int) -> Float[np.ndarray, "3 3"]:
  turn = np.eye(3)
  turn[a, a] = turn[b, b] = np.cos(angle)
  turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
  return turn


def curl(
  hw: tuple[int, int],
  homography: Float[np.ndarray, "3 3"],
  *,
  staff_space_px: float,
  spine_x: float = 0.0,
  length_px: float = 1.0,
  rise_px: float = 0.0,
  compress: float = 0.0,
  stretch: float = 0.0,
  wave_px: float = 0.0,
  wave_length_px: float = 1.0,
  phase: float = 0.0,
) -> Warp:
  """A page that bends towards the spine of a book and waves; fixes the centre.

  Args:
    staff_space_px: distance of the knots.
    spine_x: column of the spine.
    length_px: over which the bend fades to 1 / e.
    rise_px: shift of the rows at the spine.
    compress: share by which columns are narrower at the spine.
    stretch: share by which columns are taller at the spine.
    wave_px: height of a wave along the rows.
    phase: of the wave, radians.
  """
  height, width = hw
  # A map may bring in pixels from beside the frame, which need knots as well.
  beside = max(height, width) / 2 + 20 * staff_space_px
  count = int(np.clip((width + 2 * beside) / staff_space_px, 16, 1024))
  x = np.linspace(-beside, width + beside, count)
  # Rounded at the spine, or the inverse would jump between its nodes.
  blunt = length_px / 2
  bend = np.exp((blunt - np.hypot(x - spine_x, blunt)) / length_px)
  shift = rise_px * bend + wave_px * np.sin(
    2 * np.pi * x / wave_length_px + phase
  )
  steps = (
    1 - np.clip(compress, 0, 0.6) * (bend[1:] + bend[:-1]) / 2
  ) * np.diff(x)
  moved = np.concatenate([[0.0], np.cumsum(steps)])
  middle = width / 2
  return Warp(
    knots_x=x,
    moved_x=moved - np.interp(middle, x, moved) + middle,
    stretch=1 + stretch * bend,
    shift=shift - np.interp(middle, x, shift),
    middle_y=height / 2,
    homography=homography,
  )


def pixel_map(
  warp: Warp, hw: tuple[int, int], origin_yx: tuple[float, float]
) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
  """Rows and columns of the source for every pixel, for `cv2.remap`.

  Interpolated from a grid of 8 px: exact within a few hundredths of a pixel, or
  a tenth beside a spine. `origin_yx` places the source in the image's frame.
  """
  step = _STEP_PX
  # One more node on every side: the interpolation does not extrapolate.
  y, x = (step * (np.arange(-1, -(-n // step) + 1) + 0.5) for n in hw)
  nodes = warp.inverse(np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1))
  nodes = (nodes - np.array(origin_yx) - 0.5).astype(np.float32)
  inside = slice(step, step + hw[0]), slice(step, step + hw[1])
  size = (step * len(x), step * len(y))
  rows, columns = (
    cv2.resize(np.ascontiguousarray(part), size)[inside]
    for part in (nodes[..., 0], nodes[..., 1])
  )
  return rows, columns


def move_pixels(
  pixels: Shaped[np.ndarray, "H W"],
  warp: Warp,
  hw: tuple[int, int],
  origin_yx: tuple[float, float] = (0.0, 0.0),
  *,
  nearest: bool = False,
) -> Shaped[np.ndarray, "h w"]:
  """Maps the pixels of the page to the image; 0 beside the page.

  Args:
    pixels: of the page, uint8.
    origin_yx: of `pixels` in the image's frame, px.
    nearest: take the nearest pixel, for class ids, instead of interpolating.
  """
  rows, columns = pixel_map(warp, hw, origin_yx)
  return cv2.remap(
    pixels,
    columns,
    rows,
    cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR,
    borderMode=cv2.BORDER_CONSTANT,
    borderValue=0,
  )
