"""Pages at the scale of the model: which scale, and where boxes come back."""

import logging
import time

import cv2
import numpy as np
import pytest
from staff_helpers import staves

from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import Detections, PageImage
from dwd_jax.predict import normalise, predict_pages
from dwd_jax.predict.predict_config import PredictConfig

AUTO = PredictConfig(staff_space_px=10.0)
EXACT = PredictConfig(staff_space_px=10.0, normalise="exact")


def _scale(space, cfg=AUTO, scale=1.0) -> float:
  hw = (round(30 * space), round(30 * space))
  page = PageImage("p.png", staves(space, hw, max(1, round(space / 8))), scale)
  return normalise.Normaliser(cfg).scaled(page).scale


@pytest.mark.parametrize("space", [9.4, 10.0, 10.7])
def test_near_to_the_expected_scale_that_one_stays(space):
  assert _scale(space) == 1.0
  assert _scale(space, PredictConfig(staff_space_px=5.0), 0.5) == 0.5


@pytest.mark.parametrize("space", [5, 7, 14, 20, 33])
def test_staves_become_those_of_the_model(space):
  # Steps of 6 %, and 1 % for the estimate.
  assert abs(_scale(space) * space / 10 - 1) < 0.045
  assert abs(_scale(space, EXACT) * space / 10 - 1) < 0.015
  # The expected scale decides the steps, not the result.
  assert abs(_scale(space, AUTO, 0.5) * space / 10 - 1) < 0.045


def test_pages_of_a_kind_share_a_scale():
  # Staves of 19.5 to 20.5 px: the estimates differ, the padded sizes do not.
  found = {_scale(space) for space in (19.6, 19.8, 20.0, 20.2)}
  assert len(found) == 1


def test_off_and_unknown_leave_pages_alone():
  page = PageImage("p.png", staves(20), 0.7)
  for cfg in (
    PredictConfig(),
    PredictConfig(staff_space_px=10.0, normalise="off"),
  ):
    normaliser = normalise.Normaliser(cfg)
    assert normaliser.scaled(page) is page
    assert not normaliser.pages


@pytest.mark.parametrize(
  "ink, caption",
  [
    (np.zeros((1, 1), np.uint8), "a pixel"),
    (np.zeros((300, 300), np.uint8), "blank"),
    (staves(12, lines=1), "one line a staff"),
    (staves(4, (60, 9000), 1, lines=2), "a strip"),
    (np.zeros((0, 4), np.uint8), "no pixels"),
  ],
)
def test_pages_without_staves_keep_their_scale(ink, caption):
  normaliser = normalise.Normaliser(AUTO)
  assert normaliser.scaled(PageImage("p.png", ink, 0.5)).scale == 0.5, caption
  assert normaliser.without == ["p.png"]


def test_what_makes_no_sense_keeps_its_scale():
  # 5 px staves for a model of 60: twelve times as large is no scale to use.
  cfg = PredictConfig(staff_space_px=60.0)
  assert _scale(5, cfg) == 1.0
  bad = PageImage("p.png", np.zeros((4, 4), np.float32), 1.0)  # pyright: ignore
  assert normalise.Normaliser(AUTO).scaled(bad) is bad
  endless = PageImage("p.png", staves(12), float("inf"))
  assert normalise.Normaliser(AUTO).scaled(endless) is endless


def test_a_warning_counts_the_pages_without_staves(caplog):
  blank = [
    PageImage(f"{i}.png", np.zeros((9, 9), np.uint8), 1.0) for i in "abcd"
  ]
  pages = [*blank, PageImage("staves.png", staves(12), 1.0)]
  with caplog.at_level(logging.WARNING):
    normaliser = normalise.Normaliser(AUTO)
    for page in pages:
      normaliser.scaled(page)
    normaliser.warn()
  assert "on 4 of 5 pages (a.png, b.png, c.png, ...)" in caplog.text


@pytest.mark.parametrize(
  "changes, word",
  [
    ({"normalise": "always"}, "normalise"),
    ({"staff_space_px": -1.0}, "staff_space_px"),
    ({"staff_space_px": float("nan")}, "staff_space_px"),
  ],
)
def test_bad_settings(changes, word):
  with pytest.raises(InputError, match=word):
    PredictConfig(**changes)


def _find_the_square(stack):
  """A network that knows squares of 17 to 23 px, whatever lies behind."""
  image = (stack[0, :, :, 0] > 127).astype(np.uint8)
  solid = cv2.morphologyEx(image, cv2.MORPH_OPEN, np.ones((9, 9), np.uint8))
  y, x = np.nonzero(solid)
  box = np.zeros((1, 4, 4), np.float32)
  valid = np.zeros((1, 4), bool)
  if len(y) and 17 <= y.max() + 1 - y.min() <= 23:
    box[0, 0] = y.min(), x.min(), y.max() + 1, x.max() + 1
    valid[0, 0] = True
  found = Detections(
    boxes_yxyx=box,
    labels=np.zeros((1, 4), np.int32),
    scores=valid.astype(np.float32),
    valid=valid,
    count=valid.sum(1).astype(np.int32),
  )
  return found, stack


@pytest.mark.parametrize("space", [6, 10, 17, 31])
def test_boxes_of_a_scaled_page_are_in_its_own_pixels(space):
  ink = staves(space, (40 * space, 30 * space), max(1, space // 8))
  y0, x0, side = 7 * space, 9 * space, 2 * space  # between two staves
  ink[y0 : y0 + side, x0 : x0 + side] = 255
  page = PageImage("p.png", ink, 1.0)
  found = predict_pages.predict_page(_find_the_square, page, AUTO)
  (box,) = found.detections.boxes_yxyx
  true = np.array([y0, x0, y0 + side, x0 + side])
  assert np.abs(box - true).max() <= 1.5 / found.scale
  assert abs(found.scale * space / 10 - 1) < 0.08
  if space != 10:
    off = PredictConfig(staff_space_px=10.0, normalise="off")
    found = predict_pages.predict_page(_find_the_square, page, off)
    assert not len(found.detections.labels)  # the network does not know it


def test_the_estimate_is_part_of_the_time(monkeypatch):
  def slow(ink):
    time.sleep(0.2)

  monkeypatch.setattr(normalise.staff_space, "estimate", slow)
  pages = [
    PageImage(f"{i}.png", np.zeros((64, 64), np.uint8), 1.0) for i in "ab"
  ]
  found = list(predict_pages.predict_pages(_find_the_square, pages, AUTO))
  assert found[1].seconds >= 0.2
