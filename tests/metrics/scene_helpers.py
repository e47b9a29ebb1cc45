"""Random pages of boxes, with detections that make every kind of error."""

import numpy as np

from dwd_jax.core.structs import PageBoxes

CLASSES = 4
_PITCH_PX = 60


def page(name, boxes, labels, scores=None, hw=(400, 400)):
  return PageBoxes(
    filename=name,
    image_hw=hw,
    boxes_yxyx=np.array(boxes, np.float32).reshape(-1, 4),
    labels=np.array(labels, np.int32).reshape(-1),
    scores=None if scores is None else np.array(scores, np.float64).reshape(-1),
  )


def scene(seed, pages=3, crowded=False):
  """Truth and detections; no two scores are equal.

  True boxes lie apart from each other, so that a detection is about one of
  them; `crowded`: anywhere.
  """
  rng = np.random.default_rng(seed)
  truth, found = [], []
  for i in range(pages):
    n = int(rng.integers(0, 13))
    if crowded:
      corners = rng.integers(0, 60, (n, 2)).astype(float)
    else:
      cells = rng.permutation(36)[:n]
      corners = np.stack([cells // 6, cells % 6], 1) * float(_PITCH_PX)
    boxes = np.concatenate([corners, corners + rng.integers(8, 30, (n, 2))], 1)
    labels = rng.integers(0, CLASSES - 1, n)  # the last class has no truth
    truth.append(page(f"{i}.png", boxes, labels))
    rows = rng.integers(0, n, int(rng.integers(0, 2 * n + 1))) if n else []
    near = boxes[rows] + rng.choice([0.5, 3.0, 9.0], (len(rows), 1)) * (
      rng.uniform(-1, 1, (len(rows), 4))
    )
    right = rng.random(len(rows)) < 0.7
    near_labels = np.where(
      right, labels[rows], rng.integers(0, CLASSES, len(rows))
    )
    far = rng.uniform(0, 380, (int(rng.integers(0, 4)), 2))
    far = np.concatenate([far, far + 12], 1)
    found.append(
      page(
        f"{i}.png",
        np.concatenate([near.reshape(-1, 4), far]),
        np.concatenate([near_labels, rng.integers(0, CLASSES, len(far))]),
        rng.permutation(500)[: len(rows) + len(far)] / 500 + i / 5000,
      )
    )
  return truth, found
