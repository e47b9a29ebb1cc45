"""Tables of a data set: objects per class and split, sizes of boxes, pages."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from dwd_jax.check.measures import Measures

PERCENTS = (0, 5, 25, 50, 75, 95, 100)


@dataclasses.dataclass(frozen=True)
class Limits:
  """What the training will be able to see.

  Attributes:
    scale: of pages in training.
    crop_px: side of a training crop, after scaling.
    min_px: sides of objects below this count as too small, after scaling.
    max_boxes: slots of a training crop.
    max_detections: slots of a page in the decode.
  """

  scale: float
  crop_px: int
  min_px: float
  max_boxes: int
  max_detections: int


@dataclasses.dataclass(frozen=True)
class Tables:
  """Figures of all pages.

  Attributes:
    splits: names, "train" first.
    pages: of each split.
    objects: of each split and class.
    heights: percentiles (`PERCENTS`) of each class, px of the page; nan
      where the class has no objects.
    widths: as heights.
    all_sizes: percentiles of heights and widths of all objects, px.
    too_small: objects of each class with a side under `min_px` when scaled.
    too_large: objects of each class larger than a crop when scaled.
    per_page: percentiles of the objects of a page.
    page_sizes: percentiles of heights and widths of pages, px.
    ink_shares: percentiles of the ink's share of a page.
  """

  splits: tuple[str, ...]
  pages: tuple[int, ...]
  objects: Int[np.ndarray, "S C"]
  heights: Float[np.ndarray, "C p"]
  widths: Float[np.ndarray, "C p"]
  all_sizes: Float[np.ndarray, "2 p"]
  too_small: Int[np.ndarray, " C"]
  too_large: Int[np.ndarray, " C"]
  per_page: Float[np.ndarray, " p"]
  page_sizes: Float[np.ndarray, "2 p"]
  ink_shares: Float[np.ndarray, " p"]


def split_order(names: Sequence[str]) -> tuple[str, ...]:
  """train, val, test, then the others by name."""
  usual = ("train", "val", "test")
  return tuple(
    sorted(
      set(names),
      key=lambda n: (usual.index(n) if n in usual else len(usual), n),
    )
  )


def tabulate(
  pages: Sequence[Measures], num_classes: int, limits: Limits
) -> Tables:
  """Counts and measures all objects of the pages."""
  splits = split_order([p.split for p in pages])
  objects = np.zeros((len(splits), num_classes), np.int64)
  for page in pages:
    objects[splits.index(page.split)] += np.bincount(
      page.labels, minlength=num_classes
    )
  labels = np.concatenate([*(p.labels for p in pages), np.zeros(0, np.uint16)])
  sizes = np.concatenate(
    [*(p.sizes_hw for p in pages), np.zeros((0, 2), np.float32)]
  )
  order = np.argsort(labels, kind="stable")
  labels, sizes = labels[order], sizes[order]
  ends = np.searchsorted(labels, np.arange(num_classes + 1))
  groups = [slice(*pair) for pair in itertools.pairwise(ends)]
  scaled = sizes * limits.scale
  small = scaled.min(axis=1) < limits.min_px
  large = scaled.max(axis=1) > limits.crop_px
  return Tables(
    splits=splits,
    pages=tuple(sum(p.split == s for p in pages) for s in splits),
    objects=objects,
    heights=np.array([percentiles(sizes[g, 0]) for g in groups]),
    widths=np.array([percentiles(sizes[g, 1]) for g in groups]),
    all_sizes=np.stack([percentiles(sizes[:, 0]), percentiles(sizes[:, 1])]),
    too_small=np.bincount(labels[small], minlength=num_classes),
    too_large=np.bincount(labels[large], minlength=num_classes),
    per_page=percentiles(np.array([len(p.labels) for p in pages])),
    page_sizes=np.stack(
      [percentiles(np.array([p.image_hw[k] for p in pages])) for k in (0, 1)]
    ),
    ink_shares=percentiles(np.array([p.ink_share for p in pages])),
  )


def percentiles(values: np.ndarray) -> Float[np.ndarray, " p"]:
  """`PERCENTS` of the values; nan for none."""
  if not len(values):
    return np.full(len(PERCENTS), np.nan)
  return np.percentile(values.astype(np.float64), PERCENTS)
