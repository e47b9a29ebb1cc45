"""Energy groups: the assignment of classes to energy planes.

Objects with nearly the same centre, such as a notehead and its ledger line,
cannot be separated on one energy plane. Classes that often coincide therefore
get different planes, chosen from the boxes of the training set. The paper has
one group.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Int

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core.errors import InputError

# On perfect maps the decode loses one of two discs whose centres are within
# about a sixth of a disc; those farther apart are lost on blurred maps only. Of
# the weights 1, 5, 20 and 100, 5 keeps both rare (MUSCIMA++, cross-validated).
_SAME = 6
_SAME_WEIGHT = 5
_LEAST_COVERED = 10  # objects; fewer are chance


@dataclasses.dataclass(frozen=True)
class GroupConfig:
  """Energy groups: which class paints on which energy plane.

  Attributes:
    num: number G of energy planes, 1 or more; 1 = the paper.
    covered: with two planes, only covered classes leave the first one: those
      of which at least this share of the centres, 0..1, lie on the centre of
      an object of a more frequent class that stays there, too close for the
      decode; 0 = see `groups.automatic`.
    automatic: classes whose objects often share a centre on the training pages
      get different planes; False: all classes are in group 0.
    by_class: ((class name, group), ...): groups of single classes, 0 .. G-1,
      which override `groups.automatic`.
  """

  num: int = 1
  covered: float = 0.0
  automatic: bool = True
  by_class: tuple[tuple[str, int], ...] = ()

  def __post_init__(self):
    if self.num < 1:
      raise InputError(f"config: groups.num is {self.num}; use 1 or more")
    if not 0 <= self.covered <= 1:
      raise InputError(f"config: groups.covered is {self.covered}; use 0..1")
    if self.covered and self.num != 2:
      raise InputError(
        f"config: groups.covered is {self.covered:g}, but groups.num"
        f" {self.num}; use groups.num=2, or groups.covered=0"
      )


def count_conflicts(
  pages: Iterable[tuple[np.ndarray, np.ndarray]],
  num_classes: int,
  disc_px: float,
  scale: float,
) -> tuple[Int[np.ndarray, "C C"], Int[np.ndarray, " C"]]:
  """Counts pairs of objects too close for one energy plane, with weights.

  Args:
    pages: (boxes_yxyx [n, 4] in source pixels, labels [n]) of each page.
    num_classes: C.
    disc_px: diameter of the energy disc; centres closer than half of it clash
      with weight 1, closer than a sixth of it with weight 5.
    scale: from source pixels to pixels of the network's input.

  Returns:
    conflicts: int64 [C, C], symmetric; the diagonal counts each pair twice.
    frequency: int64 [C], objects of each class.
  """
  conflicts = np.zeros((num_classes, num_classes), np.int64)
  frequency = np.zeros(num_classes, np.int64)
  reach = disc_px / 2
  for boxes_yxyx, labels in pages:
    labels = np.asarray(labels, np.int64)
    frequency += np.bincount(labels, minlength=num_classes)
    centers = boxes_lib.centers_yx(np.asarray(boxes_yxyx, np.float64)) * scale
    order = np.argsort(centers[:, 0], kind="stable")
    centers, labels = centers[order], labels[order]
    # Only objects in the next `reach` rows can be close.
    ends = np.searchsorted(centers[:, 0], centers[:, 0] + reach)
    for i, end in enumerate(ends):
      offset = centers[i + 1 : end] - centers[i]
      square = (offset**2).sum(1)
      near = square < reach**2
      weight = np.where(square < (disc_px / _SAME) ** 2, _SAME_WEIGHT, 1)[near]
      near = labels[i + 1 : end][near]
      np.add.at(conflicts, (labels[i], near), weight)
      np.add.at(conflicts, (near, labels[i]), weight)
  return conflicts, frequency


def colour(
  conflicts: Int[np.ndarray, "C C"],
  frequency: Int[np.ndarray, " C"],
  num_groups: int,
) -> Int[np.ndarray, " C"]:
  """Assigns classes to groups 0 .. G-1 so that few objects clash.

  Greedily, each class goes to the group where it clashes least (ties: fewest
  objects, then the first), starting once from the most frequent and once from
  the most clashing class. Moves of single classes and swaps of pairs improve
  both results; the better one is returned.

  For the arguments see `count_conflicts`.
  """
  if num_groups < 1:
    raise ValueError(f"num_groups is {num_groups}; use 1 or more")
  between = conflicts - np.diag(np.diag(conflicts))
  found = [
    _improve(_greedy(between, frequency, first, num_groups), between)
    for first in (frequency, between.sum(1))
  ]
  return min(found, key=lambda groups: _clashes_left(groups, between))


def _greedy(between, frequency, first, num_groups):
  """Greedy groups, with the classes in descending order of `first`."""
  groups = np.zeros(len(frequency), np.int32)
  clashes = np.zeros((num_groups, len(frequency)), np.int64)
  load = np.zeros(num_groups, np.int64)
  for label in np.argsort(-first, kind="stable"):
    group = np.lexsort((load, clashes[:, label]))[0]
    groups[label] = group
    clashes[group] += between[label]
    load[group] += frequency[label]
  return groups


def _improve(groups, between):
  """Applies the best move or swap of classes until none helps."""
  groups, index = groups.copy(), np.arange(len(groups))
  planes = np.arange(groups.max(initial=0) + 1)
  while True:
    clashes = between @ (groups[:, None] == planes)  # [C, G], of class in group
    gain = clashes - clashes[index, groups][:, None]
    # Two swapped classes do not clash with each other.
    swap = gain[:, groups] + gain[:, groups].T - 2 * between
    swap[groups[:, None] == groups[None]] = 0
    move_best, swap_best = gain.min(initial=0), swap.min(initial=0)
    if move_best >= 0 and swap_best >= 0:
      return groups
    if move_best <= swap_best:
      label, group = np.unravel_index(gain.argmin(), gain.shape)
      groups[label] = group
    else:
      one, two = np.unravel_index(swap.argmin(), swap.shape)
      groups[[one, two]] = groups[[two, one]]


def _clashes_left(groups, between):
  return int(between[groups[:, None] == groups[None]].sum())


def assign_groups(
  pages: Iterable[tuple[np.ndarray, np.ndarray]],
  num_classes: int,
  num_groups: int,
  disc_px: float = 17.0,
  scale: float = 1.0,
) -> Int[np.ndarray, " C"]:
  """Energy group of each class, 0 .. G-1, from the boxes of a training set.

  For the arguments see `count_conflicts` and `colour`.
  """
  return colour(
    *count_conflicts(pages, num_classes, disc_px, scale), num_groups
  )


def covered_classes(
  pages: Iterable[tuple[np.ndarray, np.ndarray]],
  num_classes: int,
  share: float,
  disc_px: float = 17.0,
  scale: float = 1.0,
) -> Bool[np.ndarray, " C"]:
  """Classes whose objects mostly lie on those of other ones.

  From the most frequent class on, a class is covered if enough of its centres
  lie on centres of classes before it that are not: within a sixth of a disc,
  where the decode finds one of two objects only.

  Classes with fewer than ten such objects stay, too.

  Args:
    share: least share of the centres of a covered class, above 0 .. 1.

  For the other arguments see `count_conflicts`.
  """
  reach = disc_px / _SAME
  all_labels, all_under = [], []
  for boxes_yxyx, labels in pages:
    labels = np.asarray(labels, np.int64)
    centers = boxes_lib.centers_yx(np.asarray(boxes_yxyx, np.float64)) * scale
    under = np.zeros((len(labels), num_classes), bool)
    order = np.argsort(centers[:, 0], kind="stable")
    rows = centers[order, 0]
    ends = np.searchsorted(rows, rows + reach)
    for i, end in enumerate(ends.tolist()):
      others = order[i + 1 : end]
      square = ((centers[others] - centers[order[i]]) ** 2).sum(1)
      near = others[square < reach**2]
      under[order[i], labels[near]] = True
      under[near, labels[order[i]]] = True
    all_labels.append(labels)
    all_under.append(under)
  covered = np.zeros(num_classes, bool)
  if not all_labels:
    return covered
  labels, under = np.concatenate(all_labels), np.concatenate(all_under)
  frequency = np.bincount(labels, minlength=num_classes)
  staying = np.zeros(num_classes, bool)
  for label in np.argsort(-frequency, kind="stable"):
    own = under[labels == label][:, staying].any(1)
    enough = max(_LEAST_COVERED, share * frequency[label])
    covered[label] = own.sum() >= enough
    staying[label] = not covered[label]
  return covered
