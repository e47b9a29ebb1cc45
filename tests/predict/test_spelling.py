"""What is found, in the names of another list."""

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwd_jax.core import compounds, vocabulary
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import NO_POSITION, PageBoxes
from dwd_jax.imaging.staff_pieces import Pieces
from dwd_jax.predict.spelling import NAMES, Spelling

_SPACE = 10.0


def _found(names, class_names, boxes=None, positions=None, oriented=None):
  if boxes is None:
    boxes = [(100, 100 * i, 120, 100 * i + 20) for i in range(len(names))]
  return PageBoxes(
    filename="page",
    image_hw=(1000, 1000),
    boxes_yxyx=np.array(boxes, np.float32).reshape(-1, 4),
    labels=np.array([class_names.index(n) for n in names], np.int32),
    scores=np.linspace(0.9, 0.8, len(names)),
    oriented_yx=oriented,
    positions=None if positions is None else np.array(positions, np.int32),
  )


def _pieces():
  """One piece of a staff, its middle line at 200, skewed."""
  one = np.ones(1)
  return Pieces(
    y=200 * one, x=300 * one, half_width=300.0, space=_SPACE * one,
    slope=0.02 * one, weight=one,
  )  # fmt: skip


@functools.cache
def _spelling(source, target):
  class_names = vocabulary.names_of(source)
  return class_names, Spelling(class_names, target)


def _spelled(source, target, names, **more):
  """Names of the target, sorted by place, and what is left out."""
  pieces = more.pop("pieces", None)
  class_names, spelling = _spelling(source, target)
  new, left_out = spelling.apply(_found(names, class_names, **more), pieces)
  order = np.argsort(new.boxes_yxyx[:, 1], kind="stable")
  return [spelling.class_names[i] for i in new.labels[order]], left_out


_WORD = [(40, 0, 60, 20), (40, 15, 60, 40), (40, 38, 60, 50)]
CASES = {
  "size and place in a key say nothing in SMuFL": (
    ("deepscores_v1", "smufl", ["noteheadHalfSmall", "keyFlat", "gClefChange"]),
    (["noteheadHalf", "accidentalFlat", "gClefChange"], {}),
  ),
  "what has no name is left out": (
    ("printed", "smufl", ["slur", "stem", "barlineFinal", "slur"]),
    (["stem", "barlineFinal"], {"slur": 2}),
  ),
  "a whole flag is no stroke": (
    ("deepscores_v1", "muscima_v2", ["flag16thUp", "flag8thUpSmall"]),
    (["flag8thUp"], {"flag16thUp": 1}),
  ),
  "letters of dynamics, digits of meters": (
    ("deepscores_v1", "deepscores_v2", ["dynamicMF", "timeSig16"]),
    (["dynamicM", "dynamicF", "timeSig1", "timeSig6"], {}),
  ),
  "letters in the names of MUSCIMA++": (
    ("printed", "muscima_v2", ["dynamicSforzato", "dynamicPiano"]),
    (
      ["dynamicLetterS", "dynamicLetterF", "dynamicLetterZ", "dynamicLetterP"],
      {},
    ),
  ),
  "the plain name where small ones or changes are not told apart": (
    ("deepscores_v2", "deepscores_v1", ["clefG", "noteheadBlackInSpaceSmall"]),
    (["gClef", "noteheadBlackSmall"], {}),
  ),
  "a digit of any kind": (
    ("muscima_v2", "deepscores_v1", ["numeral3", "numeral9"]),
    (["timeSig9"], {"numeral3": 1}),
  ),
  "the own names stay": (
    ("deepscores_v1", "deepscores_v1", ["dynamicMF", "gClefChange"]),
    (["dynamicMF", "gClefChange"], {}),
  ),
}


@pytest.mark.parametrize("caption", CASES)
def test_names(caption):
  arguments, expected = CASES[caption]
  assert _spelled(*arguments) == expected


# Caption: letters, and what they are in the names of DeepScores (2017), SMuFL.
WORDS = {
  "a word": ("SFZ", ["dynamicSforzato"], ["dynamicSforzato"]),
  "no word": (
    "SFP",
    [],
    ["dynamicSforzando", "dynamicForte", "dynamicPiano"],
  ),
}


@pytest.mark.parametrize("caption", WORDS)
def test_letters_that_are_a_word(caption):
  letters, *expected = WORDS[caption]
  names = [f"dynamic{letter}" for letter in letters]
  for target, new in zip(("deepscores_v1", "smufl"), expected, strict=True):
    said, left_out = _spelled("deepscores_v2", target, names, boxes=_WORD)
    assert said == new
    assert sum(left_out.values()) == (0 if new else 3)


def test_a_word_has_the_box_and_the_least_score_of_its_letters():
  names = vocabulary.names_of("deepscores_v2")
  spelling = Spelling(names, "deepscores_v1")
  found = _found(["dynamicS", "dynamicF", "dynamicZ"], names, _WORD)
  new, _ = spelling.apply(found, None)
  assert new.boxes_yxyx.tolist() == [[40, 0, 60, 50]]
  assert new.scores.tolist() == [found.scores.min()]


def test_digits_are_joined_where_they_stand_side_by_side():
  names = ["timeSig1", "timeSig2", "timeSig1", "timeSig2"]
  boxes = [(0, 0, 20, 8), (0, 10, 20, 20), (0, 60, 20, 68), (22, 60, 42, 70)]
  said, _ = _spelled("deepscores_v2", "deepscores_v1", names, boxes=boxes)
  assert sorted(said) == ["timeSig1", "timeSig12", "timeSig2"]


def _heads(steps, x):
  """Boxes of noteheads so many steps above the middle line of `_pieces`."""
  y = 200 + 0.02 * (x - 300) - _SPACE / 2 * np.array(steps)
  return np.stack([y - 5, x - 6, y + 5, x + 6], 1)


def test_staves_say_whether_a_notehead_is_on_a_line():
  boxes = _heads([0, 1, -3, 6, 40], np.array([50, 200, 350, 500, 550]))
  said, left_out = _spelled(
    "deepscores_v1",
    "deepscores_v2",
    ["noteheadBlack"] * 4 + ["noteheadHalf"],
    boxes=boxes,
    pieces=_pieces(),
  )
  ends = ["OnLine", "InSpace", "InSpace", "OnLine"]
  assert said == [f"noteheadBlack{end}" for end in ends]
  assert left_out == {"noteheadHalf": 1}  # no staff is near enough


def test_positions_of_the_detector_come_first():
  boxes = _heads([0, 0, 0], np.array([50, 200, 350]))
  said, left_out = _spelled(
    "printed",
    "deepscores_v2",
    ["noteheadWhole"] * 3,
    boxes=boxes,
    positions=[3, NO_POSITION, -2],
    pieces=_pieces(),
  )
  ends = ["InSpace", "OnLine", "OnLine"]
  assert (said, left_out) == ([f"noteheadWhole{end}" for end in ends], {})


def test_without_staves_noteheads_are_left_out():
  said, left_out = _spelled(
    "printed", "deepscores_v2", ["noteheadBlack", "stem"]
  )
  assert (said, left_out) == (["stem"], {"noteheadBlack": 1})
  line = vocabulary.describe_left_out(left_out, "deepscores_v2")
  assert "no staff tells a line from a space: 1 noteheadBlack" in line


def test_characters_have_upright_corners_and_no_position():
  names = vocabulary.names_of("deepscores_v1")
  corners = np.zeros((1, 4, 2), np.float32)
  found = _found(["timeSig12"], names, positions=[4], oriented=corners)
  new, _ = Spelling(names, "deepscores_v2").apply(found, None)
  assert new.positions.tolist() == [NO_POSITION] * 2
  np.testing.assert_array_equal(new.oriented_yx[:, 0], new.boxes_yxyx[:, :2])
  np.testing.assert_array_equal(new.oriented_yx[:, 2], new.boxes_yxyx[:, 2:])


_SPLIT = {
  name: len(word)
  for row in vocabulary.table()
  for name, word in [(row["printed"], compounds.WHOLES.get(row["concept"], ""))]
  if word
}
_PRINTED = vocabulary.names_of("printed")


@given(
  names=st.lists(st.sampled_from(_PRINTED), max_size=12),
  target=st.sampled_from(NAMES),
  has_staff=st.booleans(),
)
def test_everything_has_a_new_name_or_is_counted(names, target, has_staff):
  boxes = [(190, 40 * i, 210, 40 * i + 20) for i in range(len(names))]
  pieces = _pieces() if has_staff else None
  said, left_out = _spelled(
    "printed", target, names, boxes=boxes, pieces=pieces
  )
  known = vocabulary.names_of(target)
  assert set(said) <= set(known)
  kept = [name for name in names if name not in left_out]
  assert sum(left_out.values()) == len(names) - len(kept)
  sizes = [1 if name in known else _SPLIT.get(name, 1) for name in kept]
  assert len(said) == sum(sizes)


def test_ids_are_those_of_the_list_also_for_a_detector_of_it():
  names = vocabulary.names_of("deepscores_v2")
  assert Spelling(("stem", "beam"), "deepscores_v2").class_names == names
  said, _ = _spelled("deepscores_v2", "deepscores_v2", ["stem", "clefG"])
  assert said == ["stem", "clefG"]


def test_a_detector_of_things_that_no_list_has():
  with pytest.raises(InputError, match="classes are of no known vocabulary"):
    Spelling(("cat", "noteheadBlack"), "smufl")


def test_unknown_names():
  with pytest.raises(InputError, match="'cwmn' is unknown; use one of deep"):
    Spelling(("noteheadBlack",), "cwmn")
