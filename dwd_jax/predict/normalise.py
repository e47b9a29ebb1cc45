"""Scales pages to the staff space that a network was trained on."""

import dataclasses
import math

import numpy as np
from absl import logging

from dwd_jax.core.structs import PageImage
from dwd_jax.imaging import grey, images, staff_space
from dwd_jax.predict.predict_config import PredictConfig

# Factors nearer to 1 are ignored: training pages differ as much among each
# other, and pages of one kind keep one padded size.
_KEEP = 1.08
_STEP = 1.06  # other factors are rounded: each padded size compiles
_MOST = 8.0  # times the expected scale; more is taken for a mistake


class Normaliser:
  """Scales pages so that their staff space is the model's.

  Attributes:
    pages: number of pages seen.
    without: names of those without a plausible staff space; they keep their
      scale.
  """

  def __init__(self, cfg: PredictConfig):
    """Pages keep their scale if `staff_space_px` is 0 or `normalise` "off"."""
    self.pages = 0
    self.without: list[str] = []
    self._cfg = cfg

  def warn(self) -> None:
    """Warns about the pages without a plausible staff space."""
    if self.without:
      logging.warning(
        "No staff space could be measured on %d of %d pages (%s%s): they were"
        " not scaled to the detector's",
        len(self.without),
        self.pages,
        ", ".join(self.without[:3]),
        ", ..." if len(self.without) > 3 else "",
      )

  def scaled(self, page: PageImage) -> PageImage:
    """The page with its new scale; an invalid page stays unchanged.

    Its staff space is measured unless it is known.
    """
    ink = page.ink
    if not self._cfg.normalises:
      return page
    if (
      ink.ndim not in (2, 3)
      or ink.dtype != np.uint8
      or not 0 < page.scale < math.inf
    ):
      return page  # predict_pages reports it
    space = page.staff_space_px
    if space is None:
      found = staff_space.estimate(grey.ink_of(ink))
      space = None if found is None else found.px
    factor = 0.0
    if space:
      factor = self._cfg.staff_space_px / (space * page.scale)
      factor = factor if self._cfg.normalise == "exact" else rounded(factor)
    self.pages += 1
    scale = page.scale * factor
    if not (
      1 / _MOST <= factor <= _MOST
      and is_possible(
        scale, ink.shape[0] * ink.shape[1], self._cfg.page_multiple
      )
    ):
      self.without.append(page.filename)
      return page
    return dataclasses.replace(page, scale=scale, staff_space_px=space)


def is_possible(scale: float, num_pixels: int, multiple: int) -> bool:
  """Whether a page can be scaled, and padded to sides of this multiple."""
  return (
    0 < scale < math.inf
    and num_pixels * scale**2 <= images.MAX_PIXELS
    and (multiple / scale) ** 2 <= images.MAX_PIXELS
  )


def rounded(factor: float) -> float:
  """1 for factors near to it, else the nearest power of 1.06."""
  if 1 / _KEEP <= factor <= _KEEP:
    return 1.0
  return _STEP ** round(math.log(factor) / math.log(_STEP))
