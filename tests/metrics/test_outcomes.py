"""What became of detections: by hand, and by loops over random pages."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_helpers import judge
from scene_helpers import page, scene

from dwd_jax.metrics import reliability
from dwd_jax.metrics.matching import KINDS, RIGHT

A, B = (20, 20, 40, 40), (20, 80, 40, 100)
NEAR_A = (20, 32, 40, 52)  # IoU 0.25 with A
TRUTH = [(0, *A), (1, *B)]

# Caption: class and box of a detection, its kind, the true box, what is missed.
# Another detection, right and sure, lies on A.
ONE = {
  "right": ((1, *B), "right", 1, []),
  "badly placed": ((1, 20, 92, 40, 112), "location", 1, []),
  "wrong class": ((0, *B), "class", 1, []),
  "duplicate": ((0, *A), "duplicate", 0, [1]),
  "on nothing": ((1, 200, 200, 220, 220), "background", -1, [1]),
  "touches: IoU 19 / 381 with A": ((0, 20, 39, 40, 59), "background", -1, [1]),
  "wrong class, badly placed": ((1, *NEAR_A), "both", -1, [1]),
}


@pytest.mark.parametrize("caption", ONE)
def test_kinds_by_hand(caption):
  (label, *box), kind, index, missed = ONE[caption]
  truth = [page("a", [row[1:] for row in TRUTH], [0, 1])]
  found = [page("a", [A, box], [0, label], [0.9, 0.5])]
  got = judge(truth, found)
  assert got.kind[0] == RIGHT
  names = {RIGHT: "right"} | dict(enumerate(KINDS))
  assert names[int(got.kind[1])] == kind
  assert got.of_truth.tolist() == [0, index]
  assert np.flatnonzero(got.missed()).tolist() == missed


def _iou(a, b):
  height = min(a[2], b[2]) - max(a[0], b[0])
  width = min(a[3], b[3]) - max(a[1], b[1])
  inter = max(height, 0) * max(width, 0)
  area = sum(max(x[2] - x[0], 0) * max(x[3] - x[1], 0) for x in (a, b))
  return inter / (area - inter) if area > inter else 0.0


def _reference(true, found):
  """Kinds of a page's detections, one after the other."""
  boxes, labels = true.boxes_yxyx.tolist(), true.labels.tolist()
  kinds, free = {}, set(range(len(boxes)))
  for i in sorted(range(len(found.labels)), key=lambda i: -found.scores[i]):
    iou = [_iou(found.boxes_yxyx[i].tolist(), box) for box in boxes]
    own = {j: v for j, v in enumerate(iou) if labels[j] == found.labels[i]}
    other = {j: v for j, v in enumerate(iou) if j not in own}
    open_ = {j: v for j, v in own.items() if j in free and v >= 0.5}
    if open_:
      free.remove(max(open_, key=lambda j: open_[j]))
      kinds[i] = "right"
    elif own and 0.1 <= max(own.values()) < 0.5:
      kinds[i] = "location"
    elif other and max(other.values()) >= 0.5:
      kinds[i] = "class"
    elif own and max(own.values()) >= 0.5:
      kinds[i] = "duplicate"
    elif max(iou, default=0) < 0.1:
      kinds[i] = "background"
    else:
      kinds[i] = "both"
  return [kinds[i] for i in range(len(found.labels))]


@settings(deadline=None, max_examples=80)
@given(seed=st.integers(0, 10**6), crowded=st.booleans())
def test_kinds_are_those_of_simple_loops(seed, crowded):
  truth, found = scene(seed, crowded=crowded)
  got = judge(truth, found)
  names = {RIGHT: "right"} | dict(enumerate(KINDS))
  pairs = zip(truth, found, strict=True)
  expected = [kind for pair in pairs for kind in _reference(*pair)]
  assert [names[int(k)] for k in got.kind] == expected


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10**6), threshold=st.floats(0, 1))
def test_right_are_those_of_the_summary_at_any_threshold(seed, threshold):
  truth, found = scene(seed, crowded=True)
  got = judge(truth, found)
  kept = got.at_least(threshold)
  point = reliability.operating_point(got.judged(), threshold)
  right, objects = int(kept.right.sum()), len(kept.true_labels)
  assert kept.found().sum() == right
  if len(kept.labels):
    assert right / len(kept.labels) == point.precision
  if objects:
    assert right / objects == point.recall
  # Judging only these detections gives the same.
  again = judge(
    truth,
    [
      page(p.filename, p.boxes_yxyx[k], p.labels[k], p.scores[k])
      for p in found
      for k in [p.scores >= threshold]
    ],
  )
  np.testing.assert_array_equal(kept.kind, again.kind)
  np.testing.assert_array_equal(kept.of_truth, again.of_truth)


def test_every_kind_occurs_in_the_random_pages():
  kinds = set()
  for seed in range(20):
    kinds |= set(judge(*scene(seed)).kind.tolist())
  assert kinds == {RIGHT, *range(len(KINDS))}


def test_no_pages_have_no_outcomes():
  got = judge([], [])
  assert all(len(values) == 0 for values in got)
  assert not got.missed().size
