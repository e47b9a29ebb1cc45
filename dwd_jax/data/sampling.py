"""Random choice of the page and the region of a training crop."""

import numpy as np
from jaxtyping import Float, Int

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.data.sources import BoxIndex
from dwd_jax.imaging import page_windows

_TRIES = 100  # crops of which one should show something


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
  shows one of its objects with probability `nonempty_prob`. Otherwise it lies
  at the page's top left corner with probability `corner_prob`, else anywhere;
  with `redraw_empty`, one that shows nothing is replaced by another such crop
  of another page.

  Reference: the original's `prep_im_for_blob` (lib/utils/blob.py@a62b591) and
  its loop over batches "with content" (lib/main/train_dwd.py@5c314f1): corner
  0.3, empty crops drawn again.
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
    height, width = data_cfg.crop_hw
    self._out_hw = (int(height), int(width))
    self._scales = tuple(data_cfg.scales)
    self._jitter = float(data_cfg.scale_jitter)
    self._factors = factors
    self._rare_prob = float(data_cfg.rare_prob)
    self._nonempty_prob = float(data_cfg.nonempty_prob)
    self._corner_prob = float(data_cfg.corner_prob)
    self._min_visible = float(data_cfg.min_visible)
    self._tries = _TRIES if data_cfg.redraw_empty else 1
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
    if row is None:
      return self._without_object(page, rng)
    return page, self._window(page, rng, self._index.boxes_yxyx[row])

  def _without_object(
    self, page: int, rng: np.random.Generator
  ) -> tuple[int, page_windows.Window]:
    """A window that is not drawn around an object, and its page."""
    window = self._window(page, rng)
    for _ in range(self._tries - 1):
      if self._shows_something(page, window):
        break
      page = int(rng.integers(len(self._index.page_hw)))
      window = self._window(page, rng)
    return page, window

  def _window(
    self,
    page: int,
    rng: np.random.Generator,
    focus_yxyx: Float[np.ndarray, " 4"] | None = None,
  ) -> page_windows.Window:
    scale = self._scale(page, rng)
    corner = focus_yxyx is None and self._corner_prob  # else `rng` stays
    if corner and rng.random() < corner:
      source_hw = [page_windows.source_size(px, scale) for px in self._out_hw]
      return page_windows.Window(
        0, 0, (source_hw[0], source_hw[1]), self._out_hw
      )
    height, width = self._index.page_hw[page].tolist()
    return page_windows.random_window(
      rng, (height, width), self._out_hw, scale=scale, focus_yxyx=focus_yxyx
    )

  def _shows_something(self, page: int, window: page_windows.Window) -> bool:
    """Whether the crop keeps a box of its page."""
    boxes = window.to_output(self._index.boxes_yxyx[self._index.of_page(page)])
    _, kept = boxes_lib.visible(boxes, window.out_hw, self._min_visible)
    return bool(kept.any())

  def _scale(self, page: int, rng: np.random.Generator) -> float:
    """One of the scales, times the factor of the page, with jitter."""
    scale = self._scales[int(rng.integers(len(self._scales)))]
    if self._factors is not None:
      scale *= float(self._factors[page])
    if self._jitter:  # else `rng` must not advance
      scale *= 1 + rng.uniform(-self._jitter, self._jitter)
    return scale
