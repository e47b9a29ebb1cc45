"""Boxes that belong to their picture, and boxes that do not."""

import check_helpers as h
import cv2
import numpy as np
import pytest

from dwd_jax.check import fit, rules
from dwd_jax.check import ink as ink_lib

HEIGHT, WIDTH = h.HW


def _fit(ink, boxes):
  return fit.measure(fit.edges(ink), np.asarray(boxes, np.float32))


def _photo(ink):
  light = np.linspace(60, 160, ink.shape[1])[None]
  grey = cv2.GaussianBlur(light * (1 - 0.7 * ink / 255), (0, 0), 0.8)
  return np.clip(160 - grey, 0, 255).astype(np.uint8)


# Caption: what is done to the page.
GOOD = {
  "as drawn": lambda ink: ink,
  "uneven light, blurred": _photo,
}


@pytest.mark.parametrize("caption", GOOD)
def test_right_boxes_fit(caption):
  for seed in range(5):
    ink, boxes, _ = h.make_page(seed)
    assert not _fit(GOOD[caption](ink), boxes).is_bad()


def test_right_boxes_fit_tightly():
  ink, boxes, _ = h.make_page(0)
  assert _fit(ink, boxes).is_sound()


# Caption: boxes as they are written, from the right ones; and what is said.
WRONG = {
  "x and y are swapped": lambda b: b[:, [1, 0, 3, 2]],
  "relative x and y are swapped": lambda b: (
    b[:, [1, 0, 3, 2]] * np.array([HEIGHT / WIDTH, WIDTH / HEIGHT] * 2)
  ),
  "y counts from the bottom": lambda b: np.stack(
    [HEIGHT - b[:, 2], b[:, 1], HEIGHT - b[:, 0], b[:, 3]], axis=1
  ),
  "x counts from the right": lambda b: np.stack(
    [b[:, 0], WIDTH - b[:, 3], b[:, 2], WIDTH - b[:, 1]], axis=1
  ),
  "the picture is turned by 180 degrees": lambda b: (
    np.array([HEIGHT, WIDTH, HEIGHT, WIDTH]) - b[:, [2, 3, 0, 1]]
  ),
  "the boxes are of a picture 0.5 times as large": lambda b: b * 0.5,
  "the boxes are of a picture 2 times as large": lambda b: b * 2,
  "centres are taken for corners": lambda b: (
    b + np.tile((b[:, 2:] - b[:, :2]) / 2, 2)
  ),
  "the boxes lie about 12 px too high and 8 px too far right": lambda b: (
    b + np.array([-12, 8, -12, 8])
  ),
}


@pytest.mark.parametrize("caption", WRONG)
def test_wrong_boxes_are_seen_and_explained(caption):
  ink, boxes, _ = h.make_page(3, symbols=60)
  wrong = WRONG[caption](boxes).astype(np.float32)
  sums = fit.edges(ink)
  assert not fit.measure(sums, wrong).is_sound()
  assert fit.explain(sums, wrong, h.HW)[0] == caption


def test_boxes_of_another_page_are_bad():
  for seed in range(8):
    ink = h.make_page(seed)[0]
    foreign = h.make_page(seed + 100)[1]
    assert _fit(ink, foreign).is_bad()
    sums = fit.edges(ink)
    assert fit.explain(sums, foreign, h.HW)[0] == ""


def test_boxes_with_a_margin_are_measured():
  ink = np.zeros(h.HW, np.uint8)
  grid = [(40 * r, 40 * c) for r in range(1, 9) for c in range(1, 7)]
  boxes = np.array([(y, x, y + 12, x + 12) for y, x in grid], np.float32)
  for y, x in grid:
    ink[y : y + 12, x : x + 12] = 255
  assert _fit(ink, boxes + np.array([-2, -2, 2, 2])).is_sound()
  wide = boxes + np.array([-5, -5, 5, 5])
  assert fit.find_margin(fit.edges(ink), wide) == 5
  assert fit.find_margin(fit.edges(ink), boxes) == 0


def test_large_pages_are_measured_smaller(monkeypatch):
  ink, boxes, _ = h.make_page(2, symbols=30, hw=(800, 640))
  whole = _fit(ink, boxes)
  monkeypatch.setattr(fit, "_MAX_PIXELS", 600 * 480)
  edges = fit.edges(ink)
  assert edges.across_x.size < 0.6 * ink.size
  assert fit.measure(edges, boxes).edge > 0.4 < whole.edge
  monkeypatch.setattr(ink_lib, "_MAX_PIXELS", 600 * 480)
  assert (ink_lib.inside(ink_lib.find(ink), boxes) > 0).all()


def test_ink_inside_counts_pixels():
  ink = np.zeros((50, 60), np.uint8)
  ink[10:20, 10:15] = 255
  boxes = np.array([[10, 10, 20, 15], [9.5, 0, 11, 60], [30, 0, 50, 60]])
  found = ink_lib.inside(ink_lib.find(ink), boxes.astype(np.float32))
  np.testing.assert_array_equal(found, [50, 5, 0])


def _pages(seeds, boxes_of=None, symbols=40):
  pages = {}
  for i, seed in enumerate(seeds):
    ink, boxes, labels = h.make_page(seed, symbols)
    if boxes_of:
      boxes, labels = boxes_of(i, boxes, labels)
    pages[i] = h.page(ink, boxes, labels, filename=f"{i}.png")
  return pages


def _find(pages):
  measured = [h.measures.measure(p) for p in pages.values()]
  return rules.find_misfits(measured, pages.__getitem__)


def test_exchanged_annotations_are_named():
  right = _pages(range(5))
  pages = dict(right)
  for i, j in ((1, 3), (3, 1)):
    pages[i] = h.page(
      right[i].ink, right[j].boxes_yxyx, right[j].labels, filename=f"{i}.png"
    )
  (found,) = _find(pages)
  assert (found.level, found.pages) == ("error", (1, 3))
  assert "exchanged" in found.message and "train/1.png" in found.message


def test_nothing_is_found_on_right_pages():
  assert _find(_pages(range(6))) == []


def test_pages_with_few_boxes_are_judged_together():
  def foreign(i, boxes, labels):
    return h.make_page(i + 50, 8)[1], labels

  (found,) = _find(_pages(range(12), foreign, symbols=8))
  assert found.level == "error" and len(found.pages) == 12
  assert _find(_pages(range(12), symbols=8)) == []


def test_only_some_pages_are_read_again(monkeypatch):
  monkeypatch.setattr(rules, "_EXPLAINED", 2)
  pages = _pages(range(5), lambda i, boxes, labels: (boxes * 0.5, labels))
  measured = [h.measures.measure(p) for p in pages.values()]
  read = []

  def again(i):
    read.append(i)
    return pages[i]

  (found,) = rules.find_misfits(measured, again)
  assert set(read) == {0, 1}
  assert found.pages == (0, 1, 2, 3, 4)
  assert "0.5 times" in found.message
