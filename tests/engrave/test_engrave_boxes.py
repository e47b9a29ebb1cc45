"""Boxes against ink, and our drawing against verovio's."""

import random
import re

import engrave_helpers as helpers
import numpy as np
import pytest

from dwd_jax.engrave import verovio_svg
from dwd_jax.engrave.mei_score import ScoreWriter
from dwd_jax.engrave.rarities import Rarities


@pytest.mark.parametrize(
  ("seed", "font", "words"),
  [
    (1, "Leipzig", helpers.V1),
    (2, "Bravura", helpers.V1),
    (3, "Leland", helpers.V1),
    (6, "Gootville", helpers.V1),
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
    helpers.edge_errors(page, found)
    for found in helpers.objects(page, words)
    if helpers.has_own_drawing(found)
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
  weights = Rarities({"restMaxima": 0.0})
  svg = helpers.svg_of(ScoreWriter(random.Random(5), weights).write(10))
  page = verovio_svg.read_page(svg, "Leipzig")
  # Texts need fonts of the system in verovio's picture.
  svg = re.sub(r"<text.*?</text>", "", svg)
  page.body = [b for b in page.body if 'href="#t' not in b]
  width, height = (int(n) for n in re.findall(r'(\d+)px"', svg)[:2])
  ours = verovio_svg.to_array(
    verovio_svg.render(verovio_svg.to_svg(page, width, height, 0.1))
  )
  theirs = verovio_svg.to_array(verovio_svg.render(svg))
  assert ours.shape == theirs.shape and (ours < 128).mean() > 0.01
  different = np.abs(ours.astype(int) - theirs) > 96
  assert different.mean() < 1e-4
