"""The class of every pixel of a page: by pixel labels, masks or boxes.

By boxes, ink takes the class of the smallest box around it; paper and other ink
are background. Records of DeepScores may have pixel labels, those of MUSCIMA++
masks of the objects (`data.options.masks`). Both are better than boxes: those
of slurs and beams hold much ink of other objects.

The values of pixel labels differ between editions: class ids from 0 or from 1,
indices of a palette, colours. Their meaning is therefore inferred: the value of
most paper is background; the others are class ids from 1 or from 0 if these
agree with the boxes, else the most frequent class, by the boxes, of ink with
that value.
"""

import collections
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int, Int32, UInt8

from dwd_jax.core.box_index import BoxIndex
from dwd_jax.core.errors import InputError
from dwd_jax.data import sampling
from dwd_jax.data.sources import PageSource
from dwd_jax.imaging import masks, tiled_tiff

MIN_INK = 64  # of 255; less is paper
_SAMPLED = 8  # objects of each class that the meaning is inferred from
_MARGIN_PX = 16  # around these objects
_MAX_PX = 512  # side of the part of a page around an object
_MIN_PIXELS = 8  # of a value with a meaning
_MIN_AGREEMENT = 0.7  # share of ink, the mean over the values


class PixelClasses:
  """Class + 1 of the pixels of a source's pages, 0 = background.

  Attributes:
    kind: "pixel_labels", "masks" or "boxes": the best in the records. Boxes
      stand in for missing pixel labels of a page or mask of an object.
    meaning: value of pixel labels -> class + 1.
  """

  def __init__(
    self, source: PageSource, meaning: Mapping[int, int] | None = None
  ):
    """Finds the kind of labels in the records.

    Args:
      source: of at least one page.
      meaning: of another split of the same records; None = infer it.
    """
    self._source = source
    example = source.example(0)
    self.kind = "masks" if "mask_runs" in example else "boxes"
    if meaning is None:
      meaning = self._meanings() if "pixel_labels" in example else {}
    self.meaning: Mapping[int, int] = meaning
    if meaning:
      self.kind = "pixel_labels"

  def window(
    self, page: int, top: int, left: int, height: int, width: int
  ) -> tuple[UInt8[np.ndarray, "h w"], Int32[np.ndarray, "h w"]]:
    """Ink (0 = paper, 255 = ink) and class + 1 of a part within a page."""
    ink, classes, values = self._read(page, (top, left, height, width))
    if values is not None and self.meaning:
      known = np.array(sorted(self.meaning))
      at = np.minimum(np.searchsorted(known, values), len(known) - 1)
      meant = np.array([self.meaning[int(v)] for v in known], np.int32)[at]
      # Values without a meaning: by the boxes.
      classes = np.where(known[at] == values, meant, classes)
    return ink, classes

  def describe(self) -> str:
    """The source of the classes, in one line."""
    if self.kind == "pixel_labels":
      named = len(set(self.meaning.values()) - {0})
      return f"pixel labels ({len(self.meaning)} values, {named} classes)"
    return {"masks": "masks", "boxes": "ink in boxes"}[self.kind]

  def _read(self, page: int, area: tuple[int, int, int, int]):
    """Ink, classes by masks or boxes, and values of pixel labels or None."""
    example = self._source.example(page)
    name = self._source.box_index().filenames[page]
    ink = self._source.ink_of(example, area)
    if "mask_runs" in example:
      classes = self._from_masks(example, name, area, ink)
    else:
      labels, boxes = self._source.labels_and_boxes(page)
      moved = boxes - np.array(area[:2] * 2, np.float32)
      classes = paint(ink, moved, labels)
    values = None
    if example.get("pixel_labels"):
      values = tiled_tiff.read_pixels(example["pixel_labels"], name, area)
      values = values.astype(np.int32)
      if values.ndim == 3:
        values = values @ np.array([1 << 16, 1 << 8, 1], np.int32)
    return ink, classes, values

  def _from_masks(
    self, example, name: str, area, ink
  ) -> Int32[np.ndarray, "h w"]:
    top, left, height, width = area
    boxes = example["boxes_yxyx"].reshape(-1, 4)
    labels = self._source.new_ids[example["labels"]]
    classes = np.zeros((height, width), np.int32)
    try:
      runs = masks.split(example["mask_runs"], example["mask_stops"])
      if len(runs) != len(boxes):
        raise ValueError(f"masks of {len(runs)} objects, {len(boxes)} boxes")
      moved = np.rint(boxes).astype(int) - [top, left, top, left]
      for i in _large_first(moved, (height, width)):
        y0, x0, y1, x1 = moved[i]
        if labels[i] < 0:
          continue
        shown = np.s_[max(y0, 0) : y1, max(x0, 0) : x1]
        part = classes[shown]
        mask = ink[shown] >= MIN_INK
        if len(runs[i]):
          mask = masks.decode_runs(runs[i], (y1 - y0, x1 - x0))
          mask = mask[max(-y0, 0) :, max(-x0, 0) :]
        part[mask[: part.shape[0], : part.shape[1]]] = labels[i] + 1
    except ValueError as e:
      raise InputError(f"{name}: {e}; prepare the records again") from None
    return classes

  def _meanings(self) -> dict[int, int]:
    """Infers the meaning of pixel labels, see above."""
    votes, background = self._votes()
    if not votes:
      return {}
    ids = self._source.new_ids + 1
    for first in (1, 0):  # value of the records' first class
      meant = {i + first: int(c) for i, c in enumerate(ids)} | {background: 0}
      shares = [
        counts[meant[value]] / counts.sum() if value in meant else 0.0
        for value, counts in votes.items()
      ]
      if np.mean(shares) >= _MIN_AGREEMENT:
        return meant
    counted = {value: int(counts.argmax()) for value, counts in votes.items()}
    return counted | {background: 0}

  def _votes(self) -> tuple[dict[int, np.ndarray], int]:
    """Value -> ink by class of the boxes; and the value of most paper."""
    index = self._source.box_index()
    size = len(self._source.class_names) + 1
    ink_votes: collections.Counter[tuple[int, int]] = collections.Counter()
    paper: collections.Counter[int] = collections.Counter()
    for row in _some_of_each_class(index):
      page = int(index.page[row])
      area = _around(index.boxes_yxyx[row], index.page_hw[page])
      ink, classes, values = self._read(page, area)
      if values is None:
        continue
      inked = ink >= MIN_INK
      paper.update(_counted(values[~inked]))
      codes = values[inked].astype(np.int64) * size + classes[inked]
      for code, count in _counted(codes).items():
        ink_votes[divmod(code, size)] += count
    background = max(paper, key=paper.__getitem__, default=0)
    votes: dict[int, np.ndarray] = {}
    for (value, label), count in ink_votes.items():
      votes.setdefault(value, np.zeros(size, np.int64))[label] = count
    votes.pop(background, None)
    votes = {v: c for v, c in votes.items() if c.sum() >= _MIN_PIXELS}
    return votes, background


def _counted(values: np.ndarray) -> dict[int, int]:
  found, counts = np.unique(values, return_counts=True)
  return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _some_of_each_class(index: BoxIndex) -> list[int]:
  """Rows of objects of every class, evenly spaced over the split."""
  rows = []
  for label in np.unique(index.labels):
    of_class = np.flatnonzero(index.labels == label)
    rows += sampling.spread(of_class, _SAMPLED).tolist()
  return rows


def _around(
  box_yxyx: Float[np.ndarray, " 4"], page_hw: Int[np.ndarray, " 2"]
) -> tuple[int, int, int, int]:
  """(top, left, height, width) of a box and its surroundings on the page."""
  low = box_yxyx[:2].astype(int) - _MARGIN_PX
  high = np.ceil(box_yxyx[2:]).astype(int) + _MARGIN_PX
  low = np.maximum(np.maximum(low, (low + high - _MAX_PX) // 2), 0)
  high = np.minimum(np.minimum(high, low + _MAX_PX), page_hw)
  (top, left), (height, width) = low.tolist(), (high - low).tolist()
  return top, left, height, width


def _large_first(
  boxes_yxyx: np.ndarray, hw: tuple[int, int]
) -> Int[np.ndarray, " m"]:
  """Rows of the boxes that reach into [0, h) x [0, w), the largest first."""
  y0, x0, y1, x1 = boxes_yxyx.T
  inside = (y1 > 0) & (x1 > 0) & (y0 < hw[0]) & (x0 < hw[1])
  order = np.argsort(-(y1 - y0) * (x1 - x0), kind="stable")
  return order[inside[order]]


def paint(
  ink: UInt8[np.ndarray, "h w"],
  boxes_yxyx: Float[np.ndarray, "n 4"],
  labels: Int[np.ndarray, " n"],
) -> Int32[np.ndarray, "h w"]:
  """Class + 1 of the smallest box around each pixel of ink, 0 elsewhere.

  Args:
    ink: 0 = paper, 255 = ink.
    boxes_yxyx: in pixels of `ink`; may reach over its edges.
    labels: class ids.
  """
  classes = np.zeros(ink.shape, np.int32)
  edges = np.concatenate(
    [np.floor(boxes_yxyx[:, :2]), np.ceil(boxes_yxyx[:, 2:])], 1
  ).astype(int)
  for i in _large_first(edges, (ink.shape[0], ink.shape[1])):
    y0, x0 = np.maximum(edges[i, :2], 0)
    classes[y0 : edges[i, 2], x0 : edges[i, 3]] = labels[i] + 1
  classes[ink < MIN_INK] = 0
  return classes


def at_stride(
  classes: Int32[np.ndarray, "H W"], stride: int, min_share: float = 1 / 8
) -> Int32[np.ndarray, "h w"]:
  """The most frequent class of each cell of `stride` x `stride` pixels.

  Args:
    classes: class + 1, 0 = background; both sides multiples of the stride.
    stride: side of a cell, px.
    min_share: a cell with a smaller share of classed pixels is background.
  """
  height, width = classes.shape[0] // stride, classes.shape[1] // stride
  cells = classes.reshape(height, stride, width, stride).transpose(0, 2, 1, 3)
  cells = cells.reshape(-1, stride * stride)
  found = np.zeros(len(cells), np.int32)
  rows = np.flatnonzero((cells > 0).mean(1) >= min_share)
  pixels = np.sort(cells[rows], axis=1)
  same = (pixels[:, :, None] == pixels[:, None, :]).sum(2) * (pixels > 0)
  found[rows] = np.take_along_axis(pixels, same.argmax(1)[:, None], 1)[:, 0]
  return found.reshape(height, width)
