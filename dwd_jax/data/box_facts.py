"""Sizes and distances of the objects of a data set, which settings follow."""

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float, Int

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core.box_index import BoxIndex

_MEASURED = 200  # boxes of an image whose distances are measured
_MANY = 2000  # images; of more, as many are looked at


@dataclasses.dataclass(frozen=True)
class Objects:
  """The objects of some images, a row for each object or image.

  Attributes:
    sizes_hw: height and width of each object, px.
    labels: class ids.
    image_hw: height and width of each image, px.
    centres_yx: centres of the objects of each image, px.
  """

  sizes_hw: Float[np.ndarray, "n 2"]
  labels: Int[np.ndarray, " n"]
  image_hw: Int[np.ndarray, "p 2"]
  centres_yx: tuple[Float[np.ndarray, "m 2"], ...]

  def __len__(self) -> int:
    return len(self.labels)

  def nearest_px(self) -> Float[np.ndarray, " m"]:
    """Distances of some objects of each image to the nearest other one, px."""
    found = [nearest(centres) for centres in self.centres_yx]
    return np.concatenate([*found, np.zeros(0, np.float32)])

  def most_in_window(self, window_px: float) -> int:
    """Objects in the fullest window of any image, about."""
    pages = zip(self.centres_yx, self.image_hw.tolist(), strict=True)
    counts = (max_in_window(c, (hw[0], hw[1]), window_px) for c, hw in pages)
    return max(counts, default=0)

  def most_in_image(self) -> int:
    """Objects of the fullest image."""
    return max(map(len, self.centres_yx), default=0)


def of_index(index: BoxIndex) -> Objects:
  """The objects of a split; of many images, some, evenly spaced."""
  count = len(index.page_hw)
  at = np.linspace(0, count - 1, min(count, _MANY)).round().astype(int)
  rows = [index.of_page(page) for page in at.tolist()]
  boxes = [index.boxes_yxyx[r].astype(np.float64) for r in rows]
  labels = [index.labels[r] for r in rows]
  every = np.concatenate([*boxes, np.zeros((0, 4))])
  return Objects(
    sizes_hw=every[:, 2:] - every[:, :2],
    labels=np.concatenate([*labels, np.zeros(0, np.int32)]).astype(np.int32),
    image_hw=np.asarray(index.page_hw)[at].astype(np.int64),
    centres_yx=tuple(np.asarray(boxes_lib.centers_yx(b)) for b in boxes),
  )


def nearest(centres_yx: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, " m"]:
  """Distances of centres, 200 at most, to the nearest other one, px."""
  if len(centres_yx) < 2:
    return np.zeros(0, np.float32)
  step = -(-len(centres_yx) // _MEASURED)
  some = centres_yx[::step]
  square = ((some[:, None] - centres_yx) ** 2).sum(axis=-1)
  square[np.arange(len(some)), np.arange(0, len(centres_yx), step)] = np.inf
  return np.sqrt(square.min(axis=1))


def max_in_window(
  centres_yx: Float[np.ndarray, "n 2"],
  image_hw: tuple[int, int],
  window_px: float,
) -> int:
  """Approximate number of box centres in the fullest window of a page."""
  if not len(centres_yx):
    return 0
  steps = 8
  cell = max(window_px / steps, 1.0)
  shape = [int(-(-side // cell)) for side in image_hw]
  at = centres_yx // cell
  at = np.clip(at.astype(int), 0, np.array(shape) - 1)
  counts = np.zeros(shape, np.float32)
  np.add.at(counts, tuple(at.T), 1)
  total = cv2.boxFilter(
    counts, -1, (steps, steps), normalize=False, borderType=cv2.BORDER_CONSTANT
  )
  return round(float(total.max()))
