"""Clefs: their line, their octave number, whether they are a change."""

import functools
from collections.abc import Iterator, Mapping

import cv2
import numpy as np

from dwd_jax.engrave import outlines, raster, text
from dwd_jax.engrave.outlines import Bounds
from dwd_jax.engrave.verovio_svg import Group, Mark, Page

_C_CLEF, _C_CLEF_CHANGE = 0xE05C, 0xE07B
# Clefs with an octave number: (the clef, class of the number).
_OCTAVES = {
  0xE051: (0xE050, "clef15"),
  0xE052: (0xE050, "clef8"),
  0xE053: (0xE050, "clef8"),
  0xE054: (0xE050, "clef15"),
  0xE05D: (0xE05C, "clef8"),
  0xE063: (0xE062, "clef15"),
  0xE064: (0xE062, "clef8"),
  0xE065: (0xE062, "clef8"),
  0xE066: (0xE062, "clef15"),
}
_NAMES_BY_LINE = {3: "cClefAlto", 4: "cClefTenor"}


def objects(
  page: Page, group: Group, mark: Mark, names: Mapping[int, str]
) -> Iterator[tuple[str, Bounds]]:
  """The symbols of one clef glyph.

  Args:
    page: the page, with the outlines of its glyphs.
    group: the clef's group, inside the group of its staff.
    mark: the glyph.
    names: class by SMuFL code point.

  Yields:
    (class name, bounds in page units): the clef, and its octave number as a
    symbol of its own. C clefs on other lines than 3 and 4 have no class.
  """
  code, number = _OCTAVES.get(mark.code, (mark.code, ""))
  bounds = mark.bounds
  plain = text.music_glyph(chr(code), page.font) if number else None
  if plain is not None:
    whole, clef = page.glyphs[mark.code], plain[0]
    bounds = _place(outlines.union(outlines.contours(clef)), mark)
    yield number, _place(_difference(whole, clef), mark)
  change = page.groups[group.parent].cls == "layer"
  if code in (_C_CLEF, _C_CLEF_CHANGE):
    name = _NAMES_BY_LINE.get(_line(page, group, mark), "")
    change = change or code == _C_CLEF_CHANGE
  else:
    name = names.get(code, "")
  if name and change and not name.endswith("Change"):
    name += "Change"
  if name:
    yield name, bounds


def _place(bounds: Bounds, mark: Mark) -> Bounds:
  """Font units, y up -> page."""
  x0, y0, x1, y1 = bounds
  return outlines.transform_bounds((x0, -y1, x1, -y0), mark.matrix)


def _line(page: Page, group: Group, mark: Mark) -> int:
  """The staff line a clef sits on, 1 = lowest; 0 if there is no staff."""
  while group.cls != "staff":
    if group.parent < 0:
      return 0
    group = page.groups[group.parent]
  lines = [page.marks[i] for i in group.marks]
  ys = sorted((m.bounds[1] + m.bounds[3]) / 2 for m in lines if m.code == 0)
  if not ys:
    return 0
  nearest = np.argmin([abs(y - mark.matrix[5]) for y in ys])
  return len(ys) - int(nearest)


@functools.lru_cache(maxsize=64)
def _difference(whole: str, part: str) -> Bounds:
  """Bounds of what one outline has and another has not, in font units.

  The fonts melt the number into the clef's outline, so contours do not tell
  them apart; pixels do.
  """
  x0, y0, x1, y1 = outlines.union(outlines.contours(whole))
  width, height = round(x1 - x0) + 1, round(y1 - y0) + 1

  def draw(d: str) -> np.ndarray:
    return raster.to_array(
      raster.render(
        '<svg xmlns="http://www.w3.org/2000/svg" '
        f'width="{width}" height="{height}">'
        f'<path transform="translate({-x0},{y1}) scale(1,-1)" d="{d}"/></svg>'
      )
    )

  rest = ((draw(whole) < 128) & (draw(part) >= 128)).astype(np.uint8)
  # The clef itself may differ by a few units: no stroke is as thin as that.
  rest = cv2.morphologyEx(rest, cv2.MORPH_OPEN, np.ones((9, 9), np.uint8))
  rows, columns = np.nonzero(rest.any(1))[0], np.nonzero(rest.any(0))[0]
  if not len(rows):
    return x0, y0, x1, y1
  return (
    x0 + columns[0],
    y1 - rows[-1] - 1,
    x0 + columns[-1] + 1,
    y1 - rows[0],
  )
