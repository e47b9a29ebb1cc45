"""Whether the colours of a data set say more than its grey values.

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
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# A page is in colour if so many of its pixels differ so much (of 255) from the
# colour of their tone: many a little, or few a lot, as small stained cells.
_COLOURFUL = ((15.0, 0.05), (40.0, 0.003))


class Decision(NamedTuple):
  """Channels of the records, 1 or 3, and why; "" = it was given."""

  channels: int
  reason: str

  def __str__(self) -> str:
    """One line."""
    what = "in colour" if self.channels == 3 else "grey"
    return f"Pictures {what} (data.channels={self.channels}): {self.reason}"


def of_data_set(data_set: checks.DataSet, workers: int = 1) -> Decision:
  """Decides by the images of up to 32 pages; unreadable ones do not count.

  Args:
    workers: threads.
  """

  def look(page: checks.PageFiles) -> bool | None:
    try:
      return is_colourful(255 - checks.read_image(page.image, channels=3))
    except InputError:  # the build says so
      return None

  pages = checks.sample(data_set, _SAMPLE)
  found = [f for f in threads.in_order(look, pages, workers) if f is not None]
  count = sum(found)
  if count and count >= _ENOUGH * len(found):
    return Decision(
      3, f"colours say more than grey values in {count} of {len(found)}"
    )
  return Decision(
    1, f"colours say more than grey values in only {count} of {len(found)}"
  )


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


def in_colour(data_set: checks.DataSet) -> checks.DataSet:
  """The data set with pages that are read as RGB."""
  splits = {
    split: [dataclasses.replace(page, channels=3) for page in pages]
    for split, pages in data_set.splits.items()
  }
  return dataclasses.replace(data_set, splits=splits)
