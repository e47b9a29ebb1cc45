"""The VOC and COCO metrics: by hand, against loops, and by their properties."""

import dataclasses

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster
from metric_helpers import measure

from dwd_jax.core.structs import PageBoxes
from dwd_jax.metrics import protocols
from dwd_jax.metrics.protocols import IOUS

A, B, C = (0, 0, 10, 10), (0, 20, 10, 30), (50, 50, 60, 60)


def page(name, rows, scores=None):
  """Rows are (label, ymin, xmin, ymax, xmax)."""
  table = np.array(rows, np.float64).reshape(-1, 5)
  return PageBoxes(
    filename=name,
    image_hw=(100, 100),
    boxes_yxyx=table[:, 1:],
    labels=table[:, 0].astype(np.int32),
    scores=None if scores is None else np.array(scores, np.float64),
  )


def run(metric, truth, found, num_classes, ious=IOUS):
  rules = {
    "coco": protocols.COCO,
    "voc": protocols.VOC,
    "legacy": protocols.VOC_2018,
  }[metric]
  return measure(truth, found, num_classes, rules, ious=ious)


# Caption: truth rows, detections (score, row), AP at IoU 0.5 by VOC, by the
# legacy protocol and by COCO (101 recall points: 51 of them lie at 0 .. 0.5).
HAND = {
  "all found": ([A, B], [(0.9, A), (0.8, B)], 1, 1, 1),
  "nothing found": ([A, B], [], 0, 0, 0),
  "one of two found": ([A, B], [(0.9, A)], 1 / 2, 1 / 2, 51 / 101),
  "a false one first halves the precision": (
    [A],
    [(0.9, C), (0.5, A)],
    1 / 2,
    1 / 2,
    1 / 2,
  ),
  "a false one after the last hit costs nothing": (
    [A],
    [(0.9, A), (0.5, C)],
    1,
    1,
    1,
  ),
  "a duplicate between two hits": (
    [A, B],
    [(0.9, A), (0.8, A), (0.7, B)],
    (1 + 2 / 3) / 2,
    (1 + 2 / 3) / 2,
    (51 + 50 * 2 / 3) / 101,
  ),
  "IoU 1/2 exactly: hit, for legacy 66/121 > 1/2": (
    [A],
    [(0.9, (0, 0, 5, 10))],
    1,
    1,
    1,
  ),
  "legacy IoU 1/2 exactly is a miss; the true IoU is 36/81": (
    [(0, 0, 9, 9)],
    [(0.9, (0, 0, 4, 9))],
    0,
    0,
    0,
  ),
  "the added pixel lets a tiny box pass: IoU 0.4, legacy 4/7": (
    [(0, 0, 1, 1)],
    [(0.9, (0, 0, 1, 2.5))],
    0,
    1,
    0,
  ),
  "VOC sticks to the box overlapped most, COCO takes the next one": (
    [A, (0, 2, 10, 12)],
    [(0.9, A), (0.8, (0, 0.5, 10, 10.5))],
    1 / 2,
    1 / 2,
    1,
  ),
  "boxes without area overlap nothing, for legacy they are one pixel": (
    [(5, 5, 5, 5)],
    [(0.9, (5, 5, 5, 5))],
    0,
    1,
    0,
  ),
  "an inverted box is an empty one": ([A], [(0.9, (10, 10, 0, 0))], 0, 0, 0),
}


@pytest.mark.parametrize("caption", HAND)
def test_ap_by_hand(caption):
  truth, found, *expected = HAND[caption]
  truth = [page("p", [(0, *box) for box in truth])]
  found = [page("p", [(0, *b) for _, b in found], [s for s, _ in found])]
  for metric, ap in zip(("voc", "legacy", "coco"), expected, strict=True):
    table = run(metric, truth, found, 1)
    assert table.at(0.5)[0] == pytest.approx(ap, abs=1e-9), metric


@pytest.mark.parametrize("metric", ["voc", "legacy", "coco"])
def test_only_same_class_and_page_count(metric):
  truth = [page("p", [(0, *A)]), page("q", [(1, *A)])]
  found = [page("p", [(1, *A)], [0.9]), page("q", [(0, *A)], [0.9])]
  np.testing.assert_array_equal(run(metric, truth, found, 2).at(0.5), [0, 0])


@pytest.mark.parametrize("metric", ["voc", "legacy", "coco"])
def test_a_class_without_truth_is_unknown_not_zero(metric):
  table = run(metric, [page("p", [(1, *A)])], [page("p", [(2, *B)], [0.9])], 3)
  np.testing.assert_array_equal(table.at(0.5), [np.nan, 0, np.nan])
  np.testing.assert_array_equal(table.num_objects, [0, 1, 0])
  np.testing.assert_array_equal(table.per_iou(), np.zeros(10))


@pytest.mark.parametrize("metric", ["voc", "legacy", "coco"])
def test_empty_truth(metric):
  for truth in ([], [page("p", [])]):
    found = [page(p.filename, [(0, *A)], [0.9]) for p in truth]
    table = run(metric, truth, found, 2)
    assert np.isnan(table.ap).all()
    assert np.isnan(table.per_iou()).all()


@pytest.mark.parametrize("metric", ["voc", "legacy", "coco"])
def test_every_detection_of_a_crowded_page_counts(metric):
  """The COCO tools stop at 100 detections of a class on a page."""
  y, x = np.divmod(np.arange(2500), 50)
  rows = np.stack([y % 2, y * 9, x * 9, y * 9 + 6, x * 9 + 6], axis=1)
  table = run(
    metric, [page("p", rows)], [page("p", rows, np.linspace(1, 0.1, 2500))], 2
  )
  np.testing.assert_allclose(table.ap, 1, rtol=1e-12)


def oracle(truth, found, label, iou, *, reassign, interpolated):
  """AP by plain loops; `reassign`: a taken box does not bar the next best."""
  ranked = sorted(
    (
      (score, p.filename, tuple(box))
      for p in found
      for score, box, c in zip(p.scores, p.boxes_yxyx, p.labels, strict=True)
      if c == label
    ),
    reverse=True,
  )
  boxes = {
    p.filename: [
      tuple(b)
      for b, c in zip(p.boxes_yxyx, p.labels, strict=True)
      if c == label
    ]
    for p in truth
  }
  total = sum(map(len, boxes.values()))
  taken, hits = set(), []
  for _, name, box in ranked:
    choices = [
      (_iou(box, other), i)
      for i, other in enumerate(boxes[name])
      if not (reassign and (name, i) in taken)
    ]
    best = max(choices, default=(-1, -1))
    hit = best[0] >= iou and (name, best[1]) not in taken
    if hit:
      taken.add((name, best[1]))
    hits.append(hit)
  curve = [
    (sum(hits[: k + 1]) / total, sum(hits[: k + 1]) / (k + 1))
    for k in range(len(hits))
  ]
  levels = (
    np.linspace(0, 1, 101)
    if interpolated
    else [(k + 1) / total for k in range(total)]
  )
  at_level = [
    max((p for r, p in curve if r >= level), default=0) for level in levels
  ]
  return sum(at_level) / len(at_level)


def _iou(a, b):
  height = min(a[2], b[2]) - max(a[0], b[0])
  width = min(a[3], b[3]) - max(a[1], b[1])
  if height <= 0 or width <= 0:
    return 0.0
  area = sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
  return height * width / (area - height * width)


def random_pages(seed, num_pages, num_boxes):
  """Truth, and detections that jitter, miss, duplicate and invent boxes."""
  rng = np.random.default_rng(seed)
  truth, found = [], []
  for p in range(num_pages):
    n = int(rng.integers(0, num_boxes + 1))
    corner = rng.uniform(0, 60, (n, 2))
    rows = np.c_[
      rng.integers(0, 3, n), corner, corner + rng.uniform(4, 25, (n, 2))
    ]
    pick = rng.integers(0, n, int(rng.integers(0, 2 * n + 1))) if n else []
    seen = rows[np.array(pick, int)]
    seen[:, 1:] += rng.normal(0, 1.5, (len(seen), 4))
    wrong = rng.random(len(seen)) < 0.1
    seen[wrong, 0] = rng.integers(0, 3, wrong.sum())
    truth.append(page(f"{p}", rows))
    found.append(page(f"{p}", seen, rng.random(len(seen))))
  return truth, found


pages_strategy = st.builds(
  random_pages,
  seed=st.integers(0, 2**32 - 1),
  num_pages=st.integers(1, 4),
  num_boxes=st.integers(0, 12),
)
quick = hypothesis.settings(
  max_examples=25, deadline=None, derandomize=True, database=None
)


@quick
@hypothesis.given(pages=pages_strategy, iou=st.sampled_from((0.5, 0.75)))
@pytest.mark.parametrize("metric", ["voc", "coco"])
def test_equals_plain_loops(metric, pages, iou):
  table = run(metric, *pages, 3, ious=(iou,))
  options = {
    "voc": {"reassign": False, "interpolated": False},
    "coco": {"reassign": True, "interpolated": True},
  }[metric]
  for label in np.flatnonzero(table.num_objects):
    expected = oracle(*pages, label, iou, **options)
    assert table.ap[0, label] == pytest.approx(expected, abs=1e-9)


@quick
@hypothesis.given(pages=pages_strategy)
@pytest.mark.parametrize("metric", ["voc", "legacy", "coco"])
def test_perfect_detections_have_ap_one(metric, pages):
  truth, _ = pages
  rng = np.random.default_rng(0)
  found = [
    dataclasses.replace(p, scores=rng.random(len(p.labels))) for p in truth
  ]
  table = run(metric, truth, found, 3)
  np.testing.assert_allclose(table.ap[:, table.num_objects > 0], 1, rtol=1e-12)


@quick
@hypothesis.given(pages=pages_strategy, seed=st.integers(0, 99))
@pytest.mark.parametrize("metric", ["voc", "legacy", "coco"])
def test_order_of_the_input_does_not_matter(metric, pages, seed):
  rng = np.random.default_rng(seed)

  def shuffled(side):
    shuffled_pages = []
    for i in rng.permutation(len(side)):
      p = side[i]
      order = rng.permutation(len(p.labels))
      shuffled_pages.append(
        dataclasses.replace(
          p,
          boxes_yxyx=p.boxes_yxyx[order],
          labels=p.labels[order],
          # Equal scores, so that the order could matter.
          scores=None if p.scores is None else p.scores[order].round(1),
        )
      )
    return shuffled_pages

  truth, found = pages
  first, second = (
    run(metric, shuffled(truth), shuffled(found), 3) for _ in range(2)
  )
  np.testing.assert_array_equal(first.ap, second.ap)


@quick
@hypothesis.given(pages=pages_strategy)
# Not COCO: there a copy may take a neighbour that nothing else found.
@pytest.mark.parametrize("metric", ["voc", "legacy"])
def test_detections_said_twice_do_not_raise_the_ap(metric, pages):
  truth, found = pages
  twice = [
    dataclasses.replace(
      p,
      boxes_yxyx=np.repeat(p.boxes_yxyx, 2, axis=0),
      labels=np.repeat(p.labels, 2),
      scores=np.repeat(p.scores, 2),
    )
    for p in found
  ]
  once_ap, twice_ap = (run(metric, truth, f, 3).ap for f in (found, twice))
  assert np.all(np.nan_to_num(twice_ap) <= np.nan_to_num(once_ap) + 1e-12)


@quick
@hypothesis.given(pages=pages_strategy)
@pytest.mark.parametrize("metric", ["voc", "legacy"])
def test_stricter_iou_never_raises_the_ap(metric, pages):
  ap = np.nan_to_num(run(metric, *pages, 3).ap)
  assert np.all(np.diff(ap, axis=0) <= 1e-12)


def _by_the_library(truth, found, num_classes):
  """AP of all classes by faster-coco-eval, without its limit of detections."""

  def annotations(pages, first):
    rows = []
    # The library breaks ties by the order of rows.
    for image, page in enumerate(pages, start=1):
      boxes = page.boxes_yxyx.copy()
      boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
      keys = page.labels, *boxes.T[::-1]
      if page.scores is not None:
        keys = *keys, -page.scores
      order = np.lexsort(keys) if page.scores is not None else range(len(boxes))
      for i in order:
        y0, x0, y1, x1 = boxes[i].tolist()
        rows.append(
          {
            "id": first + len(rows),
            "image_id": image,
            "category_id": int(page.labels[i]) + 1,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": (x1 - x0) * (y1 - y0),
            "iscrowd": 0,
          }
          | ({} if page.scores is None else {"score": float(page.scores[i])})
        )
    return rows

  data = {
    "images": [{"id": i + 1} for i in range(len(truth))],
    "categories": [{"id": c + 1, "name": str(c)} for c in range(num_classes)],
  }
  tool = COCOeval_faster(
    COCO(data | {"annotations": annotations(truth, 1)}),
    COCO(data | {"annotations": annotations(found, 1)}),
    iouType="bbox",
    print_function=lambda *_: None,
  )
  tool.params.maxDets = [10000]
  tool.params.areaRng, tool.params.areaRngLbl = [[0, 1e10]], ["all"]
  tool.evaluate()
  tool.accumulate()
  precision = np.asarray(tool.eval["precision"])[..., 0, 0]  # [T, R, C]
  return precision.mean(axis=1)


@quick
@hypothesis.given(
  pages=pages_strategy, decimals=st.sampled_from((1, 8)), whole=st.booleans()
)
def test_equals_the_library(pages, decimals, whole):
  """Also where scores or overlaps are equal."""
  truth, found = (
    [
      dataclasses.replace(
        p,
        boxes_yxyx=p.boxes_yxyx.round() if whole else p.boxes_yxyx,
        scores=None if p.scores is None else p.scores.round(decimals),
      )
      for p in side
    ]
    for side in pages
  )
  table = run("coco", truth, found, 3)
  there = table.num_objects > 0
  if any(len(p.labels) for p in found) and there.any():
    expected = _by_the_library(truth, found, 3)
    np.testing.assert_allclose(
      table.ap[:, there], expected[:, there], rtol=0, atol=1e-9
    )
