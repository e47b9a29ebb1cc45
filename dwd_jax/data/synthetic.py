"""Synthetic symbols: images of single symbols added to training crops.

Layouts `up` and `full` are the original's (Elezi et al. 2018, arXiv:1810.05423;
lib/roi_data_layer/minibatch.py@5c314f1). Differs from the original, which
trained pasted symbols as background: their boxes, and those of neighbours in
their images, are boxes of the crop.

Layout `paste` is ours: it blends symbols into free places of a page, at the
height of its staff. The image of a symbol shows a little of its surroundings;
rows of ink in them are staff lines. The image fits where the page has lines in
the same rows and no other ink, so a rest from the middle of a staff lands in
the middle of a staff. The darker of both pixels is kept.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Literal

import cv2
import numpy as np
from absl import logging
from jaxtyping import Bool, Int, UInt8

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core.config_sections import check_choices
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import NO_POSITION
from dwd_jax.data import sampling, scenes, symbols
from dwd_jax.data.scenes import Scene
from dwd_jax.data.sources import PageSource
from dwd_jax.data.symbols import Symbol, SymbolSet

DRAWS = {"uniform": 1.0, "inverse": 2.0}  # P(class) ~ count ** (1 - this)
_ROWS = 8  # of `full`
_TRIES = 4  # draws for a place before it stays empty
PER_CLASS = 64  # symbols in use
MARGIN = 4  # px around a symbol, at the network's scale


@dataclasses.dataclass(frozen=True)
class SyntheticConfig:
  """Images of single symbols in training crops, for rare classes.

  Attributes:
    layout: where symbols are added. up: a strip of them over the upper edge of
      a crop; full: a crop made of rows of them; paste: free places of a crop,
      at the same height of a staff as on their own page.
    prob: share of the crops that get symbols, 0..1.
    per_row: most symbols of a strip or a row, or pasted into a crop.
    draw: how often a class is drawn. uniform: all classes equally often;
      inverse: by 1 / frequency.
    path: folder of symbol records (tfds_builders/symbols); "" = the symbols of
      the training pages themselves.
  """

  layout: Literal["no", "up", "full", "paste"] = "no"
  prob: float = 0.5
  per_row: int = 12
  draw: Literal["uniform", "inverse"] = "uniform"
  path: str = ""

  def __post_init__(self):
    check_choices(self, "data.synthetic")
    if not 0 <= self.prob <= 1:
      raise InputError(
        f"config: data.synthetic.prob: {self.prob} is not within 0..1"
      )
    if self.per_row < 1:
      raise InputError(
        f"config: data.synthetic.per_row: {self.per_row} is below 1"
      )


class SymbolCutter:
  """Draws symbols and cuts them out, with their surroundings.

  Draws from `PER_CLASS` symbols of each class, evenly spaced over the pages;
  their images stay in memory.
  """

  def __init__(self, found: SymbolSet, draw: str, min_visible: float):
    """A cutter.

    Args:
      found: symbols to draw from.
      draw: see `SyntheticConfig`.
      min_visible: a neighbour with a smaller share of its box on the image does
        not count, as in a training crop.

    Raises:
      InputError: no symbol has a class.
    """
    self._symbols = found
    self._min_visible = min_visible
    self._known = np.flatnonzero(found.labels >= 0)
    if not len(self._known):
      raise InputError(
        "data.synthetic: no symbol of any class of the training pages; name"
        " other records in data.synthetic.path"
      )
    self._draw = sampling.RareObjects(
      found.labels[self._known], DRAWS[draw], PER_CLASS
    )
    self._kept: dict[tuple[int, int], Scene] = {}

  def missing(self) -> tuple[str, ...]:
    """Names of the classes without a symbol."""
    present = set(self._symbols.labels[self._known].tolist())
    names = enumerate(self._symbols.class_names)
    return tuple(name for i, name in names if i not in present)

  def __call__(
    self, rng: np.random.Generator, margin: int, most_hw: tuple[int, int]
  ) -> Scene | None:
    """Draws a symbol; None if `_TRIES` of them are too large.

    Args:
      rng: source of randomness.
      margin: px of surroundings on every side, within the symbol's image.
      most_hw: largest height and width in px, margin included.

    Returns:
      A cached scene, not to be changed.
    """
    for _ in range(_TRIES):
      i = int(self._known[self._draw(rng)])
      symbol = self._symbols[i]
      low = np.maximum(np.floor(symbol.box_yxyx[:2]).astype(int) - margin, 0)
      high = np.ceil(symbol.box_yxyx[2:]).astype(int) + margin
      hw = np.minimum(high, symbol.image_hw) - low
      if np.all((hw > 0) & (hw <= most_hw)):
        if (i, margin) not in self._kept:
          self._kept[i, margin] = self._cut(symbol, low.tolist(), hw.tolist())
        return self._kept[i, margin]
    return None

  def _cut(self, symbol: Symbol, corner: list[int], hw: list[int]) -> Scene:
    moved = (symbol.boxes_yxyx - np.array(corner * 2)).astype(np.float32)
    boxes, kept = boxes_lib.visible(moved, (hw[0], hw[1]), self._min_visible)
    kept &= symbol.labels >= 0
    oriented = symbol.oriented_yx()
    if oriented is None:
      oriented = np.asarray(boxes_lib.corners_yx(symbol.boxes_yxyx))
    return Scene(
      symbol.read(*corner, *hw),
      boxes[kept],
      symbol.labels[kept],
      oriented_yx=(oriented - np.array(corner, np.float32))[kept],
      # Where it will be put, there may be no staff or another one.
      positions=np.full(int(kept.sum()), NO_POSITION, np.int32),
    )


# Draws a symbol of a height and width at most; None if those drawn are larger.
Draw = Callable[[tuple[int, int]], Scene | None]


def row(
  draw: Draw, rng: np.random.Generator, most_hw: tuple[int, int], per_row: int
) -> list[tuple[int, Scene]]:
  """Up to `per_row` symbols side by side, with random gaps.

  Returns:
    (px from the left, symbol) of each.
  """
  found: list[Scene] = []
  room = most_hw[1]
  while len(found) < per_row and room > 0:
    scene = draw((most_hw[0], room))
    if scene is None:
      break
    found.append(scene)
    room -= scene.ink.shape[1]
  cuts = np.sort(rng.integers(0, room + 1, len(found)))
  gaps = np.diff(cuts, prepend=0)
  places, x = [], 0
  for gap, scene in zip(gaps.tolist(), found, strict=True):
    places.append((x + gap, scene))
    x += gap + scene.ink.shape[1]
  return places


def join(hw: tuple[int, int], parts: list[tuple[int, int, Scene]]) -> Scene:
  """Puts scenes at (top, left) on an empty page of size `hw`, px."""
  ink = np.zeros(hw, np.uint8)
  for top, left, scene in parts:
    height, width = scene.ink.shape
    ink[top : top + height, left : left + width] = scene.ink
  return scenes.joined(ink, [s.moved(top, left) for top, left, s in parts])


def full(
  draw: Draw, rng: np.random.Generator, hw: tuple[int, int], per_row: int
) -> Scene:
  """A page of size `hw`, px, with up to 8 rows of symbols, see `row`."""
  parts, top = [], 0
  for _ in range(_ROWS):
    placed = row(draw, rng, (hw[0] - top, hw[1]), per_row=per_row)
    if not placed:
      break
    height = max(scene.ink.shape[0] for _, scene in placed)
    for left, scene in placed:
      spare = height - scene.ink.shape[0]
      parts.append((top + int(rng.integers(spare + 1)), left, scene))
    top += height
  return join(hw, parts)


def up(
  draw: Draw,
  rng: np.random.Generator,
  scene: Scene,
  per_row: int,
  min_visible: float,
) -> Scene:
  """Puts a row of symbols over the upper edge of a scene, up to a third high.

  An object that keeps less than `min_visible` of its area is dropped. Differs
  from the original, whose image grew by a strip above the crop.
  """
  height, width = scene.ink.shape
  placed = row(draw, rng, (height // 3, width), per_row=per_row)
  if not placed:
    return scene
  strip = max(part.ink.shape[0] for _, part in placed)
  above = join((strip, width), [(0, left, part) for left, part in placed])
  # Only the strip cuts here: boxes may still reach over the other edges.
  y0, y1 = scene.boxes_yxyx[:, 0], scene.boxes_yxyx[:, 2]
  seen = np.maximum(y1, strip) - np.maximum(y0, strip)
  kept = (seen > 0) & (seen >= (min_visible - 1e-5) * (y1 - y0))
  below = scene.keep(kept)
  below.boxes_yxyx[:, 0] = np.maximum(below.boxes_yxyx[:, 0], strip)
  ink = np.concatenate([above.ink, scene.ink[strip:]])
  return scenes.joined(ink, [above, below])


_INK = 96  # of 255: darker counts as ink
_LINE = 0.8  # smallest share of ink in the rows of staff lines
_CLEAN = 0.02  # largest share of other ink below a symbol
_STRAY = 0.005  # largest share of an image that is ink in its margin
_PASTE_TRIES = 6  # columns tried for each symbol
_AWAY = 0.5  # largest share of line rows that differ: line widths vary


def lines(ink: UInt8[np.ndarray, "h w"]) -> Bool[np.ndarray, " h"]:
  """Mask of the rows that are staff lines: nearly all ink."""
  if not ink.shape[1]:
    return np.zeros(ink.shape[0], np.bool_)
  return (ink >= _INK).mean(axis=1) >= _LINE


def _with_edges(is_line: Bool[np.ndarray, " h"]) -> Bool[np.ndarray, " h"]:
  """Mask of the lines and the rows above and below: their edges are grey."""
  rows = is_line.astype(np.uint8)[:, None]
  return cv2.dilate(rows, np.ones((3, 1)))[:, 0] > 0


def sides(scene: Scene, margin: int) -> UInt8[np.ndarray, "h m"]:
  """The outer columns of a symbol's image, without the symbol."""
  margin = min(margin, scene.ink.shape[1] // 2)
  return np.concatenate(
    [scene.ink[:, :margin], scene.ink[:, scene.ink.shape[1] - margin :]], 1
  )


def stray(
  ink: UInt8[np.ndarray, "h w"], is_line: Bool[np.ndarray, " h"], margin: int
) -> float:
  """Share of ink in the margin of an image, without staff lines."""
  outer = (ink >= _INK) & ~_with_edges(is_line)[:, None]
  outer[margin:-margin, margin:-margin] = False
  return float(outer.sum() / max(ink.size, 1))


def rows_that_fit(
  band: UInt8[np.ndarray, "H w"], is_line: Bool[np.ndarray, " h"]
) -> Int[np.ndarray, " k"]:
  """Rows of a page where the top of an image fits best; none if it does not.

  Args:
    band: the columns of the page below the image.
    is_line: mask of the staff lines in the image.
  """
  height = len(is_line)
  if band.shape[0] < height:
    return np.zeros(0, np.int64)
  on_page = lines(band)
  other = np.where(_with_edges(on_page), 0.0, (band >= _INK).mean(axis=1))
  window = np.ones(height)
  disorder = np.correlate(other, window, "valid")
  # Number of rows that are a line in one of both only.
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
  draw: Draw,
  rng: np.random.Generator,
  scene: Scene,
  margin: int,
  count: int,
) -> Scene:
  """Blends 1 to `count` symbols into a scene, without those that do not fit."""
  ink, parts = scene.ink.copy(), [scene]
  for _ in range(int(rng.integers(1, count + 1))):
    symbol = draw((ink.shape[0], ink.shape[1]))
    if symbol is None:
      continue
    is_line = lines(sides(symbol, margin))
    # A neighbour in the margin would be cut in two.
    if stray(symbol.ink, is_line, max(margin - 1, 1)) > _STRAY:
      continue
    place = _place(ink, symbol, is_line, rng)
    if place is None:
      continue
    top, left = place
    h, w = symbol.ink.shape
    part = ink[top : top + h, left : left + w]
    np.maximum(part, symbol.ink, out=part)
    parts.append(symbol.moved(top, left))
  return scenes.joined(ink, parts)


def _place(ink, symbol: Scene, is_line, rng) -> tuple[int, int] | None:
  """Top and left of a free place for a symbol, or None."""
  width = symbol.ink.shape[1]
  for _ in range(_PASTE_TRIES):
    left = int(rng.integers(0, ink.shape[1] - width + 1))
    rows = rows_that_fit(ink[:, left : left + width], is_line)
    if len(rows):
      return int(rows[rng.integers(len(rows))]), left
  return None


class SyntheticSymbols:
  """Adds symbols to crops."""

  def __init__(
    self, found: SymbolSet, cfg: SyntheticConfig, min_visible: float
  ):
    self._cfg = cfg
    self._min_visible = min_visible
    self._cutter = SymbolCutter(found, cfg.draw, min_visible)
    if missing := self._cutter.missing():
      logging.warning(
        "data.synthetic: no symbols of %d classes (%s ...): never drawn",
        len(missing),
        missing[0],
      )

  def __call__(
    self, scene: Scene, rng: np.random.Generator, scale: float
  ) -> Scene:
    """Adds symbols with probability `prob` to a scene, in pixels of the page.

    `scale` is the number of pixels of the crop for one of the page.
    """
    if rng.random() >= self._cfg.prob:
      return scene
    layout, most = self._cfg.layout, self._cfg.per_row
    margin = max(1, round(MARGIN / scale))
    draw = functools.partial(self._cutter, rng, margin)
    if layout == "full":
      return full(draw, rng, scene.ink.shape, per_row=most)
    if layout == "paste":
      return paste(draw, rng, scene, margin=margin, count=most)
    return up(draw, rng, scene, per_row=most, min_visible=self._min_visible)


def open_synthetic(source: PageSource, data_cfg) -> SyntheticSymbols | None:
  """The synthetic symbols of `config.data`, None if it has none.

  Raises:
    InputError: bad settings or records.
  """
  cfg = SyntheticConfig(**data_cfg.synthetic)
  if cfg.layout == "no":
    return None
  if source.channels != 1:
    raise InputError(
      "config: data.synthetic: adds ink to grey pictures, and these are in"
      " colour; set data.synthetic.layout=no or data.channels=1"
    )
  if cfg.path:
    found: SymbolSet = symbols.open_symbol_records(
      pathlib.Path(cfg.path).expanduser(),
      source.class_names,
      leave_out=tuple(data_cfg.leave_out),
      common_with=data_cfg.common_with,
    )
  else:
    found = symbols.SymbolsOfPages(source)
  return SyntheticSymbols(found, cfg, float(data_cfg.min_visible))
