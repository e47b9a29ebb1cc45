"""Pages through the network: sizes, batches, tiles, scales, bad input."""

import math

import jax
import local_model
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from page_helpers import BlobFinder, page_of_blobs

from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import Detections, PageImage, Predictions
from dwd_jax.decode.decode_config import DecodeConfig
from dwd_jax.imaging import page_windows
from dwd_jax.models import dwd
from dwd_jax.predict import predict_pages
from dwd_jax.predict.assemble import PagePrediction
from dwd_jax.predict.batches import Batcher
from dwd_jax.predict.predict_config import PredictConfig

# A source of 100 x 150 px at scale 0.5: 50 x 75 px inside 64 x 128.
SOURCE_HW = (100, 150)
PAGE = PageImage("p.png", np.zeros(SOURCE_HW, np.uint8), 0.5)


def decoded(boxes, num_slots=8, count=None):
  """Detections of boxes with labels 0, 1, ... and falling scores."""
  n = len(boxes)
  slots = np.zeros((1, num_slots, 4), np.float32)
  slots[0, :n] = np.reshape(boxes, (n, 4))
  return Detections(
    boxes_yxyx=slots,
    labels=np.arange(num_slots, dtype=np.int32)[None],
    scores=np.linspace(1, 0.1, num_slots, dtype=np.float32)[None],
    valid=np.arange(num_slots)[None] < n,
    count=np.array([n if count is None else count], np.int32),
  )


def test_more_objects_than_slots_warns_with_the_page():
  levels = np.zeros((1, 64, 128, 1), np.float32)
  with pytest.warns(UserWarning, match=r"p\.png: 9 objects .* best 8 "):
    prediction = predict_pages.predict_page(
      lambda image: (decoded([(1, 1, 3, 3)], count=9), levels),
      PAGE,
      keep_levels=True,
    )
  assert prediction.overflow
  assert prediction.levels is not None
  assert prediction.levels.shape == (64, 128, 1)


def test_as_many_objects_as_slots_is_no_overflow():
  levels = np.zeros((1, 64, 128, 1), np.float32)
  prediction = predict_pages.predict_page(
    lambda image: (decoded([(1, 1, 3, 3)], count=8), levels), PAGE
  )
  assert not prediction.overflow


def small_model(num_groups=2):
  return dwd.make_model(
    dwd.ModelConfig(
      num_classes=3,
      num_groups=num_groups,
      backbone_depth=10,
      backbone_width=8,
      filters=8,
    )
  )


@pytest.fixture(scope="module")
def small_network():
  """A compiled network with made-up parameters, and its variables."""
  model = small_model()
  # Initialising for real takes longer than the test.
  shapes = jax.eval_shape(lambda: dwd.init_variables(model, 0, (64, 128)))
  rng = np.random.default_rng(0)

  def made_up(path, x):
    if path[-1].key in ("scale", "var"):
      return np.ones(x.shape, x.dtype)
    spread = np.prod(x.shape[:-1]) ** -0.5 if x.ndim > 1 else 0.1
    return rng.normal(0, spread, x.shape).astype(x.dtype)

  variables = jax.tree_util.tree_map_with_path(made_up, shapes)
  run = predict_pages.make_predict_fn(
    model, DecodeConfig(max_detections=16), np.array([0, 1, 1])
  )
  return run, variables


class PlantedModel:
  """A network whose maps are given: its predictions travel as a variable."""

  def apply(self, variables, image, train):
    assert not train
    return variables["planted"]


def planted(objects, num_groups, hw=(64, 128), num_levels=20):
  """Maps at stride 4 with one energy cone for each (y, x, h, w, group)."""
  h, w = hw[0] // 4, hw[1] // 4
  rows, columns = np.mgrid[:h, :w] * 4 + 1.5  # centres of the cells
  level = np.zeros((h, w, num_groups))
  sizes = np.ones((h, w, num_groups, 2))
  features = np.zeros((1, h, w, len(objects)), np.float32)
  for i, (y, x, height, width, group) in enumerate(objects):
    distance = np.hypot(rows - y, columns - x)
    level[..., group] = np.maximum(level[..., group], 19 - 1.5 * distance)
    near = distance < 14
    sizes[near, group] = (height, width)
    features[0, near, i] = 1
  logits = -((np.arange(num_levels) - level[..., None]) ** 2)
  return Predictions(
    energy_logits=logits[None].astype(np.float32),
    log_sizes=np.log(sizes)[None].astype(np.float32),
    class_features=features,
  )


@pytest.mark.parametrize("on", ["device", "host"])
def test_planted_maps_come_back_as_boxes(on):
  # Two groups; the last two objects share their centre.
  objects = [(15, 20, 10, 12, 0), (40, 60, 8, 14, 0), (40, 60, 20, 30, 1)]
  planted_maps = planted(objects, num_groups=2)
  # Class i looks at feature i; the groups keep 1 and 2 apart.
  head = {"kernel": 10 * np.eye(3, dtype=np.float32), "bias": np.zeros(3)}
  variables = {"params": {"class_head": head}, "planted": planted_maps}
  run = predict_pages.make_predict_fn(
    PlantedModel(),  # pyright: ignore
    DecodeConfig(max_detections=16, energy_cutoff=5.0, on=on),
    np.array([0, 0, 1]),
  )
  prediction = predict_pages.predict_page(
    lambda image: run(variables, image), PAGE, keep_levels=True
  )
  found = prediction.detections
  order = np.argsort(found.labels)
  np.testing.assert_array_equal(found.labels[order], [0, 1, 2])
  expected = np.array(
    [(y - h / 2, x - w / 2, y + h / 2, x + w / 2) for y, x, h, w, _ in objects]
  )
  window = page_windows.page_window(SOURCE_HW, 0.5, 64)
  in_image = window.to_output(found.boxes_yxyx[order])
  np.testing.assert_allclose(in_image, expected, atol=1.6)
  assert prediction.levels is not None
  assert prediction.levels.shape == (64, 128, 2)
  assert float(prediction.levels[40, 60, 1]) > 14
  assert not prediction.overflow


def test_real_network_predicts(small_network):
  run, variables = small_network
  found, levels = run(variables, np.zeros((1, 64, 128, 1), np.float32))
  assert levels.shape == (1, 64, 128, 2)
  assert float(levels.min()) >= 0
  assert float(levels.max()) <= 19
  assert found.boxes_yxyx.shape == (1, 16, 4)


def test_inference_uses_the_running_averages(small_network):
  run, variables = small_network
  image = np.random.default_rng(0).random((1, 64, 128, 1), np.float32)
  averages = jax.tree.map(lambda x: x + 3, variables["batch_stats"])
  _, levels = run(variables, image)
  _, others = run(variables | {"batch_stats": averages}, image)
  assert np.abs(np.asarray(levels - others)).max() > 1e-3


def test_equal_settings_share_a_compiled_function():
  groups = np.array([0, 1, 1])

  def made(model=None, groups=groups, **decode):
    return predict_pages.make_predict_fn(
      model or small_model(), DecodeConfig(**decode), groups
    )

  assert made() is made(groups=groups.copy())
  assert made() is not made(max_detections=7)
  assert made() is not made(groups=np.array([0, 0, 1]))
  assert made() is not made(small_model(num_groups=3))


@pytest.fixture(scope="module")
def local_network():
  return local_model.bound()


def assert_same(one, two):
  order_a = np.lexsort([*one.boxes_yxyx.T.round(1), one.labels])
  order_b = np.lexsort([*two.boxes_yxyx.T.round(1), two.labels])
  np.testing.assert_array_equal(one.labels[order_a], two.labels[order_b])
  np.testing.assert_allclose(
    one.boxes_yxyx[order_a], two.boxes_yxyx[order_b], atol=1e-3
  )
  np.testing.assert_allclose(
    one.scores[order_a], two.scores[order_b], atol=1e-5
  )


def test_tiles_say_the_same_as_the_whole_page(local_network):
  page = local_model.page_of_squares()
  whole = predict_pages.predict_page(local_network, page, keep_levels=True)
  cfg = PredictConfig(max_mpx=192 * 192 / 1e6, overlap_px=128)
  tiled = predict_pages.predict_page(local_network, page, cfg, keep_levels=True)
  assert len(whole.detections.labels) > 60
  assert set(whole.detections.labels.tolist()) == {0, 1}
  assert_same(whole.detections, tiled.detections)
  assert tiled.detections.scores is not None
  assert (np.diff(tiled.detections.scores) <= 0).all()
  assert whole.levels is not None
  assert tiled.levels is not None
  np.testing.assert_allclose(tiled.levels, whole.levels, atol=1e-4)
  np.testing.assert_array_equal(tiled.ink, whole.ink)


@settings(deadline=None, max_examples=25)
@given(
  sides=st.lists(
    st.tuples(st.integers(1, 900), st.integers(1, 900)), min_size=1, max_size=5
  )
)
def test_pages_of_all_sizes_share_few_images(sides):
  sizes = ((128, 480), (480, 384), (384, 480))
  cfg = PredictConfig(page_multiple=32, sizes=sizes, overlap_px=64)
  pages = [
    PageImage(f"{i}.png", page_of_blobs((3, 5), 24, hw=hw)[0], 1.0)
    for i, hw in enumerate(sides)
  ]
  finder = BlobFinder(jitter_px=0, slots=2048)
  freely = list(predict_pages.predict_pages(finder, pages))
  finder.sizes = []
  one = list(predict_pages.predict_pages(finder, pages, cfg, keep_levels=1))
  several = PredictConfig(
    page_multiple=32, sizes=sizes, overlap_px=64, batch_size=4
  )
  more = list(predict_pages.predict_pages(finder, pages, several))
  assert {(height, width) for _, height, width in finder.sizes} <= {*sizes}
  for whole, alone, batched in zip(freely, one, more, strict=True):
    assert_same(whole.detections, alone.detections)
    assert_same(whole.detections, batched.detections)
  assert one[0].levels is not None
  height, width = sides[0]
  assert (one[0].levels[:height, :width, 0] > 0).sum() == (one[0].ink > 0).sum()


def test_batches_say_the_same_as_single_pages():
  pages = [
    PageImage(f"{i}.png", page_of_blobs((i, 2 * i), 20, hw=hw)[0], 1.0)
    for i, hw in enumerate([(300, 200)] * 3 + [(100, 500)] + [(300, 200)] * 3)
  ]
  finder = BlobFinder(jitter_px=0)
  single = list(predict_pages.predict_pages(finder, pages))
  finder.sizes = []
  cfg = PredictConfig(batch_size=4)
  batches = list(predict_pages.predict_pages(finder, pages, cfg, keep_levels=2))
  # Six of one size, whatever lies between; powers of two, the oldest first.
  assert [n for n, _, _ in finder.sizes] == [4, 1, 2]
  for i, (one, other) in enumerate(zip(single, batches, strict=True)):
    assert other.detections.filename == f"{i}.png"
    assert len(one.detections.labels) > 80
    assert_same(one.detections, other.detections)
    assert (other.levels is not None) == (i < 2)
  # A size of image that was not seen before was compiled: no time is given.
  assert np.isnan([p.seconds for p in batches]).all()


def test_tiles_go_in_batches_too():
  page = PageImage("p.png", page_of_blobs((3, 5), 20, (700, 500))[0], 1.0)
  finder = BlobFinder(jitter_px=0)
  cfg = PredictConfig(max_mpx=0.04, overlap_px=64)
  one = predict_pages.predict_page(finder, page, cfg)
  assert {n for n, _, _ in finder.sizes} == {1}
  # The limit holds for the whole call: half of it is one tile.
  cfg = PredictConfig(max_mpx=0.04, overlap_px=64, batch_size=4)
  again = predict_pages.predict_page(finder, page, cfg)
  assert {n for n, _, _ in finder.sizes} == {1}
  assert_same(one.detections, again.detections)


# Caption: height, width, scale.
LARGE = {
  "a large page": (6000, 5000, 0.5),
  "a strip": (40, 40000, 1.0),
  "enlarged": (500, 900, 4.0),
}


@pytest.mark.parametrize("caption", LARGE)
def test_large_pages_go_in_small_pieces(caption):
  height, width, scale = LARGE[caption]
  page = PageImage("p.png", np.zeros((height, width), np.uint8), scale)
  finder = BlobFinder()
  prediction = predict_pages.predict_page(
    finder, page, PredictConfig(max_mpx=0.5, overlap_px=128, batch_size=4)
  )
  assert len(finder.sizes) > 1
  assert max(map(math.prod, finder.sizes)) <= 500_000
  assert prediction.levels is None
  assert prediction.ink.shape == (height * scale, width * scale)
  assert prediction.detections.image_hw == (height, width)
  assert prediction.detections.boxes_yxyx.shape == (0, 4)


def test_a_tile_with_too_many_objects_warns_with_the_page():
  calls = []

  def second_is_full(stack):
    calls.append(stack)
    count = 9 if len(calls) == 2 else 0
    return decoded([], count=count), np.zeros((*stack.shape[:3], 1))

  page = PageImage("p.png", np.zeros((700, 500), np.uint8), 1.0)
  cfg = PredictConfig(max_mpx=0.1, overlap_px=64)
  with pytest.warns(UserWarning, match=r"p\.png: 9 objects .* best 8 "):
    assert predict_pages.predict_page(second_is_full, page, cfg).overflow


# Caption: what the network raises.
TOO_LARGE = {
  "NumPy": MemoryError(),
  "a size": OverflowError("too large"),
  "XLA": jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 9 GiB"),
  "XLA on CPUs": jax.errors.JaxRuntimeError("INTERNAL: Out of memory allocat"),
}


@pytest.mark.parametrize("caption", TOO_LARGE)
def test_a_page_too_large_for_memory_is_one_of_many(caption):
  finder = BlobFinder()

  def small_only(stack):
    if stack.shape[1] > 256:
      raise TOO_LARGE[caption]
    return finder(stack)

  inks = [np.zeros((side, 200), np.uint8) for side in (200, 400, 200)]
  pages = [PageImage(f"{i}.png", ink, 1.0) for i, ink in enumerate(inks)]
  batcher = Batcher(small_only, PredictConfig())
  found = dict(batcher.run((page.filename, page) for page in pages))
  assert list(found) == ["0.png", "1.png", "2.png"]
  line = str(found["1.png"])
  assert line.startswith("1.png: 200 x 400 pixels") and "into memory" in line
  assert not any(isinstance(found[k], InputError) for k in ("0.png", "2.png"))
  with pytest.raises(type(TOO_LARGE[caption])):
    list(predict_pages.predict_pages(small_only, pages))


class OutOfMemory:
  """What a device has found, if it had had memory."""

  def __array__(self, *_, **__):
    raise MemoryError


@pytest.mark.parametrize("late", [False, True])
def test_a_batch_too_large_for_memory_is_halved(late):
  finder = BlobFinder(jitter_px=0)

  def two_at_most(stack):
    if len(stack) <= 2:
      return finder(stack)
    if late:
      return decoded([]).replace(valid=OutOfMemory()), stack
    raise MemoryError

  pages = [
    PageImage(f"{i}.png", page_of_blobs((i, 2 * i), 20, (200, 200))[0], 1.0)
    for i in range(19)
  ]
  single = list(predict_pages.predict_pages(finder, pages))
  finder.sizes = []
  batcher = Batcher(two_at_most, PredictConfig(batch_size=8))
  found = list(batcher.run((None, page) for page in pages))
  for one, (_, other) in zip(single, found, strict=True):
    assert isinstance(other, PagePrediction)
    assert_same(one.detections, other.detections)
  assert [n for n, _, _ in finder.sizes] == [2] * 9 + [1]


def test_few_pages_are_open_and_what_is_no_page_passes():
  taken = []

  def items():
    for i in range(40):
      taken.append(i)
      page = PageImage(f"{i}.png", np.zeros((9, 9 + 64 * (i % 9)), np.uint8), 1)
      yield i, None if i % 3 else page

  batcher = Batcher(BlobFinder(), PredictConfig(batch_size=2))
  for i, (item, found) in enumerate(batcher.run(items())):
    assert item == i and (found is None) == bool(i % 3)
    assert len(taken) <= i + 6  # two batches, and the page that is too much


def test_the_next_batch_is_begun_before_the_last_is_fetched():
  log = []

  class Late:
    """What a device has found once it is asked."""

    def __array__(self, *_, **__):
      log.append("fetch")
      return np.zeros((1, 8), bool)

  def begin(stack):
    log.append("begin")
    found, levels = decoded([]), np.zeros((*stack.shape[:3], 1))
    return found.replace(valid=Late()), levels

  pages = [PageImage(f"{i}.png", np.zeros((9, 9), np.uint8), 1) for i in "abc"]
  list(predict_pages.predict_pages(begin, pages))
  assert log == ["begin", "begin", "fetch", "begin", "fetch", "fetch"]


@pytest.mark.parametrize("hw", [(1, 1), (1, 99), (3, 2), (64, 64)])
def test_tiny_pages(local_network, hw):
  page = PageImage("p.png", np.full(hw, 255, np.uint8), 0.5)
  found = predict_pages.predict_page(local_network, page).detections
  assert np.isfinite(found.boxes_yxyx).all()
  assert (found.boxes_yxyx >= 0).all()
  assert (found.boxes_yxyx <= [*hw, *hw]).all()


def test_no_pages_are_no_predictions(local_network):
  assert list(predict_pages.predict_pages(local_network, [])) == []


# Caption: pixels, scale -> what the message says.
BAD_PAGES = {
  "no rows": (np.zeros((0, 7), np.uint8), 0.5, "7 x 0 pixels"),
  "no columns": (np.zeros((7, 0), np.uint8), 0.5, "0 x 7 pixels"),
  "numbers with a point": (np.full((7, 7), np.nan), 0.5, "float64 .*uint8"),
  "colours": (np.zeros((7, 7, 3), np.uint8), 0.5, r"\(7, 7, 3\)"),
  "scale 0": (np.zeros((7, 7), np.uint8), 0.0, "scaled by 0;"),
  "negative scale": (np.zeros((7, 7), np.uint8), -1.0, "scaled by -1;"),
  "scale not a number": (np.zeros((7, 7), np.uint8), np.nan, "by nan;"),
  "endless scale": (np.zeros((7, 7), np.uint8), np.inf, "by inf;"),
  "page becomes too large": (np.zeros((99, 99), np.uint8), 1e3, "by 1000;"),
  "page vanishes": (np.zeros((99, 99), np.uint8), 1e-4, "by 0.0001;"),
}


@pytest.mark.parametrize("caption", BAD_PAGES)
def test_bad_pages_are_named(local_network, caption):
  ink, scale, message = BAD_PAGES[caption]
  with pytest.raises(InputError, match=rf"^p\.png: .*{message}"):
    predict_pages.predict_page(local_network, PageImage("p.png", ink, scale))


def test_several_scales_are_fused():
  ink = np.repeat(np.repeat(page_of_blobs((9, 9), 30)[0], 2, 0), 2, 1)
  page = PageImage("p.png", ink, 0.5)
  finder = BlobFinder(jitter_px=0)
  one = predict_pages.predict_page(finder, page)
  finder.sizes = []
  cfg = PredictConfig(scales=(1.0, 2.0))
  both = predict_pages.predict_page(finder, page, cfg)
  assert_same(both.detections, one.detections)
  assert both.ink.shape == one.ink.shape
  assert finder.sizes == [(1, 640, 512), (1, 1280, 960)]


def test_a_decode_on_the_host_needs_its_cpu(monkeypatch):
  def excluded(**_):
    raise RuntimeError("Unknown backend cpu")

  monkeypatch.setattr(jax, "local_devices", excluded)
  with pytest.raises(InputError, match=r"decode\.on.*JAX_PLATFORMS"):
    predict_pages.make_predict_fn(
      PlantedModel(),  # pyright: ignore
      DecodeConfig(max_detections=17, on="host"),
      np.array([0]),
    )
