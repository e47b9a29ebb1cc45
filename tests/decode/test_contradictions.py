"""Contradictions: learned from true boxes, dropped among detections."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwd_jax.decode import contradictions
from dwd_jax.decode.contradictions import Contradictions

NAMES = ("clef", "notehead", "grace note", "seldom", "restHBar")
CLEF, HEAD, GRACE, SELDOM, REST = range(5)


def page(*rows):
  """Boxes and labels of rows (label, y, x, height, width)."""
  label, y, x, height, width = np.array(rows, float).reshape(-1, 5).T
  return np.stack([y, x, y + height, x + width], 1), label.astype(np.int32)


def truth(pages=40):
  """Clefs alone, two noteheads that touch, grace notes around noteheads."""
  return [
    page(
      (CLEF, 0, 0, 40, 20),
      (HEAD, 10, 60, 10, 10),
      (HEAD, 18, 60, 10, 10),
      (GRACE, 50, 60, 40, 20),
      (HEAD, 80, 60, 10, 10),
      (REST, 200, 0, 20, 80),
      (HEAD, 200, 95, 10, 10),
      (HEAD, 250, 40, 10, 10),
      *([(SELDOM, 0, 100, 9, 9)] if number < 10 else ()),
    )
    for number in range(pages)
  ]


KNOWN = contradictions.learn(truth(), NAMES)
# (label, score, y, x, height, width) of detections.
_CLEF = (CLEF, 0.9, 0, 0, 40, 20)
_HEAD = (HEAD, 0.9, 0, 0, 10, 10)
_REST = (REST, 0.9, 0, 0, 20, 80)
# Caption: detections; which stay.
CASES = {
  "two braces": ([_CLEF, (CLEF, 0.6, 4, 2, 40, 20)], [0]),
  "the better one, in any order": ([(CLEF, 0.6, 4, 2, 40, 20), _CLEF], [1]),
  "a notehead on the ball of a clef": ([(HEAD, 0.6, 30, 2, 9, 9), _CLEF], [1]),
  "side by side": ([_CLEF, (HEAD, 0.6, 0, 16, 9, 9)], [0, 1]),
  "truth has it": (
    [(GRACE, 0.9, 0, 0, 40, 20), (HEAD, 0.8, 30, 0, 9, 9)],
    [0, 1],
  ),
  "more than the truth": ([_HEAD, (HEAD, 0.8, 3, 0, 10, 10)], [0]),
  "about as the truth": ([_HEAD, (HEAD, 0.8, 5, 0, 10, 10)], [0, 1]),
  "too few were seen": ([_CLEF, (SELDOM, 0.6, 0, 0, 9, 9)], [0, 1]),
  "what contradicts a dropped one stays": (
    [_CLEF, (CLEF, 0.8, 14, 0, 40, 20), (CLEF, 0.7, 28, 0, 40, 20)],
    [0, 2],
  ),
  "a part of a clef that is nearly as certain": (
    [(HEAD, 0.997, 30, 2, 9, 9), (CLEF, 0.996, 0, 0, 40, 20)],
    [1],
  ),
  "a beam under noteheads": ([_REST, (HEAD, 0.99, 40, 0, 10, 10)], [1]),
  "a notehead that is less probable": (
    [_REST, (HEAD, 0.8, 40, 0, 10, 10)],
    [0, 1],
  ),
  "a notehead of the next measure": (
    [_REST, (HEAD, 0.99, 0, 90, 10, 10)],
    [0, 1],
  ),
  "a notehead of the next staff": (
    [_REST, (HEAD, 0.99, 50, 0, 10, 10)],
    [0, 1],
  ),
  "none": ([], []),
}


@pytest.mark.parametrize("caption", CASES)
def test_the_better_of_two_stays(caption):
  rows, stays = CASES[caption]
  boxes, labels = page(*[(row[0], *row[2:]) for row in rows])
  scores = np.array([row[1] for row in rows])
  found = KNOWN.stays(boxes, labels, scores)
  assert np.flatnonzero(found).tolist() == stays


def test_shares_are_those_of_the_smaller_box():
  assert KNOWN.counts.tolist() == [40, 200, 40, 10, 40]
  assert KNOWN.shares[HEAD, HEAD] == pytest.approx(0.2)
  assert KNOWN.shares[HEAD, GRACE] == KNOWN.shares[GRACE, HEAD] == 1
  assert np.count_nonzero(KNOWN.shares) == 3


def test_noteheads_above_rests_are_no_contradiction_where_truth_has_them():
  assert np.argwhere(KNOWN.apart).tolist() == [[REST, HEAD]]
  one = page((REST, 0, 0, 20, 80), (HEAD, 40, 0, 10, 10))
  assert not contradictions.learn([*truth(), one], NAMES).apart.any()
  assert not contradictions.learn(truth(20), NAMES).apart.any()  # too few


def test_a_slip_of_an_annotator_is_not_the_truth():
  slip = page((CLEF, 0, 0, 40, 20), (CLEF, 0, 0, 40, 20))
  clefs = page(*[(CLEF, y, 0, 40, 20) for y in range(0, 5000, 50)])
  few = contradictions.learn([*[clefs] * 4, slip], NAMES)
  many = contradictions.learn([*[clefs] * 5, slip], NAMES)
  assert few.shares[CLEF, CLEF] == 1
  assert many.shares[CLEF, CLEF] == 0


def test_without_truth_nothing_contradicts():
  nothing = contradictions.learn([], NAMES)
  boxes, labels = page(*[(CLEF, 0, 0, 9, 9)] * 3)
  assert nothing.stays(boxes, labels, np.ones(3)).all()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 80))
def test_equals_the_slow_way(seed, n):
  rng = np.random.default_rng(seed)
  start, size = rng.uniform(0, 60, (n, 2)), rng.uniform(-1, 20, (n, 2))
  boxes = np.concatenate([start, start + size], 1)
  labels, scores = rng.integers(0, 3, n), rng.choice([0.2, 0.5, 0.8], n)
  shares = np.triu(rng.uniform(0, 0.6, (3, 3)))
  shares, apart = np.maximum(shares, shares.T), np.zeros((3, 3), bool)
  known = Contradictions(np.full(3, 99), shares, apart)
  limits, stays = known.limits(), []
  hw = np.maximum(size, 0)
  weight = scores / (1 - scores) * np.sqrt(hw.prod(1))
  for i in np.argsort(-weight, kind="stable"):
    low = np.maximum(boxes[i, :2], boxes[stays, :2])
    both = np.maximum(np.minimum(boxes[i, 2:], boxes[stays, 2:]) - low, 0)
    smaller = np.minimum(hw[i].prod(), hw[stays].prod(1))
    share = both.prod(1) / np.maximum(smaller, 1e-9)
    if not (share > limits[labels[i], labels[stays]]).any():
      stays.append(i)
  found = known.stays(boxes, labels, scores)
  assert np.flatnonzero(found).tolist() == sorted(stays)


def test_many_boxes_are_compared_a_part_at_a_time(monkeypatch):
  rng = np.random.default_rng(0)
  start = rng.uniform(0, 300, (500, 2))
  boxes = np.concatenate([start, start + 20], 1)
  labels, scores = np.zeros(500, np.int32), rng.random(500)
  nothing = np.zeros((1, 1))
  known = Contradictions(np.full(1, 99), nothing, nothing > 0)
  whole = known.stays(boxes, labels, scores)
  monkeypatch.setattr(contradictions, "_AT_ONCE", 40)
  np.testing.assert_array_equal(known.stays(boxes, labels, scores), whole)
  assert 0 < whole.sum() < 500


def test_json_keeps_what_counts():
  text = json.dumps(contradictions.to_json(KNOWN, NAMES))
  found = contradictions.from_json(json.loads(text), NAMES)
  np.testing.assert_array_equal(found.counts, KNOWN.counts)
  np.testing.assert_array_equal(found.apart, KNOWN.apart)
  np.testing.assert_array_equal(found.shares, KNOWN.shares)
  assert json.loads(text)["shares"][0] == ["notehead", "notehead", 0.2]


# Caption: what is damaged.
DAMAGED = {
  "an unknown class": {"shares": [["clef", "rest", 0.5]]},
  "no share": {"shares": [["clef", "clef", 7]]},
  "a class without a count": {"counts": {"clef": 3}},
  "not a row": {"shares": [3]},
  "an unknown notehead": {"apart": [["restHBar", "head"]]},
}


@pytest.mark.parametrize("caption", DAMAGED)
def test_damage_is_noticed(caption):
  content = contradictions.to_json(KNOWN, NAMES) | DAMAGED[caption]
  with pytest.raises((ValueError, KeyError, TypeError)):
    contradictions.from_json(content, NAMES)
