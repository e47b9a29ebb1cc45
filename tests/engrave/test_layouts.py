"""Layouts of real pages: sizes of staves, tablature, strokes without notes."""

import random

import engrave_helpers as helpers
import numpy as np
import pytest

from dwd_jax.engrave import bare_strokes
from dwd_jax.engrave.rarities import Rarities
from dwd_jax.engrave.strokes import Strokes

_STAFF = '<clef shape="G" line="2"/>'
_NOTES = (
  '<note pname="g" oct="4" dur="4"><accid accid="f"/></note>'
  '<note grace="acc" dur="8" pname="a" oct="4"/>'
  '<note cue="true" pname="b" oct="4" dur="4"/>'
  '<note pname="b" oct="4" dur="8"/>'
)
_TAB = (
  '<tabGrp dur="4"><tabDurSym/><note tab.course="1" tab.fret="3"/>'
  '<note tab.course="3" tab.fret="12"/></tabGrp>'
)


def _found(staves, measures, words=helpers.V1):
  mei = helpers._MEI.format(staves=staves, measures=measures)
  page = helpers.verovio_svg.read_page(
    helpers.svg_of(mei, words=words), "Leipzig"
  )
  return page, helpers.objects(page, words)


def _names(found):
  return sorted(item.name for item in found)


def test_a_smaller_staff_has_the_same_classes():
  layer = f'<staff n="1"><layer n="1">{_NOTES}</layer></staff>'
  heights = []
  for scale in ("100%", "62%"):
    staff = f'<staffDef n="1" lines="5" scale="{scale}">{_STAFF}</staffDef>'
    _, found = _found(staff, f"<measure>{layer}</measure>")
    heights.append(found[0].bounds[3] - found[0].bounds[1])
    names = _names(found)
    assert names.count("noteheadBlack") == 2
    assert names.count("noteheadBlackSmall") == 2
    assert "gClef" in names and "accidentalFlat" in names
  assert heights[1] == pytest.approx(0.62 * heights[0], rel=0.02)


def test_an_ossia_is_a_staff_of_its_own_where_it_is():
  staff = f'<staffDef n="1" lines="5">{_STAFF}</staffDef>'
  layer = f'<layer n="1">{_NOTES}</layer>'
  plain = f'<staff n="1">{layer}</staff>'
  ossia = f'<ossia><oStaff n="1">{layer}</oStaff>{plain}</ossia>'
  measures = "".join(
    f"<measure>{content}</measure>"
    for content in (ossia, ossia, plain, plain, ossia)
  )
  _, found = _found(staff, measures, helpers.V2)
  widths = [
    item.bounds[2] - item.bounds[0] for item in found if item.name == "staff"
  ]
  assert len(widths) == 3  # of the music, and two ossias
  assert sorted(widths)[1] < 0.6 * max(widths)
  assert _names(found).count("noteheadBlackInSpace") == 0
  assert _names(found).count("noteheadBlackOnLine") == 2 * 8


@pytest.mark.parametrize("words", [helpers.V1, helpers.V2])
@pytest.mark.parametrize("lines", [4, 6])
def test_nothing_is_found_on_tablature(words, lines):
  tab = f'lines="{lines}" notationtype="tab.guitar"><clef shape="TAB"/>'
  staves = (
    f'<staffDef n="1" lines="5">{_STAFF}</staffDef>'
    f'<staffDef n="2" {tab}</staffDef>'
  )
  measure = (
    '<measure right="rptboth"><staff n="1"><layer n="1"><note pname="b" '
    'oct="4" dur="4"/></layer></staff><staff n="2"><layer n="1">'
    f"{_TAB}</layer></staff></measure>"
  )
  page, found = _found(staves, measure * 3, words)
  assert Strokes(page).has_spaces()
  names = _names(found)
  own = {"stem": 3, "staff": 1} if words == helpers.V2 else {}
  head = "noteheadBlackOnLine" if own else "noteheadBlack"
  clef = "clefG" if own else "gClef"
  expected = {head: 3, "repeatDot": 3 * 4, clef: 1, **own}
  assert {name: names.count(name) for name in names} == expected
  alone, found = _found(f'<staffDef n="2" {tab}</staffDef>', (
    f'<measure><staff n="2"><layer n="1">{_TAB}</layer></staff></measure>'
  ), words)  # fmt: skip
  assert not found and not Strokes(alone).has_spaces()


@pytest.mark.parametrize(
  ("layout", "words"),
  [
    ("reduced_solo", helpers.V1),
    ("tablature", helpers.V2),
    ("closed_choir", helpers.V1),
  ],
)
def test_boxes_fit_in_every_layout(layout, words):
  page = helpers.random_page(3, "Leipzig", 4, words, layout=layout)
  found = helpers.objects(page, words)
  errors = [
    helpers.edge_errors(page, item)
    for item in found[::3]
    if helpers.has_own_drawing(item)
  ]
  assert len(errors) > 20
  assert np.mean(np.concatenate(errors) <= 1) >= 0.99


def test_strokes_without_notes_keep_exact_boxes():
  page = helpers.random_page(8, "Leipzig", 6, "printed")
  before = helpers.objects(page, "printed")
  rates = Rarities({"bare_strokes": 1.0, "repeat_dots": 0.0})
  bare_strokes.vary(page, random.Random(3), rates)
  found = helpers.objects(page, "printed")
  counts = [
    [sum(kind in item.name for item in items) for items in (before, found)]
    for kind in ("notehead", "beam", "clef", "barline")
  ]
  (heads, left), beams, clefs, bars = counts
  assert 0 < left < heads
  assert beams[0] == beams[1] > 0
  assert clefs[0] == clefs[1] and bars[0] == bars[1] > 2
  changed = {item.bounds for item in found} - {item.bounds for item in before}
  errors = [
    helpers.edge_errors(page, item) for item in found if item.bounds in changed
  ]
  assert len(errors) > 5
  assert np.concatenate(errors).max() <= 1
  # The same again: nothing but the seed decides.
  again = helpers.random_page(8, "Leipzig", 6, "printed")
  bare_strokes.vary(again, random.Random(3), rates)
  assert again.body == page.body


def test_repeat_dots_in_all_spaces():
  layer = '<staff n="1"><layer n="1"><mRest/></layer></staff>'
  staff = f'<staffDef n="1" lines="5">{_STAFF}</staffDef>'
  page, before = _found(
    staff,
    f'<measure right="rptboth">{layer}</measure><measure>{layer}</measure>',
  )
  bare_strokes.vary(
    page, random.Random(0), Rarities({"repeat_dots": 1.0, "bare_strokes": 0.0})
  )
  dots = [i for i in helpers.objects(page) if i.name == "repeatDot"]
  assert _names(before).count("repeatDot") == 4 and len(dots) == 8
  ys = sorted({round(dot.bounds[1]) for dot in dots})
  assert np.diff(ys) == pytest.approx([180] * 3, abs=2)
  assert max(helpers.edge_errors(page, dot).max() for dot in dots) <= 1
