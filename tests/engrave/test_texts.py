"""Texts and digits: their fonts, their boxes, where they stand."""

import dataclasses
import random
import re

import engrave_helpers as helpers
import font_helpers
import numpy as np
import pytest
import verovio
from lxml import etree

from dwd_jax.engrave import (
  engraver,
  labels,
  page_texts,
  text_fonts,
  verovio_svg,
  words,
)
from dwd_jax.engrave.text_faces import Faces
from dwd_jax.engrave.text_fonts import BUILT_IN, TextFont

# A family without bold and italic faces, which are made from the regular one.
_ALONE = TextFont("0", "Alone", False, False)
_DIGITS = ("fingering", "tuplet", "timeSig")


@pytest.fixture
def only_folders(monkeypatch):
  """Fonts of the system are not looked for."""
  for name in ("_of_fontconfig", "_of_matplotlib"):
    monkeypatch.setattr(text_fonts, name, list)


def test_fonts_of_a_folder_are_found(tmp_path, only_folders):
  (tmp_path / "below").mkdir()
  whole = font_helpers.write_text_font(tmp_path / "below/Text.ttf").read_bytes()
  (tmp_path / "A math.ttf").write_bytes(whole)  # its name says: no texts
  (tmp_path / "Cut.otf").write_bytes(whole[: len(whole) // 3])
  (tmp_path / "Empty.ttf").touch()
  (tmp_path / "LICENSE.txt").touch()
  found = text_fonts.find([tmp_path])
  assert found[:4] == list(BUILT_IN)
  (font,) = found[4:]
  assert font.family == "Liberation Serif" and font.bold and not font.italic
  assert font.has_text and font.has_accents
  assert text_fonts.file_names(found) == ["Text.ttf"]
  assert text_fonts.find([tmp_path / "none"]) == list(BUILT_IN)


def test_fonts_of_a_folder_come_first(tmp_path, only_folders, monkeypatch):
  (tmp_path / "system").mkdir()
  (tmp_path / "own").mkdir()
  system = font_helpers.write_text_font(tmp_path / "system/A.ttf")
  font_helpers.write_text_font(tmp_path / "own/Z.ttf")
  monkeypatch.setattr(text_fonts, "_of_fontconfig", lambda: [system])
  monkeypatch.setattr(text_fonts, "_MOST_FONTS", 1)
  found = text_fonts.find([tmp_path / "own"])
  assert text_fonts.file_names(found) == ["Z.ttf"]


def test_a_font_of_symbols_alone_sets_no_text(tmp_path, only_folders):
  font = text_fonts.TTFont(font_helpers.write_text_font(tmp_path / "Text.ttf"))
  for table in font["cmap"].tables:
    table.cmap.pop(ord("q"), None)
  font.save(tmp_path / "Text.ttf")
  assert text_fonts.find([tmp_path]) == list(BUILT_IN)


def test_every_letter_of_the_words_can_be_drawn():
  font = text_fonts.load("0")
  rng = random.Random(0)
  texts = [words.part(rng, kind) for kind in words._PARTS for _ in range(50)]
  for language in words._LANGUAGES:
    texts += words.of_language(rng, language, 200)
  for write in (
    words.title, words.author, words.imprint, words.direction, words.tempo,
    words.plate,
  ):  # fmt: skip
    texts += [write(rng) for _ in range(300)]
  assert not {char for text in texts for char in text if not font.has(char)}


def test_syllables_make_up_the_words():
  for language in words._LANGUAGES:
    expected = words.of_language(random.Random(1), language, 40)
    found = words.syllables(random.Random(1), language, 40)
    for word, parts in zip(expected, found, strict=False):
      assert all(parts)
      assert re.fullmatch(re.escape(word) + "[,.;!]?", "".join(parts))


@pytest.mark.parametrize("seed", range(3))
def test_digits_of_text_faces_are_boxed_at_their_ink(seed):
  """Also in faces that are narrowed, slanted or fat."""
  faces = Faces(random.Random(seed), [*BUILT_IN, _ALONE])
  page = helpers.random_page(
    seed, "Leipzig", 3, faces=faces, fingering=0.6, piano=50
  )
  texts = page_texts.PageTexts(page, faces, random.Random(seed), (21e3, 29.7e3))
  texts.fingers()
  digits = [
    found for found in helpers.objects(page) if found.name.startswith(_DIGITS)
  ]
  errors = [helpers.edge_errors(page, found) for found in digits]
  assert sum(found.marks[0].tag == "text" for found in digits) > 3
  assert np.max(errors) <= 1


def test_digits_keep_the_place_of_the_music_font_s():
  faces = Faces(random.Random(1), [*BUILT_IN, _ALONE])
  faces._digits = {0xE080: (_ALONE, 0.8, 1.0)}
  pages = [
    helpers.random_page(3, "Leipzig", 2, helpers.V1, own, **{"4/4": 1e6})
    for own in (None, faces)
  ]
  plain, changed = (
    [f for f in helpers.objects(page) if f.name.startswith("timeSig")]
    for page in pages
  )
  (code,) = {f.marks[0].code for f in plain if f.name == "timeSig4"}
  assert pages[0].glyphs[code] != pages[1].glyphs[code]
  assert [f.name for f in plain] == [f.name for f in changed]
  middles = [
    np.array([np.add(f.bounds[:2], f.bounds[2:]) / 2 for f in found])
    for found in (plain, changed)
  ]
  np.testing.assert_allclose(
    middles[0], middles[1], atol=2
  )  # of 180 units a space


def test_texts_have_no_box():
  """Whatever is written, the same music has the same objects."""
  rates = ("text", "tempo", "chord_symbols", "rehearsal_marks", "song", "title")
  faces = Faces(random.Random(2), [*BUILT_IN, _ALONE])
  pages = [
    helpers.random_page(
      5, "Leland", 3, helpers.V1, faces, **dict.fromkeys(rates, rate)
    )
    for rate in (0.0, 1.0)
  ]
  written = [sum(m.tag == "text" for m in page.marks) for page in pages]
  assert written[1] > written[0] + 5
  found = [sorted(f.name for f in helpers.objects(page)) for page in pages]
  assert found[0] == found[1]


@pytest.mark.parametrize("seed", [1, 2])
def test_own_texts_stand_where_nothing_else_is(seed):
  page = helpers.random_page(seed, "Bravura", 3)
  before = np.array([mark.bounds for mark in page.marks])
  faces = Faces(random.Random(seed), BUILT_IN)
  size = (21e3, 29.7e3)
  texts = page_texts.PageTexts(page, faces, random.Random(seed), size)
  count = len(labels.page_objects(page, helpers.smufl_classes.get(helpers.V1)))
  texts.prose()
  texts.margins()
  texts.expressions()
  own = np.array([mark.bounds for mark in page.marks[len(before) :]])
  assert len(own) > 3
  assert own.min() >= 0 and np.all(own.max(0)[2:] <= size)
  for i, (x0, y0, x1, y1) in enumerate(own):
    others = np.concatenate([before, own[:i]]).T
    touching = (others[0] < x1) & (others[2] > x0)
    assert not np.any(touching & (others[1] < y1) & (others[3] > y0))
  assert len(helpers.objects(page)) == count


def test_raised_letters_stand_higher():
  heights = []
  for text in ("A7", 'A<rend rend="sup">7</rend>'):
    mei = helpers._MEI.format(
      staves='<staffDef n="1" lines="5"><clef shape="G" line="2"/></staffDef>',
      measures='<measure><staff n="1"><layer n="1"><mRest/></layer></staff>'
      f'<harm staff="1" place="above" tstamp="1">{text}</harm></measure>',
    )
    page = verovio_svg.read_page(helpers.svg_of(mei), "Leipzig")
    (mark,) = (m for m in page.marks if m.text == "A7")
    heights.append([float(v) for v in re.findall(
      r"matrix\((?:[^,]+,){5}([^)]+)\)", "".join(page.body[slice(*mark.drawn)])
    )])  # fmt: skip
  assert heights[0][0] == heights[0][1]
  assert heights[1][1] < heights[1][0] - 50  # y points down


def test_wide_faces_are_narrowed_to_verovio_s_layout():
  svg = helpers.svg_of(
    helpers._MEI.format(
      staves='<staffDef n="1" lines="5"><clef shape="G" line="2"/></staffDef>',
      measures='<measure><staff n="1"><layer n="1"><mRest/></layer></staff>'
      '<dir staff="1" tstamp="1">Wanderer</dir></measure>',
    )
  )
  widths = []
  for bold in (False, True):
    faces = Faces(random.Random(0), BUILT_IN)
    faces._types["dir"] = dataclasses.replace(
      faces._types["dir"], width=1.5 if bold else 1.0, size=1.0, tracking=0.0
    )
    page = verovio_svg.read_page(svg, "Leipzig", faces=faces)
    (mark,) = (m for m in page.marks if m.text == "Wanderer")
    widths.append(mark.bounds[2] - mark.bounds[0])
  assert widths[1] < 1.1 * widths[0]


_TASK = engraver.EngraveTask(
  seed=1,
  fonts=("Leipzig",),
  width=500,
  height=600,
  weights={"text_page": 1.0},
  text_fonts=tuple(map(tuple, (*BUILT_IN, _ALONE))),
  stem="page",
)


@pytest.mark.parametrize(
  "change",
  [{}, {"degrade": "scan"}, {"handwriting": 1.0, "pixel_labels": True}],
  ids=str,
)
def test_pages_of_text_have_ink_but_no_objects(change):
  task = dataclasses.replace(_TASK, **change)
  first, second = (engraver.engrave(task, verovio.toolkit()) for _ in range(2))
  assert first == second
  (page,) = first
  assert page.name == "page-text-page-1"
  assert page.counts == {} and page.staff_space is None
  assert not list(etree.fromstring(page.xml).iter("object"))
  ink = 255 - verovio_svg.to_array(
    verovio_svg.pyvips.Image.pngload_buffer(page.png)
  )
  assert 0.002 < (ink > 128).mean() < 0.5
