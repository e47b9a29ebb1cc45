"""All that a check keeps of a page: 10 bytes a box, some kilobytes a page."""

import dataclasses
import hashlib

import cv2
import numpy as np
from jaxtyping import Float, Int, Int8, UInt8

from dwd_jax.check import fit

NEAR_IOU = 0.8
PRINT_GRID = 48  # of a fingerprint
_INK = 127
_NEIGHBOURS = 100  # boxes that one box is compared with


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
    print_: see `fingerprint`.
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
    picture=digest(page.ink),
    annotation=digest(rows),
    print_=fingerprint(page.ink),
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


def digest(array: np.ndarray) -> bytes:
  """Equal for arrays of the same shape and content only."""
  made = hashlib.blake2b(str(array.shape).encode(), digest_size=16)
  made.update(np.ascontiguousarray(array).data)
  return made.digest()


def fingerprint(ink: UInt8[np.ndarray, "H W"]) -> Int8[np.ndarray, " 2304"]:
  """What the page looks like from afar: coarse ink less its surroundings.

  Taking the surroundings out leaves where systems and symbols lie and drops
  what all pages share: margins, and an even density of ink.
  """
  coarse = detail(ink, PRINT_GRID, 5).ravel()
  return np.rint(coarse * (127 / max(np.abs(coarse).max(), 1e-6))).astype(
    np.int8
  )


def detail(
  ink: UInt8[np.ndarray, "H W"], grid: int, window_px: int
) -> Float[np.ndarray, "g g"]:
  """A page at `grid` x `grid` px, less the mean of its surroundings."""
  small = cv2.resize(ink, (grid, grid), interpolation=cv2.INTER_AREA)
  small = small.astype(np.float32)
  return small - cv2.blur(small, (window_px, window_px))
