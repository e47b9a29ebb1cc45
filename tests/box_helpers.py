"""Boxes on a page, as rows of numbers."""

import numpy as np

from dwd_jax.core.structs import PageBoxes

# Three boxes that lie apart.
A, B, FAR = (20, 20, 40, 40), (20, 80, 40, 100), (70, 20, 90, 40)


def page(rows, scores=None, image_hw=(120, 160), name="p.png"):
  """`rows`: (label, ymin, xmin, ymax, xmax)."""
  table = np.array(rows, np.float32).reshape(-1, 5)
  return PageBoxes(
    filename=name,
    image_hw=image_hw,
    boxes_yxyx=table[:, 1:],
    labels=table[:, 0].astype(np.int32),
    scores=None if scores is None else np.array(scores, np.float32),
  )
