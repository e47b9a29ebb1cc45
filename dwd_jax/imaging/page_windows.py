"""Cropping, scaling, flipping and padding of pages with their boxes.

Every map of pixels is a `Window`, which maps the boxes by the same numbers.
"""

import dataclasses

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt8

from dwd_jax.core import boxes as boxes_lib


@dataclasses.dataclass(frozen=True)
class Window:
  """A rectangle of source pixels and the size it is resized to.

  It may extend beyond the page, where there is paper. Its sides are whole
  pixels, so the true scale `scale_hw` differs from the requested one by up to
  half a source pixel over the whole window.

  Attributes:
    top: first row of the source, may be negative.
    left: first column, may be negative.
    source_hw: height and width in source pixels.
    out_hw: height and width after scaling, in pixels.
  """

  top: int
  left: int
  source_hw: tuple[int, int]
  out_hw: tuple[int, int]

  @property
  def scale_hw(self) -> tuple[float, float]:
    """Output pixels per source pixel, down and across."""
    return (
      self.out_hw[0] / self.source_hw[0],
      self.out_hw[1] / self.source_hw[1],
    )

  @property
  def at_origin(self) -> "Window":
    """The window for boxes in its own pixels instead of the page's."""
    return dataclasses.replace(self, top=0, left=0)

  def to_output(
    self, boxes_yxyx: Float[np.ndarray, "n 4"]
  ) -> Float[np.ndarray, "n 4"]:
    """Boxes of the source page -> boxes of the output, not clipped."""
    offset, scale = self._offset_scale()
    return ((boxes_yxyx - offset) * scale).astype(np.float32)

  def points_to_output(
    self, points_yx: Float[np.ndarray, "*n 2"]
  ) -> Float[np.ndarray, "*n 2"]:
    """Points (y, x) of the source page -> points of the output."""
    offset, scale = self._offset_scale()
    return ((points_yx - offset[:2]) * scale[:2]).astype(np.float32)

  def to_source(
    self, boxes_yxyx: Float[np.ndarray, "n 4"]
  ) -> Float[np.ndarray, "n 4"]:
    """Boxes of the output -> boxes of the source page."""
    offset, scale = self._offset_scale()
    return (boxes_yxyx / scale + offset).astype(np.float32)

  def points_to_source(
    self, points_yx: Float[np.ndarray, "*n 2"]
  ) -> Float[np.ndarray, "*n 2"]:
    """Points (y, x) of the output -> points of the source page."""
    offset, scale = self._offset_scale()
    return (points_yx / scale[:2] + offset[:2]).astype(np.float32)

  def on_page(self, page_hw: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The part on the page: top, left, height, width in source pixels.

    Height or width is 0 where the window lies beside the page.
    """
    top, left = max(self.top, 0), max(self.left, 0)
    bottom = min(self.top + self.source_hw[0], page_hw[0])
    right = min(self.left + self.source_hw[1], page_hw[1])
    return top, left, max(bottom - top, 0), max(right - left, 0)

  def _offset_scale(self) -> tuple[np.ndarray, np.ndarray]:
    offset = np.array([self.top, self.left] * 2, np.float64)
    return offset, np.array(self.scale_hw * 2, np.float64)


def source_size(out_px: int, scale: float) -> int:
  """Source pixels that become `out_px` pixels at `scale`, at least 1."""
  return max(1, round(out_px / scale))


def random_window(
  rng: np.random.Generator,
  page_hw: tuple[int, int],
  out_hw: tuple[int, int],
  scale: float,
  focus_yxyx: Float[np.ndarray, " 4"] | None = None,
) -> Window:
  """Draws a window to crop.

  Without a focus every position on the page is equally likely. With one, every
  position that shows the whole object is; of an object larger than the crop
  some part is shown. A page smaller than the crop lies anywhere in it,
  surrounded by paper.

  Args:
    page_hw: height and width of the page in pixels.
    out_hw: height and width of the crop in pixels, after scaling.
    scale: crop pixels per page pixel.
    focus_yxyx: box of the object to show, page pixels.
  """
  corner, size = [], []
  for axis in (0, 1):
    length = source_size(out_hw[axis], scale)
    spare = page_hw[axis] - length
    low, high = min(0, spare), max(0, spare)
    if focus_yxyx is not None:
      start, stop = focus_yxyx[axis], focus_yxyx[axis + 2]
      # Sorted: an object longer than the window must cover it instead.
      first = min(np.ceil(stop) - length, np.floor(start))
      last = max(np.ceil(stop) - length, np.floor(start))
      low, high = (
        int(np.clip(first, low, high)),
        int(np.clip(last, low, high)),
      )
    corner.append(int(rng.integers(low, high + 1)))
    size.append(length)
  return Window(
    corner[0], corner[1], (size[0], size[1]), (out_hw[0], out_hw[1])
  )


def page_window(
  page_hw: tuple[int, int], scale: float, multiple: int
) -> Window:
  """The whole page, scaled, with paper added below and to the right.

  Args:
    page_hw: height and width in pixels.
    scale: output pixels per page pixel.
    multiple: the sides of the output are multiples of this, or of twice this
      from 16 multiples on, so that pages of many sizes share few shapes.
  """
  out, source = [], []
  for length in page_hw:
    px = int(np.ceil(length * scale))
    step = multiple if px <= 16 * multiple else 2 * multiple
    px = -(-px // step) * step
    # Rounding may leave the source one pixel short of the page.
    while source_size(px, scale) < length:
      px += step
    out.append(px)
    source.append(source_size(px, scale))
  return Window(0, 0, (source[0], source[1]), (out[0], out[1]))


def cut(
  image: UInt8[np.ndarray, "H W *c"], window: Window
) -> UInt8[np.ndarray, "h w *c"]:
  """The pixels of a window, resized; 0 (paper) outside the page."""
  top, left, height, width = window.on_page(image.shape)
  return fit(image[top : top + height, left : left + width], window, top, left)


def fit(
  region: UInt8[np.ndarray, "H W *c"], window: Window, top: int, left: int
) -> UInt8[np.ndarray, "h w *c"]:
  """Pads and resizes the part of a window that is on the page.

  Args:
    region: the pixels that `window.on_page` names.
    top: first row of the region on the page.
    left: first column of the region on the page.
  """
  return resize(pad(region, window, top, left), window.out_hw)


def pad(
  region: Shaped[np.ndarray, "H W *c"], window: Window, top: int, left: int
) -> Shaped[np.ndarray, "h w *c"]:
  """Surrounds the region by 0 (paper), up to the whole window; see `fit`."""
  if region.shape[:2] == window.source_hw:
    return region
  padded = np.zeros((*window.source_hw, *region.shape[2:]), region.dtype)
  y, x = top - window.top, left - window.left
  padded[y : y + region.shape[0], x : x + region.shape[1]] = region
  return padded


def resize(
  region: UInt8[np.ndarray, "H W *c"], out_hw: tuple[int, int]
) -> UInt8[np.ndarray, "h w *c"]:
  """Resizes to a height and width in pixels."""
  if region.shape[:2] == out_hw:
    return np.ascontiguousarray(region)
  # INTER_AREA averages all pixels under an output pixel, so that thin lines
  # survive shrinking.
  shrinks = out_hw[0] <= region.shape[0] and out_hw[1] <= region.shape[1]
  return cv2.resize(
    region,
    (out_hw[1], out_hw[0]),
    interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
  )


def flip_horizontally(
  image: UInt8[np.ndarray, "h w *c"], boxes_yxyx: Float[np.ndarray, "n 4"]
) -> tuple[UInt8[np.ndarray, "h w *c"], Float[np.ndarray, "n 4"]]:
  """Mirrors image and boxes left to right."""
  y0, x0, y1, x1 = boxes_yxyx.T
  width = np.float32(image.shape[1])
  flipped = np.stack([y0, width - x1, y1, width - x0], axis=1)
  return np.ascontiguousarray(image[:, ::-1]), flipped


def flip_corners(
  corners_yx: Float[np.ndarray, "n 4 2"], width_px: int
) -> Float[np.ndarray, "n 4 2"]:
  """Mirrors corners as `flip_horizontally` does; clockwise stays clockwise."""
  y, x = corners_yx[:, ::-1, 0], corners_yx[:, ::-1, 1]
  return np.stack([y, np.float32(width_px) - x], axis=-1)


def nearest_to_centre(
  boxes_yxyx: Float[np.ndarray, "n 4"], hw: tuple[int, int], count: int
) -> Int[np.ndarray, " m"]:
  """Indices of the `count` boxes nearest to the crop's centre, ascending."""
  offset = boxes_lib.centers_yx(boxes_yxyx) - np.array(hw) / 2
  nearest = np.argsort((offset**2).sum(axis=1), kind="stable")[:count]
  return np.sort(nearest)


def pad_boxes(
  boxes_yxyx: Float[np.ndarray, "n 4"],
  labels: Int[np.ndarray, " n"],
  count: int,
) -> tuple[
  Float[np.ndarray, "count 4"],
  Int[np.ndarray, " count"],
  Bool[np.ndarray, " count"],
]:
  """Boxes, labels and mask of exactly `count` rows; n must not exceed it."""
  n = len(boxes_yxyx)
  if n > count:
    raise ValueError(f"{n} boxes do not fit into {count} rows")
  padded = pad_rows(boxes_yxyx.astype(np.float32), count)
  ids = pad_rows(labels.astype(np.int32), count)
  return padded, ids, np.arange(count) < n


def pad_rows(
  values: Shaped[np.ndarray, "n ..."], count: int, fill: int = 0
) -> Shaped[np.ndarray, "count ..."]:
  """Adds rows of `fill` up to `count`."""
  padded = np.full((count, *values.shape[1:]), fill, values.dtype)
  padded[: len(values)] = values
  return padded
