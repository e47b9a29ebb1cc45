"""All that a check keeps of a page: 10 bytes a box, some kilobytes a page."""

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from dwd_jax.check import fingerprints, fit

NEAR_IOU = 0.8
TILE_PX = 96  # of the examples of a class
_INK = 127
_NEIGHBOURS = 100  # boxes that one box is compared with
_EXAMPLE_RGB = (213, 94, 0)


@dataclasses.dataclass(frozen=True)
class Page:
  """A page as it is read, and where it comes from.

  Attributes:
    split: e.g. "train".
    filename: of the image, without folder.
    ink: 0 = paper, 255 = ink.
    boxes_yxyx: px.
    labels: class ids.
    skipped: counts of boxes that the reader left out or cut, by reason.
  """

  split: str
  filename: str
  ink: UInt8[np.ndarray, "H W"]
  boxes_yxyx: Float[np.ndarray, "n 4"]
  labels: Int[np.ndarray, " n"]
  skipped: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Measures:
  """What is kept of a page.

  Attributes:
    split: e.g. "train".
    filename: of the image, without folder.
    image_hw: px.
    ink_share: of the pixels, 0..1.
    labels: class ids.
    sizes_hw: height and width of each box, px.
    fit: of the boxes to the ink.
    max_in_crop: most boxes that a training crop can show.
    without_ink: class ids of boxes without any ink.
    repeated: class ids of boxes that repeat another one of their class.
    near: class ids of boxes nearly equal to another one of their class.
    two_classes: pairs of class ids on one and the same box.
    picture: equal for pages with equal pixels.
    annotation: equal for pages with equal boxes and labels.
    print_: see `fingerprints.fingerprint`.
    skipped: as in `Page`.
  """

  split: str
  filename: str
  image_hw: tuple[int, int]
  ink_share: float
  labels: Int[np.ndarray, " n"]
  sizes_hw: Float[np.ndarray, "n 2"]
  fit: fit.Fit
  max_in_crop: int
  without_ink: tuple[int, ...]
  repeated: tuple[int, ...]
  near: tuple[int, ...]
  two_classes: tuple[tuple[int, int], ...]
  picture: bytes
  annotation: bytes
  print_: np.ndarray
  skipped: dict[str, int]


def measure(page: Page, crop_px: float) -> Measures:
  """Measures one page.

  Args:
    page: as read.
    crop_px: side of a training crop in px of the page.
  """
  sums = fit.ink_sums(page.ink)
  boxes = np.asarray(page.boxes_yxyx, np.float32).reshape(-1, 4)
  labels = page.labels.astype(np.uint16)
  inked = fit.ink_inside(sums, boxes)
  rows, first = _unique_rows(boxes, labels)
  unique = np.zeros(len(labels), bool)
  unique[first] = True
  return Measures(
    split=page.split,
    filename=page.filename,
    image_hw=(page.ink.shape[0], page.ink.shape[1]),
    ink_share=np.count_nonzero(page.ink > _INK) / max(page.ink.size, 1),
    labels=labels,
    sizes_hw=boxes[:, 2:] - boxes[:, :2],
    fit=fit.measure(sums, boxes),
    max_in_crop=max_in_window(boxes, page.ink.shape, crop_px),
    without_ink=tuple(labels[inked == 0].tolist()),
    repeated=tuple(labels[~unique].tolist()),
    near=near_duplicates(boxes[first], labels[first]),
    two_classes=_two_classes(boxes[first], labels[first]),
    picture=fingerprints.digest(page.ink),
    annotation=fingerprints.digest(rows),
    print_=fingerprints.fingerprint(page.ink),
    skipped=page.skipped,
  )


def _unique_rows(boxes, labels):
  """Sorted rows (label, box), and the index of the first box of each kind."""
  rows = np.hstack([labels[:, None].astype(np.float32), boxes])
  return np.unique(rows, axis=0, return_index=True)


def near_duplicates(
  boxes_yxyx: Float[np.ndarray, "n 4"], labels: Int[np.ndarray, " n"]
) -> tuple[int, ...]:
  """Class ids of boxes with IoU > 0.8 to another of their class.

  Args:
    boxes_yxyx: no two alike within a class, px.
    labels: class ids.

  Returns:
    The class of each such pair.
  """
  if len(labels) < 2:
    return ()
  # With IoU > 0.8, tops are at most a quarter of the height apart: sorted by
  # class and top, the candidates follow each other.
  order = np.lexsort((boxes_yxyx[:, 0], labels))
  b, c = boxes_yxyx[order].astype(np.float64), labels[order]
  area = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
  found = np.zeros(len(c), bool)
  for step in range(1, min(_NEIGHBOURS, len(c) - 1) + 1):
    one, two = b[:-step], b[step:]
    close = c[:-step] == c[step:]
    close &= two[:, 0] - one[:, 0] <= 0.25 * (one[:, 2] - one[:, 0])
    if not close.any():
      break
    low = np.maximum(one[:, :2], two[:, :2])
    high = np.minimum(one[:, 2:], two[:, 2:])
    both = np.prod(np.maximum(high - low, 0), axis=1)
    union = area[:-step] + area[step:] - both
    found[step:] |= close & (both > NEAR_IOU * union)
  return tuple(c[found].tolist())


def _two_classes(boxes, labels) -> tuple[tuple[int, int], ...]:
  """Pairs of classes that share a box exactly; no box twice in a class."""
  order = np.lexsort((labels, *boxes.T))
  b, c = boxes[order], labels[order].tolist()
  same = np.flatnonzero(np.all(b[1:] == b[:-1], axis=1)).tolist()
  return tuple((c[i], c[i + 1]) for i in same)


def max_in_window(
  boxes_yxyx: Float[np.ndarray, "n 4"],
  image_hw: tuple[int, int],
  window_px: float,
) -> int:
  """About how many box centres the fullest window of a page shows."""
  if not len(boxes_yxyx):
    return 0
  steps = 8
  cell = max(window_px / steps, 1.0)
  shape = [int(-(-side // cell)) for side in image_hw]
  at = (boxes_yxyx[:, :2] + boxes_yxyx[:, 2:]) / 2 // cell
  at = np.clip(at.astype(int), 0, np.array(shape) - 1)
  counts = np.zeros(shape, np.float32)
  np.add.at(counts, tuple(at.T), 1)
  total = cv2.boxFilter(
    counts, -1, (steps, steps), normalize=False, borderType=cv2.BORDER_CONSTANT
  )
  return round(float(total.max()))


def class_examples(
  page: Page, seed: int
) -> dict[int, tuple[float, UInt8[np.ndarray, "96 96 3"]]]:
  """One object of each class on the page, drawn at random.

  Args:
    page: as read.
    seed: of the draw.

  Returns:
    Class id -> (random number, picture). Keeping the lowest numbers of all
    pages gives a fair sample of the pages.
  """
  rng = np.random.default_rng(seed)
  keys = rng.random(len(page.labels))
  order = np.argsort(keys)
  classes, first = np.unique(page.labels[order], return_index=True)
  picks = order[first]
  return {
    int(c): (float(keys[i]), tile(page.ink, page.boxes_yxyx[i]))
    for c, i in zip(classes.tolist(), picks.tolist(), strict=True)
  }


def tile(
  ink: UInt8[np.ndarray, "H W"], box_yxyx: Float[np.ndarray, " 4"]
) -> UInt8[np.ndarray, "96 96 3"]:
  """An object with its surroundings and its box, as a small square picture."""
  y0, x0, y1, x1 = (float(v) for v in box_yxyx)
  side = max(y1 - y0, x1 - x0)
  side += 2 * max(8.0, 0.4 * side)
  # A matrix from the tile to the page: it may reach beyond the page's edge.
  zoom = TILE_PX / side
  top, left = (y0 + y1 - side) / 2, (x0 + x1 - side) / 2
  low_y, low_x = max(0, int(top)), max(0, int(left))
  part = ink[low_y : int(top + side) + 1, low_x : int(left + side) + 1]
  flags = cv2.INTER_LINEAR
  if zoom < 1 and part.size:  # averaged first, or thin lines would break up
    small = (
      cv2.resize(part, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
      if min(part.shape) * zoom >= 1
      else part
    )
    scale = np.array(small.shape[::-1]) / part.shape[::-1]
    part = small
  else:
    scale = np.ones(2)
  fx, fy = zoom / scale
  move = np.array(
    [[fx, 0, (low_x - left) * zoom], [0, fy, (low_y - top) * zoom]], np.float32
  )
  grey = cv2.warpAffine(part, move, (TILE_PX, TILE_PX), flags=flags)
  picture = cv2.cvtColor(255 - grey, cv2.COLOR_GRAY2RGB)
  corners = np.rint(
    (np.array([x0, y0, x1, y1]) - [left, top, left, top]) * zoom
  ).astype(int)
  cv2.rectangle(
    picture, corners[:2].tolist(), corners[2:].tolist(), _EXAMPLE_RGB, 1
  )
  return picture
