"""The pictures of a check: overlays, contact sheets, examples of classes."""

import pathlib
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from dwd_jax.check import fit, measures
from dwd_jax.check.measures import Page
from dwd_jax.core.structs import PageBoxes
from dwd_jax.show import drawing

CELL_HW = (360, 280)  # of a thumbnail at most, its name included
_COLUMNS = 6
_MAX_OVERLAY_PX = 4000  # longer pages are drawn smaller
_PALE_RGB = (213, 94, 0)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def overlay(
  page: Page, class_names: Sequence[str]
) -> UInt8[np.ndarray, "h w 3"]:
  """The page with all its boxes; doubtful ones stand out.

  Doubtful are boxes without ink, and those that repeat another one.
  """
  ink, image_hw = page.ink, (page.ink.shape[0], page.ink.shape[1])
  shrink = min(1.0, _MAX_OVERLAY_PX / max(image_hw))
  if shrink < 1:
    ink = cv2.resize(
      ink, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA
    )
  truth = PageBoxes(page.filename, image_hw, page.boxes_yxyx, page.labels)
  return drawing.boxes_picture(ink, truth, class_names, doubtful(page))


def doubtful(page: Page) -> np.ndarray:
  """Which boxes have no ink inside, or repeat another one; bool [n]."""
  if not len(page.labels):
    return np.zeros(0, bool)
  marked = fit.ink_inside(fit.ink_sums(page.ink), page.boxes_yxyx) == 0
  rows = np.hstack([page.labels[:, None], page.boxes_yxyx])
  _, inverse, count = np.unique(
    rows, axis=0, return_inverse=True, return_counts=True
  )
  return marked | (count[inverse.ravel()] > 1)


def thumbnail(page: Page) -> UInt8[np.ndarray, "h 280 3"]:
  """The page and its boxes, small, with its name below."""
  height, width = CELL_HW[0] - 28, CELL_HW[1] - 8
  scale = min(height / page.ink.shape[0], width / page.ink.shape[1])
  size = [max(1, round(s * scale)) for s in page.ink.shape]
  small = cv2.resize(page.ink, size[::-1], interpolation=cv2.INTER_AREA)
  # Averaged lines are pale: the darkest tone becomes black again.
  strong = small.astype(np.float32) * (255 / max(float(small.max()), 1))
  picture = cv2.cvtColor(
    255 - np.rint(strong).astype(np.uint8), cv2.COLOR_GRAY2RGB
  )
  boxed = picture.copy()
  for y0, x0, y1, x1 in np.rint(page.boxes_yxyx * scale).astype(int).tolist():
    cv2.rectangle(boxed, (x0, y0), (x1, y1), _PALE_RGB, 1)
  picture = cv2.addWeighted(picture, 0.6, boxed, 0.4, 0)
  cell = np.full((size[0] + 28, CELL_HW[1], 3), 225, np.uint8)
  cell[4 : 4 + size[0], 4 : 4 + size[1]] = picture
  name = page.filename.encode("ascii", "replace").decode()
  name = name if len(name) <= 44 else f"{name[:20]}...{name[-21:]}"
  cv2.putText(
    cell, name, (4, size[0] + 20), _FONT, 0.33, (0, 0, 0), 1, cv2.LINE_AA
  )
  return cell


def sheet(
  cells: Sequence[np.ndarray], columns: int = _COLUMNS
) -> UInt8[np.ndarray, "h w 3"]:
  """Pictures of one width in rows."""
  columns = min(columns, len(cells))
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
  size = measures.TILE_PX
  made = np.full((size, places * (size + 4) - 4, 3), 255, np.uint8)
  for i, tile in enumerate(tiles[:places]):
    made[:, i * (size + 4) : i * (size + 4) + size] = tile
  return made


def save(folder: pathlib.Path, name: str, picture: np.ndarray) -> str:
  """Writes a PNG and returns its name, for a link."""
  drawing.save(folder / name, picture)
  return name
