"""What training crops are drawn around."""

import numpy as np
import pytest

from dwd_jax.data import sampling
from dwd_jax.data.sources import BoxIndex
from dwd_jax.train.settings import default

# Class 0: 96 objects, class 1: none, class 2: 4; all on page 0 but the last
# object of class 2, which is alone on page 1; page 2 is empty.
_LABELS = np.array([0] * 96 + [2] * 4, np.int32)
_CORNERS = np.stack([np.arange(100) * 5, np.arange(100) * 7], 1)
_INDEX = BoxIndex(
  boxes_yxyx=np.concatenate([_CORNERS, _CORNERS + 4], 1).astype(np.float32),
  labels=_LABELS,
  page=np.array([0] * 99 + [1], np.int32),
  page_hw=np.full((3, 2), 1000, np.int32),
  filenames=("a.png", "b.png", "c.png"),
)


def _cfg(**changes):
  cfg = default().data
  cfg.crop_hw = (20, 20)
  cfg.scales = (0.5,)
  cfg.update(changes)
  return cfg


def _shown(window, page) -> np.ndarray:
  """Rows of the objects that are wholly in the window."""
  boxes = _INDEX.boxes_yxyx - [window.top, window.left] * 2
  height, width = window.source_hw
  inside = (boxes[:, :2] >= 0).all(1) & (boxes[:, 2:] <= [height, width]).all(1)
  return np.flatnonzero(inside & (_INDEX.page == page))


def test_few_objects_of_a_class_stand_for_all():
  draw = sampling.RareObjects(_LABELS, 0.0, per_class=3)
  rng = np.random.default_rng(0)
  rows = np.array([draw(rng) for _ in range(2000)])
  # From beginning to end; the classes are as frequent as with all of them.
  assert set(rows.tolist()) == {0, 48, 95, 96, 98, 99}
  assert np.mean(_LABELS[rows] == 2) == pytest.approx(0.04, abs=0.015)


@pytest.mark.parametrize(
  "power, expected, caption",
  [
    (0.0, 0.04, "as frequent as its objects: 4 of 100"),
    (0.5, 2 / (2 + 96**0.5), "square roots: 2 to 9.8"),
    (1.0, 0.5, "both classes alike; the absent one never"),
  ],
)
def test_rare_classes_are_drawn_by_their_tempered_counts(
  power, expected, caption
):
  draw = sampling.RareObjects(_LABELS, power)
  rng = np.random.default_rng(0)
  rows = np.array([draw(rng) for _ in range(4000)])
  share = np.mean(_LABELS[rows] == 2)
  assert abs(share - expected) < 0.025, caption
  # Within a class every object is drawn alike: 4 objects, a quarter each.
  if power:
    last = np.mean(rows[_LABELS[rows] == 2] == 99)
    assert abs(last - 0.25) < 0.06


def test_a_rare_object_brings_its_page_and_is_shown():
  sampler = sampling.CropSampler(_INDEX, _cfg(rare_prob=1.0, rare_power=1.0))
  rng = np.random.default_rng(0)
  pages = set()
  for _ in range(200):
    page, window = sampler(2, rng)
    pages.add(page)
    assert len(_shown(window, page))
  assert pages == {0, 1}


def test_crops_around_an_object_stay_on_the_given_page():
  sampler = sampling.CropSampler(_INDEX, _cfg(nonempty_prob=1.0))
  rng = np.random.default_rng(0)
  offsets = set()
  for _ in range(200):
    page, window = sampler(1, rng)
    assert page == 1
    assert 99 in _shown(window, 1)
    offsets.add(window.top)
  assert len(offsets) > 20  # not centred


def test_empty_pages_and_crops_anywhere():
  rng = np.random.default_rng(0)
  sampler = sampling.CropSampler(_INDEX, _cfg(nonempty_prob=1.0))
  assert sampler(2, rng)[0] == 2
  sampler = sampling.CropSampler(_INDEX, _cfg(nonempty_prob=0.0))
  shown = [len(_shown(sampler(1, rng)[1], 1)) for _ in range(200)]
  assert np.mean(np.array(shown) > 0) < 0.1


def _draws(sampler, pages, count=3000):
  """Pages and corners (y, x) of crops of the pages in turn."""
  rng = np.random.default_rng(0)
  drawn = [sampler(pages[i % len(pages)], rng) for i in range(count)]
  corners = np.array([(w.top, w.left) for _, w in drawn])
  return np.array([page for page, _ in drawn]), corners


def test_crops_of_the_original_lie_in_the_corner_or_anywhere():
  cfg = _cfg(nonempty_prob=0.0, corner_prob=0.3)
  pages, corners = _draws(sampling.CropSampler(_INDEX, cfg), [2])
  assert set(pages.tolist()) == {2}
  in_corner = (corners == 0).all(1)
  assert np.mean(in_corner) == pytest.approx(0.3, abs=0.03)
  # The others: every corner of 0..960 is equally likely.
  others = corners[~in_corner]
  assert others.max() <= 960
  counts, _ = np.histogramdd(others, [4, 4], [(0, 961)] * 2)
  np.testing.assert_allclose(counts / len(others), 1 / 16, atol=0.02)


def test_a_page_smaller_than_its_crop_lies_in_the_corner_too():
  cfg = _cfg(nonempty_prob=0.0, corner_prob=1.0, crop_hw=(600, 20))
  _, window = sampling.CropSampler(_INDEX, cfg)(2, np.random.default_rng(0))
  assert (window.top, window.left, window.source_hw) == (0, 0, (1200, 40))


@pytest.mark.parametrize(
  "min_visible, last, caption",
  [(0.0, 103, "a row of the object is enough"), (1.0, 100, "all of it shows")],
)
def test_crops_that_show_nothing_are_drawn_again(min_visible, last, caption):
  # Page 0 is empty; page 1 has an object of 4 x 4 px. Crops have 200 px, and
  # lie at 0..200 down and across.
  index = BoxIndex(
    np.array([[100, 100, 104, 104]], np.float32),
    _LABELS[:1],
    np.array([1], np.int32),
    np.full((2, 2), 400, np.int32),
    ("a.png", "b.png"),
  )
  cfg = _cfg(
    nonempty_prob=0.0,
    redraw_empty=True,
    min_visible=min_visible,
    crop_hw=(100, 100),
  )
  pages, corners = _draws(sampling.CropSampler(index, cfg), [0, 1], 150)
  assert set(pages.tolist()) == {1}
  assert last - 3 <= corners.max() <= last, caption
  shares, _ = np.histogram(corners, 4, (0, last + 1))  # as likely as before
  np.testing.assert_allclose(shares / corners.size, 0.25, atol=0.08)


def test_nothing_to_show_ends_the_search():
  index = BoxIndex(
    _INDEX.boxes_yxyx[:0],
    _LABELS[:0],
    np.zeros(0, np.int32),
    _INDEX.page_hw,
    _INDEX.filenames,
  )
  sampler = sampling.CropSampler(
    index, _cfg(nonempty_prob=0.0, redraw_empty=True)
  )
  assert sampler(0, np.random.default_rng(0))[1].out_hw == (20, 20)


def test_a_data_set_without_any_box_gives_crops():
  index = BoxIndex(
    np.zeros((0, 4), np.float32),
    np.zeros(0, np.int32),
    np.zeros(0, np.int32),
    np.full((1, 2), 50, np.int32),
    ("a.png",),
  )
  sampler = sampling.CropSampler(index, _cfg(rare_prob=1.0))
  page, window = sampler(0, np.random.default_rng(0))
  assert page == 0
  assert window.out_hw == (20, 20)
