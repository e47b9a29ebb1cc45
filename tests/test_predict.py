"""Pages through the network: sizes, batches, tiles, scales, bad input."""

import jax
import numpy as np
import pytest

from dwd_jax import predict
from dwd_jax.data import transforms
from dwd_jax.decode.config import DecodeConfig
from dwd_jax.models import dwd
from dwd_jax.structs import Detections, PageImage, Predictions

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
    prediction = predict.predict_page(
      lambda image: (decoded([(1, 1, 3, 3)], count=9), levels),
      PAGE,
      keep_levels=True,
    )
  assert prediction.overflow
  assert prediction.levels is not None
  assert prediction.levels.shape == (64, 128, 1)


def test_as_many_objects_as_slots_is_no_overflow():
  levels = np.zeros((1, 64, 128, 1), np.float32)
  prediction = predict.predict_page(
    lambda image: (decoded([(1, 1, 3, 3)], count=8), levels), PAGE
  )
  assert not prediction.overflow


def small_model(num_groups=2):
  return dwd.make_model(
    dwd.ModelConfig(
      num_classes=3,
      num_groups=num_groups,
      backbone_depth=18,
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
  run = predict.make_predict_fn(
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


def test_planted_maps_come_back_as_boxes():
  # Two groups; the last two objects share their centre.
  objects = [(15, 20, 10, 12, 0), (40, 60, 8, 14, 0), (40, 60, 20, 30, 1)]
  planted_maps = planted(objects, num_groups=2)
  # Class i looks at feature i; the groups keep 1 and 2 apart.
  head = {"kernel": 10 * np.eye(3, dtype=np.float32), "bias": np.zeros(3)}
  variables = {"params": {"class_head": head}, "planted": planted_maps}
  run = predict.make_predict_fn(
    PlantedModel(),  # pyright: ignore
    DecodeConfig(max_detections=16, energy_cutoff=5.0),
    np.array([0, 0, 1]),
  )
  prediction = predict.predict_page(
    lambda image: run(variables, image), PAGE, keep_levels=True
  )
  found = prediction.detections
  order = np.argsort(found.labels)
  np.testing.assert_array_equal(found.labels[order], [0, 1, 2])
  expected = np.array(
    [(y - h / 2, x - w / 2, y + h / 2, x + w / 2) for y, x, h, w, _ in objects]
  )
  window = transforms.page_window(SOURCE_HW, 0.5, 64)
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
    return predict.make_predict_fn(
      model or small_model(), DecodeConfig(**decode), groups
    )

  assert made() is made(groups=groups.copy())
  assert made() is not made(max_detections=7)
  assert made() is not made(groups=np.array([0, 0, 1]))
  assert made() is not made(small_model(num_groups=3))
