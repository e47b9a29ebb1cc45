"""How well objects of different sizes are found.

The size of a box is the square root of its area, the side of a square that is
as large. A bin holds the true boxes of its sizes, the detections that found
one of them, and the wrong detections that are themselves of such a size; COCO
treats its small, medium and large objects in a similar way.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dwd_jax.core import boxes as box_lib
from dwd_jax.metrics.flat_boxes import mean_or_nan
from dwd_jax.metrics.outcomes import Outcomes
from dwd_jax.metrics.precision_recall import average_precision

PX_EDGES = (0, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, np.inf)
STAFF_SPACE_EDGES = (0, 0.35, 0.5, 0.7, 1, 1.4, 2, 2.8, 4, 5.7, 8, np.inf)


class BySize(NamedTuple):
  """Figures of each of k bins of sizes.

  Attributes:
    edges: lower edges, and one upper edge; a size on an edge lies above it.
    num_objects: true boxes.
    num_classes: classes that they are of.
    recall: share of them found at the threshold; NaN without any.
    ap_50: mean over those classes of their AP in this bin; NaN without any.
  """

  edges: tuple[float, ...]
  num_objects: Int[np.ndarray, " k"]
  num_classes: Int[np.ndarray, " k"]
  recall: Float[np.ndarray, " k"]
  ap_50: Float[np.ndarray, " k"]


def by_size(
  outcomes: Outcomes,
  min_score: float,
  edges: Sequence[float] = PX_EDGES,
  px_per_unit: Float[np.ndarray, " pages"] | None = None,
) -> BySize:
  """Recall and AP_50 by the size of the objects.

  Args:
    outcomes: all detections that the AP counts.
    min_score: the recall is that of the detections from this score on.
    edges: of the bins, rising.
    px_per_unit: what the edges count in, by page, such as its staff space; NaN
      leaves the boxes of a page out. None: pixels.
  """
  unit = np.ones(1) if px_per_unit is None else px_per_unit

  def bins_of(boxes, page):
    size = np.sqrt(np.asarray(box_lib.areas(boxes)))
    size = size / (unit[0] if px_per_unit is None else unit[page])
    # NaN sorts behind everything, past the last bin.
    return np.searchsorted(np.array(edges), size, side="right") - 1

  true_bin = bins_of(outcomes.true_boxes_yxyx, outcomes.true_page)
  bins = bins_of(outcomes.boxes_yxyx, outcomes.page)
  right = outcomes.right
  bins[right] = true_bin[outcomes.of_truth[right]]
  found = outcomes.at_least(min_score).found()
  k = len(edges) - 1
  rows = [_bin(outcomes, found, true_bin == b, bins == b) for b in range(k)]
  objects, classes, recall, ap_50 = map(np.array, zip(*rows, strict=True))
  return BySize(tuple(map(float, edges)), objects, classes, recall, ap_50)


def _bin(outcomes: Outcomes, found, true_here, here):
  """Objects, classes, recall and AP_50 of one bin."""
  labels, count = np.unique(outcomes.true_labels[true_here], return_counts=True)
  if not len(labels):
    return 0, 0, np.nan, np.nan
  ap = []
  for label, objects in zip(labels, count, strict=True):
    rows = here & (outcomes.labels == label)
    ap.append(
      average_precision(
        outcomes.scores[rows], outcomes.right[rows], int(objects)
      )
    )
  recall = found[true_here].mean()
  return count.sum(), len(labels), recall, mean_or_nan(np.array(ap))
