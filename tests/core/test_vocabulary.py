"""The table of class names, and the classes that two vocabularies share."""

import itertools
import json
import pathlib
import re

import pytest
import verovio

from dwd_jax.core import vocabulary
from dwd_jax.core.errors import InputError
from dwd_jax.core.vocabulary import VOCABULARIES, common_classes
from dwd_jax.engrave import smufl_classes as engrave_vocabulary

PAIRS = list(itertools.combinations(VOCABULARIES, 2))

# Common classes, and the most names that one of them has in a and in b. More
# than that, and something was connected that is not the same.
SIZES = {
  ("deepscores_v1", "deepscores_v2"): (102, 2, 2),
  ("deepscores_v1", "deepscores_v2_muscima"): (57, 4, 1),
  ("deepscores_v1", "muscima_v1"): (48, 4, 1),
  ("deepscores_v1", "muscima_v2"): (53, 4, 1),
  ("deepscores_v2", "deepscores_v2_muscima"): (72, 7, 1),
  ("deepscores_v2", "muscima_v1"): (57, 4, 1),
  ("deepscores_v2", "muscima_v2"): (65, 3, 1),
  ("deepscores_v2_muscima", "muscima_v1"): (53, 2, 2),
  ("deepscores_v2_muscima", "muscima_v2"): (61, 1, 2),
  ("muscima_v1", "muscima_v2"): (149, 1, 2),
  ("deepscores_v1", "printed"): (124, 1, 1),
  ("deepscores_v1", "smufl"): (108, 3, 1),
  ("deepscores_v2", "printed"): (127, 2, 2),
  ("deepscores_v2", "smufl"): (109, 4, 2),
  ("deepscores_v2_muscima", "printed"): (71, 1, 7),
  ("deepscores_v2_muscima", "smufl"): (67, 1, 7),
  ("muscima_v1", "printed"): (59, 1, 4),
  ("muscima_v1", "smufl"): (60, 2, 3),
  ("muscima_v2", "printed"): (67, 1, 4),
  ("muscima_v2", "smufl"): (69, 2, 3),
  ("printed", "smufl"): (135, 3, 1),
}
EXAMPLES = {
  "small heads are not told apart": (
    ("deepscores_v2_muscima", "muscima_v2"),
    "noteheadFullSmall",
    {"noteheadFullSmall"},
    {"noteheadFull", "noteheadFullSmall"},
  ),
  "on a line or in a space": (
    ("deepscores_v1", "deepscores_v2"),
    "noteheadBlack",
    {"noteheadBlack"},
    {"noteheadBlackOnLine", "noteheadBlackInSpace"},
  ),
  "digits by what they say": (
    ("deepscores_v1", "muscima_v2"),
    "numeral3",
    {"timeSig3", "fingering3", "tuplet3"},
    {"numeral3"},
  ),
  "neither has one name": (
    ("deepscores_v2_muscima", "muscima_v1"),
    "noteheadHalfSmall+noteheadWhole",
    {"noteheadHalfSmall", "noteheadWhole"},
    {"notehead-empty", "grace-notehead-empty"},
  ),
  "clefs that change": (
    ("deepscores_v1", "muscima_v2"),
    "gClef",
    {"gClef", "gClefChange"},
    {"gClef"},
  ),
}
# Equal or similar names for things that are not alike.
APART = {
  "the whole flag, one stroke": (
    ("deepscores_v2_muscima", "muscima_v2"),
    "flag16thUp",
    "flag16thUp",
  ),
  "a digit, digits and bracket": (
    ("deepscores_v2_muscima", "muscima_v2"),
    "tuple",
    "tuple",
  ),
  "a bar with ends, a block": (
    ("deepscores_v1", "muscima_v2"),
    "restHBar",
    "multiMeasureRest",
  ),
  "mf, a dynamic of any length": (
    ("deepscores_v1", "muscima_v2"),
    "dynamicMF",
    "dynamicsText",
  ),
}


def _sides(common, name):
  return (
    {x for x, y in common.of_a.items() if y == name},
    {x for x, y in common.of_b.items() if y == name},
  )


@pytest.mark.parametrize("pair", PAIRS, ids=" ".join)
def test_every_name_is_mapped_or_listed(pair):
  a, b = pair
  common = common_classes(a, b)
  for vocab, of, unmapped in (
    (a, common.of_a, common.unmapped_a),
    (b, common.of_b, common.unmapped_b),
  ):
    assert not set(of) & set(unmapped)
    assert set(of) | set(unmapped) == set(vocabulary.names_of(vocab))
    assert set(of.values()) == set(common.names)
  assert len(set(common.names)) == len(common.names)


@pytest.mark.parametrize("pair", PAIRS, ids=" ".join)
def test_no_class_connects_more_than_was_looked_at(pair):
  common = common_classes(*pair)
  sides = [_sides(common, name) for name in common.names]
  found = (
    len(sides),
    *(max(map(len, side)) for side in zip(*sides, strict=True)),
  )
  assert found == SIZES[pair]


@pytest.mark.parametrize("pair", PAIRS, ids=" ".join)
def test_order_does_not_matter(pair):
  one, two = common_classes(*pair), common_classes(*pair[::-1])
  assert one.names == two.names
  assert (one.of_a, one.of_b) == (two.of_b, two.of_a)
  assert (one.unmapped_a, one.unmapped_b) == (two.unmapped_b, two.unmapped_a)


@pytest.mark.parametrize("name", VOCABULARIES)
def test_a_vocabulary_and_itself(name):
  common = common_classes(name, name)
  assert all(x == y for x, y in common.of_a.items())
  assert set(common.names) == set(vocabulary.names_of(name))


@pytest.mark.parametrize("caption", EXAMPLES)
def test_common_classes(caption):
  pair, name, in_a, in_b = EXAMPLES[caption]
  assert _sides(common_classes(*pair), name) == (in_a, in_b)


@pytest.mark.parametrize("caption", APART)
def test_not_the_same(caption):
  pair, in_a, in_b = APART[caption]
  common = common_classes(*pair)
  assert common.of_a.get(in_a, "a") != common.of_b.get(in_b, "b")


def test_rows():
  rows = vocabulary.table()
  concepts = [row["concept"] for row in rows]
  assert len(set(concepts)) == len(concepts)
  for row in rows:
    assert tuple(row) == ("concept", *VOCABULARIES, "note")
    used = [v for v in VOCABULARIES if row[v]]
    assert used
    assert row["note"] or len(used) > 1, f"{row['concept']}: why is it alone?"


@pytest.mark.parametrize("name", ["deepscores_v1", "deepscores_v2", "printed"])
def test_names_of_the_generator(name):
  names = engrave_vocabulary.get(name).names
  assert set(vocabulary.names_of(name)) == set(names)


# Those of SMuFL 1.4 (metadata/glyphnames.json) that verovio does not list, as
# it draws these as strokes or by other glyphs.
_NOT_IN_VEROVIO = {
  "arpeggiato", "bracket", "clef8", "clef15", "legerLine", "restHBar", "stem",
  "staff1Line", "staff5Lines", "systemDivider", "dynamicCrescendoHairpin",
  "dynamicDiminuendoHairpin", "barlineSingle", "barlineDouble", "barlineFinal",
  "barlineHeavy", "barlineDotted", "repeatLeft", "repeatRight",
  "repeatRightLeft", *(f"fingering{i}" for i in range(6)),
  *(f"graceNote{kind}Stem{direction}" for direction in ("Up", "Down")
    for kind in ("Acciaccatura", "Appoggiatura")),
}  # fmt: skip


def test_names_of_smufl_are_those_of_glyphs():
  folder = pathlib.Path(verovio.__file__).parent / "data"
  known = {
    name
    for path in folder.glob("*.xml")
    for name in re.findall(r'<g c="[0-9A-F]+"[^>]* n="(\w+)"', path.read_text())
  }
  assert set(vocabulary.names_of("smufl")) - known == _NOT_IN_VEROVIO


@pytest.mark.parametrize(
  ("column", "of_set"),
  [("deepscores_v2", "deepscores"), ("deepscores_v2_muscima", "muscima++")],
)
def test_names_of_deepscores_v2(shared_data, column, of_set):
  path = shared_data / "deepscores_v2/deepscores_train.json"
  categories = json.loads(path.read_text())["categories"].values()
  names = {c["name"] for c in categories if c["annotation_set"] == of_set}
  assert set(vocabulary.names_of(column)) == names


@pytest.mark.parametrize(
  ("column", "folder"), [("muscima_v1", "v1.0_sample"), ("muscima_v2", "v2.0")]
)
def test_names_of_muscima(shared_data, column, folder):
  root = shared_data / "muscima_pp" / folder
  name = "mff-muscima-mlclasses-annot.xml"
  listed = _texts(root / "specifications" / name, "Name")
  # One class is on pages but not in the list.
  more = {"staff_space"} if column == "muscima_v1" else set()
  assert set(vocabulary.names_of(column)) == listed | more
  pages = list(root.glob("cropobjects_*/*.xml"))
  for page in pages:
    assert _texts(page, "(?:ML)?ClassName") <= listed | more


def _texts(path: pathlib.Path, tag: str) -> set[str]:
  return set(re.findall(rf"<{tag}>(.*?)</", path.read_text()))


def test_the_real_page_says_the_same_twice(shared_data):
  """Each object of DeepScoresV2 has a name in both of its sets."""
  data = json.loads(
    (shared_data / "deepscores_v2/deepscores_train.json").read_text()
  )
  of = common_classes("deepscores_v2", "deepscores_v2_muscima")
  names = {k: c["name"] for k, c in data["categories"].items()}
  pairs = {tuple(a["cat_id"]) for a in data["annotations"].values()}
  assert len(pairs) > 30
  for first, second in pairs:
    one, two = names[first], names.get(second)
    assert of.of_a.get(one) == (of.of_b[two] if two else None), one


def test_command_line(capsys):
  assert vocabulary.main(["muscima_v2", "deepscores_v1"]) == 0
  said = capsys.readouterr().out
  assert said.startswith("53 classes of muscima_v2 and deepscores_v1:\n")
  assert "  noteheadBlack: noteheadFull | noteheadBlack\n" in said
  assert "  restHBar (the bar with upright ends" in said


WRONG = {
  "unknown name": (
    ["deepscores", "muscima_v2"],
    "'deepscores' is unknown; use",
  ),
}


@pytest.mark.parametrize("caption", WRONG)
def test_command_line_refuses(capsys, caption):
  argv, message = WRONG[caption]
  assert vocabulary.main(argv) == 2
  said = capsys.readouterr().err
  assert message in said
  assert said.count("\n") == 1


def test_command_line_needs_two_names(capsys):
  with pytest.raises(SystemExit) as end:
    vocabulary.main(["muscima_v2"])
  assert end.value.code == 2
  assert "arguments are required: B; --help" in capsys.readouterr().err


def test_no_vocabulary_is_bad_input():
  with pytest.raises(InputError, match=r"^boxes/1: its class names belong to"):
    vocabulary.mapped_classes(["a"], [], "", "muscima_v2", "boxes/1")


def test_left_out_names_take_their_class_along_when_none_is_left():
  names, of = vocabulary.mapped_classes(
    ["keySharp", "accidentalSharp", "gClef", "restHBar", "coda"],
    ["gClef", "gClefChange", "keySharp"],
    "deepscores_v1",
    "muscima_v2",
    "x",
  )
  assert of == {"accidentalSharp": "accidentalSharp", "coda": "coda"}
  full = common_classes("deepscores_v1", "muscima_v2").names
  assert names == tuple(n for n in full if n != "gClef")
