"""benchmarks.other_engraver: grobs of LilyPond become labelled boxes."""

import collections
import dataclasses
import re

import numpy as np
import pytest

from benchmarks import (
  lilypond_programs,
  lilypond_svg,
  lilypond_symbols,
  other_engraver,
  other_engraver_scores,
)
from benchmarks.lilypond_svg import Grob, Part
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageBoxes
from dwd_jax.engrave import smufl_classes, verovio_svg

V1, V2, PRINTED = "deepscores_v1", "deepscores_v2", "printed"
PX = 9.5  # of a staff space
# By us; outlines of LilyPond's fonts are known by their text, too.
HEAD = (
  "M212 138c59 0 113 -31 113 -95c0 -150 -300 -250 -325 -86c0 71 53 181 212 181"
)
CLEF = "M0 -600l300 -300l300 1400l-600 200z"
FLAG = "M0 0c100 -200 300 -300 200 -700l-60 0c50 300 -60 400 -140 500z"
GLYPHS = {HEAD: "noteheads.s2", CLEF: "clefs.G_change", FLAG: "flags.d3"}


def svg(*groups: str) -> bytes:
  """A page as LilyPond writes it."""
  return (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 60 40">'
    f"{''.join(groups)}</svg>"
  ).encode()


def group(name: str, data: str, *shapes: str) -> str:
  """A labelled group of shapes, each (x, y: element)."""
  inside = "".join(
    f'<g transform="translate({place})">{element}</g>'
    for place, element in (shape.split(": ") for shape in shapes)
  )
  return f'<g class="{name}" {data}>{inside}</g>'


def glyph(d: str, scale: str = "0.0040") -> str:
  transform = f"scale({scale}, -{scale})"
  return f'<path transform="{transform}" d="{d}" fill="currentColor"/>'


def line(x: float, y: float) -> str:
  return (
    '<line stroke-linejoin="round" stroke-linecap="round" stroke-width="0.12"'
    f' stroke="currentColor" x1="0" y1="0" x2="{x}" y2="{y}"/>'
  )


PAGE = svg(
  '<g transform="translate(3, 3)"><text font-size="2.2" fill="currentColor">'
  "<tspan>A Title</tspan></text></g>",
  group(
    "StaffSymbol", "", *(f"2.2, {10 + i}.31: {line(40, 0)}" for i in range(5))
  ),
  group("Clef", 'data-pos="-2.0"', f"3.1, 13.21: {glyph(CLEF)}"),
  group(
    "NoteHead",
    'data-pos="-6.0" data-stem="a1" data-onset="2.5"',
    f"14.7, 15.33: {glyph(HEAD)}",
  ),
  group("Flag", 'data-stem="a1"', f"15.9, 18.77: {glyph(FLAG)}"),
  group(
    "Stem",
    'data-stem="a1"',
    '15.95, 15.5: <rect x="-0.07" y="0" width="0.14" height="3.3" ry="0.05"/>',
  ),
  group(
    "Beam",
    "",
    '20, 12.2: <polygon stroke-linejoin="round" stroke-width="0.1" '
    'stroke="currentColor" points="4.3 1.1 4.3 1.5 0.05 0.19 0.05 -0.19"/>',
  ),
  group(
    "Hairpin",
    'data-grow="1.0"',
    f"20.4, 19.1: {line(13, 0.7)}",
    f"20.4, 19.1: {line(13, -0.7)}",
  ),
  group(
    "TupletNumber",
    "",
    '24.2, 8.8: <text font-family="DejaVu Serif" font-style="italic" '
    'font-size="1.9"><tspan>3</tspan></text>',
  ),
)


def found_on(page: bytes, words: str):
  grobs, drawing = lilypond_svg.read(page, GLYPHS)
  unnamed = collections.Counter()
  vocabulary = smufl_classes.get(words)
  return lilypond_symbols.symbols(grobs, vocabulary, unnamed), drawing


def edge_errors(page, symbol):
  """Distance in px of the edges from the ink of the symbol drawn alone."""
  x0, y0, x1, y1 = (v * PX for v in symbol.bounds)
  left, top = int(x0) - 6, int(y0) - 6
  body = [page.body[i] for p in symbol.parts for i in range(*p.mark.drawn)]
  moved = f'<g transform="translate({-left / PX},{-top / PX})">'
  alone = dataclasses.replace(page, body=[moved, *body, "</g>"])
  size = int(x1) + 7 - left, int(y1) + 7 - top
  picture = verovio_svg.render(verovio_svg.to_svg(alone, *size, PX))
  ys, xs = np.nonzero(verovio_svg.to_array(picture) <= 255 - 48)
  edges = xs.min() + left, ys.min() + top, xs.max() + left, ys.max() + top
  return np.abs(np.subtract(edges, (x0, y0, x1 - 1, y1 - 1)))


@pytest.mark.parametrize(
  ("words", "names"),
  [
    (V1, "gClefChange noteheadBlack flag8thDown tuplet3"),
    (
      V2,
      "staff clefG noteheadBlackOnLine flag8thDown stem beam"
      " dynamicCrescendoHairpin tuplet3",
    ),
  ],
)
def test_boxes_lie_on_the_ink_that_is_drawn(words, names):
  found, page = found_on(PAGE, words)
  assert [symbol.name for symbol in found] == names.split()
  errors = [edge_errors(page, symbol) for symbol in found]
  assert np.max(errors) <= 1


def test_a_page_has_its_symbols_and_all_its_ink():
  settings = other_engraver.Settings(width=570, height=380)
  page = other_engraver.draw_page(
    PAGE,
    "page",
    GLYPHS,
    settings=settings,
    staff_space=PX,
    unnamed=collections.Counter(),
  )
  assert page is not None and page.counts["noteheadBlack"] == 1
  xml = page.xml.decode()
  head = xml[xml.index("<name>noteheadBlack") :]
  assert "<position>-6</position><onset>2.5</onset>" in head.split("/object")[0]
  number = float(re.findall(r"<ymin>([\d.]+)", xml)[-1]) * 380
  assert number == pytest.approx(8.8 * PX - 1.9 * PX * 0.73, abs=2)
  assert page.png.startswith(b"\x89PNG")


def test_what_is_white_is_not_there():
  white = "rgba(100.0000%, 100.0000%, 100.0000%, 100.0000%)"
  head = group("NoteHead", 'data-pos="0.0"', f"14.7, 15.33: {glyph(HEAD)}")
  found, page = found_on(svg(f'<g color="{white}">{head}</g>'), V1)
  assert not found and not page.body


def test_title_and_staff_lines_are_drawn():
  _, page = found_on(PAGE, V1)
  picture = verovio_svg.to_array(
    verovio_svg.render(verovio_svg.to_svg(page, 570, 380, PX))
  )
  assert (picture[8:30, 28:90] < 128).any()
  rows = (picture[90:145, 30:380] < 160).mean(1)
  assert (rows > 0.9).sum() >= 5


def grob(name: str, *glyphs: str, size: float = 1.0, **data: str) -> Grob:
  """A grob of overlapping glyphs in a row; NAME/Y is at height Y."""
  parts = []
  for i, text in enumerate(glyphs):
    text, _, row = text.partition("/")
    x, y = 1.2 * i, float(row or 0)
    mark = verovio_svg.Mark(
      0, "path", (x, y, x + 2, y + 1), 0, 0, (i, i + 1), (1, 0, 0, 1, x, y)
    )
    outline = "M0 0h2v1h-2zM1 2h.2v.2h-.2z" if "portato" in text else ""
    parts.append(Part(text, mark, size if text else 0.0, outline))
  return Grob(name, data, parts)


@pytest.mark.parametrize(
  ("caption", "item", "v1", "v2"),
  [
    ("two digits", grob("TimeSignature", "one/0", "two/0", "eight/2"),
     "timeSig12 timeSig8", "timeSig1 timeSig2 timeSig8"),
    ("a digit of another style", grob("TimeSignature", "fattened.four.alt"),
     "timeSig4", "timeSig4"),
    ("letters that overlap are a word", grob("DynamicText", "f", "p"),
     "dynamicFortePiano", "dynamicF dynamicP"),
    ("a word without a class", grob("DynamicText", "s", "f", "p"),
     "", "dynamicS dynamicF dynamicP"),
    ("a C clef on line 4", grob("Clef", "clefs.C_change", pos="2.0"),
     "cClefTenorChange", "clefCTenor"),
    ("a C clef on line 1", grob("Clef", "clefs.C", pos="-4.0"), "", ""),
    ("8 at a clef", grob("ClefModifier", "'8"), "clef8", "clef8"),
    ("by direction", grob("Script", "scripts.sforzato", dir="-1.0"),
     "articAccentBelow", "articAccentBelow"),
    ("by glyph", grob("Script", "scripts.dmarcato", dir="1.0"),
     "articMarcatoBelow", "articMarcatoBelow"),
    ("a line and a dot", grob("Script", "scripts.uportato"),
     "articTenutoAbove articStaccatoAbove",
     "articTenutoAbove articStaccatoAbove"),
    ("a small sharp", grob("Accidental", "accidentals.sharp", size=0.7),
     "accidentalSharpSmall", "accidentalSharpSmall"),
    ("of the key", grob("KeySignature", "accidentals.flat"),
     "keyFlat", "keyFlat"),
    ("of a chord's name", grob("ChordName", "accidentals.flat"), "", ""),
    ("a space of the staff", grob("NoteHead", "noteheads.s1", pos="1.0"),
     "noteheadHalf", "noteheadHalfInSpace"),
    ("a head without a class", grob("NoteHead", "noteheads.s2cross"), "", ""),
    ("the word and the star", grob("SustainPedal", "pedal.*", "pedal.P",
     "pedal.e", "pedal.d"), "keyboardPedalUp keyboardPedalPed",
     "keyboardPedalUp keyboardPedalPed"),
    ("a tuplet of 12", grob("TupletNumber", "'1", "'2"), "",
     "tuplet1 tuplet2"),
    ("two fingers", grob("Fingering", "two", "hyphen", "three.alt"),
     "fingering2 fingering3", "fingering2 fingering3"),
    ("a bar of rests", grob("MultiMeasureRest", ""), "restHBar", "restHBar"),
    ("a church rest", grob("MultiMeasureRest", "rests.M2", "rests.0"),
     "restLonga restWhole", "restWhole"),
    ("repeat dots", grob("BarLine", "", "dots.dot/0", "dots.dot/1"),
     "repeatDot repeatDot", "repeatDot repeatDot"),
  ],
)  # fmt: skip
def test_names(caption, item, v1, v2):
  for words, names in ((V1, v1), (V2, v2)):
    vocabulary = smufl_classes.get(words)
    found = lilypond_symbols.symbols([item], vocabulary, collections.Counter())
    assert [symbol.name for symbol in found] == names.split(), caption


def test_printed_has_words_and_letters_and_noteheads_without_a_place():
  items = [
    grob("NoteHead", "noteheads.s1", pos="1.0"),
    grob("DynamicText", "s", "f", "z"),
    grob("DynamicText", "s", "f", "p"),
  ]
  vocabulary = smufl_classes.get(PRINTED)
  found = lilypond_symbols.symbols(items, vocabulary, collections.Counter())
  names = "noteheadHalf dynamicSforzato dynamicS dynamicForte dynamicPiano"
  assert [symbol.name for symbol in found] == names.split()


def test_a_grace_note_is_boxed_with_head_stem_and_flag():
  notes = [
    grob("NoteHead", "noteheads.s2", size=0.7, stem="a", grace="1"),
    grob("Flag", "flags.u3", "flags.ugrace", size=0.7, stem="a", grace="1"),
    grob("Stem", "", stem="a", grace="1"),
    grob("NoteHead", "noteheads.s2", stem="b"),
    grob("Flag", "flags.u3/9", stem="b"),
  ]
  words = smufl_classes.get(V1)
  found = lilypond_symbols.symbols(notes, words, collections.Counter())
  grace = next(s for s in found if s.name.startswith("grace"))
  assert grace.name == "graceNoteAcciaccaturaStemUp" and len(grace.parts) == 4
  assert sum(s.name.startswith("grace") for s in found) == 1


def test_glyphs_without_a_class_are_counted():
  unnamed = collections.Counter()
  item = grob("Script", "scripts.prall")
  lilypond_symbols.symbols([item], smufl_classes.get(V1), unnamed)
  assert unnamed == {"Script scripts.prall": 1}


def test_errors_are_counted_by_what_lies_there():
  boxes = np.array(
    [(0, 0, 10, 10), (50, 0, 60, 10), (90, 0, 99, 10)], np.float32
  )
  truth = PageBoxes("page", (100, 100), boxes, np.array([0, 0, 1]))
  boxes = boxes + np.array([0, 4, 0, 4], np.float32) * [[0], [1], [9]]
  found = PageBoxes("page", (100, 100), boxes, np.array([1, 0, 1]), np.ones(3))
  errors = {key: collections.Counter() for key in ("missed", "wrong")}
  other_engraver_scores._count(truth, found, ("a", "b"), errors)
  near = {"a -> b": 1, "a -> a": 1}
  assert errors["missed"] == near | {"b -> -": 1}
  assert errors["wrong"] == near | {"- -> b": 1}


@pytest.mark.parametrize(
  "text",
  [
    '#(system "rm")',
    '#(cons (open "x") 1)',
    '#(cons 1 % (open "a")\n2)',
    "#`(a ,(open))",
    "$(open)",
    "#{ a #}",
    "#(cons",
    '\\include "other.ly"',
    '\\markup \\image #X #3 "a.png"',
  ],
)
def test_scheme_and_files_of_unknown_origin_are_refused(text):
  with pytest.raises(ValueError, match="has"):
    lilypond_programs.check_input(text)


def test_what_musicxml2ly_writes_is_taken():
  lilypond_programs.check_input(
    'rf = #(make-dynamic-script "rf") % #(a comment)\n c4 \\rf ##t #UP #1\n'
    '\\once \\override NoteHead.color = #(rgb-color 0.5 0 1) "#(a string)"'
  )


def test_dynamics_get_names_of_letters():
  text = (
    ' con anima = #(make-dynamic-script " con anima")\n'
    ' assai = #(make-dynamic-script " assai")\n'
    '( = #(make-dynamic-script "(")\n'
    "c4 _\\con\n anima d ^\\ assai ^\\p ^\\( e _\\assaiX"
  )
  assert lilypond_programs._with_plain_names(text) == (
    'dynamicA = #(make-dynamic-script " con anima")\n'
    'dynamicB = #(make-dynamic-script " assai")\n'
    'dynamicC = #(make-dynamic-script "(")\n'
    "c4 _\\dynamicA  d ^\\dynamicB  ^\\p ^\\dynamicC  e _\\assaiX"
  )


def test_a_folder_without_programs_is_named(tmp_path):
  with pytest.raises(InputError, match="pip install lilypond"):
    lilypond_programs.find(str(tmp_path))


_MUSIC = """<?xml version="1.0"?><score-partwise version="3.1"><part-list>
<score-part id="P1"><part-name>P</part-name></score-part></part-list>
<part id="P1"><measure number="1"><attributes><divisions>1</divisions>
<key><fifths>1</fifths></key><time><beats>2</beats><beat-type>4</beat-type>
</time><clef><sign>G</sign><line>2</line></clef></attributes>
<note><pitch><step>C</step><alter>1</alter><octave>5</octave></pitch>
<duration>1</duration><type>quarter</type></note>
<note><rest/><duration>1</duration><type>quarter</type></note></measure></part>
</score-partwise>"""


@pytest.fixture
def programs():
  try:
    return lilypond_programs.find()
  except InputError:
    pytest.skip("LilyPond is not installed")


@pytest.mark.slow
def test_lilypond_engraves_music(tmp_path, programs):
  (tmp_path / "scores").mkdir()
  (tmp_path / "scores/a.musicxml").write_text(_MUSIC)
  (tmp_path / "scores/broken.xml").write_text("<no/>")
  settings = other_engraver.Settings(pages=3)
  out = tmp_path / "out"
  summary = other_engraver.make(tmp_path / "scores", out, programs, settings)
  assert summary["pages"] == 1 and list(summary["skipped"]) == ["broken.xml"]
  found = {name: n for name, n in summary["objects"].items() if n}
  assert found == {
    "gClef": 1, "timeSig2": 1, "timeSig4": 1, "noteheadBlack": 1,
    "accidentalSharp": 1, "keySharp": 1, "restQuarter": 1,
  }  # fmt: skip
  assert (out / "train_val_test/train.txt").read_text().startswith("a-lilypond")


def test_a_program_that_does_not_end_is_stopped(tmp_path, monkeypatch):
  for name in ("lilypond", "musicxml2ly"):
    program = tmp_path / name
    program.write_text("#!/bin/sh\nsleep 60\n")
    program.chmod(0o755)
  (tmp_path / "a.xml").write_text(_MUSIC)
  layout = lilypond_programs.Layout(100, 140)
  monkeypatch.setattr(lilypond_programs, "_PATIENCE", 0.2)
  with pytest.raises(ValueError, match="musicxml2ly does not end"):
    lilypond_programs.engrave(tmp_path / "a.xml", layout, tmp_path, cpu_s=1)
