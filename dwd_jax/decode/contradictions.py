"""Contradictions: symbols that cannot lie on each other.

Two braces in one place, or a notehead on the ball of a clef, are two readings
of the same ink. Which classes share a place is learned from true boxes: for
each pair of classes, the largest share of the smaller box that lies in the
larger one. Of two detections that share far more than the truth ever does, the
less probable one is dropped.

Exported detectors carry a copy of this file, so it needs numpy only.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

_LEAST_OBJECTS = 30  # of a class, before "never" means anything
# Classes that share this much belong together, as a grace note and its head.
# Detected boxes are not exact: of others, only more is a contradiction.
_SHARED = 0.5
_RARE = 0.002  # of the objects of the rarer class: errors in annotations
_AT_ONCE = 1 << 20  # candidates for pairs


@dataclasses.dataclass(frozen=True, eq=False)
class Contradictions:
  """What true boxes show.

  Attributes:
    counts: objects of each class, int64 [C].
    shares: float32 [C, C], symmetric: the largest share of the smaller box that
      lies in the larger one; 0 where none overlap.
  """

  counts: np.ndarray
  shares: np.ndarray

  def limits(self) -> np.ndarray:
    """Share from which two boxes contradict each other, float32 [C, C].

    Half-way between the largest share of the truth and the whole; inf for
    classes that share half or more, or of which too few objects are known.
    """
    few = self.counts < _LEAST_OBJECTS
    free = (self.shares >= _SHARED) | few[:, None] | few[None, :]
    return np.where(free, np.inf, (1 + self.shares) / 2)

  def stays(
    self, boxes_yxyx: np.ndarray, labels: np.ndarray, scores: np.ndarray
  ) -> np.ndarray:
    """Which detections of a page stay, bool [n].

    Greedy by falling score: a detection stays unless it contradicts a better
    one that stays.

    Args:
      boxes_yxyx: (ymin, xmin, ymax, xmax), [n, 4].
      labels: class ids, [n].
      scores: comparable among classes, [n].
    """
    one, other, share = _overlaps(boxes_yxyx)
    contradict = share > self.limits()[labels[one], labels[other]]
    one, other = one[contradict], other[contradict]
    rank = np.empty(len(scores), np.int64)
    rank[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
    swap = rank[one] > rank[other]
    better, worse = np.where(swap, other, one), np.where(swap, one, other)
    order = np.argsort(rank[better], kind="stable")
    keep = np.ones(len(scores), bool)
    # What beats `i` is settled before the pairs in which `i` is the better.
    for i, j in zip(better[order].tolist(), worse[order].tolist()):  # noqa: B905
      if keep[i]:
        keep[j] = False
    return keep


def learn(
  pages: Iterable[tuple[np.ndarray, np.ndarray]], num_classes: int
) -> Contradictions:
  """Learns from true boxes.

  Args:
    pages: boxes (ymin, xmin, ymax, xmax) [n, 4] and labels [n] of each page.
    num_classes: C.
  """
  counts = np.zeros(num_classes, np.int64)
  pairs, shares = [np.zeros(0, np.int64)], [np.zeros(0)]
  for boxes, labels in pages:
    counts += np.bincount(labels, minlength=num_classes)
    one, other, share = _overlaps(boxes)
    low, high = np.sort([labels[one], labels[other]], axis=0)
    pairs.append(low * num_classes + high)
    shares.append(share)
  pair, share = np.concatenate(pairs), np.concatenate(shares)
  order = np.lexsort((-share, pair))
  found, first, number = np.unique(
    pair[order], return_index=True, return_counts=True
  )
  low, high = np.divmod(found, num_classes)
  rare = (_RARE * np.minimum(counts[low], counts[high])).astype(np.int64)
  last = first + number - 1
  seen = np.where(
    rare < number, share[order][np.minimum(first + rare, last)], 0
  )
  table = np.zeros((num_classes, num_classes), np.float32)
  table[low, high] = table[high, low] = seen
  return Contradictions(counts, table)


def to_json(found: Contradictions, class_names: Sequence[str]) -> dict[str, Any]:
  """Plain values; `from_json` reads them back, shares to three digits."""
  rows = np.argwhere(np.triu(found.shares >= 0.001))
  return {
    "counts": dict(zip(class_names, found.counts.tolist())),  # noqa: B905
    "shares": [
      [class_names[i], class_names[j], round(float(found.shares[i, j]), 3)]
      for i, j in rows.tolist()
    ],
  }


def from_json(
  content: Mapping[str, Any], class_names: Sequence[str]
) -> Contradictions:
  """Reads the values of `to_json`.

  Raises:
    ValueError, KeyError, TypeError: they are damaged.
  """
  index = {name: i for i, name in enumerate(class_names)}
  counts = np.array([int(content["counts"][name]) for name in class_names])
  shares = np.zeros((len(index), len(index)), np.float32)
  for one, other, share in content["shares"]:
    if not 0 <= share <= 1:
      raise ValueError(f"{share!r} is no share")
    i, j = index[one], index[other]
    shares[i, j] = shares[j, i] = share
  return Contradictions(counts, shares)


def _overlaps(
  boxes_yxyx: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Pairs of boxes that overlap: their indices, the share of the smaller one.

  Boxes are swept from above: candidates begin before the other one ends.
  """
  boxes = np.asarray(boxes_yxyx, np.float64)
  order = np.argsort(boxes[:, 0], kind="stable")
  y0, x0, y1, x1 = boxes[order].T
  area = np.maximum(y1 - y0, 0) * np.maximum(x1 - x0, 0)
  later = np.arange(1, len(boxes) + 1)
  count = np.maximum(np.searchsorted(y0, y1) - later, 0)
  total = np.cumsum(count)
  parts = [(later[:0], later[:0], area[:0])]
  start = 0
  while start < len(boxes):
    done = total[start] - count[start]
    end = max(start + 1, np.searchsorted(total, done + _AT_ONCE, "right"))
    here = count[start:end]
    one = np.repeat(np.arange(start, end), here)
    nth = np.arange(len(one)) - np.repeat(total[start:end] - here - done, here)
    other = one + 1 + nth
    width = np.minimum(x1[one], x1[other]) - np.maximum(x0[one], x0[other])
    near = width > 0
    one, other, width = one[near], other[near], width[near]
    height = np.minimum(y1[one], y1[other]) - y0[other]
    smaller = np.minimum(area[one], area[other])
    share = np.where(smaller > 0, width * height / np.maximum(smaller, 1e-9), 0)
    parts.append((order[one], order[other], share))
    start = end
  one, other, share = map(np.concatenate, zip(*parts))  # noqa: B905
  return one, other, share
