"""The scores of single pages, and which of them are the worst."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dwd_jax.metrics.outcomes import Outcomes


class ByPage(NamedTuple):
  """Figures of each of p pages.

  Attributes:
    num_objects: true boxes.
    num_detections: that count.
    num_right: of them.
  """

  num_objects: Int[np.ndarray, " p"]
  num_detections: Int[np.ndarray, " p"]
  num_right: Int[np.ndarray, " p"]

  @property
  def num_errors(self) -> Int[np.ndarray, " p"]:
    """Wrong detections and true boxes that were not found."""
    return self.num_detections + self.num_objects - 2 * self.num_right

  @property
  def f1(self) -> Float[np.ndarray, " p"]:
    """1 where there is nothing to find and nothing was found."""
    total = self.num_detections + self.num_objects
    return np.where(total > 0, 2 * self.num_right / np.maximum(total, 1), 1.0)

  def worst_first(self) -> Int[np.ndarray, " p"]:
    """Page numbers by rising F1; of equal ones the one with more errors."""
    return np.lexsort((-self.num_errors, self.f1))


def by_page(outcomes: Outcomes, num_pages: int) -> ByPage:
  """The scores of every page.

  Args:
    outcomes: the detections that count, see `Outcomes.at_least`.
    num_pages: p.
  """
  pages = (
    outcomes.true_page,
    outcomes.page,
    outcomes.page[outcomes.right],
  )
  return ByPage(*(np.bincount(page, minlength=num_pages) for page in pages))
