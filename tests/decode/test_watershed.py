"""The decode as a whole: boxes, labels, scores, slots, pages and groups."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decode_helpers import CLASSES, HW, SLOTS, decode

from dwd_jax.core import errors
from dwd_jax.decode import decode_config, watershed


def _scene(objects, num_groups=1):
  """Draws perfect maps of (center y, center x, height, width, class, group).

  A center at (y + 0.5, x + 0.5) is the middle of pixel (y, x).
  """
  y, x = np.indices(HW) + 0.5
  levels = np.zeros((*HW, num_groups), np.float32)
  sizes = np.zeros((*HW, num_groups, 2), np.float32)
  classes = np.full((*HW, num_groups), -1, np.int32)
  for cy, cx, height, width, label, group in objects:
    radius = np.hypot(y - cy, x - cx)
    level = 19 * (1 - radius / 8.5)
    nearer = (level > levels[..., group]) & (radius < 5)
    sizes[nearer, group] = (height, width)
    classes[nearer, group] = label
    levels[..., group] = np.maximum(levels[..., group], level)
  return levels, sizes, classes


def _probs(classes):
  """1 for the class of each pixel; all 0 where there is none."""
  return (classes[..., None] == np.arange(CLASSES)).astype(np.float32)


def _run(scenes, cfg):
  """Decodes a batch of scenes; one list of (label, box) for each page."""
  levels, sizes, classes = map(np.stack, zip(*scenes, strict=True))
  found = decode(levels, sizes, _probs(classes), cfg)
  found = jax.tree.map(np.asarray, found)
  pages = [
    sorted(
      (int(label), *np.round(box, 3).tolist())
      for label, box in zip(labels[valid], boxes[valid], strict=True)
    )
    for labels, boxes, valid in zip(
      found.labels, found.boxes_yxyx, found.valid, strict=True
    )
  ]
  return pages, found


_WATERSHED = decode_config.DecodeConfig(max_detections=SLOTS)
_THRESHOLD = decode_config.DecodeConfig(
  method="threshold", energy_cutoff=10.0, max_detections=SLOTS
)
# What the paper takes of an object's pixels.
_MOST = {"size": "max", "class_vote": "majority"}
_TWO_FAR = [(20.5, 20.5, 6, 8, 0, 0), (40.5, 70.5, 3, 3, 2, 0)]
_TWO_TOUCHING = [(20.5, 20.5, 6, 8, 0, 0), (20.5, 25.5, 6, 8, 1, 0)]


@pytest.mark.parametrize(
  "cfg", [_WATERSHED, _THRESHOLD], ids=lambda c: c.method
)
def test_boxes_come_back(cfg):
  (page,), found = _run([_scene(_TWO_FAR)], cfg)
  assert page == [
    (0, 17.5, 16.5, 23.5, 24.5),
    (2, 39.0, 69.0, 42.0, 72.0),
  ]
  assert found.count[0] == 2
  assert found.valid[0].tolist() == [True] * 2 + [False] * 6
  assert (found.scores[0, :2] > 0.5).all()
  assert not found.scores[0, 2:].any()
  assert not found.boxes_yxyx[0, 2:].any()


def test_only_the_watershed_separates_touching_discs():
  (page,), _ = _run([_scene(_TWO_TOUCHING)], _WATERSHED)
  assert page == [
    (0, 17.5, 16.5, 23.5, 24.5),
    (1, 17.5, 21.5, 23.5, 29.5),
  ]
  (page,), _ = _run([_scene(_TWO_TOUCHING)], _THRESHOLD)
  assert len(page) == 1


@pytest.mark.parametrize(
  "center",
  [
    pytest.param((0.5, 0.5), id="corner"),
    pytest.param((63.5, 50.5), id="last row"),
    pytest.param((30.5, 94.5), id="near the right"),
    pytest.param((1.5, 40.5), id="near the top"),
  ],
)
def test_disc_cut_by_the_edge_keeps_its_center_and_size(center):
  (page,), _ = _run([_scene([(*center, 4, 6, 1, 0)])], _WATERSHED)
  y, x = center
  # Over the edge: the map may be a tile, and the object go on beyond it.
  expected = (1, y - 2, x - 3, y + 2, x + 3)
  np.testing.assert_allclose(page, [expected], atol=0.05)


def test_centers_are_finer_than_pixels():
  truth = [(20.3, 20.8, 3, 3, 0, 0), (40.9, 70.1, 3, 3, 0, 0)]
  (page,), _ = _run([_scene(truth)], _WATERSHED)
  for (_, *box), (cy, cx, *_) in zip(page, truth, strict=True):
    expected = (cy - 1.5, cx - 1.5, cy + 1.5, cx + 1.5)
    np.testing.assert_allclose(box, expected, atol=0.1)


def test_offsets_say_where_the_center_is():
  # The disc of a dot beside a notehead is lopsided, so is what the energy says.
  truth = [(20.3, 20.8, 10, 12, 0, 0), (18.6, 29.9, 3, 3, 1, 0)]
  levels, sizes, classes = _scene(truth)
  middles = np.stack(np.indices(HW), -1)[:, :, None] + 0.5
  centers = np.array([t[:2] for t in truth], np.float32)
  known = classes >= 0
  offsets = np.where(known[..., None], centers[classes] - middles, 0)
  said = np.concatenate([sizes, offsets], -1).astype(np.float32)
  # The energy spreads to one side, where no size is known.
  levels[14:24, 31:36] = np.maximum(levels[14:24, 31:36], 15.0)
  (page,), _ = _run([(levels, said, classes)], _WATERSHED)
  (without,), _ = _run([(levels, sizes, classes)], _WATERSHED)
  expected = [
    (i, y - h / 2, x - w / 2, y + h / 2, x + w / 2)
    for i, (y, x, h, w, _, _) in enumerate(truth)
  ]
  np.testing.assert_allclose(page, expected, atol=2e-3)
  assert abs(without[1][2] - expected[1][2]) > 0.5


def test_groups_share_a_center_and_pages_do_not_mix():
  shared = [(30.5, 30.5, 4, 4, 0, 0), (30.5, 30.5, 20, 2, 1, 1)]
  other = [(10.5, 60.5, 8, 8, 2, 1)]
  pages, found = _run(
    [_scene(shared, 2), _scene([], 2), _scene(other, 2)], _WATERSHED
  )
  assert pages[0] == [(0, 28.5, 28.5, 32.5, 32.5), (1, 20.5, 29.5, 40.5, 31.5)]
  assert pages[1] == []
  assert pages[2] == [(2, 6.5, 56.5, 14.5, 64.5)]
  assert found.count.tolist() == [2, 0, 1]


@pytest.mark.parametrize(
  "cfg", [_WATERSHED, _THRESHOLD], ids=lambda c: c.method
)
def test_count_tells_what_the_slots_cannot_hold(cfg):
  grid = [
    (y + 0.5, x + 0.5, 4, 4, 0, 0)
    for y in range(10, 60, 20)
    for x in range(10, 90, 20)
  ]
  levels, sizes, classes = _scene(grid)
  levels[:20] *= 0.8  # the first row of four is the least certain
  _, found = _run([(levels, sizes, classes)], cfg)
  assert found.count[0] == 12
  assert found.valid[0].all()
  assert (found.boxes_yxyx[0, :, 0] > 20).all()
  assert (np.diff(found.scores[0]) <= 0).all()


def test_doubtful_class_lowers_the_score():
  levels, sizes, classes = _scene(_TWO_FAR)
  probs = _probs(classes)
  probs[:, 48:] *= 0.25
  found = decode(levels[None], sizes[None], probs[None], _WATERSHED)
  # The filter takes a tenth off the tip of a perfect disc; its root counts.
  np.testing.assert_allclose(found.scores[0, :2], [0.95, 0.2375], atol=0.01)
  assert found.labels[0, :2].tolist() == [0, 2]


@pytest.mark.parametrize(
  "cfg", [_WATERSHED, _THRESHOLD], ids=lambda c: c.method
)
@pytest.mark.parametrize(
  ("options", "label"),
  [
    pytest.param({}, 2, id="few sure pixels outweigh many unsure ones"),
    pytest.param(_MOST, 0, id="every pixel has one vote"),
  ],
)
def test_share_and_majority_differ(cfg, options, label):
  levels, sizes, _ = _scene([(20.5, 20.5, 6, 8, 0, 0)])
  # Likelier by a hair left of the middle; certain on the right.
  probs = np.empty((*levels.shape, CLASSES), np.float32)
  probs[:, :21], probs[:, 21:] = (0.5, 0, 0.4), (0, 0, 1)
  cfg = dataclasses.replace(cfg, **options)
  found = decode(levels[None], sizes[None], probs[None], cfg)
  assert found.labels[0, 0] == label


@pytest.mark.parametrize(
  "cfg", [_WATERSHED, _THRESHOLD], ids=lambda c: c.method
)
@pytest.mark.parametrize(
  ("options", "least", "most"),
  [
    pytest.param(_MOST, 12.0, 12.0, id="the largest pixel"),
    pytest.param({"size": "mean"}, 7.0, 8.0, id="all pixels alike"),
    pytest.param({}, 6.0, 6.5, id="the rim hardly counts"),
  ],
)
def test_sizes_of_an_object_with_a_wrong_rim(cfg, options, least, most):
  levels, sizes, classes = _scene([(20.5, 20.5, 6, 6, 0, 0)])
  rim = levels - cfg.energy_cutoff
  sizes[(rim > 0) & (rim < 1.4)] = 12
  cfg = dataclasses.replace(cfg, **options)
  (page,), _ = _run([(levels, sizes, classes)], cfg)
  assert least <= page[0][3] - page[0][1] <= most


def test_background_pixels_cast_no_vote():
  levels, sizes, classes = _scene(_TWO_FAR)
  classes[:, np.arange(HW[1]) % 4 < 2] = -1  # half the columns are background
  for cfg in (_WATERSHED, _THRESHOLD):
    _, found = _run([(levels, sizes, classes)], cfg)
    assert sorted(found.labels[0, :2].tolist()) == [0, 2]
    assert (found.scores[0, :2] < 0.7).all()


def test_small_objects_are_dropped():
  levels, sizes, classes = _scene(_TWO_FAR)
  levels[5, 5] = 15.0  # one bright pixel
  for cfg in (_WATERSHED, _THRESHOLD):
    (page,), found = _run([(levels, sizes, classes)], cfg)
    assert len(page) == found.count[0] == 2


def test_logits_and_levels_agree():
  levels, sizes, classes = _scene(_TWO_TOUCHING)
  classes = jnp.asarray(classes)
  distance = levels[..., None] - np.arange(20)
  logits = jnp.asarray(-4 * distance**2)  # softmax mean is near the level

  def class_fn(page, y, x, group):
    del page
    return jax.nn.one_hot(classes[y, x, group], CLASSES)

  found = jax.jit(
    lambda logits: watershed.decode(logits, sizes[None], class_fn, _WATERSHED)
  )(logits[None])
  (expected,), _ = _run([(levels, sizes, classes)], _WATERSHED)
  boxes = sorted(np.asarray(found.boxes_yxyx[0, :2]).tolist())
  np.testing.assert_allclose(
    boxes, sorted(row[1:] for row in expected), atol=0.05
  )


@pytest.mark.parametrize(
  "cfg", [_WATERSHED, _THRESHOLD], ids=lambda c: c.method
)
@pytest.mark.parametrize("level", [0.0, 15.0, 19.0])
def test_flat_maps(cfg, level):
  maps = _scene([])
  maps[0][:] = level
  _, found = _run([maps], cfg)
  assert found.count[0] == (level > 10)


def test_center_of_a_page_sized_component_is_exact():
  """Sums of its coordinates pass 2 ** 31 and the integers of float32."""
  hw = (1500, 2100)
  levels = jnp.full((1, *hw, 1), 19.0)
  found = decode(
    levels, jnp.ones((1, *hw, 1, 2)), jnp.ones((1, *hw, 1, 1)), _THRESHOLD
  )
  np.testing.assert_array_equal(
    found.boxes_yxyx[0, 0], [749.5, 1049.5, 750.5, 1050.5]
  )
  assert found.scores[0, 0] == 1


@pytest.mark.parametrize(
  ("settings", "key"),
  [
    pytest.param({"class_pixels": 4}, "decode.class_pixels", id="even side"),
    pytest.param({"max_detections": 0}, "decode.max_detections", id="no slot"),
    pytest.param({"legacy": True}, "decode.legacy", id="watershed and legacy"),
  ],
)
def test_bad_settings_name_the_key(settings, key):
  with pytest.raises(errors.InputError, match=key):
    decode_config.DecodeConfig(**settings)
