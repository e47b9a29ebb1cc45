"""Training crops of labelled pages, mixed with those of pages without boxes."""

import dataclasses
from typing import Any

import grain
import numpy as np

from dwd_jax.apps.adapt.pages import Pages
from dwd_jax.apps.adapt.pseudo_boxes import PseudoBoxes
from dwd_jax.core.box_index import BoxIndex
from dwd_jax.data import pipeline, synthetic
from dwd_jax.data.crops import TrainCrops
from dwd_jax.train.setup import Run


class _WithoutBoxes:
  """Pages as `TrainCrops` takes them.

  Boxes that may be objects or not have the classes C, C + 1, ...
  """

  def __init__(self, pages: Pages, boxes: PseudoBoxes, num_classes: int):
    labels = boxes.index.labels + num_classes * ~boxes.sure
    self._index = dataclasses.replace(
      boxes.index, labels=labels.astype(np.int32)
    )
    self._pages, self._boxes = pages, boxes

  def require(self, name: str, key: str) -> None:
    """A detector finds what it is trained on."""

  def box_index(self) -> BoxIndex:
    return self._index

  def labels_and_boxes(self, i: int) -> tuple[np.ndarray, np.ndarray]:
    rows = self._index.of_page(i)
    return self._index.labels[rows], self._index.boxes_yxyx[rows]

  def example(self, i: int) -> int:
    return i

  def ink_of(self, i: int, area: tuple[int, int, int, int]) -> np.ndarray:
    top, left, height, width = area
    return self._pages.ink(i)[top : top + height, left : left + width]

  def feature(self, name: str, i: int, example: int) -> np.ndarray:
    del example
    return getattr(self._boxes, name)[self._index.of_page(i)]


class _MixedCrops(grain.transforms.RandomMap):
  """Number of a crop -> the crop; evenly mixed."""

  def __init__(self, run: Run, pages: Pages, used: list[int]):
    """Args: `used`, numbers of the pages that are trained on."""
    source = run.source(run.config.data.train_split)
    data: Any = run.config.data
    model = run.model.cfg
    self._further: dict[str, Any] = {
      "oriented": model.oriented,
      "positions": model.staff_positions,
    }
    symbols = synthetic.open_synthetic(source, data)
    self._labelled = TrainCrops(source, data, symbols, **self._further)
    self._num_pages = len(source)
    self._num_classes = len(run.class_names)
    self._pages, self._used = pages, used
    self._share = float(run.settings.adapt.share)
    cfg = data.copy_and_resolve_references()
    cfg.degrade = run.config.adapt.degrade
    cfg.scale_jitter = run.config.adapt.scale_jitter
    # Pages are as the network sees them, and rare boxes are often wrong.
    cfg.scales = tuple(scale / data.eval_scale for scale in data.scales)
    cfg.normalise_staff_space, cfg.rare_prob = False, 0.0
    cfg.redraw_empty, cfg.corner_prob = False, 0.0
    self._cfg = cfg
    self._others: TrainCrops | None = None

  def renew(self, boxes: PseudoBoxes) -> None:
    source: Any = _WithoutBoxes(self._pages, boxes, self._num_classes)
    self._others = TrainCrops(source, self._cfg, **self._further)

  def random_map(self, element, rng: np.random.Generator):
    assert self._others is not None  # `renew` comes first
    number = int(element)
    if int((number + 1) * self._share) == int(number * self._share):
      page = int(rng.integers(self._num_pages))
      crop = self._labelled.random_map(page, rng)
      return crop | {"ignored": np.zeros_like(crop["box_mask"])}
    page = self._used[int(rng.integers(len(self._used)))]
    crop = self._others.random_map(page, rng)
    unsure = crop["labels"] >= self._num_classes
    return crop | {
      "labels": np.where(
        unsure, crop["labels"] - self._num_classes, crop["labels"]
      ),
      "box_mask": crop["box_mask"] & ~unsure,
      "ignored": crop["box_mask"] & unsure,
    }


class MixedLoader:
  """Endless batches, whose boxes on pages without may be renewed.

  Batch n depends on the seed, n and those boxes only.
  """

  def __init__(self, run: Run, pages: Pages, used: list[int]):
    """Batches for a run; see `_MixedCrops`."""
    self._crops = _MixedCrops(run, pages, used)
    data: Any = run.config.data
    self._inner = pipeline.loader(
      pipeline.endless(run.config.seed).random_map(self._crops),
      int(data.workers),
      batch_size=run.config.train.batch_size,
    )

  def renew(self, boxes: PseudoBoxes) -> None:
    """Goes on with other boxes."""
    state = self._inner.get_state()
    self._inner.close()  # crops that wait have the old ones
    self._crops.renew(boxes)
    self._inner.set_state(state)

  def __next__(self) -> Any:
    return next(self._inner)

  def get_state(self) -> dict[str, Any]:
    """See `pipeline.TrainLoader`."""
    return self._inner.get_state()

  def set_state(self, state: dict[str, Any]) -> None:
    """See `pipeline.TrainLoader`."""
    self._inner.set_state(state)

  def close(self) -> None:
    """Ends threads and worker processes."""
    self._inner.close()
