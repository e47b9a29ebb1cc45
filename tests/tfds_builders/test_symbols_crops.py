"""Which symbols are chosen, and where their boxes lie in the crops."""

import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwd_jax.core.errors import InputError
from tfds_builders import checks
from tfds_builders.symbols import symbols_crops

_HW = (60, 80)


def _page(boxes, labels=None, ink=None) -> checks.ParsedPage:
  boxes = np.array(boxes, np.float32).reshape(-1, 4)
  if labels is None:
    labels = np.arange(len(boxes))
  if ink is None:
    ink = np.zeros(_HW, np.uint8)
    for y0, x0, y1, x1 in boxes.astype(int):
      ink[y0:y1, x0:x1] = 255
  return checks.ParsedPage(ink, boxes, np.asarray(labels, np.int64))


def _crop(page, i, context_px=5, symbol_only=False):
  made = symbols_crops.crop(page, i, context_px, symbol_only)
  assert made is not None
  return made


def test_the_symbol_comes_first_and_neighbours_follow():
  page = _page(
    [
      (0, 0, 10, 10),  # too far away
      (18, 18, 30, 40),  # half of it in the crop
      (20, 30, 30, 36),  # the symbol
      (24, 38, 28, 90),  # a little of it in the crop
      (21, 31, 29, 35),  # within the symbol
    ],
    ink=np.full(_HW, 255, np.uint8),
  )
  made = _crop(page, 2)
  assert made.ink.shape == (20, 16)
  assert made.labels.tolist() == [2, 1, 4]
  np.testing.assert_array_equal(
    made.boxes_yxyx, [(5, 5, 15, 11), (3, 0, 15, 15), (6, 6, 14, 10)]
  )
  assert _crop(page, 2, symbol_only=True).labels.tolist() == [2]


def test_beyond_the_page_there_is_paper():
  page = _page([(0, 70, 4, 80)], ink=np.full(_HW, 200, np.uint8))
  made = _crop(page, 0, context_px=8)
  assert made.ink.shape == (20, 26)
  np.testing.assert_array_equal(made.boxes_yxyx, [(8, 8, 12, 18)])
  assert np.all(made.ink[8:, :18] == 200)
  assert not made.ink[:8].any()
  assert not made.ink[:, 18:].any()


def test_a_box_without_ink_is_no_symbol():
  page = _page([(10, 10, 20, 20)], ink=np.full(_HW, 40, np.uint8))
  assert symbols_crops.crop(page, 0, 5, False) is None
  mask = np.ones((10, 10), bool)
  assert symbols_crops.cut_out(page, 0, mask, 5) is None


@st.composite
def _boxes(draw):
  def edges(size):
    a, b = draw(
      st.tuples(*[st.floats(0, size, width=32)] * 2).filter(
        lambda v: abs(v[0] - v[1]) > 0.01
      )
    )
    return min(a, b), max(a, b)

  (y0, y1), (x0, x1) = edges(_HW[0]), edges(_HW[1])
  return y0, x0, y1, x1


@settings(deadline=None, max_examples=100)
@given(
  st.lists(_boxes(), min_size=1, max_size=6),
  st.integers(1, 70),
  st.integers(0, 1 << 30),
)
def test_crops_show_what_the_page_shows(boxes, context_px, seed):
  ink = np.random.default_rng(seed).integers(200, 256, _HW).astype(np.uint8)
  page = _page(boxes, ink=ink)
  made = _crop(page, 0, context_px)
  top = int(np.floor(boxes[0][0])) - context_px
  left = int(np.floor(boxes[0][1])) - context_px
  height, width = made.ink.shape
  wide = np.pad(ink, 200)
  np.testing.assert_array_equal(
    made.ink, wide[top + 200 :, left + 200 :][:height, :width]
  )
  middle = (made.boxes_yxyx[0, :2] + made.boxes_yxyx[0, 2:]) / 2
  assert np.all(np.abs(middle - np.array([height, width]) / 2) <= 0.501)
  back = made.boxes_yxyx + np.array([top, left] * 2)
  for box, label in zip(back, made.labels, strict=True):
    np.testing.assert_array_less(page.boxes_yxyx[label][:2] - 1e-3, box[:2])
    np.testing.assert_array_less(box[2:], page.boxes_yxyx[label][2:] + 1e-3)
  assert np.all(made.boxes_yxyx[:, :2] < made.boxes_yxyx[:, 2:])
  assert np.all(made.boxes_yxyx >= 0)
  assert np.all(made.boxes_yxyx[:, 2:] <= [height, width])


def test_a_cut_out_shows_the_mask_and_nothing_else():
  page = _page(
    [(10, 20, 16, 30), (0, 0, 60, 80)], ink=np.full(_HW, 255, np.uint8)
  )
  mask = np.zeros((6, 10), bool)
  mask[0, 0] = mask[5, 9] = True
  made = symbols_crops.cut_out(page, 0, mask, 3)
  assert made is not None
  assert made.ink.shape == (12, 16)
  assert np.argwhere(made.ink).tolist() == [[3, 3], [8, 12]]
  np.testing.assert_array_equal(made.boxes_yxyx, [(3, 3, 9, 13)])
  assert made.labels.tolist() == [0]


def test_a_mask_of_another_size_is_an_error():
  page = _page([(55, 20, 60, 30)])
  with pytest.raises(InputError, match="object 0: its mask sticks out"):
    symbols_crops.cut_out(page, 0, np.ones((9, 10), bool), 3)


_NAMES = ("often", "rare", "huge", "never")


def _pages(count=6):
  """Each page: 5 x often, on every third 1 x rare, and a box of 50 px."""
  for n in range(count):
    boxes = [(0, 0, 50, 8)] + [(i, 0, i + 5, 5) for i in range(5)]
    labels = [2, 0, 0, 0, 0, 0]
    if n % 3 == 0:
      boxes, labels = [*boxes, (9, 9, 14, 14)], [*labels, 1]
    files = checks.PageFiles(f"page-{n}", pathlib.Path("i"), pathlib.Path("a"))
    yield files, np.array(boxes, np.float32), np.array(labels)


def _choose(pages, per_class, max_symbol_px=40):
  report = checks.BuildReport()
  chosen = symbols_crops.choose(
    pages, "engraved", _NAMES, per_class, max_symbol_px, report
  )
  found = {(p.name, i) for p in chosen for i in p.rows.objects}
  return found, report


def test_at_most_so_many_of_a_class_and_all_of_a_rare_one():
  found, report = _choose(_pages(), per_class=7)
  rare = {(f"page-{n}", 6) for n in (0, 3)}
  assert rare < found
  assert len(found - rare) == 7
  assert all(1 <= i <= 5 for _, i in found - rare)
  assert report.counts == {
    "symbols left out: enough of their class": 23,
    "symbols skipped: larger than max_symbol_px": 6,
    "classes without a symbol": 2,
  }
  assert report.examples["classes without a symbol"] == ["huge", "never"]


def test_all_are_taken_where_there_are_few():
  found, report = _choose(_pages(), per_class=100, max_symbol_px=50)
  assert len(found) == 6 * 6 + 2
  assert report.counts == {"classes without a symbol": 1}


# The 7 first of page-{0..5}/{1..5} by `printf page-0/1 | b2sum -l 64` (GNU
# coreutils 9).
_SMALLEST = (
  ("page-0", 5),
  ("page-1", 1),
  ("page-0", 3),
  ("page-4", 5),
  ("page-2", 2),
  ("page-5", 4),
  ("page-4", 3),
)


def test_the_choice_does_not_depend_on_the_order_and_lasts():
  found, _ = _choose(_pages(), per_class=7)
  assert _choose(reversed(list(_pages())), per_class=7)[0] == found
  assert _choose(_pages(), per_class=6)[0] < found
  # Not the first that come along, and not all from the same page.
  assert len({name for name, _ in found}) > 3
  # The same in every process, version and machine.
  assert found == {("page-0", 6), ("page-3", 6), *_SMALLEST}
