"""Whether pictures are photographs, and whether their colours matter.

It is decided once for the whole set, from a sample of its training pages. The
tint of a sensor, of yellowed paper or of a sepia print goes with the tone: each
tone has one colour. Only what differs from that counts.
"""

import dataclasses
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from dwd_jax.core import threads
from dwd_jax.core.errors import InputError
from tfds_builders import checks

_SAMPLE = 32  # pages
_ENOUGH = 0.25  # share of them in colour; below, the set is grey
_SIDE_PX = 256  # at which a page is looked at; averages the noise of sensors
_MOST_SLOPE = 100.0  # of chroma from black to white, both of 255
# A drawing: so many of the pixels are within so many tones of one tone.
_GROUND_SHARE, _GROUND_TONES = 0.75, 12
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# A page is in colour if so many of its pixels differ so much (of 255) from the
# colour of their tone: many a little, or few a lot, as small stained cells.
_COLOURFUL = ((15.0, 0.05), (40.0, 0.003))


class Decision(NamedTuple):
  """What the pictures of a data set are.

  Attributes:
    channels: of the records, 1 or 3.
    reason: for the channels; "" = they were given.
    kind: photo or document, see `DataConfig`.
  """

  channels: int
  reason: str
  kind: str = "document"

  def __str__(self) -> str:
    """One line."""
    what = "in colour" if self.channels == 3 else "grey"
    return (
      f"Pictures {what} (data.channels={self.channels}): {self.reason};"
      f" data.kind={self.kind}"
    )


def of_data_set(data_set: checks.DataSet, workers: int = 1) -> Decision:
  """Decides by the images of up to 32 pages; unreadable ones do not count.

  Args:
    workers: threads.
  """

  def look(page: checks.PageFiles) -> tuple[bool, bool] | None:
    try:
      rgb = 255 - checks.read_image(page.image, channels=3)
    except InputError:  # the build says so
      return None
    return is_colourful(rgb), has_one_ground(rgb)

  pages = checks.sample(data_set, _SAMPLE)
  found = [f for f in threads.in_order(look, pages, workers) if f is not None]
  count = sum(colourful for colourful, _ in found)
  said = f"colours say more than grey values in {count} of {len(found)}"
  if count and count >= _ENOUGH * len(found):
    return Decision(3, said, "photo")
  drawings = sum(one_ground for _, one_ground in found)
  kind = "document" if 2 * drawings >= len(found) else "photo"
  return Decision(1, said, kind)


def is_colourful(rgb: UInt8[np.ndarray, "H W 3"]) -> bool:
  """Whether pixels of one tone have different colours."""
  height, width = rgb.shape[:2]
  shrink = min(1.0, _SIDE_PX / max(height, width))
  size = max(1, round(width * shrink)), max(1, round(height * shrink))
  small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
  pixels = small.reshape(-1, 3).astype(np.float32)
  tone = pixels @ _LUMA
  chroma = pixels[:, [0, 2]] - tone[:, None]
  # The colour of each tone, from that of ink to that of paper: a line. A steep
  # one would be made by objects of another colour in front of one ground.
  t = tone[:, None] / 255 - tone.mean() / 255
  slope = (t * chroma).sum(0) / max(float((t * t).sum()), 1e-6)
  rest = chroma - t * np.clip(slope, -_MOST_SLOPE, _MOST_SLOPE)
  off = np.linalg.norm(rest - np.median(rest, axis=0), axis=1)
  return any(np.mean(off > most) >= share for most, share in _COLOURFUL)


def has_one_ground(rgb: UInt8[np.ndarray, "H W 3"]) -> bool:
  """Whether most pixels have nearly one tone: paper, or an empty ground."""
  grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
  counts = np.bincount(grey.ravel(), minlength=256).astype(np.float64)
  near = np.convolve(counts, np.ones(2 * _GROUND_TONES + 1), mode="same")
  return bool(near.max() >= _GROUND_SHARE * grey.size)


def in_colour(data_set: checks.DataSet) -> checks.DataSet:
  """The data set with pages that are read as RGB."""
  splits = {
    split: [dataclasses.replace(page, channels=3) for page in pages]
    for split, pages in data_set.splits.items()
  }
  return dataclasses.replace(data_set, splits=splits)
