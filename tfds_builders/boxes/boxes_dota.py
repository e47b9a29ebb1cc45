"""DOTA (v1.0, v1.5, v2.0): a text file of four-cornered boxes for each image.

A line is `x1 y1 x2 y2 x3 y3 x4 y4 class difficult`, in pixels; the last column
may be missing, or the score of a detection, with a decimal point. Lines
`imagesource:...` and `gsd:...` may come first. Polygons of more corners become
the smallest rectangles around them.
"""

import pathlib

import numpy as np

from dwd_jax.core.errors import InputError
from tfds_builders import checks, corners
from tfds_builders.boxes import boxes_pages
from tfds_builders.boxes.boxes_pages import Found, Objects, Page, Pair

LOOKED_FOR = "dota: no .txt in labelTxt/ or train/labelTxt/"
_HEADERS = ("imagesource:", "gsd:")


def find(root: pathlib.Path) -> list[Pair]:
  """Folders with label files; [] if there are none."""
  return boxes_pages.find_pairs(
    root, ("labeltxt", "annfiles"), ".txt", beside=False
  )


def read(pairs: list[Pair], report: checks.BuildReport) -> Found:
  """Reads all annotations.

  Raises:
    InputError: a line with another number of columns, not UTF-8, no image.
  """
  pages = []
  for pair in pairs:
    for name, image, annotation in boxes_pages.pair_up(pair, ".txt", report):
      objects = read_objects(annotation, report)
      pages.append(Page(pair.split, name, image, annotation, objects))
  return Found(pages)


def read_objects(path: pathlib.Path, report: checks.BuildReport) -> Objects:
  """The objects of a file; boxes enclose the corners."""
  text = boxes_pages.text_of_page(path)
  names, outlines, difficult = [], [], []
  for n, line in enumerate(text.splitlines(), 1):
    words = line.split()
    if not words or line.strip().lower().startswith(_HEADERS):
      continue
    count = _coordinates(words)
    if not count:
      raise InputError(
        f"{path}: line {n} has {len(words)} columns; give x1 y1 x2 y2 x3 y3 x4"
        " y4 class difficult"
      )
    names.append(words[count])
    xy = [checks.number(word) for word in words[:count]]
    where = f"{path.name}: line {n}"
    outlines.append(corners.of_polygon(xy, where, report))
    more = words[count + 1 :]
    difficult.append(more not in ([], ["0"]) and "." not in words[-1])
  outlines_yx = np.array(outlines, np.float64).reshape(-1, 4, 2)
  boxes = np.concatenate([outlines_yx.min(1), outlines_yx.max(1)], axis=1)
  return Objects(
    tuple(names),
    boxes_pages.as_float32(boxes),
    np.array(difficult, bool),
    outlines_yx=boxes_pages.as_float32(outlines_yx),
  )


def _coordinates(words: list[str]) -> int:
  """Number of coordinates of a line; 0 if it is none.

  More than four corners are those numbers before the name of the class.
  """
  if len(words) in (9, 10):
    return 8
  if len(words) > 2 * corners.MAX_POINTS + 2:
    return 0
  are_numbers = [not np.isnan(checks.number(word)) for word in words]
  count = [*are_numbers, False].index(False)
  named = len(words) - count in (1, 2)
  return count if named and count > 8 and count % 2 == 0 else 0
