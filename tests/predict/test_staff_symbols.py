"""Staves, lines, spaces and groups as MUSCIMA++ v2.0 names them."""

import dataclasses
import json

import numpy as np
import pytest
from mung import io as mung_io

from dwd_jax.core import vocabulary
from dwd_jax.imaging.staff_lines import Staff
from dwd_jax.predict import staff_symbols
from dwd_jax.predict.page_detections import PageDetections

_NAMES = ("noteheadFull", "brace", "bracket", "barline")
_HW = (300, 400)


def _staff(top, left=50.0, right=380.0, slope=0.0):
  """Lines of 2 px, 10 px apart; `top` is the middle of the first."""
  lines = tuple(
    np.array([[top + 10 * i, left], [top + 10 * i + slope, right]])
    for i in range(5)
  )
  return Staff(lines, 10.0, 2.0)


def _boxes(found, name):
  return [s.box_yxyx.tolist() for s in found if s.name == name]


def test_a_staff_has_five_lines_and_six_spaces():
  found = staff_symbols.find([_staff(100)], _HW, {})
  assert _boxes(found, "staff") == [[99, 50, 141, 380]]
  assert _boxes(found, "staffLine") == [
    [99 + 10 * i, 50, 101 + 10 * i, 380] for i in range(5)
  ]
  assert _boxes(found, "staffSpace") == [
    [91.5, 50, 101, 380],
    *([99 + 10 * i, 50, 111 + 10 * i, 380] for i in range(4)),
    [141, 50, 150.5, 380],
  ]
  assert {s.staves for s in found} == {(0,)}


def test_boxes_follow_a_slope_and_end_with_the_page():
  found = staff_symbols.find([_staff(2, slope=6)], _HW, {})
  first = _boxes(found, "staffLine")[0]
  np.testing.assert_allclose(first, [1, 50, 9, 380], atol=0.1)
  assert min(min(s.box_yxyx) for s in found) == 0


@pytest.mark.parametrize(
  ("caption", "signs", "wanted"),
  [
    ("a brace", {"brace": [(95, 30, 250, 45)]}, [((95, 30, 250, 45), (0, 1))]),
    (
      "with the line that begins its staves",
      {"brace": [(95, 30, 250, 45)], "barline": [(98, 48, 252, 52)]},
      [((95, 30, 252, 52), (0, 1))],
    ),
    (
      "of the same staves",
      {
        "brace": [(200, 30, 250, 45)],
        "barline": [(98, 48, 252, 52), (98, 148, 252, 152)],
      },
      [((200, 30, 250, 45), (1,)), ((98, 48, 252, 52), (0, 1))],
    ),
    (
      "a barline of one staff begins no group",
      {"barline": [(98, 48, 142, 52)]},
      [],
    ),
    (
      "not with later ones",
      {"brace": [(95, 30, 250, 45)], "barline": [(98, 148, 252, 152)]},
      [((95, 30, 250, 45), (0, 1))],
    ),
    (
      "a bracket around a brace",
      {"brace": [(200, 30, 250, 45)], "bracket": [(90, 20, 250, 28)]},
      [((200, 30, 250, 45), (1,)), ((90, 20, 250, 28), (0, 1))],
    ),
    ("no staves beside it", {"brace": [(10, 30, 80, 45)]}, []),
    ("staves far away", {"brace": [(95, 200, 250, 215)]}, []),
    ("none", {}, []),
  ],
)  # fmt: skip
def test_groups_follow_from_braces_and_brackets(caption, signs, wanted):
  staves = [_staff(100), _staff(200)]
  given = {k: np.array(v, float) for k, v in signs.items()}
  found = [
    (tuple(s.box_yxyx.tolist()), s.staves)
    for s in staff_symbols.find(staves, _HW, given)
    if s.name == "staffGrouping"
  ]
  assert found == wanted, caption


def test_a_group_needs_staves():
  signs = {"brace": np.array([(95.0, 30, 250, 45)])}
  assert staff_symbols.find([], _HW, signs) == []


def test_only_detectors_of_these_names_get_them():
  names = vocabulary.names_of("muscima_v2")
  assert staff_symbols.names_for(names) == ()
  rest = [n for n in names if not n.startswith("staff")]
  assert staff_symbols.names_for(rest) == staff_symbols.NAMES
  assert staff_symbols.names_for([*rest, "staff"]) == staff_symbols.NAMES[1:]
  assert staff_symbols.names_for(vocabulary.names_of("printed")) == ()
  assert staff_symbols.names_for(["cat"]) == ()


def _page():
  ink = np.zeros(_HW, np.uint8)
  ink[95:250, 30:45] = 255
  return PageDetections(
    page="x",
    image_hw=_HW,
    boxes_yxyx=np.array([[95, 30, 250, 45], [100, 90, 110, 100]], np.float32),
    labels=np.array([1, 0], np.int32),
    scores=np.array([0.9, 0.8]),
    class_names=_NAMES,
    ink=ink,
    staves=(_staff(100), _staff(200)),
  )


def test_json_lists_them():
  content = json.loads(json.dumps(_page().to_json()))
  names = [row["name"] for row in content["staff_symbols"]]
  assert {n: names.count(n) for n in staff_symbols.NAMES} == {
    "staff": 2, "staffLine": 10, "staffSpace": 12, "staffGrouping": 1,
  }  # fmt: skip
  assert content["staff_symbols"][-1] == {
    "name": "staffGrouping", "bbox": [30, 95, 15, 155], "staves": [0, 1],
  }  # fmt: skip
  assert content["num_detections"] == 2
  other = dataclasses.replace(
    _page(), class_names=("noteheadBlack", "brace", "segno", "coda")
  )
  assert "staff_symbols" not in other.to_json()


def test_mung_links_staves_with_spaces_and_groups(tmp_path):
  _page().to_mung(tmp_path / "x.xml")
  nodes = mung_io.read_nodes_from_file(str(tmp_path / "x.xml"))
  by_id = {node.id: node for node in nodes}
  assert len(by_id) == len(nodes) == 2 + 10 + 2 + 12 + 1
  (group,) = (n for n in nodes if n.class_name == "staffGrouping")
  assert group.mask.all() and group.bounding_box == (95, 30, 250, 45)
  staves = [by_id[i] for i in group.outlinks]
  assert [s.class_name for s in staves] == ["staff", "staff"]
  for staff in staves:
    parts = [by_id[i] for i in staff.outlinks]
    assert [p.class_name for p in parts] == ["staffLine"] * 5 + [
      "staffSpace"
    ] * 6
    assert all(p.inlinks == [staff.id] for p in parts)
    assert parts[-1].mask.all()
    assert staff.inlinks == [group.id]
