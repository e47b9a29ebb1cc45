"""How many errors of each kind there are, and what each kind costs.

The kinds are those of `metrics.outcomes`. What a kind costs is the AP at IoU
0.5 that is gained where all its errors, and no others, are repaired:

  location, class  the best scored detection of a true box that is not found
                   gets its place or its class, the others go
  duplicate, background, both  the detections go
  missed           the true boxes go

Gains are no shares: they do not add up. AP is that of COCO's 101 points.

Reference: Bolya et al., TIDE: A General Toolbox for Identifying Object
Detection Errors (ECCV 2020), section 2.3. Differs from it where a class has
nothing but missed boxes: once they are gone its AP is taken for 1.
"""

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from dwd_jax.metrics.outcomes import (
  CLASS,
  KINDS,
  LOCATION,
  Outcomes,
)
from dwd_jax.metrics.precision_recall import average_precision

MISSED = "missed"
ALL_KINDS = (*KINDS, MISSED)


class Gains(NamedTuple):
  """What repairs are worth.

  Attributes:
    ap_50: of each class as it is; NaN for classes without true boxes.
    gain: {kind: AP_50 gained by its repair}, for each class; NaN likewise.
  """

  ap_50: Float[np.ndarray, " C"]
  gain: dict[str, Float[np.ndarray, " C"]]


def counts(
  outcomes: Outcomes, num_classes: int
) -> dict[str, Int[np.ndarray, " C"]]:
  """Errors of each kind by class: of the detection, for missed of the truth.

  Args:
    outcomes: the detections that count, see `Outcomes.at_least`.
    num_classes: C.
  """
  found = {
    name: np.bincount(
      outcomes.labels[outcomes.kind == i], minlength=num_classes
    )
    for i, name in enumerate(KINDS)
  }
  missed = outcomes.true_labels[outcomes.missed()]
  return found | {MISSED: np.bincount(missed, minlength=num_classes)}


def gains(outcomes: Outcomes, num_classes: int) -> Gains:
  """What the repair of each kind of error is worth, class by class.

  Args:
    outcomes: all detections that the AP counts.
    num_classes: C.
  """
  objects = np.bincount(outcomes.true_labels, minlength=num_classes)
  plain = _ap(outcomes, outcomes.labels, outcomes.right, None, objects)
  gain = {}
  for kind, name in enumerate(KINDS):
    wrong = outcomes.kind == kind
    labels, right = outcomes.labels, outcomes.right
    repaired = np.zeros(len(labels), bool)
    if kind in (LOCATION, CLASS):
      repaired = _repaired(outcomes, wrong)
      labels = labels.copy()
      labels[repaired] = outcomes.true_labels[outcomes.of_truth[repaired]]
    keep = ~wrong | repaired
    gain[name] = _ap(outcomes, labels, right | repaired, keep, objects) - plain
  missed = np.bincount(
    outcomes.true_labels[outcomes.missed()], minlength=num_classes
  )
  left = objects - missed
  without = _ap(outcomes, outcomes.labels, outcomes.right, None, left)
  without = np.where((objects > 0) & (left == 0), 1.0, without)
  gain[MISSED] = without - plain
  return Gains(plain, gain)


def _repaired(
  outcomes: Outcomes, wrong: Bool[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
  """Of the wrong ones, the best of each true box that nothing has found."""
  rows = np.flatnonzero(wrong)
  rows = rows[~outcomes.found()[outcomes.of_truth[rows]]]
  rows = rows[np.argsort(-outcomes.scores[rows], kind="stable")]
  _, first = np.unique(outcomes.of_truth[rows], return_index=True)
  repaired = np.zeros(len(wrong), bool)
  repaired[rows[first]] = True
  return repaired


def _ap(outcomes: Outcomes, labels, right, keep, objects):
  """AP of each class; `objects` [C] true boxes, `keep` [n] or None = all."""
  keep = np.ones(len(labels), bool) if keep is None else keep
  labels, scores, right = labels[keep], outcomes.scores[keep], right[keep]
  order = np.argsort(labels, kind="stable")
  edges = np.searchsorted(labels[order], np.arange(len(objects) + 1))
  return np.array(
    [
      average_precision(scores[rows], right[rows], int(objects[c]))
      for c, rows in enumerate(order[a:b] for a, b in itertools.pairwise(edges))
    ]
  )
