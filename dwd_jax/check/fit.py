"""Fit of boxes to their picture: do the edges of boxes end at the ink?

Staff lines cross every box, so that ink at an edge says little. The difference
does: at the edge of a right box there is more ink just inside than just
outside, and the box is darker than its surroundings. For boxes of another page
both differences are as often positive as negative, however dense the page is.
Measured on right boxes: `edge` 0.62 to 0.97, `ring` 0.93 to 1.00 (40 generated,
3 DeepScores and 120 MUSCIMA++ pages); with the boxes of another page, swapped
axes or half the scale: -0.05 to 0.08 and -0.15 to 0.16.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

MIN_BOXES = 10  # fewer say too little about a page
_EDGE_PX = 2
_MAX_PIXELS = 1 << 25  # larger pages are shrunk before they are measured
_BACKGROUND_PX = 16  # of the page for one pixel of the coarse paper tone
_CONTRAST = 48  # of ink against the paper around it
_MAX_SHIFT_PX = 24
_SHIFT_BOXES = 200
# For small symbols of one size, these cannot be told from a shift.
_LIKE_SHIFTS = (
  "centres are taken for corners",
  "corners are taken for centres",
)
_SCALES = (0.25, 1 / 3, 0.5, 2 / 3, 0.75, 4 / 3, 1.5, 2, 3, 4)


class Fit(NamedTuple):
  """Fit of boxes to the ink, -1..1 each; about 0 for boxes of another page.

  Attributes:
    edge: share of edges with more ink inside than outside, less the reverse.
    ring: share of boxes darker than their surroundings, less the reverse.
    num_boxes: boxes measured.
  """

  edge: float
  ring: float
  num_boxes: int

  def is_sound(self) -> bool:
    """Whether the boxes surely belong to the picture."""
    return self.edge >= 0.4 and self.ring >= 0.6

  def is_bad(self) -> bool:
    """Whether the boxes hardly belong to the picture."""
    return self.edge < 0.3 and self.ring < 0.45

  def is_loose(self) -> bool:
    """Whether the boxes are about right, but do not end at the ink."""
    return not self.is_bad() and self.edge < 0.3


class InkSums(NamedTuple):
  """Sums of the ink of a page, for counts in any rectangle.

  Attributes:
    sums: integral image of the ink pixels.
    scale: px of the measured picture for one of the page.
  """

  sums: Int[np.ndarray, "H1 W1"]
  scale: float


def ink_sums(ink: UInt8[np.ndarray, "H W"]) -> InkSums:
  """Sums the ink (0 = paper, 255 = ink) after removing uneven light."""
  scale = min(1.0, (_MAX_PIXELS / max(ink.size, 1)) ** 0.5)
  if scale < 1:
    ink = cv2.resize(
      ink, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
    )
  height, width = ink.shape
  coarse = (max(1, width // _BACKGROUND_PX), max(1, height // _BACKGROUND_PX))
  paper = cv2.resize(ink, coarse, interpolation=cv2.INTER_AREA)
  if min(coarse) >= 15:
    paper = cv2.resize(cv2.medianBlur(paper, 15), (width, height))
    ink = cv2.subtract(ink, paper)
  return InkSums(cv2.integral((ink > _CONTRAST).astype(np.uint8)), scale)


def _count(sums, corners):
  """(ink pixels, pixels) in rectangles (y0, x0, y1, x1), cut to the page."""
  y0, x0, y1, x1 = corners
  height, width = sums.shape[0] - 1, sums.shape[1] - 1
  y0, y1 = np.clip(y0, 0, height), np.clip(y1, 0, height)
  x0, x1 = np.clip(x0, 0, width), np.clip(x1, 0, width)
  y1, x1 = np.maximum(y0, y1), np.maximum(x0, x1)
  inked = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
  return inked, (y1 - y0) * (x1 - x0)


def ink_inside(
  page: InkSums, boxes_yxyx: Float[np.ndarray, "n 4"]
) -> Int[np.ndarray, " n"]:
  """Ink pixels in each box."""
  scaled = np.asarray(boxes_yxyx, np.float64) * page.scale
  whole = np.hstack([np.floor(scaled[:, :2]), np.ceil(scaled[:, 2:])])
  return _count(page.sums, whole.astype(np.int64).T)[0]


def measure(page: InkSums, boxes_yxyx: Float[np.ndarray, "n 4"]) -> Fit:
  """Measures how well boxes, in pixels of the page, fit its ink."""
  if not len(boxes_yxyx):
    return Fit(0.0, 0.0, 0)
  scaled = np.asarray(boxes_yxyx, np.float64) * page.scale
  y0, x0, y1, x1 = np.rint(scaled).astype(np.int64).T
  k = _EDGE_PX
  strips = (  # inside and outside of each edge
    ((y0, x0, y0 + k, x1), (y0 - k, x0, y0, x1)),
    ((y1 - k, x0, y1, x1), (y1, x0, y1 + k, x1)),
    ((y0, x0, y1, x0 + k), (y0, x0 - k, y1, x0)),
    ((y0, x1 - k, y1, x1), (y0, x1, y1, x1 + k)),
  )
  edges = [
    np.sign(_count(page.sums, inside)[0] - _count(page.sums, outside)[0])
    for inside, outside in strips
  ]
  # The surroundings: a quarter of the box on each side, 2 to 12 px.
  dy, dx = np.clip((y1 - y0) // 4, 2, 12), np.clip((x1 - x0) // 4, 2, 12)
  inked, area = _count(page.sums, (y0, x0, y1, x1))
  all_ink, all_area = _count(page.sums, (y0 - dy, x0 - dx, y1 + dy, x1 + dx))
  density = inked / np.maximum(area, 1)
  around = (all_ink - inked) / np.maximum(all_area - area, 1)
  ring = np.sign(density - around)
  return Fit(float(np.mean(edges)), float(ring.mean()), len(boxes_yxyx))


def explain(
  page: InkSums,
  boxes_yxyx: Float[np.ndarray, "n 4"],
  image_hw: tuple[int, int],
) -> str:
  """Says what is wrong with boxes that do not fit; "" if nothing simple is.

  Args:
    page: ink of the picture.
    boxes_yxyx: as annotated, px.
    image_hw: of the picture, px.

  Returns:
    For example "x and y are swapped".
  """
  found = {
    name: measure(page, boxes)
    for name, boxes in _corrections(boxes_yxyx, image_hw).items()
  }
  best = max(found, key=lambda name: found[name].edge)
  if found[best].is_sound() and best not in _LIKE_SHIFTS:
    return best
  shift, edge = _shift(page, boxes_yxyx)
  if found[best].is_sound() and found[best].edge >= edge:
    return best
  return shift


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


def _shift(page: InkSums, boxes) -> tuple[str, float]:
  """The shift that fits best, in words ("" for none), and its `Fit.edge`."""
  some = boxes[:: max(1, len(boxes) // _SHIFT_BOXES)]
  best, at = 0.0, (0, 0)
  steps = range(-_MAX_SHIFT_PX, _MAX_SHIFT_PX + 1, 2)
  for dy in steps:
    for dx in steps:
      fit = measure(page, some + np.array([dy, dx, dy, dx]))
      if fit.is_sound() and fit.edge > best:
        best, at = fit.edge, (dy, dx)
  parts = []
  if at[0]:
    parts.append(f"{abs(at[0])} px too {'high' if at[0] > 0 else 'low'}")
  if at[1]:
    parts.append(f"{abs(at[1])} px too far {'left' if at[1] > 0 else 'right'}")
  text = f"the boxes lie about {' and '.join(parts)}" if parts else ""
  return text, best
