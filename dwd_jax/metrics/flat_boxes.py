"""What the metrics share: truth joined with detections, the table of APs."""

import dataclasses
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dwd_jax.core.structs import PageBoxes

IOUS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))  # 0.5 .. 0.95


class FlatBoxes(NamedTuple):
  """The boxes of all pages, one page after the other.

  Attributes:
    page: index of the box's page in the list of file names.
    boxes_yxyx: float64; the far edge never lies before the near one.
    labels: class ids 0 .. C-1.
    scores: 0 for truth.
  """

  page: Int[np.ndarray, " n"]
  boxes_yxyx: Float[np.ndarray, "n 4"]
  labels: Int[np.ndarray, " n"]
  scores: Float[np.ndarray, " n"]


@dataclasses.dataclass(frozen=True)
class APTable:
  """Average precision of every class at every IoU threshold.

  Attributes:
    ious: the T thresholds.
    ap: 0..1; NaN for a class that has no object in the truth.
    num_objects: objects of each class in the truth.
  """

  ious: tuple[float, ...]
  ap: Float[np.ndarray, "T C"]
  num_objects: Int[np.ndarray, " C"]

  def per_class(self) -> Float[np.ndarray, " C"]:
    """AP of each class, mean over the thresholds."""
    return self.ap.mean(axis=0)

  def per_iou(self) -> Float[np.ndarray, " T"]:
    """Mean over the classes at each threshold; absent classes are left out."""
    return np.array([mean_or_nan(row) for row in self.ap])

  def at(self, iou: float) -> Float[np.ndarray, " C"]:
    """AP of each class at one of the thresholds."""
    return self.ap[self.ious.index(iou)]


def mean_or_nan(values: Float[np.ndarray, " n"]) -> float:
  """Mean of the values that are not NaN; NaN if there are none."""
  known = values[~np.isnan(values)]
  return float(known.mean()) if known.size else float("nan")


def join(
  truth: Sequence[PageBoxes],
  detections: Sequence[PageBoxes],
  num_classes: int,
) -> tuple[FlatBoxes, FlatBoxes, list[str]]:
  """Joins truth and detections by file name, in an order of its own.

  The order (pages by name, detections by falling score, then position) makes
  every metric independent of the order of the input.

  Args:
    truth: the pages to judge; each file name once.
    detections: pages with scores, each a page of the truth; a page that is
      missing here has no detections. Detections whose score or box is not
      finite are left out, with a warning that names the page.
    num_classes: C, number of classes.

  Returns:
    The truth, the detections, and the file names by page index.

  Raises:
    ValueError: a name occurs twice, detections of a page without truth, a
      label outside 0 .. C-1, or detections without scores.
  """
  names = sorted(page.filename for page in truth)
  if len(set(names)) != len(names):
    raise ValueError("a file name occurs twice in the truth")
  index = {name: i for i, name in enumerate(names)}
  strangers = [p.filename for p in detections if p.filename not in index]
  if strangers:
    raise ValueError(f"{strangers[0]}: detections of a page without truth")
  if len({p.filename for p in detections}) != len(detections):
    raise ValueError("a file name occurs twice in the detections")
  if any(p.scores is None for p in detections):
    raise ValueError("detections need scores")
  gt = _flatten(truth, index, num_classes)
  dt = _flatten([finite(p) for p in detections], index, num_classes)
  box = dt.boxes_yxyx
  order = np.lexsort((dt.labels, *box.T[::-1], dt.page, -dt.scores))
  return gt, FlatBoxes(*(column[order] for column in dt)), names


def finite(page: PageBoxes) -> PageBoxes:
  """Without detections whose score or box is not finite; warns of them."""
  assert page.scores is not None
  good = np.isfinite(page.scores) & np.isfinite(page.boxes_yxyx).all(axis=1)
  if good.all():
    return page
  warnings.warn(
    f"{page.filename}: {np.sum(~good)} detections with a score or box that is"
    " not finite are left out; the model has probably diverged",
    stacklevel=2,
  )
  return dataclasses.replace(
    page,
    boxes_yxyx=page.boxes_yxyx[good],
    labels=page.labels[good],
    scores=page.scores[good],
  )


def at_least(page: PageBoxes, min_score: float) -> PageBoxes:
  """Without the detections below a score."""
  if page.scores is None:
    return page
  keep = page.scores >= min_score
  return dataclasses.replace(
    page,
    boxes_yxyx=page.boxes_yxyx[keep],
    labels=page.labels[keep],
    scores=page.scores[keep],
  )


def _flatten(
  pages: Sequence[PageBoxes], index: dict[str, int], num_classes: int
) -> FlatBoxes:
  def column(parts, shape, dtype):
    return np.concatenate([np.zeros(shape, dtype), *parts]).astype(dtype)

  pages = sorted(pages, key=lambda p: p.filename)
  boxes = column([p.boxes_yxyx for p in pages], (0, 4), np.float64)
  boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
  labels = column([p.labels for p in pages], 0, np.int64)
  if labels.size and (labels.min() < 0 or labels.max() >= num_classes):
    raise ValueError(f"a label lies outside 0 .. {num_classes - 1}")
  return FlatBoxes(
    page=column(
      [np.full(len(p.labels), index[p.filename]) for p in pages], 0, np.int64
    ),
    boxes_yxyx=boxes,
    labels=labels,
    scores=column(
      [
        np.zeros(len(p.labels)) if p.scores is None else p.scores for p in pages
      ],
      0,
      np.float64,
    ),
  )
