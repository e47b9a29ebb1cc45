"""Contradictions: symbols that cannot lie on each other.

Two braces in one place, or a notehead on the ball of a clef, are two readings
of the same ink. Which classes share a place is learned from true boxes: for
each pair of classes, the largest share of the smaller box that lies in the
larger one. Of two detections that share far more than the truth ever does, one
is dropped. So is a rest that fills measures with a notehead close above or
below, unless the truth has some there: thick beams look like such rests.

Exported detectors carry a copy of this file, so it needs numpy only.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

_LEAST_OBJECTS = 30  # of a class, before "never" means anything
# Classes that share this much belong together, as a grace note and its head.
_BELONGS = 0.5
# Detected boxes are not exact, so truth without overlaps allows this share. 0.5
# costs right detections of flat symbols in chords; 0.7 keeps more false ones.
_INEXACT = 0.6
_RARE = 0.002  # of the objects of the rarer class: errors in annotations
_AT_ONCE = 1 << 20  # candidates for pairs
_EPS = 1e-6  # probabilities are clipped to this distance from 0 and 1
_FILLS_MEASURES = ("restHBar", "multiMeasureRest")
# Around it, in heights of such a rest: nearer than noteheads of its neighbours
# and of metronome marks.
_CLEAR_YX = (1.25, 0.5)


@dataclasses.dataclass(frozen=True, eq=False)
class Contradictions:
  """What true boxes show.

  Attributes:
    counts: objects of each class, int64 [C].
    shares: float32 [C, C], symmetric: the largest share of the smaller box that
      lies in the larger one, to three digits; 0 where none overlap.
    apart: bool [C, C]: objects of the second class do not lie close above or
      below one of the first.
  """

  counts: np.ndarray
  shares: np.ndarray
  apart: np.ndarray

  def limits(self) -> np.ndarray:
    """Share from which two boxes contradict each other, float32 [C, C].

    From 0.6 where the truth shows none towards 1; inf for classes that belong
    together, or of which too few objects are known.
    """
    few = self.counts < _LEAST_OBJECTS
    free = (self.shares >= _BELONGS) | few[:, None] | few[None, :]
    return np.where(free, np.inf, _INEXACT + (1 - _INEXACT) * self.shares)

  def stays(
    self, boxes_yxyx: np.ndarray, labels: np.ndarray, scores: np.ndarray
  ) -> np.ndarray:
    """Which detections of a page stay, bool [n].

    Greedy: a detection stays unless it contradicts a better one that stays.
    The better one has higher odds times the root of its area: what is nearly
    certain differs little in probability, and a part of a large symbol is more
    often taken for a small one than the reverse. Before, rests that fill
    measures go where a notehead close by is at least as probable.

    Args:
      boxes_yxyx: (ymin, xmin, ymax, xmax), [n, 4].
      labels: class ids, [n].
      scores: probabilities, [n].
    """
    boxes = np.asarray(boxes_yxyx, np.float64)
    one, other, share = _overlaps(boxes)
    contradict = share > self.limits()[labels[one], labels[other]]
    one, other = one[contradict], other[contradict]
    p = np.clip(np.asarray(scores, np.float64), _EPS, 1 - _EPS)
    weight = p / (1 - p) * np.sqrt(_areas(boxes))
    rank = np.empty(len(p), np.int64)
    rank[np.argsort(-weight, kind="stable")] = np.arange(len(p))
    swap = rank[one] > rank[other]
    better, worse = np.where(swap, other, one), np.where(swap, one, other)
    order = np.argsort(rank[better], kind="stable")
    keep = np.ones(len(p), bool)
    rests, notes = _near(boxes, labels, self.apart)
    keep[rests[p[notes] >= p[rests]]] = False
    # What beats `i` is settled before the pairs in which `i` is the better.
    for i, j in zip(better[order].tolist(), worse[order].tolist()):  # noqa: B905
      if keep[i]:
        keep[j] = False
    return keep


def learn(
  pages: Iterable[tuple[np.ndarray, np.ndarray]], class_names: Sequence[str]
) -> Contradictions:
  """Learns from true boxes.

  Args:
    pages: boxes (ymin, xmin, ymax, xmax) [n, 4] and labels [n] of each page.
    class_names: C.
  """
  num_classes = len(class_names)
  fills = np.array([name in _FILLS_MEASURES for name in class_names], bool)
  heads = np.array([name.startswith("notehead") for name in class_names], bool)
  apart = fills[:, None] & heads[None, :]
  near = np.zeros(apart.shape, np.int64)
  counts = np.zeros(num_classes, np.int64)
  pairs, shares = [np.zeros(0, np.int64)], [np.zeros(0)]
  for boxes_yxyx, labels in pages:
    boxes = np.asarray(boxes_yxyx, np.float64)
    counts += np.bincount(labels, minlength=num_classes)
    one, other, share = _overlaps(boxes)
    low, high = np.sort([labels[one], labels[other]], axis=0)
    pairs.append(low * num_classes + high)
    shares.append(share)
    rests, notes = _near(boxes, labels, apart)
    np.add.at(near, (labels[rests], labels[notes]), 1)
  known = counts >= _LEAST_OBJECTS
  apart &= near <= _RARE * np.minimum(counts[:, None], counts)
  apart &= known[:, None] & known
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
  table[low, high] = table[high, low] = np.round(seen, 3)
  return Contradictions(counts, table, apart)


def to_json(
  found: Contradictions, class_names: Sequence[str]
) -> dict[str, Any]:
  """Plain values; `from_json` reads them back."""
  rows = np.argwhere(np.triu(found.shares > 0))
  return {
    "counts": dict(zip(class_names, found.counts.tolist())),  # noqa: B905
    "shares": [
      [class_names[i], class_names[j], round(float(found.shares[i, j]), 3)]
      for i, j in rows.tolist()
    ],
    "apart": [
      [class_names[i], class_names[j]]
      for i, j in np.argwhere(found.apart).tolist()
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
  apart = np.zeros(shares.shape, bool)
  for one, other in content["apart"]:
    apart[index[one], index[other]] = True
  return Contradictions(counts, shares, apart)


def _near(
  boxes: np.ndarray, labels: np.ndarray, apart: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Rests that fill measures and noteheads near by: indices of the pairs."""
  rests, notes = [], []
  top, left, bottom, right = boxes.T
  middle = (left + right) / 2
  for i in np.flatnonzero(np.any(apart, axis=1)[labels]):
    y0, x0, y1, x1 = boxes[i]
    clear_y, clear_x = (heights * (y1 - y0) for heights in _CLEAR_YX)
    near = (bottom > y0 - clear_y) & (top < y1 + clear_y)
    near &= (middle > x0 - clear_x) & (middle < x1 + clear_x)
    found = np.flatnonzero(near & apart[labels[i], labels])
    rests.append(np.full(len(found), i))
    notes.append(found)
  nothing = np.zeros(0, np.int64)
  return np.concatenate([nothing, *rests]), np.concatenate([nothing, *notes])


def _areas(boxes: np.ndarray) -> np.ndarray:
  y0, x0, y1, x1 = boxes.T
  return np.maximum(y1 - y0, 0) * np.maximum(x1 - x0, 0)


def _overlaps(
  boxes: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Pairs of boxes that overlap: their indices, the share of the smaller one.

  Boxes are swept from above: candidates begin before the other one ends.
  """
  order = np.argsort(boxes[:, 0], kind="stable")
  y0, x0, y1, x1 = boxes[order].T
  area = _areas(boxes[order])
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
