"""Scans and photos as a whole: sameness, strengths, odd pages."""

import types

import numpy as np
import pytest

from dwd_jax.core.errors import InputError
from dwd_jax.imaging import degrade, grey

_RECIPES = ("scan", "photo")


def _page(hw=(240, 320), space=9):
  """Staves with noteheads, and the boxes of these."""
  ink = np.zeros(hw, np.uint8)
  boxes = []
  for top in range(4 * space, hw[0] - 8 * space, 9 * space):
    for line in range(5):
      ink[top + line * space, :] = 200
    for left in range(3 * space, hw[1] - 4 * space, 4 * space):
      ink[top : top + space - 1, left : left + space] = 255
      boxes.append((top, left, top + space - 1, left + space))
  return ink, np.array(boxes, np.float32).reshape(-1, 4)


def _apply(ink, boxes, seed=0, recipe="scan", strength=1.0, space=9.0):
  """The worn page, its boxes, and which of the given ones these are."""
  plan = degrade.sample(
    np.random.default_rng(seed),
    ink.shape,
    recipe=recipe,
    strength=strength,
    staff_space_px=space,
  )
  image, whole = plan.apply(ink, boxes)
  moved, kept = degrade.on_image(whole, ink.shape)
  return types.SimpleNamespace(image=image, boxes_yxyx=moved, kept=kept)


@pytest.mark.parametrize("recipe", _RECIPES)
def test_the_generator_decides_everything(recipe):
  ink, boxes = _page()
  before = ink.copy(), boxes.copy()
  first, again, other = (_apply(ink, boxes, seed, recipe) for seed in (1, 1, 2))
  np.testing.assert_array_equal(first.image, again.image)
  np.testing.assert_array_equal(first.boxes_yxyx, again.boxes_yxyx)
  assert (first.image != other.image).any()
  assert (first.boxes_yxyx[0] != other.boxes_yxyx[0]).any()
  np.testing.assert_array_equal(ink, before[0])
  np.testing.assert_array_equal(boxes, before[1])


@pytest.mark.parametrize("recipe", _RECIPES)
def test_strength_0_changes_nothing(recipe):
  ink, boxes = _page()
  same = _apply(ink, boxes, recipe=recipe, strength=0.0)
  np.testing.assert_array_equal(same.image, ink)
  np.testing.assert_array_equal(same.boxes_yxyx, boxes)
  assert same.kept.all() and same.image is not ink


@pytest.mark.parametrize("recipe", _RECIPES)
@pytest.mark.parametrize("strength", [0.01, 1.0, 2.0])
def test_types_and_that_nothing_leaves_the_page(recipe, strength):
  ink, boxes = _page()
  for seed in range(12):
    worn = _apply(ink, boxes, seed, recipe, strength)
    assert worn.image.shape == ink.shape and worn.image.dtype == np.uint8
    assert worn.boxes_yxyx.dtype == np.float32
    assert worn.kept.shape == (len(boxes),)
    assert worn.boxes_yxyx.shape == (worn.kept.sum(), 4)
    y0, x0, y1, x1 = worn.boxes_yxyx.T
    assert (y0 >= 0).all() and (y0 < y1).all() and (y1 <= 240).all()
    assert (x0 >= 0).all() and (x0 < x1).all() and (x1 <= 320).all()


@pytest.mark.parametrize("recipe", _RECIPES)
def test_stronger_is_further_from_the_page(recipe):
  ink, boxes = _page()
  moved, changed = [], []
  for strength in (0.2, 1.0, 2.0):
    worn = [_apply(ink, boxes, seed, recipe, strength) for seed in range(8)]
    moved.append(
      np.mean([np.abs(w.boxes_yxyx - boxes[w.kept]).mean() for w in worn])
    )
    changed.append(np.mean([np.abs(w.image - ink.astype(int)) for w in worn]))
  assert moved == sorted(moved) and moved[0] < 0.5 < moved[2]
  assert changed == sorted(changed)


@pytest.mark.parametrize("recipe", _RECIPES)
def test_ink_stays_darker_than_the_paper_around_it(recipe):
  ink, boxes = _page()
  for seed in range(12):
    worn = _apply(ink, boxes, seed, recipe)
    y0, x0, y1, x1 = worn.boxes_yxyx.astype(int).T
    inside = worn.image[(y0 + y1) // 2, (x0 + x1) // 2].astype(int)
    beside = worn.image[(y0 + y1) // 2, np.minimum(x1 + 8, 319)].astype(int)
    assert (inside > beside + 20).mean() > 0.95


@pytest.mark.parametrize("recipe", _RECIPES)
def test_a_reader_still_tells_paper_from_ink(recipe):
  # A page that is mostly dark would be read as white on black.
  ink, boxes = _page()
  for seed in range(30):
    worn = _apply(ink, boxes, seed, recipe, 2.0)
    read = grey.to_ink(255 - worn.image)
    np.testing.assert_array_equal(read, worn.image)


def test_typical_scans_are_legible_and_most_are_solid():
  ink, boxes = _page((170, 200), 12)
  kept, lost = {}, {}
  for strength in (1.0, 2.0):
    worn = [
      _apply(ink, boxes, seed, strength=strength, space=12.0)
      for seed in range(24)
    ]
    kept[strength] = np.mean([w.kept.mean() for w in worn])
    lost[strength] = np.array([_missing(w) for w in worn])
  assert kept[1.0] > 0.99 and kept[2.0] > 0.9
  assert (lost[1.0] < 0.02).mean() > 0.7
  # Mottled ink: holes inside the heads.
  assert (lost[2.0] > 0.05).mean() > 0.1
  assert lost[2.0].mean() > 2 * lost[1.0].mean()


def _missing(worn):
  """Share of the inside of heads that is nearer to paper than to ink."""
  y0, x0, y1, x1 = worn.boxes_yxyx.round().astype(int).T
  paper = float(np.median(worn.image))
  inside = np.concatenate(
    [
      worn.image[a + 3 : b - 3, c + 3 : d - 3].ravel()
      for a, b, c, d in zip(y0, y1, x0, x1, strict=True)
    ]
  ).astype(float)
  dark = np.percentile(inside, 90)
  return float((inside < (dark + paper) / 2).mean())


def test_boxes_that_leave_are_named():
  ink = np.zeros((200, 200), np.uint8)
  boxes = np.array([[y, 90, y + 2, 110] for y in range(0, 200, 2)], np.float32)
  lost = 0
  for seed in range(20):
    worn = _apply(ink, boxes, seed, "photo", 2.0)
    lost += int((~worn.kept).sum())
    assert worn.kept[40:60].all()
  assert lost


@pytest.mark.parametrize("recipe", _RECIPES)
@pytest.mark.parametrize(
  ("caption", "hw", "boxes"),
  [
    ("one pixel", (1, 1), [(0, 0, 1, 1)]),
    ("one row", (1, 300), [(0, 5, 1, 20)]),
    ("one column", (300, 1), [(5, 0, 20, 1)]),
    ("no symbols", (64, 64), []),
    ("an empty box", (64, 64), [(5, 5, 5, 9), (4, 4, 9, 9)]),
    ("a box beside the page", (64, 64), [(-30, -30, -20, -20)]),
  ],
)
def test_odd_pages(recipe, caption, hw, boxes):
  for fill in (0, 255):
    for strength in (1.0, 2.0):
      ink = np.full(hw, fill, np.uint8)
      given = np.array(boxes, np.float32).reshape(-1, 4)
      worn = _apply(ink, given, 3, recipe, strength)
      assert worn.image.shape == hw, caption
      assert len(worn.kept) == len(given)
      assert np.isfinite(worn.boxes_yxyx).all()
      if caption == "an empty box":
        assert worn.kept.tolist() == [False, True]


@pytest.mark.parametrize(
  ("caption", "change", "message"),
  [
    ("unknown recipe", {"recipe": "fax"}, "use scan or photo"),
    ("negative", {"strength": -0.1}, "not within 0..2"),
    ("extreme", {"strength": 50.0}, "not within 0..2"),
    ("no number", {"strength": float("nan")}, "not within 0..2"),
    ("no staff space", {"space": 0.0}, "staff space of 0.0 px"),
    ("endless staff space", {"space": float("inf")}, "staff space of inf px"),
  ],
)
def test_what_makes_no_sense_is_refused(caption, change, message):
  ink, boxes = _page()
  with pytest.raises(InputError, match=message) as error:
    _apply(ink, boxes, **change)
  assert "\n" not in str(error.value), caption


def test_sizes_that_cannot_be_degraded_are_refused():
  for hw in ((0, 10), (10, 40_000)):
    with pytest.raises(InputError, match="1 to 32766 px"):
      degrade.sample(
        np.random.default_rng(0), hw, recipe="scan", staff_space_px=9.0
      )
