"""Objects and pages that are wrong by their figures, and the tables."""

import check_helpers as h
import numpy as np
import pytest

from dwd_jax.check import draw_pages, measures, rules
from dwd_jax.data import box_facts

NAMES = h.CLASS_NAMES


def _blank(hw=h.HW):
  ink = np.zeros(hw, np.uint8)
  ink[::10] = 255
  return ink


def _page(rows, split="train", ink=None, **kwargs):
  """Measures of a page with objects (class id, ymin, xmin, ymax, xmax)."""
  table = np.array(rows, np.float32).reshape(-1, 5)
  labels = table[:, 0].astype(np.int64)
  ink = _blank() if ink is None else ink
  return h.measured(ink, table[:, 1:], labels, split=split, **kwargs)


def _find(*pages, limits=h.LIMITS):
  tables = measures.tabulate(pages, len(NAMES), limits)
  found = rules.find(pages, tables, NAMES, limits)
  return {f.kind: f for f in found if f.kind != "splits absent"}


A = (20, 20, 40, 40)
B = (60, 20, 80, 40)
FAR = (200, 200, 220, 220)
# Caption: objects of a page, kind of what is found ("" = nothing), and a part
# of its message.
OBJECTS = {
  "nothing wrong": ([(0, *A), (1, *B)], "", ""),
  "same class, same box": (
    [(0, *A), (0, *A), (0, *A)],
    "exact duplicates",
    "2 boxes (67 %) on 1 page",
  ),
  "IoU 0.86 in a class": (
    [(0, *A), (0, 20, 20, 40, 43)],
    "near-duplicates",
    "1 box",
  ),
  "IoU 0.77 in a class": ([(0, *A), (0, 20, 20, 40, 46)], "", ""),
  "IoU 0.86 of two classes": ([(0, *A), (1, 20, 20, 40, 43)], "", ""),
  "two classes on one box": (
    [(0, *A), (2, *A)],
    "two classes on one box",
    "notehead + flag 1",
  ),
  "5 px high, 2.5 at the scale": (
    [(1, 20, 20, 25, 60)],
    "too small",
    "1 object (100 %) with a side under 3 px at scale 0.5: rest 1/1",
  ),
  "330 px wide, 165 at the scale": (
    [(0, *A), (1, 0, 0, 20, 330)],
    "larger than a crop",
    "rest 1/1",
  ),
  "no ink": ([(0, 21, 5, 30, 15)], "boxes without ink", "notehead 1"),
  "no objects": ([], "no objects", "train/a.png"),
}


@pytest.mark.parametrize("caption", OBJECTS)
def test_objects(caption):
  rows, kind, message = OBJECTS[caption]
  found = _find(_page(rows))
  assert list(found) == ([kind] if kind else [])
  if kind:
    assert found[kind].level == "warning"
    assert message in found[kind].message
    assert found[kind].remedy


def test_usual_pairs_of_classes_are_only_told():
  pages = [
    _page([(0, *A), (1, *A), (0, *FAR), (2, *FAR)]),
    *[_page([(0, *A), (1, *A)]) for _ in range(9)],
    *[_page([(2, *B)] * 1 + [(0, *A)]) for _ in range(40)],
  ]
  tables = measures.tabulate(pages, len(NAMES), h.LIMITS)
  found = rules.find(pages, tables, NAMES, h.LIMITS)
  levels = {
    f.level: f.message for f in found if f.kind == "two classes on one box"
  }
  assert set(levels) == {"warning", "info"}
  assert "notehead + flag 1" in levels["warning"]
  assert "notehead + rest 10" in levels["info"]


def test_classes_that_only_other_splits_have():
  found = _find(
    _page([(0, *A), (2, *B)]),
    _page([(0, *A), (1, *B)], split="test"),
  )
  assert "1 class with objects in other splits only: rest (1)" in (
    found["classes not in train"].message
  )
  assert "flag" in found["classes only in train"].message


def test_no_split_train():
  found = _find(_page([(0, *A)], split="test"))
  assert "data.train_split" in found["no split train"].remedy


def test_crowded_pages_and_crops_say_the_number_that_is_needed():
  rng = np.random.default_rng(0)
  at = rng.integers(0, 100, (130, 2))
  rows = [(0, y, x, y + 10, x + 10) for y, x in at]
  limits = measures.Limits(0.5, 160, 3, max_boxes=100, max_detections=120)
  found = _find(_page(rows), limits=limits)
  assert found["crowded crops"].remedy == "set data.max_boxes to 192"
  assert found["crowded pages"].remedy == "set decode.max_detections to 192"


BAD_PICTURES = {
  "nearly empty": np.zeros(h.HW, np.uint8),
  "nearly black": np.tile(np.array([255, 0], np.uint8), (400, 160)),
  "other page size": _blank((1400, 1200)),
}


@pytest.mark.parametrize("kind", BAD_PICTURES)
def test_pictures_of_pages(kind):
  usual = [_page([(0, *A)]) for _ in range(3)]
  page = h.measured(
    BAD_PICTURES[kind], np.zeros((0, 4)), np.zeros(0, int), filename="bad.png"
  )
  found = _find(*usual, page)
  assert found[kind].pages == (3,)
  assert "train/bad.png" in found[kind].message


# Caption: what a reader counted, and how bad it is.
SKIPPED = {
  "boxes skipped: inverted": "warning",
  "boxes cut: partly outside the image": "info",
}


@pytest.mark.parametrize("kind", SKIPPED)
def test_what_the_reader_skipped_is_told(kind):
  found = _find(_page([(0, *A)]), _page([(0, *A)], skipped={kind: 2}))
  assert found["while reading"].level == SKIPPED[kind]
  assert found["while reading"].message == f"2 {kind}, on train/a.png"


def test_tables_count_and_measure():
  pages = [
    _page([(0, 0, 0, 10, 20), (0, 0, 0, 30, 40), (1, *A)]),
    _page([(2, *A)], split="val"),
    _page([(0, *A)], split="aaa"),
  ]
  tables = measures.tabulate(pages, len(NAMES), h.LIMITS)
  assert tables.splits == ("train", "val", "aaa")
  np.testing.assert_array_equal(
    tables.objects, [[2, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0]]
  )
  middle = measures.PERCENTS.index(50)
  assert tables.heights[0, middle] == 20 and tables.widths[0, middle] == 20
  assert np.isnan(tables.heights[3]).all()
  np.testing.assert_array_equal(tables.per_page[[0, -1]], [1, 3])
  np.testing.assert_array_equal(tables.page_sizes[:, 0], h.HW)


def test_near_duplicates_agree_with_all_pairs():
  rng = np.random.default_rng(1)
  base = rng.integers(0, 300, (60, 2))
  sizes = rng.integers(8, 40, (60, 2))
  boxes = np.hstack([base, base + sizes]).astype(np.float32)
  jitter = rng.integers(-2, 3, boxes.shape)
  boxes = np.unique(np.vstack([boxes, boxes + jitter]), axis=0)
  labels = rng.integers(0, 2, len(boxes))
  expected = 0
  for j in range(len(boxes)):
    ious = [
      _iou(boxes[i], boxes[j])
      for i in range(len(boxes))
      if i != j and labels[i] == labels[j]
    ]
    expected += max(ious) > measures.NEAR_IOU
  found = measures.near_duplicates(boxes, labels)
  # Of two alike one is named.
  assert expected / 2 <= len(found) < expected


def _iou(a, b):
  hw = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
  both = hw.prod()
  return both / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - both)


def test_many_equal_boxes_take_no_time():
  boxes = np.tile(np.array([[5, 5, 15, 15]], np.float32), (50_000, 1))
  boxes[:, 3] += np.arange(50_000) % 7
  page = h.measured(_blank(), boxes, np.zeros(50_000, int))
  assert len(page.repeated) == 50_000 - 7
  assert 0 < len(page.near) < 7


def test_the_fullest_window_of_a_page():
  centres = np.array(
    [(y + 2, x + 2) for y in range(0, 80, 8) for x in range(0, 80, 8)],
    np.float32,
  )
  assert box_facts.max_in_window(centres, (1000, 1000), 100) == 100
  assert 20 <= box_facts.max_in_window(centres, (1000, 1000), 40) <= 36
  assert box_facts.max_in_window(centres[:0], (1000, 1000), 100) == 0


BOXES = {
  "small": (50, 50, 55, 56),
  "wider than a tile": (10, 0, 30, 320),
  "at the page's corner": (0, 0, 12, 9),
  "the whole page": (0, 0, 400, 320),
  "thin": (100, 5, 101, 315),
}


@pytest.mark.parametrize("caption", BOXES)
def test_tiles_show_the_object_in_their_middle(caption):
  box = BOXES[caption]
  ink = np.zeros(h.HW, np.uint8)
  ink[box[0] : box[2], box[1] : box[3]] = 255
  tile = draw_pages.tile(ink, np.array(box, np.float32)).astype(int)
  size = draw_pages.TILE_PX
  assert tile.shape == (size, size, 3)
  assert tile[size // 2, size // 2].sum() < 600  # ink, or the line of the box
  rows = np.flatnonzero((tile.sum(axis=2) < 600).any(axis=1))
  assert abs((rows[0] + rows[-1]) / 2 - size / 2) < 2.5


def test_examples_do_not_depend_on_the_order_of_reading():
  ink, boxes, labels = h.make_page(0)
  first = draw_pages.class_examples(h.page(ink, boxes, labels), seed=4)
  again = draw_pages.class_examples(h.page(ink, boxes, labels), seed=4)
  assert set(first) == set(labels.tolist())
  for label, (key, picture) in first.items():
    assert key == again[label][0]
    np.testing.assert_array_equal(picture, again[label][1])
