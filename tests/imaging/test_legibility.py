"""Which symbols still show."""

import numpy as np
import pytest

from dwd_jax.imaging import degrade
from dwd_jax.imaging.degrade import legibility, scan_and_photo

_BOX = (40, 40, 60, 70)


def _page():
  ink = np.zeros((100, 200), np.uint8)
  ink[40:60, 40:70] = 255
  ink[40:60, 140:170] = 255
  return ink, np.array([_BOX, (40, 140, 60, 170)], np.float32)


def _legible(worn, clean=None, boxes=None):
  ink, own = _page()
  return legibility.legible(
    own if boxes is None else np.array(boxes, np.float32),
    ink if clean is None else clean,
    worn,
    margin_px=6.0,
  ).tolist()


@pytest.mark.parametrize(
  ("caption", "left", "expected"),
  [
    ("all of it", 1.0, True),
    ("a faint grey", 0.15, True),
    ("nearly nothing", 0.05, False),
    ("nothing", 0.0, False),
  ],
)
def test_a_symbol_shows_while_it_is_darker_than_its_paper(
  caption, left, expected
):
  ink, _ = _page()
  faded = ink.copy()
  faded[:, :100] = (left * faded[:, :100]).astype(np.uint8)
  assert _legible(faded) == [expected, True], caption
  # In the shade of a spine, too.
  assert _legible(60 + (0.7 * faded).astype(np.uint8))[1]
  black = ink.copy()
  black[:, 100:] = 255
  assert _legible(black) == [True, False]


def test_a_seventh_of_a_symbol_is_enough_in_black_and_white():
  ink, _ = _page()
  ink[40:60, 44:70] = 0
  assert _legible(ink) == [True, True]
  ink[40:60, 41:70] = 0
  assert _legible(ink) == [False, True]


def test_boxes_without_ink_of_their_own_stay():
  ink, _ = _page()
  odd = [(5, 5, 9, 9), (5, 5, 5, 9), (-30, -30, -20, -20), (90, 190, 120, 240)]
  assert _legible(np.zeros_like(ink), boxes=odd) == [True] * 4
  assert _legible(ink, boxes=np.zeros((0, 4))) == []


def test_what_is_lost_has_no_area_and_is_dropped(monkeypatch):
  """The entrance of pages and of crops."""

  def erase(ink, *_):
    ink = ink.copy()
    ink[:, :100] = 0
    return ink

  recipe = scan_and_photo.scan_bend, erase
  monkeypatch.setitem(degrade.RECIPES, "scan", recipe)
  ink, boxes = _page()
  plan = degrade.sample(
    np.random.default_rng(0),
    ink.shape,
    recipe="scan",
    strength=0.3,
    staff_space_px=9.0,
  )
  _, moved = plan.apply(ink, boxes)
  _, kept = degrade.on_image(moved, ink.shape)
  assert kept.tolist() == [False, True]
  assert (plan.boxes(boxes, ink)[1] == moved[1]).all()
