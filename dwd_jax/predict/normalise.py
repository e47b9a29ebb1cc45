"""Pages brought to the staff space that a network knows."""

import dataclasses
import math
import time
from collections.abc import Iterable, Iterator

import numpy as np
from absl import logging

from dwd_jax.core.structs import PageImage
from dwd_jax.imaging import images, staff_space
from dwd_jax.predict.predict_config import PredictConfig

# Nearer to the expected scale than this, that one stays: training pages differ
# as much among each other, and pages of one kind keep one padded size.
_KEEP = 1.08
_STEP = 1.06  # others get one of few scales: each padded size compiles
_MOST = 8.0  # times the expected scale; more is taken for a mistake


class Normaliser:
  """Gives pages the scale at which their staves are as large as the model's.

  Attributes:
    pages: number of pages seen.
    without: names of those of which no staff space could be told, or none that
      makes sense; they keep their scale.
  """

  def __init__(self, cfg: PredictConfig):
    """Args: `cfg.staff_space_px` 0 or `cfg.normalise` "off": scales stay."""
    self.pages = 0
    self.without: list[str] = []
    self._cfg = cfg
    self._seconds = 0.0

  def __call__(self, pages: Iterable[PageImage]) -> Iterator[PageImage]:
    """The pages with their new scales; a warning counts those without."""
    if self._cfg.normalise == "off" or not self._cfg.staff_space_px:
      yield from pages
      return
    for page in pages:
      yield self.scaled(page)
    if self.without:
      logging.warning(
        "No staff space could be measured on %d of %d pages (%s%s): they were"
        " taken as they are",
        len(self.without),
        self.pages,
        ", ".join(self.without[:3]),
        ", ..." if len(self.without) > 3 else "",
      )

  def scaled(self, page: PageImage) -> PageImage:
    """A page with its new scale; what cannot be predicted stays as it is."""
    ink, start = page.ink, time.perf_counter()
    if ink.ndim != 2 or ink.dtype != np.uint8 or not 0 < page.scale < math.inf:
      return page  # told of by the prediction
    found = staff_space.estimate(ink)
    factor = 0.0
    if found is not None:
      factor = self._cfg.staff_space_px / (found.px * page.scale)
      factor = factor if self._cfg.normalise == "exact" else rounded(factor)
    self.pages += 1
    self._seconds += time.perf_counter() - start
    scale = page.scale * factor
    if not (
      1 / _MOST <= factor <= _MOST
      and ink.size * scale**2 <= images.MAX_PIXELS
      and (self._cfg.page_multiple / scale) ** 2 <= images.MAX_PIXELS
    ):
      self.without.append(page.filename)
      return page
    assert found is not None
    return dataclasses.replace(page, scale=scale, staff_space_px=found.px)

  def seconds(self) -> float:
    """Time of the estimates since the last question."""
    seconds, self._seconds = self._seconds, 0.0
    return seconds


def rounded(factor: float) -> float:
  """1 for factors near to it, else the nearest power of 1.06."""
  if 1 / _KEEP <= factor <= _KEEP:
    return 1.0
  return _STEP ** round(math.log(factor) / math.log(_STEP))
