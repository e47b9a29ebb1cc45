"""The decode in NumPy and OpenCV: what a careful user would write for a CPU.

One page and one energy plane at a time; work follows the pixels above the
cutoff, sums are bincounts; basins are found and measured as in exported files.
Gives the same boxes, labels and scores as `dwd_jax.decode`; a test and the
benchmark itself compare them.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import scipy.spatial
from jaxtyping import Float

from dwd_jax.apps.export.standalone import numpy_basins
from dwd_jax.decode import decode_config as config_lib

# Raster indices int [P] -> heights and widths float [P, 2].
SizeFn = Callable[[np.ndarray], np.ndarray]
# Raster indices int [P] -> class ids int [P] or probabilities float [P, C].
ClassFn = Callable[[np.ndarray], np.ndarray]
# Best first: boxes_yxyx [n, 4], labels [n], scores [n].
Found = tuple[np.ndarray, np.ndarray, np.ndarray]


def decode(
  levels: Float[np.ndarray, "h w"],
  size_fn: SizeFn,
  class_fn: ClassFn,
  num_classes: int,
  cfg: config_lib.DecodeConfig,
) -> Found:
  """Turns one energy plane into boxes.

  Args:
    levels: energy level of each pixel.
    size_fn: box sizes at pixels; 0 = unknown.
    class_fn: class ids at pixels, -1 = background, which casts no vote; or,
      watershed with `class_vote` "share", class probabilities.
    num_classes: C.
    cfg: settings, with `legacy` False; `size` must be "weighted" for the
      watershed and "mean" for the threshold, `class_vote` "majority" for the
      threshold.
  """
  one = _threshold if cfg.method == "threshold" else _watershed
  centers, hw, labels, scores = one(
    np.ascontiguousarray(levels), size_fn, class_fn, num_classes, cfg
  )
  half = np.maximum(hw, 0) / 2
  boxes = np.concatenate((centers - half, centers + half), 1)
  boxes = boxes.astype(np.float32)
  best = np.argsort(-scores, kind="stable")[: cfg.max_detections]
  return boxes[best], labels[best], scores[best]


def expected_levels(
  logits: Float[np.ndarray, "h w E"],
) -> Float[np.ndarray, "h w"]:
  """Mean level of a softmax over the levels."""
  flat = logits.reshape(-1, logits.shape[-1])
  weight = cv2.exp(flat - cv2.reduce(flat, 1, cv2.REDUCE_MAX))
  levels = np.arange(flat.shape[1], dtype=np.float32)
  both = weight @ np.stack((levels, np.ones_like(levels)), 1)
  return (both[:, 0] / both[:, 1]).reshape(logits.shape[:-1])


def _threshold(levels, size_fn, class_fn, num_classes, cfg):
  """Connected components; every pixel counts the same."""
  mask = cv2.compare(levels, cfg.energy_cutoff, cv2.CMP_GT)
  count, ids = cv2.connectedComponents(mask, connectivity=8, ltype=cv2.CV_32S)
  at = np.flatnonzero(mask)
  row = ids.reshape(-1)[at]
  y, x = np.divmod(at, levels.shape[1])

  def total(weights=None):
    return np.bincount(row, weights, count)

  height, width = size_fn(at).T
  known = (height > 0) & (width > 0)
  divisor = np.maximum(total(known), 1)
  area = total()
  keep = area >= max(cfg.min_area_px, 1)
  pixels = np.maximum(area, 1)
  label = class_fn(at)
  voted = label >= 0
  votes = np.bincount(
    row[voted] * num_classes + label[voted], minlength=count * num_classes
  ).reshape(count, num_classes)
  labels = votes.argmax(1)
  centers = np.stack((total(y) / pixels, total(x) / pixels), 1) + 0.5
  hw = np.stack((total(height * known), total(width * known)), 1)
  energy = total(levels.reshape(-1)[at]) / pixels
  share = votes[np.arange(count), labels] / pixels
  scores = np.clip(energy / (cfg.num_energy_levels - 1), 0, 1) * share
  hw = hw / divisor[:, None]
  return centers[keep], hw[keep], labels[keep], scores[keep]


def _watershed(levels, size_fn, class_fn, num_classes, cfg):
  """Basins of the energy peaks, shallow ones merged, measured by caps."""
  binomial = np.array([0.25, 0.5, 0.25], np.float32)
  for _ in range(cfg.smooth):
    levels = cv2.sepFilter2D(
      levels, -1, binomial, binomial, borderType=cv2.BORDER_REPLICATE
    )
  framed = cv2.copyMakeBorder(
    levels, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=-np.inf
  )
  at = np.flatnonzero(cv2.compare(framed, cfg.energy_cutoff, cv2.CMP_GT))
  basins = numpy_basins.find_basins(framed, at, cfg)
  centers, hw = numpy_basins.measure(framed, at, basins, size_fn, cfg)
  kept, confidence = numpy_basins.choose(framed, at, basins, cfg)
  asked, ok = numpy_basins.around(basins, kept, framed.shape[1], cfg)
  labels, share = _vote(class_fn(asked.reshape(-1)), ok, num_classes)
  return centers[kept], hw[kept], labels, confidence * share


def _vote(said, ok, num_classes):
  """Class that most of the pixels [n, P] of an object say, and its share."""
  if said.ndim == 2:
    votes = (said.reshape(*ok.shape, -1) * ok[..., None]).sum(1)
  else:
    voted = ok.reshape(-1) & (said >= 0)
    slot = np.repeat(np.arange(len(ok)), ok.shape[1])
    votes = np.bincount(
      slot[voted] * num_classes + said[voted], minlength=len(ok) * num_classes
    ).reshape(len(ok), num_classes)
  labels = votes.argmax(1)
  total = np.maximum(ok.sum(1), 1)
  return labels, votes[np.arange(len(ok)), labels] / total


def check_equal(
  found: Any, page: int, expected: Found, others: float = 0.0
) -> None:
  """Raises unless both found the same objects.

  Args:
    found: our detections.
    page: which of them.
    expected: of the peer.
    others: share of the objects that may differ, where rounding of the logits
      tips the balance between two levels or classes of a pixel.
  """
  valid = np.asarray(found.valid[page])
  boxes, labels = np.asarray(found.boxes_yxyx[page]), found.labels[page]
  ours = np.column_stack((boxes, 100.0 * labels, found.scores[page]))[valid]
  theirs = np.column_stack((expected[0], 100.0 * expected[1], expected[2]))
  tree = scipy.spatial.KDTree(theirs)
  distance, partner = tree.query(ours, p=np.inf)
  alone = (
    (distance > (0.1 if others else 0.01)).sum()
    + len(theirs)
    - len(np.unique(partner))
  )
  if alone + abs(len(ours) - len(theirs)) > others * len(theirs):
    raise ValueError(
      f"{alone} of {len(ours)} objects are not among the peer's {len(theirs)}"
    )
