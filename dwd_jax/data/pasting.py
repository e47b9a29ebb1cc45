"""Symbols blended into free places of a page, at the height of its staff.

Ours; the original has nothing like it. A symbol's image shows a little of what
is beside it. Rows that are ink there all along are staff lines. The image fits
where the page has lines in the same rows and no other ink: a rest from the
middle of a staff comes to lie in the middle of a staff, a dynamic from below it
on white paper. Ink is then the darker of both.
"""

import dataclasses

import cv2
import numpy as np
from jaxtyping import Bool, Int, UInt8

from dwd_jax.data.synthetic import Scene, SymbolCutter

_INK = 96  # of 255: darker counts as ink
_LINE = 0.8  # share of a row that is ink where it is a staff line
_CLEAN = 0.02  # share of the pixels below that may be other ink
_STRAY = 0.005  # share of an image that may be ink at its outside
_TRIES = 6  # columns to look at for each symbol
_AWAY = 0.5  # share of the line rows that may differ: line widths vary


def lines(ink: UInt8[np.ndarray, "h w"]) -> Bool[np.ndarray, " h"]:
  """Which rows are staff lines: ink nearly all along."""
  if not ink.shape[1]:
    return np.zeros(ink.shape[0], np.bool_)
  return (ink >= _INK).mean(axis=1) >= _LINE


def _with_edges(is_line: Bool[np.ndarray, " h"]) -> Bool[np.ndarray, " h"]:
  """Lines with the row above and the row below: their edges are grey."""
  rows = is_line.astype(np.uint8)[:, None]
  return cv2.dilate(rows, np.ones((3, 1)))[:, 0] > 0


def sides(scene: Scene, margin: int) -> UInt8[np.ndarray, "h m"]:
  """What is left and right of the symbol: its image's outer columns."""
  margin = min(margin, scene.ink.shape[1] // 2)
  return np.concatenate(
    [scene.ink[:, :margin], scene.ink[:, scene.ink.shape[1] - margin :]], 1
  )


def stray(
  ink: UInt8[np.ndarray, "h w"], is_line: Bool[np.ndarray, " h"], margin: int
) -> float:
  """Share of an image's outer pixels that are ink, staff lines left out."""
  outer = (ink >= _INK) & ~_with_edges(is_line)[:, None]
  outer[margin:-margin, margin:-margin] = False
  return float(outer.sum() / max(ink.size, 1))


def rows_that_fit(
  band: UInt8[np.ndarray, "H w"], is_line: Bool[np.ndarray, " h"]
) -> Int[np.ndarray, " k"]:
  """Rows of a band of the page at which an image may lie, best ones only.

  Args:
    band: the columns of the page that the image would cover.
    is_line: which rows of the image are staff lines.
  """
  height = len(is_line)
  if band.shape[0] < height:
    return np.zeros(0, np.int64)
  on_page = lines(band)
  other = np.where(_with_edges(on_page), 0.0, (band >= _INK).mean(axis=1))
  window = np.ones(height)
  disorder = np.correlate(other, window, "valid")
  # Rows that are a line in one of them only.
  apart = (
    is_line.sum()
    + np.correlate(on_page.astype(float), window, "valid")
    - 2 * np.correlate(on_page.astype(float), is_line.astype(float), "valid")
  )
  good = (disorder <= _CLEAN * height) & (apart <= _AWAY * is_line.sum())
  if not good.any():
    return np.zeros(0, np.int64)
  return np.flatnonzero(good & (apart <= apart[good].min() + 1e-6))


def paste(
  cutter: SymbolCutter,
  rng: np.random.Generator,
  scene: Scene,
  margin: int,
  count: int,
) -> Scene:
  """Blends symbols into a scene; one that fits nowhere is left out.

  Args:
    cutter: gives the symbols.
    rng: source of randomness.
    scene: of a page.
    margin: px around a symbol, see `SymbolCutter`.
    count: symbols to try at most; 1 is the least.
  """
  height, width = scene.ink.shape
  ink, boxes, labels = scene.ink.copy(), [scene.boxes_yxyx], [scene.labels]
  for _ in range(int(rng.integers(1, count + 1))):
    symbol = cutter(rng, margin, (height, width))
    if symbol is None:
      continue
    is_line = lines(sides(symbol, margin))
    # What is near would be cut in two.
    if stray(symbol.ink, is_line, max(margin - 1, 1)) > _STRAY:
      continue
    place = _place(ink, symbol, is_line, rng)
    if place is None:
      continue
    top, left = place
    h, w = symbol.ink.shape
    part = ink[top : top + h, left : left + w]
    np.maximum(part, symbol.ink, out=part)
    boxes.append(symbol.boxes_yxyx + np.array([top, left] * 2, np.float32))
    labels.append(symbol.labels)
  return dataclasses.replace(
    scene,
    ink=ink,
    boxes_yxyx=np.concatenate(boxes).astype(np.float32),
    labels=np.concatenate(labels).astype(np.int32),
  )


def _place(ink, symbol: Scene, is_line, rng) -> tuple[int, int] | None:
  """Top and left of a free place for an image; None: none found."""
  width = symbol.ink.shape[1]
  for _ in range(_TRIES):
    left = int(rng.integers(0, ink.shape[1] - width + 1))
    rows = rows_that_fit(ink[:, left : left + width], is_line)
    if len(rows):
      return int(rows[rng.integers(len(rows))]), left
  return None
