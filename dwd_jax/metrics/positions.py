"""How many detections know their place on the staff."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dwd_jax.core.structs import NO_POSITION, PageBoxes
from dwd_jax.metrics.matching import RIGHT, OfPage


class PositionTable(NamedTuple):
  """Counts of each of C classes.

  Attributes:
    judged: right detections (class, IoU 0.5) of symbols whose position is
      known.
    right: those with this position.
  """

  judged: Int[np.ndarray, " C"]
  right: Int[np.ndarray, " C"]

  def per_class(self) -> Float[np.ndarray, " C"]:
    """Share of the right ones; NaN where none is judged."""
    with np.errstate(invalid="ignore"):
      return self.right / self.judged

  def overall(self) -> float:
    """Share over all classes."""
    return int(self.right.sum()) / int(self.judged.sum())


class PositionMeter:
  """Counts page by page."""

  def __init__(self, num_classes: int):
    self._judged = np.zeros(num_classes, np.int64)
    self._right = np.zeros(num_classes, np.int64)

  def add(self, truth: PageBoxes, found: PageBoxes, of_page: OfPage) -> None:
    """Adds a page, unless truth or detections know of no positions."""
    if truth.positions is None or found.positions is None:
      return
    hits = np.flatnonzero(of_page.kind == RIGHT)
    wanted = truth.positions[of_page.of_truth[hits]]
    judged = wanted != NO_POSITION
    right = judged & (found.positions[hits] == wanted)
    for counts, which in ((self._judged, judged), (self._right, right)):
      counts += np.bincount(found.labels[hits[which]], minlength=len(counts))

  def table(self) -> PositionTable | None:
    """The counts of all pages; None if nothing is judged."""
    if not self._judged.any():
      return None
    return PositionTable(self._judged, self._right)
