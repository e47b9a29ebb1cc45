"""Vocabulary deepscores_v2: its names, and what is no glyph."""

import collections
import json

import engrave_helpers as helpers
import numpy as np
import pytest

from dwd_jax import engrave
from dwd_jax.core import vocabulary as tables
from dwd_jax.engrave import smufl_classes, verovio_svg
from tfds_builders import checks
from tfds_builders.deepscores import deepscores_parsing

# Classes that no generated page has. None; docs/generated_pages.md says so.
_NEVER: frozenset[str] = frozenset()
_SPACE = verovio_svg.UNITS_PER_SPACE


def _note(pitch, dur="4", more=""):
  return f'<note dur="{dur}" pname="{pitch[0]}" oct="{pitch[1]}" {more}/>'


_PAIR = _note("b4", more='xml:id="a"') + _note("d5", more='xml:id="b"')
_SPAN = 'staff="1" startid="#a" endid="#b"'


@pytest.mark.parametrize(
  ("caption", "arguments", "expected"),
  [
    ("on the middle line", {"layer": _note("b4")},
     {"noteheadBlackOnLine": 1, "noteheadBlackInSpace": 0}),
    ("in the space above it", {"layer": _note("c5")},
     {"noteheadBlackInSpace": 1, "noteheadBlackOnLine": 0}),
    ("on a leger line", {"layer": _note("c4", "2")},
     {"noteheadHalfOnLine": 1, "legerLine": 1}),
    ("below a leger line", {"layer": _note("b3", "1")},
     {"noteheadWholeInSpace": 1, "legerLine": 1, "stem": 0}),
    ("three leger lines", {"layer": _note("e6", "breve")},
     {"noteheadDoubleWholeOnLine": 1, "legerLine": 3}),
    ("another clef moves no line",
     {"layer": _note("d3"), "clef": 'shape="F" line="4"'},
     {"noteheadBlackOnLine": 1}),
    ("small notes say it last",
     {"layer": _note("g4", "8", 'grace="unacc" stem.mod="1slash"')
      + _note("b4")},
     {"noteheadBlackOnLineSmall": 1, "flag8thUpSmall": 1, "stem": 2,
      "graceNoteAcciaccaturaStemUp": 1}),
    ("a chord has one stem",
     {"layer": f'<chord dur="4">{_note("c5")}{_note("e5")}</chord>'},
     {"noteheadBlackInSpace": 2, "stem": 1}),
    ("every bar is a beam",
     {"layer": f'<beam>{_note("c5", "16")}{_note("c5", "16")}'
               f'{_note("c5", "8")}</beam>'},
     {"beam": 2, "stem": 3}),
    ("a bar over many notes is one beam, sloping or not",
     {"layer": "<beam>" + "".join(
       _note(p, "16") for p in ("c5", "f5", "a5", "c6")) + "</beam>"},
     {"beam": 2, "stem": 4}),
    ("a bar that stops and goes on is two beams",
     {"layer": f'<beam>{_note("c5", "16")}{_note("c5", "16")}{_note("c5", "8")}'
               f'{_note("c5", "16")}{_note("c5", "16")}</beam>'},
     {"beam": 3, "stem": 5}),
    ("what two voices share is there once",
     {"layer": _note("b4", more='stem.dir="up"')
      + '</layer><layer n="2">' + _note("b4", more='stem.dir="down"')},
     {"noteheadBlackOnLine": 1, "stem": 2}),
    ("letters, no combinations",
     {"layer": _PAIR, "marks": '<dynam staff="1" startid="#a">sfz</dynam>'
                               '<dynam staff="1" startid="#b">pp</dynam>'},
     {"dynamicS": 1, "dynamicF": 1, "dynamicZ": 1, "dynamicP": 2}),
    ("no name for a change of clef",
     {"layer": f'{_PAIR}<clef shape="C" line="4"/>{_PAIR}'},
     {"clefG": 1, "clefCTenor": 1}),
    ("12 is a 1 and a 2", {"signs": '<meterSig count="12" unit="16"/>'},
     {"timeSig1": 2, "timeSig2": 1, "timeSig6": 1}),
    ("so it is in a tuplet",
     {"layer": f'<tuplet num="12" numbase="8">{_PAIR}</tuplet>'},
     {"tuplet1": 1, "tuplet2": 1, "tupletBracket": 1}),
    ("spans", {"layer": _PAIR, "marks": f"<slur {_SPAN}/>"
               f'<hairpin form="cres" {_SPAN}/><hairpin form="dim" {_SPAN}/>'
               f'<octave dis="8" dis.place="above" {_SPAN}/>'},
     {"slur": 1, "dynamicCrescendoHairpin": 1, "dynamicDiminuendoHairpin": 1,
      "ottavaBracket": 1}),
    ("a tie", {"layer": _PAIR.replace('pname="d" oct="5"', 'pname="b" oct="4"'),
               "marks": f"<tie {_SPAN}/>"}, {"tie": 1, "slur": 0}),
    ("strokes through a stem", {"layer": _note("b4", more='stem.mod="3slash"')},
     {"tremolo3": 1, "stem": 1}),
    ("the number of measures", {"layer": '<multiRest num="12" block="true"/>'},
     {"restHNr": 1, "restHBar": 1}),
    ("no long rests", {"layer": '<multiRest num="7" block="false"/>'},
     {"restDoubleWhole": 1, "restWhole": 1, "restHNr": 1}),
    ("key signs", {"signs": '<keySig sig="3f"/>'}, {"keyFlat": 3, "staff": 1}),
  ],
)  # fmt: skip
def test_names(caption, arguments, expected):
  layer = arguments.pop("layer", _PAIR)
  found = collections.Counter(
    helpers.names(layer, words=helpers.V2, **arguments)
  )
  assert {name: found[name] for name in expected} == expected, caption


@pytest.mark.parametrize(
  ("caption", "pitch", "name"),
  [
    ("on its middle line", "d3", "noteheadBlackOnLine"),
    ("in its upper space", "g3", "noteheadBlackInSpace"),
    ("on a leger line between the staves", "c4", "noteheadBlackOnLine"),
  ],
)
@pytest.mark.parametrize("spacing", [8, 9])
@pytest.mark.parametrize("kind", ["note", "chord"])
def test_notes_drawn_in_the_other_staff_belong_to_its_lines(
  caption, pitch, name, spacing, kind
):
  """The lines of the staves are an odd number of half spaces apart, or even."""
  clefs = ('shape="G" line="2"', 'shape="F" line="4"')
  staves = "".join(
    f'<staffDef n="{n}" lines="5"><clef {clef}/></staffDef>'
    for n, clef in enumerate(clefs, 1)
  )
  note = _note(pitch, more='staff="2"')
  if kind == "chord":
    note = f'<chord dur="4" staff="2">{_note(pitch)}</chord>'
  measure = (
    f'<measure><staff n="1"><layer n="1">{note}</layer></staff>'
    '<staff n="2"><layer n="1"><rest dur="4"/></layer></staff></measure>'
  )
  mei = helpers._MEI.format(staves=staves, measures=measure)
  svg = helpers.svg_of(mei, words=helpers.V2, spacingStaff=spacing)
  page = verovio_svg.read_page(svg, "Leipzig")
  found = [f.name for f in helpers.objects(page, helpers.V2)]
  assert [n for n in found if n.startswith("notehead")] == [name], caption


def test_spans_over_systems_have_a_box_in_each():
  """Three systems; hairpins keep their direction, the middle part, too."""
  measures = ""
  for n in range(3):
    note = _note("c5", "1", f'xml:id="n{n}"')
    measures += "<sb/>" if n else ""
    measures += f'<measure n="{n}"><staff n="1"><layer n="1">{note}</layer>'
    measures += "</staff>"
    if not n:
      span = 'staff="1" startid="#n0" endid="#n2"'
      measures += f'<hairpin form="cres" {span}/><slur {span}/>'
      measures += f'<octave dis="8" dis.place="above" {span}/>'
    measures += "</measure>"
  staff = '<staffDef n="1" lines="5"><clef shape="G" line="2"/></staffDef>'
  mei = helpers._MEI.format(staves=staff, measures=measures)
  svg = helpers.svg_of(mei, words=helpers.V2, breaks="encoded")
  page = verovio_svg.read_page(svg, "Leipzig")
  found = [f.name for f in helpers.objects(page, helpers.V2)]
  for name in ("staff", "slur", "dynamicCrescendoHairpin", "ottavaBracket"):
    assert found.count(name) == 3, name
  assert "dynamicDiminuendoHairpin" not in found


@pytest.mark.parametrize(
  ("caption", "name", "low_hw", "high_hw"),
  [
    ("five lines", "staff", (4.05, 10), (4.2, 400)),
    ("from the notehead on", "stem", (2.4, 0.05), (4.5, 0.2)),
    ("two spaces wide", "legerLine", (0.05, 1.4), (0.25, 2.3)),
    ("half a space thick", "beam", (0.45, 0.5), (3.0, 40)),
    ("without its stem", "noteheadBlackOnLine", (0.9, 1.1), (1.2, 1.5)),
    ("the whole flat", "keyFlat", (2.3, 0.7), (2.7, 1.0)),
  ],
)
def test_boxes_are_as_large_as_on_real_pages(
  caption, name, low_hw, high_hw, real_sizes
):
  """In staff spaces; a page of DeepScoresV2 must lie in the same range."""
  sizes = [
    ((f.bounds[3] - f.bounds[1]) / _SPACE, (f.bounds[2] - f.bounds[0]) / _SPACE)
    for seed in range(4)
    for f in helpers.objects(
      helpers.random_page(seed, "Leland", words=helpers.V2), helpers.V2
    )
    if f.name == name
  ]
  for kind, found in (("engraved", sizes), ("real", real_sizes[name])):
    median = np.median(found, axis=0)
    assert (median >= low_hw).all() and (median <= high_hw).all(), (
      caption,
      kind,
      median,
    )


@pytest.fixture(scope="module")
def real_sizes(shared_data):
  """(height, width) in staff spaces by class on a page of DeepScoresV2."""
  path = shared_data / "deepscores_v2/deepscores_train.json"
  data = json.loads(path.read_text())
  boxes = collections.defaultdict(list)
  for item in data["annotations"].values():
    x0, y0, x1, y1 = item["a_bbox"]
    name = data["categories"][item["cat_id"][0]]["name"]
    boxes[name].append((y1 - y0, x1 - x0))
  # Its lines are a tenth of a space thick.
  space = np.median(boxes["staff"], axis=0)[0] / 4.1
  return {name: np.array(found) / space for name, found in boxes.items()}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
  """12 pages of half the usual size, and their summary."""
  out = tmp_path_factory.mktemp("engrave_v2") / "pages"
  summary = engrave.generate(
    out, 12, seed=2, vocabulary=helpers.V2, workers=1, width=800, height=800
  )
  return out, summary


def test_every_other_name_occurs_in_24_pages():
  found = set()
  fonts = ("Leipzig", "Bravura", "Leland", "Gootville")
  for seed in range(24):
    page = helpers.random_page(seed, fonts[seed % 4], 14, helpers.V2)
    found |= {item.name for item in helpers.objects(page, helpers.V2)}
  assert smufl_classes.get(helpers.V2).known - found == _NEVER


def test_pages_have_what_is_written_for_this_vocabulary(pages):
  _, summary = pages
  count = summary.objects
  assert sum(count[f"tremolo{n}"] for n in range(1, 6)) > 0
  assert sum(count[f"tuplet{n}"] for n in (2, 4, 7, 8, 9)) > 0
  assert count["dynamicS"] + count["dynamicR"] > 0


def test_no_box_is_there_twice(pages):
  out, _ = pages
  for path in sorted(out.rglob("*.xml")):
    items = path.read_text().split("<object>")[1:]
    assert len(items) == len(set(items)) > 0, path.name


def test_builder_knows_the_vocabulary(pages):
  out, summary = pages
  data_set = deepscores_parsing.read_data_set(
    out, "dense_2017", deepscores_parsing.Options(), checks.BuildReport()
  )
  assert data_set.vocabulary == helpers.V2
  assert data_set.class_names == smufl_classes.get(helpers.V2).names
  page = data_set.splits["train"][0]
  parsed = deepscores_parsing.read_page(
    page,
    data_set.class_names,
    deepscores_parsing.Options(),
    checks.BuildReport(),
  )
  names = {data_set.class_names[label] for label in parsed.labels}
  assert {"staff", "stem"} <= names <= set(summary.objects)


def test_names_are_those_of_the_data_set(shared_data):
  path = shared_data / "deepscores_v2/deepscores_train.json"
  categories = json.loads(path.read_text())["categories"]
  expected = [
    row["name"]
    for _, row in sorted(categories.items(), key=lambda item: int(item[0]))
    if row["annotation_set"] == "deepscores"
  ]
  assert list(smufl_classes.get(helpers.V2).names) == expected


def test_names_are_those_of_the_mapping():
  words = smufl_classes.get(helpers.V2)
  assert words.known == set(tables.names_of(helpers.V2))
  assert len(words.names) == len(words.known) == 136
  assert set(words.renamed.values()) <= words.known
