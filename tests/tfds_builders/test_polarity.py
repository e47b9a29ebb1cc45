"""The polarity of a data set is decided once, by what its pages show."""

import pathlib
import re

import numpy as np
import pytest
from staff_helpers import staves

from dwd_jax.core.errors import InputError
from tfds_builders import checks, polarity

_BOXES = np.array([[8, 8, 16, 18], [30, 40, 42, 50]], np.float32)
_NONE = np.zeros((0, 4), np.float32)


def _page(ground, objects):
  tones = np.full((60, 60), ground, np.uint8)
  for y0, x0, y1, x1 in _BOXES.astype(int):
    tones[y0:y1, x0:x1] = objects
  return tones


def _on_a_table(tones):
  """A page that fills less than half of the picture, on a dark table."""
  height, width = tones.shape
  picture = np.full((height + 300, width + 400), 40, np.uint8)
  picture[150:-150, 200:-200] = tones
  return picture


_STAVES = 255 - staves(12, (400, 400))

# Caption: pages as (tones, boxes); the polarity, and what is said of it.
SETS = {
  "dark on both grounds": (
    [(_page(200, 150), _BOXES), (_page(90, 20), _BOXES)],
    ("dark", "objects are darker than what is around them on 2 of 2 images"),
  ),
  "light on both grounds": (
    [(_page(160, 250), _BOXES), (_page(20, 90), _BOXES)],
    ("light", "objects are lighter .* on 2 of 2 images"),
  ),
  "most are light": (
    [(_page(60, 90), _BOXES)] * 4 + [(_page(90, 60), _BOXES)],
    ("light", "on 4 of 5 images"),
  ),
  "both": (
    [(_page(60, 90), _BOXES)] * 3 + [(_page(90, 60), _BOXES)] * 2,
    ("keep", "3 of 5 images, so pictures stay .*data.polarity=dark or light"),
  ),
  "a faint page says nothing": (
    [(_page(60, 90), _BOXES), (_page(62, 60), _BOXES)],
    ("light", "1 of 1 images"),
  ),
  "no boxes": (
    [(_page(60, 60), _NONE)] * 2 + [(_page(200, 200), _NONE)],
    ("light", "most pixels are dark"),
  ),
  "boxes as large as the page": (
    [(_page(200, 20), np.array([[0, 0, 60, 60]], np.float32))],
    ("dark", "most pixels are bright"),
  ),
  "no pages": ([], ("dark", "")),
  "music on dark tables": (
    [(_on_a_table(_STAVES), _NONE), (_page(90, 200), _BOXES)],
    ("dark", "dark staff lines on 1 pages$"),
  ),
  "music in white on black": (
    [(255 - _STAVES, _NONE)],
    ("light", "light staff lines on 1 pages$"),
  ),
  "music, and some negatives": (
    [(_STAVES, _NONE)] * 2 + [(255 - _STAVES, _NONE)],
    ("dark", "dark staff lines on 2 pages; on 1 they are light, .* invert"),
  ),
}


@pytest.mark.parametrize("caption", SETS)
def test_what_decides(caption):
  pages, (wanted, line) = SETS[caption]
  decided = polarity.decide([polarity.evidence(*page) for page in pages])
  assert decided.polarity == wanted
  assert re.search(line, decided.reason)
  assert "\n" not in str(decided)


# Caption: tones of ground and objects, and whether these are hardly seen.
FAINT = {
  "16 bits of which few are in use": (10, 11, True),
  "clear": (10, 60, False),
  "as dark as light, but seen": (60, 60, False),
}


@pytest.mark.parametrize("caption", FAINT)
def test_objects_that_are_hardly_seen_are_told(caption):
  ground, objects, faint = FAINT[caption]
  tones = _page(ground, objects)
  if ground == objects:  # rims in two tones, which have no mean
    tones[8:16, 8:10], tones[8:16, 16:18] = 30, 90
    tones[30:42, 40:42], tones[30:42, 48:50] = 30, 90
  found = [polarity.evidence(tones, _BOXES)] * 3
  decided = polarity.decide(found)
  assert bool(decided.faint) == faint
  assert decided.faint.startswith("on 3 of 3 images") == faint
  assert (polarity.STRETCH in str(decided)) == faint


def test_training_pages_decide_and_bad_ones_are_left_to_the_build():
  def read(page):
    if page.name == "bad":
      raise InputError("bad")
    return checks.ParsedPage(
      255 - _page(*_TONES[page.name]), _BOXES, np.zeros(2, np.int64)
    )

  pages = [
    checks.PageFiles(name, pathlib.Path(name), pathlib.Path(name))
    for name in ("bad", "day", "night")
  ]
  splits = {"train": pages[:2], "test": pages[2:]}
  data_set = checks.DataSet(("a",), splits)
  assert polarity.of_data_set(data_set, read).polarity == "dark"
  given = checks.DataSet(("a",), splits, polarity="keep")
  assert polarity.of_data_set(given, read) == polarity.Decision("keep", "")


_TONES = {"day": (200, 100), "night": (50, 150)}
