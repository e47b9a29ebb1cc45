"""Measures of each page, and the tables of a whole data set made from them.

Pixels are not kept: 18 bytes for each box and a few kilobytes for each page.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, Int, Int8, UInt8

from dwd_jax.check import fit
from dwd_jax.check import ink as ink_lib
from dwd_jax.core.structs import PageBoxes
from dwd_jax.data import box_facts

NEAR_IOU = 0.8
PERCENTS = (0, 5, 25, 50, 75, 95, 100)
PRINT_GRID = 48  # side of a fingerprint
_INK = 127
_NEIGHBOURS = 100  # boxes that one box is compared with


@dataclasses.dataclass(frozen=True)
class Page:
  """A page as it is read.

  Attributes:
    split: e.g. "train".
    filename: of the image, without folder.
    ink: 0 = ground, 255 = ink; of pictures in colour, what is dark.
    boxes_yxyx: px.
    labels: class ids.
    skipped: reason -> number of boxes that the reader left out or cut.
    oriented_yx: corners, px; None if the data set has none.
    picture: RGB, as in the file; None = printed music, shown by its ink.
  """

  split: str
  filename: str
  ink: UInt8[np.ndarray, "H W"]
  boxes_yxyx: Float[np.ndarray, "n 4"]
  labels: Int[np.ndarray, " n"]
  skipped: dict[str, int] = dataclasses.field(default_factory=dict)
  oriented_yx: Float[np.ndarray, "n 4 2"] | None = None
  picture: UInt8[np.ndarray, "H W 3"] | None = None

  @property
  def seen(self) -> UInt8[np.ndarray, "H W *c"]:
    """What pictures show; see `drawing.ground`."""
    return self.ink if self.picture is None else self.picture

  def page_boxes(self) -> PageBoxes:
    """The boxes as pictures take them."""
    return PageBoxes(
      filename=self.filename,
      image_hw=(self.ink.shape[0], self.ink.shape[1]),
      boxes_yxyx=self.boxes_yxyx,
      labels=self.labels,
      oriented_yx=self.oriented_yx,
    )


@dataclasses.dataclass(frozen=True)
class Measures:
  """What is kept of a page; split, filename, labels, skipped: as in `Page`.

  Attributes:
    image_hw: px.
    ink_share: share of the pixels, 0..1.
    sizes_hw: height and width of each box, px.
    centres_yx: of each box, px.
    nearest_px: distance of some boxes to the nearest other one, centre to
      centre.
    fit: fit of the boxes to the picture.
    has_clear_ink: see `ink.Ink.is_clear`.
    without_ink: class ids of boxes without any ink.
    repeated: class ids of boxes that repeat another one of their class.
    near: class ids of boxes nearly equal to another one of their class.
    two_classes: pairs of class ids with the same box.
    picture: digest of the pixels.
    annotation: digest of boxes and labels.
    print_: see `fingerprint`.
  """

  split: str
  filename: str
  image_hw: tuple[int, int]
  ink_share: float
  labels: Int[np.ndarray, " n"]
  sizes_hw: Float[np.ndarray, "n 2"]
  centres_yx: Float[np.ndarray, "n 2"]
  nearest_px: Float[np.ndarray, " m"]
  fit: fit.Fit
  has_clear_ink: bool
  without_ink: tuple[int, ...]
  repeated: tuple[int, ...]
  near: tuple[int, ...]
  two_classes: tuple[tuple[int, int], ...]
  picture: bytes
  annotation: bytes
  print_: np.ndarray
  skipped: dict[str, int]


def measure(page: Page) -> Measures:
  """Measures one page."""
  inked_page = ink_lib.find(page.ink)
  boxes = np.asarray(page.boxes_yxyx, np.float32).reshape(-1, 4)
  labels = page.labels.astype(np.uint16)
  inked = ink_lib.inside(inked_page, boxes)
  centres = (boxes[:, :2] + boxes[:, 2:]) / 2
  rows = np.hstack([labels[:, None].astype(np.float32), boxes])
  rows, first = np.unique(rows, axis=0, return_index=True)
  unique = np.zeros(len(labels), bool)
  unique[first] = True
  return Measures(
    split=page.split,
    filename=page.filename,
    image_hw=(page.ink.shape[0], page.ink.shape[1]),
    ink_share=np.count_nonzero(page.ink > _INK) / max(page.ink.size, 1),
    labels=labels,
    sizes_hw=boxes[:, 2:] - boxes[:, :2],
    centres_yx=centres,
    nearest_px=box_facts.nearest(centres),
    fit=fit.measure(fit.edges(page.ink), boxes),
    has_clear_ink=inked_page.is_clear,
    without_ink=tuple(labels[inked == 0].tolist()),
    repeated=tuple(labels[~unique].tolist()),
    near=near_duplicates(boxes[first], labels[first]),
    two_classes=_two_classes(boxes[first], labels[first]),
    picture=digest(page.ink),
    annotation=digest(rows),
    print_=fingerprint(page.ink),
    skipped=page.skipped,
  )


def near_duplicates(
  boxes_yxyx: Float[np.ndarray, "n 4"], labels: Int[np.ndarray, " n"]
) -> tuple[int, ...]:
  """Class ids of boxes with IoU > 0.8 to another one of their class.

  Args:
    boxes_yxyx: px; without exact duplicates within a class.
    labels: class ids.

  Returns:
    One class id for each such pair.
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
  """Pairs of classes with equal boxes; no duplicates within a class."""
  order = np.lexsort((labels, *boxes.T))
  b, c = boxes[order], labels[order].tolist()
  same = np.flatnonzero(np.all(b[1:] == b[:-1], axis=1)).tolist()
  return tuple((c[i], c[i + 1]) for i in same)


def digest(array: np.ndarray) -> bytes:
  """Hash of shape and content."""
  made = hashlib.blake2b(str(array.shape).encode(), digest_size=16)
  made.update(np.ascontiguousarray(array).data)
  return made.digest()


def fingerprint(ink: UInt8[np.ndarray, "H W"]) -> Int8[np.ndarray, " 2304"]:
  """The page at 48 x 48 px without its local mean.

  The difference keeps where systems and symbols lie, and drops what all pages
  share: margins and an even density of ink.
  """
  coarse = detail(ink, PRINT_GRID, 5).ravel()
  coarse *= 127 / max(np.abs(coarse).max(), 1e-6)
  return np.rint(coarse).astype(np.int8)


def detail(
  ink: UInt8[np.ndarray, "H W"], grid: int, window_px: int
) -> Float[np.ndarray, "g g"]:
  """A page at `grid` x `grid` px, less the mean of a window at each pixel."""
  small = cv2.resize(ink, (grid, grid), interpolation=cv2.INTER_AREA)
  small = small.astype(np.float32)
  return small - cv2.blur(small, (window_px, window_px))


@dataclasses.dataclass(frozen=True)
class Limits:
  """Limits of the training and the decode that objects are compared with.

  Attributes:
    scale: of pages in training.
    crop_px: side of a training crop, after scaling.
    min_px: objects with a side below this are too small, after scaling.
    max_boxes: slots of a training crop.
    max_detections: slots of a page in the decode.
  """

  scale: float
  crop_px: int
  min_px: float
  max_boxes: int
  max_detections: int


@dataclasses.dataclass(frozen=True)
class Tables:
  """Figures of all pages; percentiles are those of `PERCENTS`.

  Attributes:
    splits: names, "train" first.
    pages: number in each split.
    objects: number in each split and class.
    heights: of the objects of each class, px of the page; nan for no objects.
    widths: as heights.
    all_sizes: heights and widths of all objects, px of the page.
    too_small: number in each class with a scaled side under `min_px`.
    too_large: number in each class larger than a crop when scaled.
    per_page: number of objects.
    page_sizes: heights and widths of pages, px.
    ink_shares: share of the ink in a page.
    is_print: whether the pages are ink on paper.
    max_in_crop: most boxes that a training crop of each page can show.
  """

  splits: tuple[str, ...]
  pages: tuple[int, ...]
  objects: Int[np.ndarray, "S C"]
  heights: Float[np.ndarray, "C p"]
  widths: Float[np.ndarray, "C p"]
  all_sizes: Float[np.ndarray, "2 p"]
  too_small: Int[np.ndarray, " C"]
  too_large: Int[np.ndarray, " C"]
  per_page: Float[np.ndarray, " p"]
  page_sizes: Float[np.ndarray, "2 p"]
  ink_shares: Float[np.ndarray, " p"]
  is_print: bool
  max_in_crop: tuple[int, ...]


def is_print(pages: Sequence[Measures]) -> bool:
  """Whether the pages are ink on paper, see `ink.is_print`."""
  return ink_lib.is_print(p.has_clear_ink for p in pages)


def tabulate(
  pages: Sequence[Measures], num_classes: int, limits: Limits
) -> Tables:
  """Counts and measures the objects of all pages."""
  usual = ("train", "val", "test")
  names = {p.split for p in pages}
  splits = (*(s for s in usual if s in names), *sorted(names.difference(usual)))
  objects = np.zeros((len(splits), num_classes), np.int64)
  for page in pages:
    objects[splits.index(page.split)] += np.bincount(
      page.labels, minlength=num_classes
    )
  labels = np.concatenate([*(p.labels for p in pages), np.zeros(0, np.uint16)])
  sizes = np.concatenate(
    [*(p.sizes_hw for p in pages), np.zeros((0, 2), np.float32)]
  )
  order = np.argsort(labels, kind="stable")
  labels, sizes = labels[order], sizes[order]
  ends = np.searchsorted(labels, np.arange(num_classes + 1))
  groups = [slice(*pair) for pair in itertools.pairwise(ends)]
  scaled = sizes * limits.scale
  small = scaled.min(axis=1) < limits.min_px
  large = scaled.max(axis=1) > limits.crop_px
  page_sizes = np.array([p.image_hw for p in pages]).reshape(-1, 2)
  return Tables(
    splits=splits,
    pages=tuple(sum(p.split == s for p in pages) for s in splits),
    objects=objects,
    heights=np.array([_percentiles(sizes[g, 0]) for g in groups]),
    widths=np.array([_percentiles(sizes[g, 1]) for g in groups]),
    all_sizes=np.stack([_percentiles(side) for side in sizes.T]),
    too_small=np.bincount(labels[small], minlength=num_classes),
    too_large=np.bincount(labels[large], minlength=num_classes),
    per_page=_percentiles(np.array([len(p.labels) for p in pages])),
    page_sizes=np.stack([_percentiles(side) for side in page_sizes.T]),
    ink_shares=_percentiles(np.array([p.ink_share for p in pages])),
    is_print=is_print(pages),
    max_in_crop=tuple(
      box_facts.max_in_window(
        p.centres_yx, p.image_hw, limits.crop_px / limits.scale
      )
      for p in pages
    ),
  )


def _percentiles(values: np.ndarray) -> Float[np.ndarray, " p"]:
  """`PERCENTS` of the values; nan for none."""
  if not len(values):
    return np.full(len(PERCENTS), np.nan)
  return np.percentile(values.astype(np.float64), PERCENTS)
