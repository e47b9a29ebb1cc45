"""Draws overlays, contact sheets and examples of classes."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dwd_jax.check import ink as ink_lib
from dwd_jax.check.measures import Page
from dwd_jax.core import boxes as boxes_lib
from dwd_jax.imaging import grey
from dwd_jax.show import drawing, letters

TILE_PX = 96  # of the examples of a class
CELL_HW = (360, 280)  # largest thumbnail, its name included
_COLUMNS = 6  # of a contact sheet
_NAME_PX = 10  # letters below a thumbnail
_MIN_OVERLAY_PX = 1000  # narrower pages are enlarged
_MAX_OVERLAY_PX = 4000  # longer pages are drawn smaller


def overlay(
  page: Page, class_names: Sequence[str], is_print: bool
) -> UInt8[np.ndarray, "h w 3"]:
  """The page with all its boxes; the `doubtful` ones stand out."""
  ink = page.seen
  shrink = min(1.0, _MAX_OVERLAY_PX / max(ink.shape))
  if shrink < 1:
    ink = cv2.resize(
      ink, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA
    )
  return drawing.boxes_picture(
    ink,
    page.page_boxes(),
    class_names,
    doubtful(page, is_print),
    min_width_px=_MIN_OVERLAY_PX,
  )


def doubtful(page: Page, is_print: bool) -> np.ndarray:
  """Mask of the boxes with duplicates or, in print, without ink, bool [n]."""
  if not len(page.labels):
    return np.zeros(0, bool)
  marked = np.zeros(len(page.labels), bool)
  if is_print:
    marked = ink_lib.inside(ink_lib.find(page.ink), page.boxes_yxyx) == 0
  rows = np.hstack([page.labels[:, None], page.boxes_yxyx])
  _, inverse, count = np.unique(
    rows, axis=0, return_inverse=True, return_counts=True
  )
  return marked | (count[inverse.ravel()] > 1)


def thumbnail(page: Page) -> UInt8[np.ndarray, "h 280 3"]:
  """The page and its boxes, with its name below."""
  height, width = CELL_HW[0] - 28, CELL_HW[1] - 8
  scale = min(height / page.ink.shape[0], width / page.ink.shape[1])
  size = [max(1, round(s * scale)) for s in page.ink.shape]
  small = cv2.resize(page.seen, size[::-1], interpolation=cv2.INTER_AREA)
  if small.ndim == 2:
    # Lines turn pale when shrunk: stretch the darkest tone to black.
    strong = small.astype(np.float32) * (255 / max(float(small.max()), 1))
    small = np.rint(strong).astype(np.uint8)
  picture = grey.shown(small)
  boxed = picture.copy()
  for outline in drawing.outlines_px(page.page_boxes(), scale):
    drawing.draw_outline(boxed, outline, drawing.WRONG_RGB)
  picture = cv2.addWeighted(picture, 0.6, boxed, 0.4, 0)
  cell = np.full((size[0] + 28, CELL_HW[1], 3), 225, np.uint8)
  cell[4 : 4 + size[0], 4 : 4 + size[1]] = picture
  name = page.filename
  name = name if len(name) <= 44 else f"{name[:20]}...{name[-21:]}"
  letters.write(cell, name, 4, size[0] + 20, _NAME_PX, (0, 0, 0))
  return cell


def sheet(cells: Sequence[np.ndarray]) -> UInt8[np.ndarray, "h w 3"]:
  """Pictures of one width in rows of six."""
  columns = min(_COLUMNS, len(cells))
  height = max(len(cell) for cell in cells)
  cells = [
    np.pad(cell, ((0, height - len(cell)), (0, 0), (0, 0)), constant_values=225)
    for cell in cells
  ]
  rows = -(-len(cells) // columns)
  blank = np.full_like(cells[0], 255)
  full = [*cells, *[blank] * (rows * columns - len(cells))]
  return np.vstack(
    [np.hstack(full[r * columns : (r + 1) * columns]) for r in range(rows)]
  )


def strip(tiles: Sequence[np.ndarray], places: int) -> np.ndarray:
  """The examples of one class side by side, 4 px apart."""
  made = np.full((places, TILE_PX, TILE_PX + 4, 3), 255, np.uint8)
  for i, tile in enumerate(tiles[:places]):
    made[i, :, :TILE_PX] = tile
  return np.hstack(list(made))[:, :-4]


def class_examples(
  page: Page, seed: int
) -> dict[int, tuple[float, UInt8[np.ndarray, "96 96 3"]]]:
  """One object of each class on the page, drawn at random.

  Returns:
    Class id -> (random number, picture). The lowest numbers of all pages are a
    fair sample.
  """
  rng = np.random.default_rng(seed)
  keys = rng.random(len(page.labels))
  order = np.argsort(keys)
  classes, first = np.unique(page.labels[order], return_index=True)
  picks = order[first]
  outlines = page.oriented_yx
  return {
    int(c): (
      float(keys[i]),
      tile(
        page.seen,
        page.boxes_yxyx[i],
        None if outlines is None else outlines[i],
      ),
    )
    for c, i in zip(classes.tolist(), picks.tolist(), strict=True)
  }


def tile(
  ink: UInt8[np.ndarray, "H W *c"],
  box_yxyx: Float[np.ndarray, " 4"],
  outline_yx: Float[np.ndarray, "4 2"] | None = None,
) -> UInt8[np.ndarray, "96 96 3"]:
  """A square picture of an object, its surroundings and its box.

  `outline_yx`: corners of its oriented box, which is drawn instead.
  """
  y0, x0, y1, x1 = (float(v) for v in box_yxyx)
  side = max(y1 - y0, x1 - x0)
  side += 2 * max(8.0, 0.4 * side)
  zoom = TILE_PX / side
  top, left = (y0 + y1 - side) / 2, (x0 + x1 - side) / 2
  low_y, low_x = max(0, int(top)), max(0, int(left))
  part = ink[low_y : int(top + side) + 1, low_x : int(left + side) + 1]
  scale = np.ones(2)
  # Shrink by averaging first: thin lines would break up in the warp.
  if zoom < 1 and min(part.shape[:2]) * zoom >= 1:
    size = part.shape[1::-1]
    part = cv2.resize(
      part, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA
    )
    scale = np.array(part.shape[1::-1]) / size
  fx, fy = zoom / scale
  # The tile may reach beyond the edge of the page.
  move = np.array(
    [[fx, 0, (low_x - left) * zoom], [0, fy, (low_y - top) * zoom]], np.float32
  )
  moved = cv2.warpAffine(part, move, (TILE_PX, TILE_PX))
  picture = np.ascontiguousarray(grey.shown(moved.astype(np.uint8)))
  if outline_yx is None:
    outline_yx = np.asarray(boxes_lib.corners_yx(box_yxyx))
  corners = np.clip((outline_yx - (top, left)) * zoom, -1e4, 1e4)
  drawing.draw_outline(picture, np.rint(corners).astype(int), drawing.WRONG_RGB)
  return picture
