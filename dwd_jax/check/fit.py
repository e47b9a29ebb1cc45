"""Fit of boxes to their picture: do the borders of boxes lie on edges?

The borders of right boxes lie on edges of the picture: there is more contrast
across them than across those of the same boxes a little to the side. For boxes
of another picture the one is as frequent as the other, however dense the
picture is. This says nothing of what is dark and what is bright, so it holds
for print, photographs and micrographs. All sides of a box may be off by the
same margin, as hand-drawn boxes are.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from dwd_jax.check import integral_images

MIN_BOXES = 10  # fewer say too little about a page
_MAX_PIXELS = 1 << 24  # larger pages are shrunk before they are measured
_MAX_CONTRAST = np.uint8(127)  # 2**24 times this is the most that int32 holds
_MARGINS = (-1.0, -0.5, 0.0, 0.5, 1.0)  # in parts of the largest margin
_MARGIN = 0.1  # largest margin, as a share of the side of a square box
_MIN_MARGIN_PX = 2
_ASIDE = (0.35, 0.6)  # how far aside boxes are compared, in parts of the box
_MIN_ASIDE_PX = 4
_EIGHT_WAYS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
_MAX_SHIFT_PX = 24
_COARSE_PX = 4
SOME_BOXES = 200  # are enough to explain a misfit
_MIN_GAIN = 1.25  # in contrast, of a shift or margin that is believed
_MAX_MARGIN_PX = 16
_LOOSE_PX = 3
_SCALES = (0.25, 1 / 3, 0.5, 2 / 3, 0.75, 4 / 3, 1.5, 2, 3, 4)


class Fit(NamedTuple):
  """Fit of boxes to the edges of a picture.

  Attributes:
    edge: share of the places aside that have less contrast than the box, less
      the share of those with more, -1..1; about 0 for boxes of another page.
    num_boxes: boxes measured.
  """

  edge: float
  num_boxes: int

  def is_sound(self) -> bool:
    """Whether the boxes surely belong to the picture."""
    return self.edge >= 0.25 + 0.7 / max(self.num_boxes, 1) ** 0.5

  def is_bad(self) -> bool:
    """Whether the boxes hardly belong to the picture."""
    return self.edge < 0.22 + 0.45 / max(self.num_boxes, 1) ** 0.5


class Edges(NamedTuple):
  """Contrast of a page, for sums over any rectangle.

  Attributes:
    across_y: integral image of the contrast from top to bottom.
    across_x: the same from left to right.
    scale: px of the measured picture for one of the page.
  """

  across_y: Int[np.ndarray, "H1 W1"]
  across_x: Int[np.ndarray, "H1 W1"]
  scale: float


def edges(grey: UInt8[np.ndarray, "H W"]) -> Edges:
  """Measures the contrast of a page, dark or bright."""
  grey, scale = integral_images.shrunk(grey, _MAX_PIXELS)
  sums = []
  for dx in (0, 1):
    sobel = cv2.Sobel(grey, cv2.CV_16S, dx, 1 - dx)
    contrast = cv2.convertScaleAbs(sobel, alpha=0.25)
    sums.append(cv2.integral(np.minimum(contrast, _MAX_CONTRAST)))
  return Edges(across_y=sums[0], across_x=sums[1], scale=scale)


def _mean(sums, y0, x0, y1, x1):
  """Mean over rectangles, cut to the page; 0 outside."""
  total, area = integral_images.sums_and_areas(sums, y0=y0, x0=x0, y1=y1, x1=x1)
  return total / np.maximum(area, 1)


def _contrast(page: Edges, boxes: Int[np.ndarray, "4 *n"]):
  """Contrast across the borders of each box, at the best of some margins."""
  y0, x0, y1, x1 = boxes
  side = np.sqrt(np.maximum((y1 - y0) * (x1 - x0), 1))
  largest = np.maximum(_MARGIN * side, _MIN_MARGIN_PX)
  best = np.zeros(y0.shape)
  for share in _MARGINS:
    m = np.rint(share * largest).astype(np.int64)
    best = np.maximum(best, _border(page, y0 - m, x0 - m, y1 + m, x1 + m))
  return best


def _border(page: Edges, y0, x0, y1, x1):
  """Mean contrast across four sides, in the middle half of each."""
  dy, dx = np.maximum(y1 - y0, 0) // 4, np.maximum(x1 - x0, 0) // 4
  top, left = y0 + dy, x0 + dx
  bottom, right = np.maximum(y1 - dy, top + 1), np.maximum(x1 - dx, left + 1)
  return (
    _mean(page.across_y, y0 - 1, left, y0 + 1, right)
    + _mean(page.across_y, y1 - 1, left, y1 + 1, right)
    + _mean(page.across_x, top, x0 - 1, bottom, x0 + 1)
    + _mean(page.across_x, top, x1 - 1, bottom, x1 + 1)
  ) / 4


def _whole(page: Edges, boxes_yxyx, most: int) -> Int[np.ndarray, "4 n"]:
  """Corners in whole px of the measured picture; at most about `most` boxes."""
  some = boxes_yxyx[:: -(-len(boxes_yxyx) // most)] if most else boxes_yxyx
  scaled = np.asarray(some, np.float64).reshape(-1, 4) * page.scale
  return np.rint(scaled).astype(np.int64).T


def measure(
  page: Edges, boxes_yxyx: Float[np.ndarray, "n 4"], most: int = 0
) -> Fit:
  """Measures how well boxes, in pixels of the page, fit its edges.

  Args:
    most: number of boxes to measure, spread over all; 0 = all.
  """
  if not len(boxes_yxyx):
    return Fit(0.0, 0)
  boxes = _whole(page, boxes_yxyx, most)
  y0, x0, y1, x1 = boxes
  places = [boxes]
  for share in _ASIDE:
    dy = np.maximum(np.rint(share * (y1 - y0)).astype(int), _MIN_ASIDE_PX)
    dx = np.maximum(np.rint(share * (x1 - x0)).astype(int), _MIN_ASIDE_PX)
    places += [
      boxes + np.stack([down * dy, right * dx] * 2)
      for down, right in _EIGHT_WAYS
    ]
  own, *aside = _contrast(page, np.stack(places, axis=1))
  edge = float(np.mean(np.sign(own - np.stack(aside))))
  return Fit(edge, boxes.shape[1])


def explain(
  page: Edges,
  boxes_yxyx: Float[np.ndarray, "n 4"],
  image_hw: tuple[int, int],
) -> tuple[str, tuple[int, int]]:
  """Says what is wrong with boxes that do not fit.

  Args:
    page: edges of the picture.
    boxes_yxyx: as annotated, px.
    image_hw: of the picture, px.

  Returns:
    The reason, such as "x and y are swapped" ("" = nothing simple), and the
    shift, see `find_shift`, if that is the reason.
  """
  made = _corrections(boxes_yxyx, image_hw)
  found = {
    name: measure(page, boxes, SOME_BOXES) for name, boxes in made.items()
  }
  best = max(found, key=lambda name: found[name].edge)
  shift = find_shift(page, boxes_yxyx)
  moved = np.asarray(boxes_yxyx) + np.tile(shift, 2)
  there = measure(page, moved, SOME_BOXES)
  if not any(shift) or not there.is_sound():
    return (best if found[best].is_sound() else ""), (0, 0)
  if found[best].is_sound():
    # One of them is chance: without margins, the right one has more contrast.
    exact = [
      _border(page, *_whole(page, boxes, SOME_BOXES)).mean()
      for boxes in (made[best], moved)
    ]
    if exact[0] >= exact[1]:
      return best, (0, 0)
  return describe(shift), shift


def _corrections(boxes, image_hw) -> dict:
  """Common mistake -> the boxes with that mistake undone."""
  height, width = image_hw
  y0, x0, y1, x1 = np.asarray(boxes, np.float64).T
  tall, wide = height / width, width / height
  top, bottom = height - y1, height - y0
  left, right = width - x1, width - x0
  dy, dx = (y1 - y0) / 2, (x1 - x0) / 2
  made = {
    "x and y are swapped": (x0, y0, x1, y1),
    "relative x and y are swapped": (
      x0 * tall,
      y0 * wide,
      x1 * tall,
      y1 * wide,
    ),
    "y counts from the bottom": (top, x0, bottom, x1),
    "x counts from the right": (y0, left, y1, right),
    "the picture is turned by 180 degrees": (top, left, bottom, right),
    "the picture is turned by 90 degrees": (x0, width - y1, x1, width - y0),
    "the picture is turned by 270 degrees": (height - x1, y0, height - x0, y1),
    "centres are taken for corners": (y0 - dy, x0 - dx, y1 - dy, x1 - dx),
    "corners are taken for centres": (y0 + dy, x0 + dx, y1 + dy, x1 + dx),
  }
  for s in _SCALES:
    name = f"the boxes are of a picture {1 / s:.3g} times as large"
    made[name] = (s * y0, s * x0, s * y1, s * x1)
  return {name: np.stack(b, axis=1) for name, b in made.items()}


def find_shift(
  page: Edges, boxes_yxyx: Float[np.ndarray, "n 4"]
) -> tuple[int, int]:
  """The way (down, right) to where boxes fit clearly better; (0, 0) = none.

  Shifts of up to 24 px are tried.
  """
  boxes = _whole(page, boxes_yxyx, SOME_BOXES)

  def moved(shifts):
    steps = np.rint(np.array(shifts) * page.scale).astype(np.int64)
    return _contrast(page, boxes[:, None] + np.tile(steps, 2).T[..., None])

  reach = range(-_MAX_SHIFT_PX, _MAX_SHIFT_PX + 1, _COARSE_PX)
  coarse = [(dy, dx) for dy in reach for dx in reach]
  table = moved(coarse)
  # Each box counts alike, whatever its contrast.
  usual = np.maximum(table.mean(axis=0), 1e-6)
  y, x = coarse[int((table / usual).mean(axis=1).argmax())]
  near = range(1 - _COARSE_PX, _COARSE_PX)
  fine = [(0, 0), *((y + dy, x + dx) for dy in near for dx in near)]
  gains = (moved(fine) / usual).mean(axis=1)
  best = int(gains.argmax())
  return fine[best] if gains[best] > _MIN_GAIN * gains[0] else (0, 0)


def find_margin(page: Edges, boxes_yxyx: Float[np.ndarray, "n 4"]) -> int:
  """By how much boxes are too large on each side, px; 0 = hardly."""
  y0, x0, y1, x1 = _whole(page, boxes_yxyx, SOME_BOXES)
  largest = np.minimum(y1 - y0, x1 - x0) // 4
  table = []
  for margin in range(_MAX_MARGIN_PX + 1):
    m = np.minimum(round(margin * page.scale), largest)
    table.append(_border(page, y0 + m, x0 + m, y1 - m, x1 - m))
  usual = np.maximum(np.mean(table, axis=0), 1e-6)
  gains = (np.stack(table) / usual).mean(axis=1)
  best = int(gains.argmax())
  if best < _LOOSE_PX or gains[best] <= _MIN_GAIN * gains[0]:
    return 0
  tight = np.asarray(boxes_yxyx) + np.array([best, best, -best, -best])
  return best if measure(page, tight, SOME_BOXES).is_sound() else 0


def describe(shift: tuple[int, int]) -> str:
  """Where boxes lie that should be moved by a shift; "" for (0, 0)."""
  parts = []
  if shift[0]:
    parts.append(f"{abs(shift[0])} px too {'high' if shift[0] > 0 else 'low'}")
  if shift[1]:
    side = "left" if shift[1] > 0 else "right"
    parts.append(f"{abs(shift[1])} px too far {side}")
  return f"the boxes lie about {' and '.join(parts)}" if parts else ""
