"""Random choice of the page and the region of a training crop."""

import numpy as np
from jaxtyping import Float, Int

from dwd_jax.data.sources import BoxIndex
from dwd_jax.imaging import page_windows


class RareObjects:
  """Draws objects by the rarity of their class.

  P(class) ~ count ** (1 - rare_power); the objects of a class are equally
  likely. rare_power 0: all objects are equally likely; 1: all classes are; 2:
  classes by 1 / frequency.
  """

  def __init__(
    self, labels: Int[np.ndarray, " n"], rare_power: float, per_class: int = 0
  ):
    """A sampler of objects.

    Args:
      labels: classes of all objects, 0 or more.
      rare_power: see above.
      per_class: draw from this many objects of a class, evenly spaced; 0 = all.
        The class is still drawn by the number of all its objects.
    """
    by_class = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    weights = np.where(
      counts > 0, np.maximum(counts, 1.0) ** (1 - rare_power), 0.0
    )
    self._class_cdf = np.cumsum(weights) / max(weights.sum(), 1e-30)
    parts = np.split(by_class, np.cumsum(counts)[:-1])
    if per_class:
      parts = [spread(rows, per_class) for rows in parts]
    self._by_class = np.concatenate(parts)
    self._class_stop = np.cumsum([len(rows) for rows in parts])

  def __call__(self, rng: np.random.Generator) -> int:
    """Index of the drawn object; there must be one."""
    label = int(np.searchsorted(self._class_cdf, rng.random(), side="right"))
    start = self._class_stop[label - 1] if label else 0
    return int(self._by_class[rng.integers(start, self._class_stop[label])])


def spread(rows: Int[np.ndarray, " n"], count: int) -> Int[np.ndarray, " m"]:
  """At most `count` of the rows, evenly spaced."""
  at = np.linspace(0, len(rows) - 1, min(len(rows), count))
  return rows[at.round().astype(int)]


class CropSampler:
  """Draws the page and the region of a training crop.

  With probability `rare_prob` the crop shows an object of any page, drawn by
  the rarity of its class (`RareObjects`). Else it is on the given page, and
  shows one of its objects with probability `nonempty_prob`; otherwise it lies
  anywhere.
  """

  def __init__(
    self,
    index: BoxIndex,
    data_cfg,
    factors: Float[np.ndarray, " p"] | None = None,
  ):
    """A sampler of crops.

    Args:
      index: all boxes of the split.
      data_cfg: config.data.
      factors: see `split_staff_spaces.scale_factors`; None = 1.
    """
    self._index = index
    self._out_hw = tuple(data_cfg.crop_hw)
    self._scales = tuple(data_cfg.scales)
    self._jitter = float(data_cfg.scale_jitter)
    self._factors = factors
    self._rare_prob = float(data_cfg.rare_prob)
    self._nonempty_prob = float(data_cfg.nonempty_prob)
    self._rare = RareObjects(index.labels, float(data_cfg.rare_power))

  def __call__(
    self, page: int, rng: np.random.Generator
  ) -> tuple[int, page_windows.Window]:
    """Draws the page (`page`, or that of a rare object) and the window."""
    row = None
    if rng.random() < self._rare_prob and len(self._index.labels):
      row = self._rare(rng)
      page = int(self._index.page[row])
    elif rng.random() < self._nonempty_prob:
      rows = self._index.of_page(page)
      if rows.stop > rows.start:
        row = int(rng.integers(rows.start, rows.stop))
    scale = self._scale(page, rng)
    focus = None if row is None else self._index.boxes_yxyx[row]
    height, width = self._index.page_hw[page].tolist()
    return page, page_windows.random_window(
      rng, (height, width), self._out_hw, scale=scale, focus_yxyx=focus
    )

  def _scale(self, page: int, rng: np.random.Generator) -> float:
    """One of the scales, times the factor of the page, with jitter."""
    scale = self._scales[int(rng.integers(len(self._scales)))]
    if self._factors is not None:
      scale *= float(self._factors[page])
    if self._jitter:  # else `rng` must not advance
      scale *= 1 + rng.uniform(-self._jitter, self._jitter)
    return scale
