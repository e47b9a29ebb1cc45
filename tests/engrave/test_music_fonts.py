"""Fonts of files, and sizes that vary: boxes, names, stems, bad input."""

import collections
import dataclasses
import pathlib
import random
import re

import engrave_helpers as helpers
import font_helpers
import numpy as np
import pytest
import verovio
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib.tables._g_l_y_f import Glyph

from dwd_jax.core.errors import InputError
from dwd_jax.engrave import (
  dataset,
  engraver,
  font_files,
  music_fonts,
  print_look,
  smufl_classes,
  verovio_fonts,
  verovio_svg,
)
from dwd_jax.engrave.mei_score import ScoreWriter
from dwd_jax.engrave.rarities import Rarities

_CODES = sorted(
  smufl_classes.get("deepscores_v2").glyphs.keys()
  | {0xE052, 0xE05C, 0xE064, font_helpers.CODES["wiggleArpeggiatoUp"]}
)
_LACKING = (0xE052, 0xE07C, 0xE52F, 0xE566)
_STAFF = (
  '<staffDef n="1" lines="5"><clef shape="F" line="4"/>'
  '<keySig sig="1f"/></staffDef>'
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  """A SMuFL font that lacks some symbols, and one of LilyPond's kind."""
  folder = tmp_path_factory.mktemp("fonts")
  rest = [code for code in _CODES if code not in _LACKING]
  return {
    "smufl": str(font_helpers.write(folder / "Test.otf", rest)),
    "lilypond": str(
      font_helpers.write(folder / "ly-20.otf", _CODES, lilypond=True)
    ),
  }


def _page(mei, font, look, words=helpers.V1):
  svg = helpers.svg_of(mei, font, words, look)
  return verovio_svg.read_page(svg, font, look)


def _look(font: str, seed: int = 0, variation: float = 1.0):
  rng = random.Random(seed)
  return print_look.draw(rng, variation, music_fonts.head_height(font))


@pytest.mark.parametrize(
  ("font", "seed", "words"),
  [
    ("smufl", 1, helpers.V1),
    ("lilypond", 2, helpers.V2),
    ("Bravura", 2, helpers.V1),
  ],
)
def test_edges_are_within_a_pixel_of_the_ink(files, font, seed, words):
  font = files.get(font, font)
  weights = Rarities(smufl_classes.get(words).rates)
  mei = ScoreWriter(random.Random(seed), weights).write(2)
  page = _page(mei, font, _look(font), words)
  errors = [
    helpers.edge_errors(page, found)
    for found in helpers.objects(page, words)
    if helpers.has_own_drawing(found)
  ]
  assert len(errors) > 20
  assert np.concatenate(errors).max() <= 1


def _measure(font, layer, look=print_look.FONTS_OWN, staff=_STAFF):
  measure = f'<measure><staff n="1"><layer n="1">{layer}</layer></staff>'
  mei = helpers._MEI.format(staves=staff, measures=f"{measure}</measure>")
  return _page(mei, font, look)


@pytest.mark.parametrize("wide", [0.8, 1.3])
def test_stems_meet_heads_of_any_width(tmp_path, wide):
  font = font_helpers.write(tmp_path / "a.otf", _CODES, scale=(wide, 1.0))
  page = _measure(
    str(font),
    '<note dur="4" pname="c" oct="3" stem.dir="up"/>'
    '<note dur="2" pname="e" oct="3" stem.dir="down"/>',
  )
  heads, stems = ([], [])
  for mark in page.marks:
    cls = page.groups[mark.group].cls
    if cls in ("notehead", "stem"):
      (heads if cls == "notehead" else stems).append(mark.bounds)
  own = verovio_fonts.read("Leland").metrics(0xE0A4)
  assert own is not None
  assert heads[0][2] - heads[0][0] == pytest.approx(
    0.72 * wide * (own.bounds[2] - own.bounds[0]), abs=1
  )
  # On the side of the stem both end together, and the stem begins beside the
  # head.
  assert stems[0][2] == pytest.approx(heads[0][2], abs=4)
  assert stems[1][0] == pytest.approx(heads[1][0], abs=4)
  assert heads[0][1] < stems[0][3] < heads[0][3]
  assert heads[1][1] < stems[1][1] < heads[1][3]


def test_names_follow_from_roles_not_from_sizes():
  layer = (
    '<note dur="4" pname="c" oct="3"/><clef shape="F" line="3"/>'
    '<note dur="4" pname="c" oct="3" grace="acc"/><note dur="4" pname="d" '
    'oct="3"/>'
  )
  found = []
  for clef, head in ((0.7, 0.7), (1.3, 1.3)):
    scales = {"clef": (clef, clef), "head": (head, head)}
    page = _measure("Leipzig", layer, print_look.Look(scales))
    found.append(collections.Counter(o.name for o in helpers.objects(page)))
    sizes = {o.name: o.bounds[3] - o.bounds[1] for o in helpers.objects(page)}
    if clef < 1:
      assert sizes["fClef"] < sizes["fClefChange"]
  assert found[0] == found[1]
  assert found[0]["fClef"] == found[0]["fClefChange"] == 1
  assert found[0]["noteheadBlackSmall"] == 1 and found[0]["noteheadBlack"] == 2


def test_what_a_font_lacks_is_put_together_or_taken_from_leipzig(files):
  maxima = 0xE4E0  # Gootville has none
  assert music_fonts.MusicFont("Gootville").path(
    maxima
  ) == music_fonts.MusicFont("Leipzig").path(maxima)
  font = music_fonts.MusicFont(files["smufl"])
  own, leipzig = verovio_fonts.read("Leland"), verovio_fonts.read("Leipzig")
  assert font.path(0xE566) == leipzig.path(0xE566)  # a trill
  letter = own.metrics(0xE522)
  assert letter is not None
  assert font.advance(0xE52F) == pytest.approx(2 * letter.advance / 1000)
  page = _measure(
    files["smufl"],
    "<mRest/>",
    staff='<staffDef n="1" lines="5"><clef shape="G" line="2" dis="8" '
    'dis.place="below"/></staffDef>',
  )
  boxes = {o.name: o.bounds for o in helpers.objects(page)}
  assert {"gClef", "clef8"} <= boxes.keys()
  assert boxes["clef8"][1] > boxes["gClef"][3]
  assert boxes["clef8"][3] - boxes["clef8"][1] == pytest.approx(180, rel=0.1)


def test_lilypond_s_symbols_are_where_smufl_has_them(files):
  font = font_files.read(files["lilypond"])
  own = verovio_fonts.read("Leland")
  rows = font_helpers.lilypond_rows()
  names = collections.Counter(row["lilypond"] for row in rows)
  places = set()
  for row in rows:
    code, place = font_helpers.CODES[row["smufl"]], row["place"]
    known, got = own.metrics(code), font.metrics(code)
    if known is None or got is None or names[row["lilypond"]] > 1:
      continue
    places.add(place)
    low, high = got.bounds[1], got.bounds[3]
    if place == "flag":  # its end is that of a 16th
      side = 3 if code % 2 else 1
      pair = font.metrics(0xE243 if code % 2 else 0xE242)
      assert pair is not None and got.bounds[side] == pair.bounds[side], row
      continue
    if place == "turned":
      assert low == 0 and high == pytest.approx(
        known.bounds[2] - known.bounds[0], abs=2
      )
      continue
    size = known.bounds[3] - known.bounds[1]
    assert high - low == pytest.approx(size, abs=2), row
    edge = {"bottom": low, "top": high, "middle": (low + high) / 2}
    wanted = 0.0 if place in edge else known.bounds[1]
    assert edge.get(place, low) == pytest.approx(wanted, abs=2), row
  assert places == {row["place"] for row in rows}


def test_every_row_of_lilypond_s_table_has_a_symbol_and_a_place():
  rows = font_helpers.lilypond_rows()
  assert {row["smufl"] for row in rows} <= font_helpers.CODES.keys()
  assert {row["place"] for row in rows} == {
    "origin", "left", "bottom", "top", "middle", "flag", "turned",
  }  # fmt: skip
  # Besides what is put together, all labelled symbols but old shapes.
  has = {font_helpers.CODES[row["smufl"]] for row in rows}
  labelled = smufl_classes.get("deepscores_v2").glyphs
  composed = music_fonts.DYNAMICS.keys()
  lacking = {labelled[code] for code in labelled.keys() - has - composed}
  assert lacking <= {
    "brace", "fClefChange", "restHBar", "restDoubleWhole", "restWhole",
    "restHalf", "articStaccatissimoAbove", "articStaccatissimoBelow",
    "stringsDownBow", "stringsUpBow", *(f"tremolo{n}" for n in range(1, 6)),
    *(f"tuplet{n}" for n in range(1, 10)),
  }  # fmt: skip


def test_sizes_stay_in_their_range():
  looks = [_look("Leipzig", seed) for seed in range(200)]
  dots = [look.dot for look in looks]
  assert 0.25 <= min(dots) < 0.28 and 0.52 < max(dots) <= 0.55
  for group in ("clef", "accidental", "head"):
    high = [look.scales[group][1] for look in looks]
    assert 0.85 <= min(high) < 0.87 and 1.13 < max(high) <= 1.15
  known = {
    name
    for group in verovio.toolkit().getAvailableOptions()["groups"].values()
    for name in group["options"]
  }
  assert set(looks[0].options) <= known
  assert _look("Leipzig", variation=0.0) is print_look.FONTS_OWN


def test_dots_and_beams_have_the_size_of_the_look():
  look = print_look.Look(dot=0.3, beam=1.2)
  page = _measure(
    "Leipzig",
    '<beam><note dur="8" dots="1" pname="c" oct="3"/>'
    '<note dur="16" pname="d" oct="3"/></beam>',
    look,
  )
  marks = {page.groups[m.group].cls: m for m in page.marks}
  x0, y0, x1, y1 = marks["dots"].bounds
  assert (x1 - x0, y1 - y0) == pytest.approx((54, 54))  # 0.3 of 180
  numbers = re.findall(r'points="([^"]+)"', page.body[marks["beam"].drawn[0]])
  ys = [float(pair.split(",")[1]) for pair in numbers[0].split()]
  assert ys[3] - ys[0] == pytest.approx(108) == ys[2] - ys[1]  # 1.2 * 90


def test_pages_depend_on_their_task_only(files):
  """Not on the font and look that the process drew before."""
  verovio.enableLog(verovio.LOG_OFF)
  small = {"width": 400, "height": 400, "stem": "x"}
  task = engraver.EngraveTask(3, (files["smufl"],), variation=1.0, **small)
  other = dataclasses.replace(task, fonts=(files["lilypond"],), index=1)
  first = engraver.engrave(task, verovio.toolkit())
  toolkit = verovio.toolkit()
  assert engraver.engrave(other, toolkit)[0].name == "x-ly_20-page-1"
  again = engraver.engrave(task, toolkit)
  assert [(p.name, p.png, p.xml) for p in first] == [
    (p.name, p.png, p.xml) for p in again
  ]
  assert first[0].name == "x-test-page-1"


def test_a_design_counts_once_whatever_its_optical_sizes():
  task = engraver.EngraveTask(0, ("/a/ly-11.otf", "/a/ly-20.otf", "Leipzig"))
  drawn = collections.Counter(
    engraver._font(random.Random(i), dataclasses.replace(task, index=i))
    for i in range(400)
  )
  assert 150 < drawn["Leipzig"] < 250
  assert min(drawn["/a/ly-11.otf"], drawn["/a/ly-20.otf"]) > 60
  assert font_files.design("/a/11.otf") == font_files.design("/a/12.otf")


def test_names_and_folders_are_one_list(files):
  folder = str(pathlib.Path(files["smufl"]).parent)
  expected = ["Leipzig", files["smufl"], files["lilypond"]]
  assert list(dataset._fonts(f"Leipzig,{folder}")) == expected
  assert list(dataset._fonts(["Leipzig", pathlib.Path(folder)])) == expected


def test_packed_fonts_are_read(tmp_path):
  for flavor in ("woff", "woff2"):
    path = tmp_path / f"a.{flavor}"
    font_helpers.write(path, (0xE050, 0xE0A4), flavor=flavor)
  assert len(font_files.find(tmp_path)) == 2


def test_composite_glyphs_and_curves_without_points_on_them(tmp_path):
  """Which only TrueType has."""
  round_, head = TTGlyphPen(None), TTGlyphPen({"round": None})
  round_.qCurveTo((0, -250), (600, -250), (600, 250), (0, 250), None)
  round_.closePath()
  head.addComponent("round", (1, 0, 0, 1, 0, 0))
  glyphs = {".notdef": Glyph(), "round": round_.glyph(), "head": head.glyph()}
  build = FontBuilder(2000)
  build.setupGlyphOrder([*glyphs])
  build.setupCharacterMap({0xE0A4: "head"})
  build.setupGlyf(glyphs)
  build.setupHorizontalMetrics(dict.fromkeys(glyphs, (600, 0)))
  build.save(tmp_path / "a.ttf")
  metrics = font_files.read(str(tmp_path / "a.ttf")).metrics(0xE0A4)
  assert metrics is not None
  assert metrics.bounds == (0, -125, 300, 125)
  assert metrics.anchors == {"stemUpSE": (300, 0), "stemDownNW": (0, 0)}


@pytest.mark.parametrize(
  ("caption", "make", "limits", "message"),
  [
    ("nothing", lambda p: None, {}, "none of its 0 fonts"),
    ("text only", font_helpers.write_text_font, {}, "none of its 1 fonts"),
    ("icons at these code points",
     lambda p: font_helpers.write(p, (0xE050, 0xE0A4), scale=(3, 3)), {},
     "none of its 1 fonts"),
    ("no font", lambda p: p.write_bytes(b"<html>"), {},
     "no font, or a damaged"),
    ("empty", lambda p: p.write_bytes(b""), {}, "no font, or a damaged"),
    ("cut off", lambda p: p.write_bytes(
      font_helpers.write(p, (0xE050, 0xE0A4)).read_bytes()[:-700]), {},
     "no font, or a damaged"),
    ("huge", lambda p: font_helpers.write(p, (0xE050, 0xE0A4)),
     {"_MAX_BYTES": 900}, "larger than"),
    ("huge unpacked", lambda p: font_helpers.write(
      p, (0xE050, 0xE0A4), flavor="woff"), {"_MAX_UNPACKED": 300}, "unpacked"),
    ("huge unpacked by brotli", lambda p: font_helpers.write(
      p, (0xE050, 0xE0A4), flavor="woff2"), {"_MAX_UNPACKED": 300},
     "unpacked"),
    ("too many files", lambda p: font_helpers.write(p, (0xE050, 0xE0A4)),
     {"_MAX_FILES": 0}, "name a folder with fewer"),
  ],
)  # fmt: skip
def test_bad_fonts_are_one_line(
  tmp_path, monkeypatch, caption, make, limits, message
):
  for name, value in limits.items():
    monkeypatch.setattr(font_files, name, value)
  make(tmp_path / "a.otf")
  with pytest.raises(InputError, match=message) as error:
    font_files.find(tmp_path)
  assert str(tmp_path) in str(error.value), caption


def test_a_folder_that_is_none():
  with pytest.raises(InputError, match="no folder of fonts; verovio has"):
    list(dataset._fonts("/nowhere/fonts"))
