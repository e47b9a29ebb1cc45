"""The parts of pages where two detectors differ most."""

import base64
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from dwd_jax.evaluate import output_files
from dwd_jax.evaluate.compare.comparison import DIFFERENT, FOUND, WRONG, Counted
from dwd_jax.imaging import images
from dwd_jax.metrics.matching import sane
from dwd_jax.show import drawing
from tfds_builders import checks

_CROPS = 12
_OF_A_PAGE = 3
_OF_PAGE = (1 / 6, 1 / 4)  # height and width, in longer sides of the page
_MOST_ITEMS = 2000  # of a page, as centres


class Item(NamedTuple):
  """A true box or a wrong detection in a crop, in pixels of its picture."""

  kind: str
  name: str
  x: float
  y: float
  width: float
  height: float


class Crop(NamedTuple):
  """A part of a page, as a picture with boxes.

  Attributes:
    differences: number of items that are not the same for both.
    hw: of the picture, px.
    data: the PNG file, in base64.
  """

  page: str
  differences: int
  hw: tuple[int, int]
  data: str
  items: list[Item]


def most_different(
  pages: Sequence[Counted],
  folders: Sequence[pathlib.Path],
  class_names: Sequence[str],
) -> list[Crop]:
  """The crops with most differences, of pages that have pictures.

  Args:
    folders: of the evaluations' files; the first with a picture is taken.
  """
  found = []
  for i, page in enumerate(pages):
    path = _picture(page.truth.filename, folders)
    if path is not None:
      found += [(n, i, area, path) for n, area in _areas(page)]
  found.sort(key=lambda row: (-row[0], row[1]))
  return [
    _crop(pages[i], area, path, class_names, differences)
    for differences, i, area, path in found[:_CROPS]
  ]


def _picture(name: str, folders: Sequence[pathlib.Path]) -> pathlib.Path | None:
  paths = (folder / output_files.picture_name(name) for folder in folders)
  return next(filter(pathlib.Path.is_file, paths), None)


def _areas(page: Counted) -> Iterator[tuple[int, np.ndarray]]:
  """Number of differences and yxyx of the densest areas, most first."""
  boxes, kinds = _items(page)
  boxes = boxes[np.isin(kinds, DIFFERENT)]
  centres = (boxes[:, :2] + boxes[:, 2:]) / 2
  hw = np.array(page.truth.image_hw, float)
  size = np.minimum(max(hw) * np.array(_OF_PAGE), hw)
  for _ in range(_OF_A_PAGE):
    if not len(centres):
      return
    near = np.clip(centres[:_MOST_ITEMS] - size / 2, 0, hw - size)
    inside = np.all(
      (centres >= near[:, None]) & (centres <= near[:, None] + size), axis=-1
    )
    best = int(inside.sum(axis=1).argmax())
    yield int(inside[best].sum()), np.append(near[best], near[best] + size)
    centres = centres[~inside[best]]


def _items(
  page: Counted,
) -> tuple[Float[np.ndarray, "n 4"], np.ndarray]:
  """Boxes and kinds of all objects and wrong detections."""
  kinds = np.append(np.array(FOUND)[page.found], np.array(WRONG)[page.kind])
  boxes = np.concatenate([page.truth.boxes_yxyx, page.wrong.boxes_yxyx])
  return sane(boxes), kinds


def _crop(
  page: Counted,
  area: Float[np.ndarray, " 4"],
  path: pathlib.Path,
  class_names: Sequence[str],
  differences: int,
) -> Crop:
  data = checks.read_bytes(path, checks.MAX_IMAGE_BYTES)
  pixels = images.read_page(data, str(path), channels=3)
  zoom = np.array(pixels.shape[:2]) / page.truth.image_hw
  top, left, bottom, right = np.rint(area * np.tile(zoom, 2)).astype(int)
  part = pixels[top:bottom, left:right]
  boxes, kinds = _items(page)
  labels = np.append(page.truth.labels, page.wrong.labels)
  shown = np.all((boxes[:, :2] < area[2:]) & (boxes[:, 2:] > area[:2]), axis=1)
  px = boxes * np.tile(zoom, 2) - (top, left, top, left)
  png = drawing.encoded(part)
  return Crop(
    page=page.truth.filename,
    differences=differences,
    hw=part.shape,
    data=base64.b64encode(png).decode(),
    items=[
      Item(str(kinds[i]), class_names[int(labels[i])], x0, y0, x1 - x0, y1 - y0)
      for i in np.flatnonzero(shown)
      for y0, x0, y1, x1 in [px[i].round(1).tolist()]
    ],
  )
