"""Boxes against ink, and our drawing against verovio's."""

import random
import re

import engrave_helpers as helpers
import numpy as np
import pytest

from dwd_jax.engrave import raster, verovio_svg, vocabulary
from dwd_jax.engrave.mei_score import ScoreWriter
from dwd_jax.engrave.weights import Weights

_MARGIN = 6  # px around a symbol drawn alone
_INK = 48  # of 255: an edge pixel counts when a fifth of it is covered


def _draw_alone(page, found):
  """Draws one symbol in its place; gives ink and the corner's (x, y)."""
  px = helpers.PX
  x0, y0, x1, y1 = (v * px for v in found.bounds)
  left, top = int(np.floor(x0)) - _MARGIN, int(np.floor(y0)) - _MARGIN
  width, height = (
    int(np.ceil(x1)) + _MARGIN - left,
    int(np.ceil(y1)) + _MARGIN - top,
  )
  body = "".join(
    page.body[i] for mark in found.marks for i in range(*mark.drawn)
  )
  used = set(re.findall(r'#([\w-]+)"', body))
  defs = "".join(page.defs[key] for key in sorted(used))
  svg = (
    '<svg xmlns="http://www.w3.org/2000/svg" '
    'xmlns:xlink="http://www.w3.org/1999/xlink" '
    f'width="{width}" height="{height}" viewBox="{left / px} {top / px} '
    f'{width / px} {height / px}"><defs>{defs}</defs>'
    f'<g stroke="#000" stroke-width="0">{body}</g></svg>'
  )
  return 255 - raster.to_array(raster.render(svg)).astype(int), left, top


def _edge_errors(page, found):
  """Distance in px of the four edges from the first and last inked pixel."""
  ink, left, top = _draw_alone(page, found)
  ys, xs = np.nonzero(ink >= _INK)
  x0, y0, x1, y1 = (v * helpers.PX for v in found.bounds)
  return np.abs(
    [
      left + xs.min() - x0,
      top + ys.min() - y0,
      left + xs.max() + 1 - x1,
      top + ys.max() + 1 - y1,
    ]
  )


def _has_own_drawing(found):
  """A clef and its octave number are one glyph: not to be drawn alone."""
  words = vocabulary.get(helpers.V1)
  clef = "Clef" in found.name or found.name.startswith("clef")
  known = words.glyphs.get(found.marks[0].code, "cClef")
  return not clef or found.name.startswith(known)


@pytest.mark.parametrize(
  ("seed", "font", "words"),
  [
    (1, "Leipzig", helpers.V1),
    (2, "Bravura", helpers.V1),
    (3, "Leland", helpers.V1),
    (4, "Gootville", helpers.V1),
    (1, "Leipzig", helpers.V2),
    (7, "Leland", helpers.V2),
  ],
)
def test_edges_are_within_a_pixel_of_the_ink(seed, font, words):
  """Every symbol is drawn alone, where it is, without what touches it.

  Staff lines, stems and neighbours run through most symbols of a page, so an
  edge can only be judged on the symbol's own ink: the elements that its box
  was measured from, drawn at the page's scale and sub-pixel position.
  """
  page = helpers.random_page(seed, font, words=words)
  errors = [
    _edge_errors(page, found)
    for found in helpers.objects(page, words)
    if _has_own_drawing(found)
  ]
  assert len(errors) > 100
  assert np.mean(np.concatenate(errors) <= 1) >= 0.99


@pytest.mark.parametrize("font", ["Leipzig", "Bravura", "Petaluma"])
@pytest.mark.parametrize(
  ("caption", "clef", "name", "below"),
  [
    ("8 below a G clef", 'shape="G" line="2" dis="8" dis.place="below"',
     "clef8", True),
    ("15 above a G clef", 'shape="G" line="2" dis="15" dis.place="above"',
     "clef15", False),
    ("8 below an F clef", 'shape="F" line="4" dis="8" dis.place="below"',
     "clef8", True),
  ],
)  # fmt: skip
def test_octave_numbers_sit_at_the_end_of_the_clef(
  caption, clef, name, below, font
):
  staff = f'<staffDef n="1" lines="5"><clef {clef}/></staffDef>'
  measure = '<measure><staff n="1"><layer n="1"><mRest/></layer></staff>'
  mei = helpers._MEI.format(staves=staff, measures=f"{measure}</measure>")
  page = verovio_svg.read_page(helpers.svg_of(mei, font), font)
  number = next(f for f in helpers.objects(page) if f.name == name)
  whole, bounds = number.marks[0].bounds, number.bounds
  end = (whole[3], bounds[3]) if below else (whole[1], bounds[1])
  assert end[0] == pytest.approx(end[1], abs=5)  # of 180 units a space
  height = (bounds[3] - bounds[1]) / verovio_svg.UNITS_PER_SPACE
  width = (bounds[2] - bounds[0]) / verovio_svg.UNITS_PER_SPACE
  assert 0.7 < height < 1.6 and 0.5 < width < 2, caption


def test_the_redrawn_page_looks_like_verovio_s():
  # A maxima rest is drawn otherwise on purpose.
  weights = Weights({"restMaxima": 0.0})
  svg = helpers.svg_of(ScoreWriter(random.Random(5), weights).write(10))
  page = verovio_svg.read_page(svg, "Leipzig")
  # Texts need fonts of the system in verovio's picture.
  svg = re.sub(r"<text.*?</text>", "", svg)
  page.body = [b for b in page.body if 'href="#t' not in b]
  width, height = (int(n) for n in re.findall(r'(\d+)px"', svg)[:2])
  ours = raster.to_array(
    raster.render(verovio_svg.to_svg(page, width, height, 0.1))
  )
  theirs = raster.to_array(raster.render(svg))
  assert ours.shape == theirs.shape and (ours < 128).mean() > 0.01
  different = np.abs(ours.astype(int) - theirs) > 96
  assert different.mean() < 1e-4
