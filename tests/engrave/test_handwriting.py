"""Pages drawn by hand: boxes on the ink, no symbol lost, equal by seed."""

import dataclasses
import functools

import engrave_helpers as helpers
import numpy as np
import pytest
import verovio

from dwd_jax import engrave
from dwd_jax.engrave import (
  dataset,
  elements,
  engraver,
  handwriting,
  verovio_svg,
)
from dwd_jax.engrave.__main__ import main
from dwd_jax.engrave.strokes import Strokes


@functools.cache
def _engraved(words, measures):
  page = helpers.random_page(5, "Petaluma", measures, words)
  return page, helpers.objects(page, words)


def _written(seed, strength=1.0, words=helpers.V1, measures=9):
  page, objects = _engraved(words, measures)
  rng = np.random.default_rng(seed)
  return page, objects, *handwriting.write(page, objects, rng, strength)


@pytest.mark.parametrize("words", [helpers.V1, helpers.V2])
@pytest.mark.parametrize("strength", [1.0, 3.0])
def test_edges_are_within_two_pixels_of_the_ink(words, strength):
  _, _, page, objects = _written(0, strength, words)
  errors = [
    helpers.edge_errors(page, found)
    for found in objects
    if helpers.has_own_drawing(found)
  ]
  assert len(errors) > 100
  assert np.mean(np.concatenate(errors) <= 2) >= 0.995


def test_symbols_keep_their_names_and_about_their_places():
  before, engraved, page, written = _written(1)
  assert [f.name for f in written] == [f.name for f in engraved]
  assert len(page.marks) == len(before.marks)
  moved = np.array([f.bounds for f in written]) - [f.bounds for f in engraved]
  spaces = np.abs(moved) / verovio_svg.UNITS_PER_SPACE
  assert 0.05 < np.median(spaces) < 0.6
  assert spaces.max() < 3


def test_no_two_symbols_of_a_class_are_alike():
  _, _, _, written = _written(2)
  heads = {
    (round(f.bounds[2] - f.bounds[0]), round(f.bounds[3] - f.bounds[1]))
    for f in written
    if f.name == "noteheadBlack"
  }
  assert len(heads) > 20


def test_pieces_of_a_staff_line_meet():
  """Verovio draws the lines measure by measure."""
  before, _, page, _ = _written(3)
  ends = []
  for _, lines in Strokes(before).staves():
    rows = [i for i, m in enumerate(before.marks) if any(m is x for x in lines)]
    for i in rows:
      drawn = elements.read(page.body[page.marks[i].drawn[0]], page.defs)
      ends += [drawn.lines[0][0], drawn.lines[0][-1]]
  ends = np.array(ends)
  apart = np.hypot(*(ends[:, None] - ends[None]).transpose(2, 0, 1))
  inner = np.sort(apart, axis=1)[:, 1]  # the nearest other end
  assert np.mean(inner < 1) > 0.5  # all but the ends of the systems


def test_slurs_stay_filled_and_lines_are_not():
  before, _, page, _ = _written(0, words=helpers.V2, measures=20)
  slurs = [
    mark
    for mark in before.marks
    if before.groups[mark.group].cls == "slur" and mark.tag == "path"
  ]
  stems = [
    mark
    for mark in before.marks
    if before.groups[mark.group].cls == "stem" and mark.tag == "path"
  ]
  assert slurs and stems
  assert all('fill="none"' not in page.body[m.drawn[0]] for m in slurs)
  assert all('fill="none"' in page.body[m.drawn[0]] for m in stems)


def test_without_strength_everything_stays():
  _, engraved, _, written = _written(0, strength=1e-9)
  for a, b in zip(engraved, written, strict=True):
    # Bounds of strokes grow by their round ends, those of curves by nothing.
    np.testing.assert_allclose(a.bounds, b.bounds, atol=15)


def test_the_page_given_is_not_changed():
  page, objects, _, _ = _written(0)
  again = helpers.random_page(5, "Petaluma", 9)
  assert page.body == again.body
  assert [f.bounds for f in objects] == [
    f.bounds for f in helpers.objects(again)
  ]


def test_pages_of_a_data_set_are_written(tmp_path):
  # Fonts of the system are not for a task made here.
  small = {
    "width": 500,
    "height": 500,
    "variation": 1.0,
    "weights": {"text_faces": 0.0},
  }
  engrave.generate(tmp_path, 1, handwriting=1.0, workers=1, **small)
  (path,) = tmp_path.rglob("*.png")
  task = engraver.EngraveTask(
    0, dataset.DEFAULT_FONTS, jitter=0.05, stem=path.name[:16], **small
  )
  toolkit = verovio.toolkit()
  written, clean = (
    engraver.engrave(dataclasses.replace(task, handwriting=strength), toolkit)
    for strength in (1.0, 0.0)
  )
  assert path.read_bytes() == written[0].png
  assert written[0].png not in {page.png for page in clean}


@pytest.mark.parametrize("strength", ["-1", "3.5", "nan"])
def test_strengths_out_of_range(strength, tmp_path, capsys):
  out = str(tmp_path / "out")
  args = ["--out", out, "--pages", "1", f"--handwriting={strength}"]
  assert main(args) == 2
  error = capsys.readouterr().err
  assert "handwriting=" in error
  assert "must be 0 to 3" in error
