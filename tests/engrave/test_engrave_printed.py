"""Vocabulary printed: one name for each symbol of the page."""

import collections
import random

import engrave_helpers as helpers
import pytest

from dwd_jax.engrave import smufl_classes, verovio_svg
from dwd_jax.engrave.mei_score import ScoreWriter
from dwd_jax.engrave.rarities import Rarities
from tfds_builders.deepscores import deepscores_parsing

_WORDS = "printed"
_FONTS = ("Leipzig", "Bravura", "Leland", "Gootville")
_LAYER = (
  '<note xml:id="a" dur="4" pname="b" oct="4"/>'
  '<note xml:id="b" dur="4" pname="c" oct="5"/>'
)
_SPAN = 'staff="1" startid="#a" endid="#b"'


def _counts(found):
  return collections.Counter(item.name for item in found)


def _dynamic(text, font="Leipzig", **options):
  """What is found of a dynamic, without the notes."""
  marks = f'<dynam staff="1" startid="#a">{text}</dynam>'
  found = helpers.measure(_LAYER, marks, font=font, words=_WORDS, **options)
  return [item for item in found if item.name.startswith("dynamic")]


@pytest.mark.parametrize(
  ("caption", "marks", "expected"),
  [
    ("noteheads have no place in their names", "",
     {"noteheadBlack": 2, "stem": 2, "barlineSingle": 1}),
    ("a trill and its line",
     f'<trill {_SPAN} extender="true"/>',
     {"ornamentTrill": 1, "wiggleTrill": 1}),
    ("a pedal as a line",
     '<pedal staff="1" dir="down" form="line" tstamp="1"/>'
     '<pedal staff="1" dir="up" form="line" tstamp="2"/>',
     {"keyboardPedalLine": 1, "keyboardPedalPed": 0, "keyboardPedalUp": 0}),
    ("a pedal sign with a line",
     '<pedal staff="1" dir="down" form="pedline" tstamp="1"/>'
     '<pedal staff="1" dir="up" form="pedline" tstamp="2"/>',
     {"keyboardPedalLine": 1, "keyboardPedalPed": 1}),
    ("a breath mark is no caesura", '<breath staff="1" startid="#a"/>',
     {"breathMark": 1, "caesura": 0}),
    ("a hairpin", f'<hairpin {_SPAN} form="dim"/>',
     {"dynamicDiminuendoHairpin": 1}),
    ("a slur", f"<slur {_SPAN}/>", {"slur": 1, "tie": 0}),
  ],
)  # fmt: skip
def test_names(caption, marks, expected):
  found = _counts(helpers.measure(_LAYER, marks, words=_WORDS))
  assert {name: found[name] for name in expected} == expected, caption


# Caption: attributes of the first of two measures, what their barlines are.
BARLINES = {
  "single": ("", {"barlineSingle": 1}),
  "double": ('right="dbl"', {"barlineDouble": 1}),
  "final": ('right="end"', {"barlineFinal": 1}),
  "the end of a repeat": ('right="rptend"', {"repeatRight": 1}),
  "one repeat after another": ('right="rptboth"', {"repeatRightLeft": 1}),
  "the beginning of a repeat": (
    'left="rptstart"',
    {"repeatLeft": 1, "barlineSingle": 1},
  ),
  "dashed": ('right="dashed"', {}),
  "dotted": ('right="dotted"', {}),
  "heavy": ('right="heavy"', {}),
}


@pytest.mark.parametrize("caption", BARLINES)
def test_barlines_through_two_staves_and_alone(caption):
  attributes, expected = BARLINES[caption]
  clef = '<clef shape="G" line="2"/>'
  staves = (
    f'<staffDef n="1" lines="5">{clef}</staffDef>'
    '<staffGrp bar.thru="true">'
    f'<staffDef n="2" lines="5">{clef}</staffDef>'
    f'<staffDef n="3" lines="5">{clef}</staffDef></staffGrp>'
  )
  layer = '<layer n="1"><mRest/></layer>'
  content = "".join(f'<staff n="{i}">{layer}</staff>' for i in (1, 2, 3))
  measures = (
    f'<measure n="1" {attributes}>{content}</measure>'
    f'<measure n="2" right="end">{content}</measure>'
  )
  mei = helpers._MEI.format(staves=staves, measures=measures)
  page = verovio_svg.read_page(helpers.svg_of(mei, words=_WORDS), "Leipzig")
  bars = [
    item
    for item in helpers.objects(page, _WORDS)
    if item.name.startswith(("barline", "repeat")) and item.name != "repeatDot"
  ]
  # One of the upper staff, one through both lower ones; the system's first.
  wanted = collections.Counter({"barlineSingle": 1, "barlineFinal": 2})
  wanted.update({name: 2 * count for name, count in expected.items()})
  assert _counts(bars) == wanted
  space = verovio_svg.UNITS_PER_SPACE
  first = min(bars, key=lambda item: item.bounds[0])
  heights = sorted(
    (item.bounds[3] - item.bounds[1]) / space for item in bars if item != first
  )
  assert heights[0] == pytest.approx(4, abs=0.3)
  assert heights[-1] > 8


def test_dynamics_are_one_symbol_drawn_together_or_by_letters():
  for options in ({}, {"dynamSingleGlyphs": True}):
    (found,) = _dynamic("sfz", **options)
    assert found.name == "dynamicSforzato"
    assert len(found.marks) == (3 if options else 1)


@pytest.mark.parametrize("font", _FONTS)
def test_letters_without_a_name_together_are_named_alone(font):
  together = _dynamic("sfp", font)
  alone = _dynamic("sfp", font, dynamSingleGlyphs=True)
  names = ["dynamicS", "dynamicForte", "dynamicPiano"]
  assert [item.name for item in together] == names
  assert [item.name for item in alone] == names
  space = verovio_svg.UNITS_PER_SPACE
  for one, other in zip(together, alone, strict=True):
    sides = [(b[2] - b[0], b[3] - b[1]) for b in (one.bounds, other.bounds)]
    assert sides[0] == pytest.approx(sides[1], abs=0.05 * space)


@pytest.mark.parametrize("together", [True, False])
def test_signs_among_words_have_boxes(together):
  options = {"dynamSingleGlyphs": not together}
  found = _dynamic("pp e poi f", **options)
  assert [item.name for item in found] == ["dynamicPP", "dynamicForte"]
  page = _dynamic("pp", **options)
  wide, usual = (item.bounds[2] - item.bounds[0] for item in (found[0], *page))
  assert wide == pytest.approx(usual, rel=0.2)


def test_beams_over_barlines_are_beams():
  layer = _LAYER.replace('dur="4"', 'dur="8"')
  marks = '<beamSpan staff="1" startid="#a" endid="#b" plist="#a #b"/>'
  found = _counts(helpers.measure(layer, marks, words=_WORDS))
  assert found["beam"] == 1


@pytest.mark.slow
def test_every_further_name_is_written():
  words = smufl_classes.get(_WORDS)
  often = Rarities(
    {name: 3 * rate for name, rate in words.rates.items()}
    | {"repeat": 0.3, "octave_line": 0.1, "hairpin": 0.2, "pedal": 0.6}
  )
  found = set()
  for seed in range(20):
    font = _FONTS[seed % 4]
    mei = ScoreWriter(random.Random(seed), often).write(14)
    page = verovio_svg.read_page(helpers.svg_of(mei, font, _WORDS), font)
    found |= {item.name for item in helpers.objects(page, _WORDS)}
  assert set(words.names[124:]) - found == set()


def test_the_first_names_are_those_of_deepscores():
  names = smufl_classes.get(_WORDS).names
  assert names[:124] == smufl_classes.get("deepscores_v1").names
  assert len(set(names)) == len(names) == 158
  assert deepscores_parsing.vocabulary_of(names) == _WORDS
