"""Chooses symbols of pages and cuts them out; no TFDS in here."""

import dataclasses
import hashlib
import heapq
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from dwd_jax.core.errors import InputError
from tfds_builders import checks

SPLIT = "train"  # symbols of other pages must not reach training
MIN_VISIBLE = 0.4  # least share of a neighbour's area inside the crop
_MIN_INK = 64  # of 255; less is paper


@dataclasses.dataclass(frozen=True)
class Wanted:
  """What to cut out of a page: `PageFiles.rows` of this builder.

  Attributes:
    config: of this builder, which tells how to read the page.
    objects: indices of its boxes, ascending.
    rows: of the page's own reader.
  """

  config: str
  objects: tuple[int, ...]
  rows: Any


def choose(
  pages: Iterable[tuple[checks.PageFiles, np.ndarray, np.ndarray]],
  config: str,
  class_names: tuple[str, ...],
  per_class: int,
  max_symbol_px: int,
  report: checks.BuildReport,
) -> list[checks.PageFiles]:
  """Chooses at most `per_class` symbols of every class.

  The choice is by a hash of the page's name and the symbol's index: it does not
  depend on the order of pages, and changes little when pages are added. Memory
  grows with the pages and the chosen symbols, not with all symbols.

  Args:
    pages: files, boxes_yxyx and labels of each.
    per_class: 1 or more.
    max_symbol_px: symbols with a longer side are skipped.
    report: counts skipped symbols and classes without a symbol.

  Returns:
    The pages with a chosen symbol, with `Wanted` as their rows.
  """
  files: list[checks.PageFiles] = []
  # Per class a heap of (-hash, page, object), the largest hash on top.
  heaps: list[list[tuple[int, int, int]]] = [[] for _ in class_names]
  left_out = 0
  for n, (page, boxes, labels) in enumerate(pages):
    files.append(page)
    sides = np.max(boxes[:, 2:] - boxes[:, :2], axis=1, initial=0)
    for i, label in enumerate(labels.tolist()):
      if sides[i] > max_symbol_px:
        report.add(
          "symbols skipped: larger than max_symbol_px",
          f"{page.name}: object {i}, {class_names[label]}",
        )
        continue
      heap = heaps[label]
      heapq.heappush(heap, (-_hash(page.name, i), n, i))
      if len(heap) > per_class:
        heapq.heappop(heap)
        left_out += 1
  if left_out:
    report.counts["symbols left out: enough of their class"] += left_out
  for name, heap in zip(class_names, heaps, strict=True):
    if not heap:
      report.add("classes without a symbol", name)
  objects: dict[int, list[int]] = {}
  for _, n, i in (item for heap in heaps for item in heap):
    objects.setdefault(n, []).append(i)
  return [
    dataclasses.replace(
      files[n], rows=Wanted(config, tuple(sorted(rows)), files[n].rows)
    )
    for n, rows in sorted(objects.items())
  ]


def _hash(page: str, i: int) -> int:
  key = f"{page}/{i}".encode()
  return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")


def crop(
  page: checks.ParsedPage, i: int, context_px: int, symbol_only: bool
) -> checks.ParsedPage | None:
  """The surroundings of a symbol, which is the first of the boxes.

  Args:
    i: index of the symbol's box.
    context_px: margin of the box; paper beyond the page's edge, so that the
      symbol is always in the middle.
    symbol_only: leave out the boxes of neighbours; their ink stays.

  Returns:
    The crop, in pixels of the page; None if there is no ink in the box.
    Neighbours with `MIN_VISIBLE` of their area inside follow the symbol, cut to
    the crop.
  """
  top, left, height, width = _window(page.boxes_yxyx[i], context_px)
  ink = np.zeros((height, width), np.uint8)
  page_h, page_w = page.ink.shape
  y0, x0 = max(top, 0), max(left, 0)
  y1, x1 = min(top + height, page_h), min(left + width, page_w)
  ink[y0 - top : y1 - top, x0 - left : x1 - left] = page.ink[y0:y1, x0:x1]
  moved = page.boxes_yxyx - np.array([top, left, top, left], np.float32)
  if not _has_ink(ink, moved[i]):
    return None
  inside = np.clip(moved, 0, np.array([height, width] * 2, np.float32))
  shown = _areas(inside) >= MIN_VISIBLE * _areas(moved)
  shown[i] = False
  rows = [i] if symbol_only else [i, *np.flatnonzero(shown)]
  return checks.ParsedPage(ink, inside[rows], page.labels[rows])


def cut_out(
  page: checks.ParsedPage,
  i: int,
  mask: Bool[np.ndarray, "h w"],
  context_px: int,
) -> checks.ParsedPage | None:
  """A symbol by itself: the ink in its mask, on paper.

  Args:
    i: index of the symbol's box, whose edges are whole pixels.
    mask: of the symbol, as large as its box.
    context_px: margin of the box.

  Returns:
    The cut-out, in pixels of the page; None if there is no ink in the mask.
  """
  box = page.boxes_yxyx[i]
  top, left = round(float(box[0])), round(float(box[1]))
  height, width = mask.shape
  symbol = page.ink[top : top + height, left : left + width]
  if symbol.shape != mask.shape:
    raise InputError(f"object {i}: its mask sticks out of the page")
  symbol = np.where(mask, symbol, 0).astype(np.uint8)
  if np.max(symbol, initial=0) < _MIN_INK:
    return None
  ink = np.pad(symbol, context_px)
  first = np.array([context_px, context_px], np.float32)
  new_box = np.concatenate([first, first + np.array([height, width])])
  return checks.ParsedPage(
    ink, new_box[None].astype(np.float32), page.labels[i : i + 1]
  )


def symbol_first(page: checks.ParsedPage, i: int) -> checks.ParsedPage:
  """The page with box `i` before the others."""
  rows = [i, *(j for j in range(len(page.labels)) if j != i)]
  return dataclasses.replace(
    page, boxes_yxyx=page.boxes_yxyx[rows], labels=page.labels[rows]
  )


def _window(
  box_yxyx: Float[np.ndarray, " 4"], context_px: int
) -> tuple[int, int, int, int]:
  """(top, left, height, width) in whole pixels of a box with its margin."""
  y0, x0, y1, x1 = (float(x) for x in box_yxyx)
  top, left = math.floor(y0) - context_px, math.floor(x0) - context_px
  return (
    top,
    left,
    math.ceil(y1) + context_px - top,
    math.ceil(x1) + context_px - left,
  )


def _has_ink(ink: np.ndarray, box_yxyx: np.ndarray) -> bool:
  top, left = np.floor(box_yxyx[:2]).astype(int)
  bottom, right = np.ceil(box_yxyx[2:]).astype(int)
  return bool(np.max(ink[top:bottom, left:right], initial=0) >= _MIN_INK)


def _areas(boxes_yxyx: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, " n"]:
  sides = np.maximum(boxes_yxyx[:, 2:] - boxes_yxyx[:, :2], 0)
  return sides[:, 0] * sides[:, 1]
