"""Synthetic symbols: strips, pages of symbols, symbols in free places."""

import dataclasses
import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwd_jax.core.errors import InputError
from dwd_jax.data import symbols, synthetic
from dwd_jax.data.scenes import Scene
from dwd_jax.data.synthetic import SymbolCutter, SyntheticConfig
from dwd_jax.train import settings as config_lib

MARGIN = 3
# Height, width, row of a staff line through the image (-1 = none).
SHAPES = ((12, 8, -1), (9, 14, 4), (40, 5, 20), (200, 200, -1))


@dataclasses.dataclass(frozen=True)
class FakeSymbols:
  """Solid symbols with a margin; class i has `counts[i]` of `SHAPES[i]`."""

  counts: tuple[int, ...] = (1, 1, 1)
  class_names: tuple[str, ...] = ("dot", "rest", "line", "huge")

  @property
  def labels(self):
    return np.repeat(np.arange(len(self.counts)), self.counts).astype(np.int32)

  def __getitem__(self, i):
    label = int(self.labels[i])
    height, width, line = SHAPES[label]
    ink = np.zeros((height + 10, width + 10), np.uint8)
    ink[5:-5, 5:-5] = 200 + label
    if line >= 0:
      ink[5 + line] = 255
    box = np.array([5, 5, 5 + height, 5 + width], np.float32)

    def read(top, left, height, width):
      return ink[top : top + height, left : left + width]

    return symbols.Symbol(
      ink.shape, box, read, box[None], np.array([label], np.int32)
    )


def cutter(counts=(1, 1, 1), draw="uniform"):
  return SymbolCutter(FakeSymbols(counts), draw, 0.4)


def assert_boxes_are_ink(scene: Scene):
  """Every box is full of the ink of its class, and all such ink is boxed."""
  left = scene.ink.copy()
  for (y0, x0, y1, x1), label in zip(
    scene.boxes_yxyx.astype(int), scene.labels, strict=True
  ):
    part = scene.ink[y0:y1, x0:x1]
    assert part.shape == SHAPES[label][:2]
    assert np.all(part >= 200), label
    left[y0:y1, x0:x1] = 0
  assert not np.any((left >= 200) & (left < 255))  # but for staff lines


@given(st.integers(0, 10_000), st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_full_pages_are_their_boxes(seed, per_row):
  rng = np.random.default_rng(seed)
  draw = functools.partial(cutter(), rng, MARGIN)
  scene = synthetic.full(draw, rng, (160, 130), per_row)
  assert scene.ink.shape == (160, 130)
  assert 1 <= len(scene.labels) <= 8 * per_row
  assert_boxes_are_ink(scene)


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_a_strip_hides_what_is_below_it(seed):
  rng = np.random.default_rng(seed)
  page = Scene(
    np.full((150, 100), 9, np.uint8),
    np.array(
      [[0, 0, 3, 3], [100, 2, 120, 9], [40, 50, 100, 60], [90, -9, 170, 9]],
      np.float32,
    ),
    np.array([7, 8, 9, 10], np.int32),
  )
  draw = functools.partial(cutter(), rng, MARGIN)
  scene = synthetic.up(draw, rng, page, per_row=12, min_visible=0.4)
  mine = scene.labels < 7
  strip = int(np.argmax(scene.ink[:, 0] == 9))
  assert 0 < strip <= 50
  assert 1 <= mine.sum() <= 12
  assert np.all(scene.boxes_yxyx[mine, 2] <= strip)
  kept = dict(zip(scene.labels, scene.boxes_yxyx, strict=True))
  assert 7 not in kept  # all of it is hidden
  np.testing.assert_array_equal(kept[8], [100, 2, 120, 9])
  np.testing.assert_array_equal(kept[9], [max(40, strip), 50, 100, 60])
  # What another edge cuts is not the strip's business.
  np.testing.assert_array_equal(kept[10], [90, -9, 170, 9])
  assert_boxes_are_ink(
    Scene(scene.ink[:strip], scene.boxes_yxyx[mine], scene.labels[mine])
  )


def test_symbols_larger_than_the_crop_are_not_drawn():
  rng = np.random.default_rng(0)
  huge = functools.partial(cutter((0, 0, 0, 2)), rng, MARGIN)
  assert huge((150, 150)) is None
  empty = synthetic.full(huge, rng, (150, 150), per_row=12)
  assert not len(empty.labels)
  assert not empty.ink.any()
  page = Scene(np.zeros((90, 90), np.uint8), np.zeros((0, 4)), np.zeros(0, int))
  assert synthetic.up(huge, rng, page, per_row=12, min_visible=0.4) is page
  pasted = synthetic.paste(huge, rng, page, margin=MARGIN, count=12)
  assert not len(pasted.labels)


@pytest.mark.parametrize(
  ("draw", "share"), [("uniform", 0.5), ("inverse", 0.1)]
)
def test_classes_are_drawn(draw, share):
  rng, made = np.random.default_rng(0), cutter((9, 1), draw)
  drawn = [made(rng, MARGIN, (99, 99)) for _ in range(800)]
  frequent = np.mean([scene.labels[0] == 0 for scene in drawn if scene])
  assert frequent == pytest.approx(share, abs=0.05)


def test_classes_without_a_symbol_are_named():
  assert cutter((1, 0, 2)).missing() == ("rest", "huge")
  with pytest.raises(InputError, match="no symbol of any class"):
    cutter((0, 0))


def staff_page(height=120, width=150, first=50):
  """A staff of five lines and nothing else."""
  ink = np.zeros((height, width), np.uint8)
  ink[first : first + 41 : 10] = 255
  return Scene(ink, np.zeros((0, 4), np.float32), np.zeros(0, np.int32))


@pytest.mark.parametrize("seed", range(8))
def test_pasted_symbols_lie_at_the_height_of_a_staff(seed):
  """`rest` has one line through it in its image: nothing fits that but a line.

  In its rows it must not see two lines, which are 10 px apart.
  """
  rng = np.random.default_rng(seed)

  class Lined(FakeSymbols):
    def __getitem__(self, i):
      found = super().__getitem__(i)
      ink = np.array(found.read(0, 0, *found.image_hw))
      ink[5 + 4] = 255  # through the margins, too

      def read(top, left, height, width):
        return ink[top : top + height, left : left + width]

      return dataclasses.replace(found, read=read)

  lined = SymbolCutter(Lined((0, 3)), "uniform", 0.4)
  page = staff_page()
  draw = functools.partial(lined, rng, 1)
  scene = synthetic.paste(draw, rng, page, margin=1, count=6)
  assert 1 <= len(scene.labels) <= 6
  for y0, *_ in scene.boxes_yxyx.astype(int).tolist():
    assert (y0 + 4 - 50) % 10 == 0
  assert not page.ink[51:60].any()  # the page itself is not painted


@pytest.mark.parametrize("seed", range(8))
def test_pasted_symbols_lie_on_free_paper(seed):
  rng = np.random.default_rng(seed)
  draw = functools.partial(cutter((2, 0, 1)), rng, MARGIN)
  scene = synthetic.paste(draw, rng, staff_page(), margin=MARGIN, count=9)
  assert len(scene.labels)
  assert_boxes_are_ink(scene)
  for y0, _, y1, _ in scene.boxes_yxyx:
    assert y1 + MARGIN <= 50 or y0 - MARGIN > 90


def test_nothing_is_pasted_where_there_is_no_room():
  full = Scene(
    np.full((80, 80), 255, np.uint8),
    np.zeros((0, 4), np.float32),
    np.zeros(0, np.int32),
  )
  rng = np.random.default_rng(0)
  draw = functools.partial(cutter(), rng, MARGIN)
  made = synthetic.paste(draw, rng, full, margin=MARGIN, count=12)
  assert not len(made.labels)
  np.testing.assert_array_equal(made.ink, full.ink)


@pytest.mark.parametrize("layout", ("up", "full", "paste"))
def test_equal_seeds_give_equal_crops(layout):
  cfg = SyntheticConfig(layout=layout, prob=0.7)
  add = synthetic.SyntheticSymbols(FakeSymbols(), cfg, 0.4)
  seeds = list(range(12))
  first, second = (
    [add(staff_page(), np.random.default_rng(s), 1.0) for s in order]
    for order in (seeds, seeds[::-1])
  )
  changed = 0
  for a, b in zip(first, second[::-1], strict=True):
    np.testing.assert_array_equal(a.ink, b.ink)
    np.testing.assert_array_equal(a.boxes_yxyx, b.boxes_yxyx)
    changed += len(a.labels) > 0
  assert 4 <= changed < 12


@pytest.mark.parametrize("layout", ("up", "full", "paste"))
@pytest.mark.parametrize("hw", [(1, 1), (1, 90), (90, 1), (30, 30)])
def test_tiny_pages(layout, hw):
  cfg = SyntheticConfig(layout=layout, prob=1.0)
  add = synthetic.SyntheticSymbols(FakeSymbols(), cfg, 0.4)
  page = Scene(
    np.zeros(hw, np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int32)
  )
  scene = add(page, np.random.default_rng(0), 0.5)
  assert scene.ink.shape == hw
  assert np.all(scene.boxes_yxyx >= 0)
  assert np.all(scene.boxes_yxyx <= np.array([*hw, *hw]))


@pytest.mark.parametrize(
  ("key", "value", "message"),
  [
    ("layout", "down", " is 'down'; use one of .'no', 'up', 'full', 'paste'"),
    ("draw", "often", " is 'often'; use one of .'uniform', 'inverse'"),
    ("prob", 1.5, ": 1.5 is not within 0..1"),
    ("per_row", 0, ": 0 is below 1"),
  ],
)
def test_settings_that_make_no_sense(key, value, message):
  c = config_lib.default()
  c.data.synthetic[key] = value
  with pytest.raises(InputError, match=f"data.synthetic.{key}{message}"):
    config_lib.validate(c)
