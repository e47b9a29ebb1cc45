"""What a page's detections say of themselves and to other programs."""

import json

import cv2
import numpy as np
import pytest
from mung import io as mung_io

from dwd_jax.core.structs import NO_POSITION
from dwd_jax.imaging.staff_lines import Staff
from dwd_jax.predict import page_detections
from dwd_jax.predict.page_detections import PageDetections

NAMES = ("clefG", "noteheadBlack", 'a <b> & "c"')


def _found(**changes):
  ink = np.zeros((60, 80), np.uint8)
  ink[10:20, 30:38] = 255
  values = {
    "page": "Süß & <x>",
    "image_hw": (60, 80),
    "boxes_yxyx": np.array(
      [[10, 30, 20, 38], [5.25, 1, 9, 4.5], [-2, 70, 8, 90]], np.float32
    ),
    "labels": np.array([1, 2, 1], np.int32),
    "scores": np.array([0.9, 0.5, 0.25]),
    "class_names": NAMES,
    "ink": ink,
    "staff_space_px": 9.04,
  }
  return PageDetections(**(values | changes))


def test_repr_says_what_a_person_asks_first():
  assert repr(_found()) == (
    "<Detections of 'Süß & <x>', 80 x 60 px: 3 symbols: 2 noteheadBlack,"
    ' 1 a <b> & "c"; scores 0.25 to 0.90>'
  )
  nothing = _found().keep(0.95)
  assert repr(nothing).endswith("80 x 60 px: 0 symbols>")
  names = tuple(f"c{i}" for i in range(20))
  many = _found(
    boxes_yxyx=np.zeros((20, 4), np.float32),
    labels=np.arange(20, dtype=np.int32),
    scores=np.full(20, 0.5),
    class_names=names,
  )
  assert ": 1 c0, 1 c1, 1 c2, 1 c3, 1 c4, 15 other classes;" in repr(many)


def test_what_is_kept():
  found = _found()
  assert len(found) == 3
  assert found.names == ["noteheadBlack", NAMES[2], "noteheadBlack"]
  assert found.counts() == {"noteheadBlack": 2, NAMES[2]: 1}
  assert found.keep(0.5).names == found.names[:2]
  assert found.keep(classes=["noteheadBlack"]).scores.tolist() == [0.9, 0.25]
  with pytest.raises(ValueError, match="unknown class 'x'"):
    found.keep(classes=["x"])


def test_symbols_are_plain_values():
  first, *_ = _found()
  assert first == {
    "name": "noteheadBlack",
    "score": 0.9,
    "bbox": [30.0, 10.0, 8.0, 10.0],
  }
  assert _found().to_coco(7)[0] == {
    "image_id": 7,
    "category_id": 2,
    "bbox": [30.0, 10.0, 8.0, 10.0],
    "score": 0.9,
  }


def test_json_comes_back():
  found = _found()
  content = json.loads(json.dumps(found.to_json()))
  assert (content["width"], content["height"]) == (80, 60)
  assert content["num_detections"] == 3
  again = page_detections.from_json(content, NAMES)
  np.testing.assert_allclose(again.boxes_yxyx, found.boxes_yxyx, atol=0.01)
  np.testing.assert_array_equal(again.labels, found.labels)
  np.testing.assert_allclose(again.scores, found.scores)
  assert again.to_json() == content
  empty = found.keep(1.0)
  assert len(page_detections.from_json(empty.to_json(), NAMES)) == 0


def _corners(dx):
  corners = np.array([[[1, 2 + dx], [3, 8], [5, 6.25], [4, 1]]], np.float32)
  return np.repeat(corners, 3, axis=0)


def test_corners_are_x_y_and_come_back():
  found = _found(oriented_yx=_corners(0.5))
  corners = [[2.5, 1.0], [8.0, 3.0], [6.25, 5.0], [1.0, 4.0]]
  assert [symbol["oriented"] for symbol in found] == [corners] * 3
  assert found.to_coco()[1]["segmentation"] == [np.ravel(corners).tolist()]
  content = json.loads(json.dumps(found.to_json()))
  again = page_detections.from_json(content, NAMES)
  np.testing.assert_array_equal(again.oriented_yx, found.oriented_yx)
  assert again.to_json() == content
  assert (
    page_detections.from_json(_found().to_json(), NAMES).oriented_yx is None
  )
  # What is not finite is no JSON.
  assert list(_found(oriented_yx=_corners(np.nan))) == []
  for bad in ([[1, 2]] * 3, [1, 2], [[1, 1e9]] * 4, None, "1"):
    content["detections"][1]["oriented"] = bad
    with pytest.raises((ValueError, TypeError)):
      page_detections.from_json(content, NAMES)


def test_positions_come_back_where_there_are_any(tmp_path):
  positions = np.array([-4, NO_POSITION, 0], np.int32)
  found = _found(positions=positions)
  assert [symbol.get("position") for symbol in found] == [-4, None, 0]
  assert "position" not in found.to_coco()[1]
  content = json.loads(json.dumps(found.to_json()))
  again = page_detections.from_json(content, NAMES)
  assert again.positions.tolist() == positions.tolist()
  assert again.keep(0.3).positions.tolist() == [-4, NO_POSITION]
  assert page_detections.from_json(_found().to_json(), NAMES).positions is None
  found.to_mung(tmp_path / "x.xml")
  nodes = mung_io.read_nodes_from_file(str(tmp_path / "x.xml"))
  assert [node.data.get("position") for node in nodes] == [-4, None, 0]
  for bad in (1.5, "1", 10**9, None):
    content["detections"][0]["position"] = bad
    with pytest.raises((ValueError, TypeError, OverflowError)):
      page_detections.from_json(content, NAMES)


@pytest.mark.parametrize(
  "change",
  [
    {"width": 1e999},
    {"height": 0},
    {"height": 1 << 30},
    {"detections": [{"name": NAMES[0], "score": 2, "bbox": [1, 2, 3, 4]}]},
    {"turned": float("nan")},
    {"dpi": 10**400},
    {"left_out": [1]},
    {"left_out": {"stem": 1.5}},
    {
      "detections": [{"name": "noteheadBlack", "score": 1, "bbox": [1e999] * 4}]
    },
  ],
)
def test_numbers_of_no_page_are_damage(change):
  content = _found().to_json() | change
  with pytest.raises((ValueError, TypeError, OverflowError)):
    page_detections.from_json(content, NAMES)


def test_mung_is_read_by_its_own_reader(tmp_path):
  found = _found()
  path = tmp_path / "a b.xml"
  nodes = found.to_mung(path)
  read = mung_io.read_nodes_from_file(str(path))
  assert [node.class_name for node in read] == found.names
  assert [node.class_name for node in nodes] == found.names
  assert [node.document for node in read] == [found.page] * 3
  # Whole pixels, on the page.
  assert [node.bounding_box for node in read] == [
    (10, 30, 20, 38),
    (5, 1, 9, 4),
    (0, 70, 8, 80),
  ]
  assert read[0].mask.all() and not read[1].mask.any()
  assert [node.data["score"] for node in read] == [0.9, 0.5, 0.25]


def _with_staff():
  lines = [np.array([[y + 0.5, 5.0], [y + 1.5, 75]]) for y in range(20, 41, 5)]
  ink = np.zeros((60, 80), np.uint8)
  for line in lines:
    points = np.floor(line[:, ::-1]).astype(np.int32)
    cv2.line(ink, *points.tolist(), 255, 1)
  ink[30, 20:26] = 0  # a gap
  return _found(ink=ink, staves=(Staff(tuple(lines), 5.0, 1.0),))


def test_staves_are_x_y_and_come_back():
  found = _with_staff()
  content = json.loads(json.dumps(found.to_json()))
  (staff,) = content["staves"]
  np.testing.assert_allclose(staff["bbox"], [5, 20, 70, 22], atol=0.02)
  assert staff["lines"][4] == [[5.0, 40.5], [75.0, 41.5]]
  assert staff["staff_space_px"] == 5.0
  again = page_detections.from_json(content, NAMES)
  assert again.to_json() == content
  assert len(again.keep(1.0).staves) == 1
  for bad in ([], [[1, 2]] * 5, [[[1, 2, 3]]] * 5, [[[1e9, 2]]] * 5, None):
    content["staves"][0]["lines"] = bad
    with pytest.raises((ValueError, TypeError, IndexError)):
      page_detections.from_json(content, NAMES)
  del content["staves"]  # of an earlier version: the page is detected again
  with pytest.raises(KeyError):
    page_detections.from_json(content, NAMES)


def test_mung_has_staves_with_their_lines(tmp_path):
  found = _with_staff()
  found.to_mung(tmp_path / "x.xml")
  nodes = mung_io.read_nodes_from_file(str(tmp_path / "x.xml"))
  names = [node.class_name for node in nodes[3:]]
  assert names == ["staffLine"] * 5 + ["staff"]
  *lines, staff = nodes[3:]
  assert staff.outlinks == [line.id for line in lines]
  assert [line.inlinks for line in lines] == [[staff.id]] * 5
  assert staff.bounding_box == (20, 5, 42, 75)
  # Masks are the ink of the lines, which is all ink of this page.
  assert found.ink is not None
  assert staff.mask.sum() == (found.ink[:, 5:75] > 0).sum()
  assert sum(line.mask.sum() for line in lines) == staff.mask.sum()


@pytest.mark.parametrize("box", [(-9, -9, -5, -5), (70, 90, 75, 99)])
def test_mung_of_a_box_off_the_page_has_a_pixel(tmp_path, box):
  found = _found(
    boxes_yxyx=np.array([box], np.float32),
    labels=np.zeros(1, np.int32),
    scores=np.ones(1),
  )
  found.to_mung(tmp_path / "x.xml")
  (node,) = mung_io.read_nodes_from_file(str(tmp_path / "x.xml"))
  assert node.mask.shape == (1, 1)


def test_the_picture_shows_the_boxes(tmp_path):
  found = _found()
  picture = found.plot(tmp_path / "x.png")
  assert picture.shape[2] == 3
  np.testing.assert_array_equal(
    cv2.imread(str(tmp_path / "x.png"))[..., ::-1], picture
  )
  plain = found.keep(1.0).plot()
  zoom = picture.shape[0] / 60
  changed = (picture != plain).any(-1)
  assert changed[int(9.6 * zoom) : int(20.4 * zoom), int(30.2 * zoom)].any()
  assert not changed[int(40 * zoom) :].any()
  assert found._repr_png_().startswith(b"\x89PNG")
