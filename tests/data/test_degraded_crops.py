"""Degradations in the training pipeline."""

import numpy as np
import pytest

from dwd_jax.core.errors import InputError
from dwd_jax.data import degraded_crops, pipeline, prepare, sources
from dwd_jax.data.crops import TrainCrops
from dwd_jax.data.degraded_crops import DegradeConfig
from dwd_jax.imaging import page_windows
from dwd_jax.imaging.degrade import scan_and_photo
from dwd_jax.train.settings import default


@pytest.fixture(scope="module")
def source(repo_dir, tmp_path_factory):
  """Pages of 128 x 96 px."""
  cfg = default().data
  cfg.builder = "deepscores"
  cfg.manual_dir = str(repo_dir / "tfds_builders/deepscores/dummy_data")
  data_dir = prepare.prepare(cfg, tmp_path_factory.mktemp("records"))
  return sources.open_split(cfg, data_dir, "train")


@pytest.fixture
def cfg():
  cfg = default().data
  cfg.crop_hw, cfg.max_boxes = (32, 48), 16
  cfg.degrade.scan_prob, cfg.degrade.photo_prob = 0.4, 0.4
  return cfg


def _batches(source, cfg, n=4, seed=0, start=0):
  loader = pipeline.train_loader(
    source, cfg, batch_size=2, seed=seed, process_index=0, process_count=1
  )
  loader.set_state({"step": start})
  batches = [next(loader) for _ in range(n)]
  loader.close()
  return batches


def _equal(a, b):
  return all(
    np.array_equal(getattr(a, k), getattr(b, k))
    for k in ("image", "boxes_yxyx", "labels", "box_mask")
  )


def test_seed_and_step_decide_the_crops(source, cfg):
  first = _batches(source, cfg)
  assert all(map(_equal, first, _batches(source, cfg)))
  assert all(map(_equal, first[2:], _batches(source, cfg, 2, start=2)))
  other = _batches(source, cfg, seed=1)
  assert not any(map(_equal, first, other))


def test_crops_are_degraded_and_their_boxes_inside(source, cfg):
  clean = _batches(source, default_off(cfg), 8)
  worn = _batches(source, cfg, 8)
  assert sum(map(_equal, clean, worn)) < 4
  for batch in worn:
    assert batch.image.shape == (2, 32, 48, 1)
    assert batch.image.dtype == np.uint8
    boxes = batch.boxes_yxyx[batch.box_mask]
    assert (boxes >= 0).all() and (boxes <= [32, 48, 32, 48]).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def default_off(cfg):
  cfg = cfg.copy_and_resolve_references()
  cfg.degrade = default().data.degrade
  return cfg


@pytest.mark.parametrize(
  ("caption", "change"),
  [
    ("no probability", {"scan_prob": 0.0, "photo_prob": 0.0}),
    ("no strength", {"strength": 0.0}),
  ],
)
def test_off_draws_no_random_number(source, cfg, caption, change):
  cfg.degrade.update(change)
  crops = degraded_crops.DegradedCrops(cfg.degrade)
  rng = np.random.default_rng(0)
  state = rng.bit_generator.state
  window = page_windows.Window(0, 0, (64, 64), (32, 32))
  assert crops(window, rng) is None
  assert rng.bit_generator.state == state, caption


def test_probabilities_are_met(source, cfg):
  cfg.degrade.update({"scan_prob": 0.25, "photo_prob": 0.5})
  crops = degraded_crops.DegradedCrops(cfg.degrade)
  rng = np.random.default_rng(0)
  drawn = [crops._draw(rng) for _ in range(2000)]
  assert drawn.count("scan") == pytest.approx(500, abs=80)
  assert drawn.count("photo") == pytest.approx(1000, abs=80)


class _Page:
  """A page with a grid of blots, which remembers what was read."""

  def __init__(self, hw=(900, 1200)):
    self.ink = np.zeros(hw, np.uint8)
    corners = np.mgrid[20 : hw[0] - 20 : 60, 20 : hw[1] - 20 : 60]
    corners = corners.reshape(2, -1).T
    for y, x in corners:
      self.ink[y : y + 16, x : x + 24] = 255
    self.boxes = np.hstack([corners, np.add(corners, (16, 24))]).astype(
      np.float32
    )
    self.read = []

  def part(self, window):
    """Its pixels in a window, and the boxes in pixels of the window."""
    top, left, height, width = window.on_page(self.ink.shape)
    self.read.append((top, left, height, width))
    part = self.ink[top : top + height, left : left + width]
    corner = np.array([window.top, window.left] * 2, np.float32)
    return page_windows.pad(part, window, top, left), self.boxes - corner


def _worn(page, window, seed=0, recipe="photo", strength=2.0):
  cfg = default().data.degrade
  cfg.update({f"{recipe}_prob": 1.0, "strength": strength})
  wear = degraded_crops.DegradedCrops(cfg)(window, np.random.default_rng(seed))
  assert wear is not None
  return wear.apply(*page.part(wear.shown))


@pytest.fixture
def no_looks(monkeypatch):
  """Only the map is left of a degradation."""
  for name, bend in (
    ("scan", scan_and_photo.scan_bend),
    ("photo", scan_and_photo.photo_bend),
  ):
    monkeypatch.setitem(
      degraded_crops.degrade.RECIPES, name, (bend, lambda ink, *_: ink)
    )


@pytest.mark.parametrize("recipe", ["scan", "photo"])
@pytest.mark.parametrize("scale", [1.0, 0.5, 0.37])
def test_boxes_lie_on_the_blots_of_the_crop(no_looks, recipe, scale):
  page = _Page()
  side = round(400 / scale)
  for seed, corner in enumerate([(100, 200), (-60, -30), (450, 900)]):
    window = page_windows.Window(*corner, (side, side), (400, 400))
    image, boxes = _worn(page, window, seed, recipe)
    assert image.shape == (400, 400) and len(boxes) == len(page.boxes)
    inside = ((boxes[:, :2] > 3) & (boxes[:, 2:] < 397)).all(axis=1)
    assert inside.sum() > 10
    for y0, x0, y1, x1 in boxes[inside]:
      # Cut out with some room; the next blot is further away than that.
      top, left = int(y0) - 2, int(x0) - 2
      part = image[top : int(y1) + 4, left : int(x1) + 4]
      ys, xs = np.nonzero(part >= 100)
      seen = np.array([ys.min(), xs.min(), ys.max() + 1, xs.max() + 1])
      seen += np.array([top, left, top, left])
      np.testing.assert_allclose(seen, (y0, x0, y1, x1), atol=2)


def test_the_page_around_the_window_is_brought_in(no_looks):
  page = _Page()
  page.ink[:] = 255
  window = page_windows.Window(250, 300, (400, 400), (400, 400))
  for seed in range(6):
    image, _ = _worn(page, window, seed)
    assert image.min() == 255  # no paper from nowhere
  assert any(t < 250 and w > 400 for t, _, _, w in page.read)


def test_large_windows_are_shrunk_before():
  page = _Page((4000, 3000))
  window = page_windows.Window(0, 0, (4000, 3000), (400, 300))
  work = degraded_crops._bounded(window)
  assert np.prod(work.out_hw) <= 1.01 * degraded_crops.MAX_PIXELS
  image, boxes = _worn(page, window, strength=1.0)
  assert image.shape == (400, 300) and boxes.dtype == np.float32


def test_boxes_out_of_sight_have_no_area():
  page = _Page()
  window = page_windows.Window(0, 0, (200, 200), (100, 100))
  _, boxes = _worn(page, window)
  far = (page.boxes[:, 0] > 500) | (page.boxes[:, 1] > 500)
  assert far.any() and not boxes[far].any()


_BAD = {
  "negative": ({"scan_prob": -0.1}, r"data\.degrade\.scan_prob"),
  "above 1": ({"photo_prob": 1.5}, r"data\.degrade\.photo_prob"),
  "too many": ({"scan_prob": 0.7, "photo_prob": 0.7}, "more than 1 together"),
  "too strong": ({"strength": 3.0}, r"data\.degrade\.strength: 3\.0"),
  "no number": ({"strength": float("nan")}, r"data\.degrade\.strength"),
}


@pytest.mark.parametrize("caption", _BAD)
def test_bad_values_name_their_key(caption):
  change, message = _BAD[caption]
  with pytest.raises(InputError, match=message):
    DegradeConfig(**change)


def test_a_crop_reads_its_boxes_through_the_same_class(source, cfg):
  cfg.degrade.update({"scan_prob": 0.0, "photo_prob": 1.0, "strength": 2.0})
  crop = TrainCrops(source, cfg).random_map(0, np.random.default_rng(1))
  assert crop["image"].shape == (32, 48)
  assert crop["boxes_yxyx"].shape == (16, 4)
