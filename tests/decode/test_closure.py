"""Closure: truth -> target maps -> decode gives the truth back.

Perfect maps bound what any network can reach; a few pages guard that bound.
"""

import functools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from benchmarks import perfect_maps
from dwd_jax.decode import decode_config
from dwd_jax.objectives import energy_groups, targets

_HW = (256, 512)  # one size, so that few functions are compiled
_MAX_BOXES = 320
_MAX_GROUPS = 3
_MAX_CLASSES = 120
_SCALE = 0.5

_WATERSHED = decode_config.DecodeConfig(max_detections=_MAX_BOXES)
_EXACT = targets.TargetConfig(disc_center="exact", class_overlap="nearest")
_ROUNDED = targets.TargetConfig(disc_center="rounded")
_PAPER = decode_config.DecodeConfig(
  method="threshold",
  size="max",
  energy_cutoff=1.0,
  max_detections=_MAX_BOXES,
)
_THRESHOLD = decode_config.DecodeConfig(
  method="threshold", energy_cutoff=10.0, max_detections=_MAX_BOXES
)


@functools.cache
def _compiled(cfg, target_cfg, noise):
  """A closure for any grouping: a class has one id for each group."""
  groups = np.repeat(np.arange(_MAX_GROUPS, dtype=np.int32), _MAX_CLASSES)
  return perfect_maps.make_closure(groups, _HW, target_cfg, cfg, noise)


def _in_group(labels, groups):
  return groups[labels] * _MAX_CLASSES + labels


def _closure(pages, groups, cfg, target_cfg, noise="none"):
  """Recall (of distinct objects) and precision over (boxes_yxyx, labels)."""
  run = _compiled(cfg, target_cfg, noise)
  outcomes = [
    perfect_maps.run_page(run, boxes, _in_group(labels, groups), _MAX_BOXES)
    for boxes, labels in pages
  ]
  matched = sum(page.num_matched for page in outcomes)
  distinct = sum((~(page.lost & page.repeated)).sum() for page in outcomes)
  return matched / distinct, matched / sum(page.num_found for page in outcomes)


def _cut(boxes, labels):
  """Windows of _HW with the objects whose centres they hold."""
  centers = (boxes[:, :2] + boxes[:, 2:]) / 2
  window = (centers // _HW).astype(int)
  for place in np.unique(window, axis=0):
    inside = (window == place).all(1)
    yield boxes[inside] - np.tile(place * _HW, 2), labels[inside]


def _read_page(path):
  """(class name, top, left, height, width) of every object of a MuNG file."""
  parser = etree.XMLParser(
    resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
  )
  return [
    (
      node.findtext("ClassName"),
      *(int(node.findtext(k)) for k in ("Top", "Left", "Height", "Width")),
    )
    for node in etree.parse(path, parser).iter("Node")
  ]


@pytest.fixture(scope="module")
def muscima(shared_data):
  """Scaled boxes and labels of 24 pages, and the number of classes."""
  folder = shared_data / "muscima_pp" / "v2.0" / "data" / "annotations"
  pages = [_read_page(path) for path in sorted(folder.glob("*.xml"))[::5]]
  names = sorted({row[0] for page in pages for row in page})
  scaled = []
  for page in pages:
    yxhw = np.array([row[1:] for row in page], np.float32) * _SCALE
    boxes = np.concatenate([yxhw[:, :2], yxhw[:, :2] + yxhw[:, 2:]], 1)
    labels = np.array([names.index(row[0]) for row in page], np.int32)
    scaled.append((boxes, labels))
  return scaled, len(names)


@pytest.fixture(scope="module")
def muscima_groups(muscima):
  """Energy groups from 20 of the pages, by their number."""
  pages, num_classes = muscima
  counts = energy_groups.count_conflicts(pages[:-4], num_classes, 17.0, 1.0)
  return {num: energy_groups.colour(*counts, num) for num in (1, 2, 3)}


@pytest.mark.parametrize(
  ("cfg", "target_cfg", "num_groups", "least_recall", "least_precision"),
  [
    pytest.param(
      _WATERSHED, _EXACT, 3, 0.9965, 0.998, id="watershed, three groups"
    ),
    pytest.param(
      _WATERSHED, _EXACT, 2, 0.988, 0.9955, id="watershed, two groups"
    ),
    pytest.param(_WATERSHED, _EXACT, 1, 0.91, 0.984, id="watershed, one group"),
    pytest.param(_THRESHOLD, _ROUNDED, 1, 0.768, 0.914, id="threshold > 10"),
    pytest.param(
      _PAPER, _ROUNDED, 1, 0.493, 0.78, id="threshold > 1, the paper's"
    ),
  ],
)
def test_muscima_pages_come_back(
  muscima,
  muscima_groups,
  cfg,
  target_cfg,
  num_groups,
  least_recall,
  least_precision,
):
  parts = [part for page in muscima[0][-4:] for part in _cut(*page)]
  windows = parts[::2]  # half of each page
  groups = muscima_groups[num_groups]
  recall, precision = _closure(windows, groups, cfg, target_cfg)
  print(f"recall {recall:.4f}, precision {precision:.4f}")
  assert recall >= least_recall
  assert precision >= least_precision


def test_noise_does_not_shatter_objects(muscima, muscima_groups):
  windows = _cut(*muscima[0][-1])
  recall, precision = _closure(
    windows, muscima_groups[3], _WATERSHED, _EXACT, noise="white"
  )
  print(f"recall {recall:.4f}, precision {precision:.4f}")
  assert recall >= 0.99
  assert precision >= 0.985


def _dense_page(seed, hw=_HW):
  """Made-up music: chords of heads that touch, stems and dots on their centres.

  Classes: 0 head, 1 stem, 2 dot, 3 beam; a stem and a beam share the centre of
  a head, a dot is 7 px beside one.
  """
  rng = np.random.default_rng(seed)
  rows = []
  for y in range(30, hw[0] - 30, 45):
    for x in range(30, hw[1] - 30, 24):
      cy, cx = y + rng.uniform(0, 4), x + rng.uniform(0, 4)
      rows.append((cy, cx, 6.5, 7.5, 0))
      if rng.random() < 0.5:
        rows.append((cy + 6.5, cx, 6.5, 7.5, 0))
      if rng.random() < 0.7:
        rows.append((cy + 1, cx + 0.5, 30, 2, 1))
      if rng.random() < 0.5:
        rows.append((cy, cx + 7, 3, 3, 2))
      if rng.random() < 0.3:
        rows.append((cy - 1, cx, 4, 60, 3))
  cy, cx, height, width, labels = np.array(rows).T
  boxes = np.stack(
    [cy - height / 2, cx - width / 2, cy + height / 2, cx + width / 2], 1
  )
  return boxes.astype(np.float32), labels.astype(np.int32)


@pytest.mark.parametrize(
  ("num_groups", "least", "most"),
  [
    pytest.param(3, 0.995, 1.0, id="three groups"),
    pytest.param(1, 0.4, 0.8, id="one group cannot"),
  ],
)
def test_made_up_pages_come_back(num_groups, least, most):
  pages = [_dense_page(seed) for seed in range(10)]
  groups = energy_groups.assign_groups(pages[:5], 4, num_groups)
  recall, precision = _closure(pages[5:], groups, _WATERSHED, _EXACT)
  print(f"recall {recall:.4f}, precision {precision:.4f}")
  assert least <= recall <= most
  assert precision >= least


def _far_apart(rng, count, edge):
  """Boxes whose centres are at least 10 px apart, and labels of two groups."""
  centers = np.zeros((0, 2))
  while len(centers) < count:
    center = rng.uniform(edge, np.subtract(_HW, edge))
    if (np.hypot(*(centers - center).T) >= 10).all():
      centers = np.concatenate([centers, [center]])
  half = rng.uniform(1.5, 15, centers.shape)
  boxes = np.concatenate([centers - half, centers + half], 1)
  labels = _MAX_CLASSES * rng.integers(0, 2, count)
  return boxes.astype(np.float32), labels.astype(np.int32)


def _found(boxes, labels):
  """(label, box to a twentieth of a pixel) of every detection, sorted."""
  pad = _MAX_BOXES - len(boxes)
  found = _compiled(_WATERSHED, _EXACT, "none")(
    np.pad(boxes, ((0, pad), (0, 0))),
    np.pad(labels, (0, pad)),
    np.arange(_MAX_BOXES) < len(boxes),
    jax.random.key(0),
  )
  valid = np.asarray(found.valid[0])
  rows = np.column_stack([found.labels[0], found.boxes_yxyx[0]])[valid]
  return rows[np.lexsort(np.round(rows, 1).T[::-1])]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 99))
def test_objects_that_are_far_apart_always_come_back(seed, count):
  boxes, labels = _far_apart(np.random.default_rng(seed), count, 1)
  run = _compiled(_WATERSHED, _EXACT, "none")
  page = perfect_maps.run_page(run, boxes, labels, _MAX_BOXES)
  assert page.num_found == page.num_matched == count
  assert not page.lost.any()


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
  seed=st.integers(0, 2**32 - 1), dy=st.integers(-8, 8), dx=st.integers(-8, 8)
)
def test_moved_and_reordered_objects_are_found_alike(seed, dy, dx):
  rng = np.random.default_rng(seed)
  boxes, labels = _far_apart(rng, 20, 20)
  order = rng.permutation(20)
  moved = boxes[order] + np.array([dy, dx, dy, dx], np.float32)
  expected = _found(boxes, labels) + np.array([0, dy, dx, dy, dx])
  expected = expected[np.lexsort(np.round(expected, 1).T[::-1])]
  np.testing.assert_allclose(_found(moved, labels[order]), expected, atol=0.05)


def test_causes_of_loss():
  boxes = np.array(
    [[10, 10, 20, 20], [10, 10, 20, 20], [12, 10, 18, 20], [40, 40, 42, 42]],
    np.float32,
  )
  labels = np.array([0, 0, 1, 1], np.int32)
  lost = perfect_maps.Outcome(
    np.array([False, True, True, True]),
    np.array([False, True, False, False]),
    1,
    1,
  )
  counts = perfect_maps.causes(
    lost, boxes, labels, np.zeros(2, np.int32), ("head", "dot"), 17.0
  )
  assert counts == {
    ("head", "repeated annotation"): 1,
    ("dot", "same centre as head"): 1,
    ("dot", "box under 3 px"): 1,
  }


def test_pairs_are_one_to_one_and_of_one_class():
  boxes = np.array([[0, 0, 10, 10], [0, 1, 10, 11]], np.float32)
  rows, columns = perfect_maps.match(
    (boxes, np.array([3, 3])), (boxes[[1, 1, 0]], np.array([3, 3, 4]))
  )
  assert dict(zip(rows.tolist(), columns.tolist(), strict=True)) in (
    {1: 0, 0: 1},
    {1: 1, 0: 0},
  )
