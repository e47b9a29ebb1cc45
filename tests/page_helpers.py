"""Pages of blobs, and a network that finds them without being compiled."""

from typing import Any

import numpy as np
from scipy import ndimage

from dwd_jax.core.structs import Detections


class BlobFinder:
  """Finds blobs of ink; the class is the ink. A network that sees locally.

  It misplaces each of them a little, differently every time.

  Attributes:
    sizes: (B, H, W) of every call.
  """

  def __init__(self, slots=512, jitter_px=0.4):
    self._rng = np.random.default_rng(0)
    self._slots, self._jitter_px = slots, jitter_px
    self.sizes = []

  def __call__(self, stack):
    self.sizes.append(stack.shape[:3])
    n, k = len(stack), self._slots
    found = Detections(
      boxes_yxyx=np.zeros((n, k, 4), np.float32),
      labels=np.zeros((n, k), np.int32),
      scores=np.full((n, k), 0.5, np.float32),
      valid=np.zeros((n, k), bool),
      count=np.zeros(n, np.int32),
    )
    for page, image in enumerate(stack[..., 0]):
      labelled: Any = ndimage.label(image > 0, np.ones((3, 3)))
      marks, found.count[page] = labelled
      for i, (rows, columns) in enumerate(ndimage.find_objects(marks)[:k]):
        box = (rows.start, columns.start, rows.stop, columns.stop)
        off = self._rng.uniform(-self._jitter_px, self._jitter_px, 2)
        found.boxes_yxyx[page, i] = box + np.tile(off, 2)
        found.labels[page, i] = image[rows, columns].max()
        found.valid[page, i] = True
    return found, stack * np.float32(19 / 255)


def page_of_blobs(offset_yx, pitch_px, hw=(608, 480)):
  """Blobs of 1 to 7 px everywhere, of classes 1 to 5."""
  ink = np.zeros(hw, np.uint8)
  count = 0
  for y in range(offset_yx[0], hw[0] - 8, pitch_px):
    for x in range(offset_yx[1], hw[1] - 8, pitch_px):
      side = 1 + count % 7
      ink[y : y + side, x : x + side] = 1 + count % 5
      count += 1
  return ink, count
