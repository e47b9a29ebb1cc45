"""Suppression equals a slow greedy one; its slots and count make sense."""

import jax
import numpy as np
import pytest
from decode_helpers import CLASSES, HW, SLOTS, decode
from hypothesis import given, settings
from hypothesis import strategies as st

from dwd_jax.core import boxes, errors, structs
from dwd_jax.decode import backend, decode_config, suppression

_suppress = jax.jit(suppression.suppress, static_argnums=1)


def _greedy(boxes_yxyx, most_iou):
  """Numbers of the boxes that stay, best first."""
  iou = np.asarray(boxes.pairwise_iou(boxes_yxyx, boxes_yxyx))
  stays = []
  for i in range(len(boxes_yxyx)):
    if not (iou[stays, i] > most_iou).any():
      stays.append(i)
  return stays


def _detections(rng, k, used, spread):
  top_left = rng.uniform(0, spread, (k, 2))
  hw = rng.uniform(1, 12, (k, 2))
  valid = np.arange(k) < used
  scores = np.where(valid, np.sort(rng.random(k))[::-1], 0)
  return structs.Detections(
    boxes_yxyx=np.where(
      valid[:, None], np.concatenate((top_left, top_left + hw), 1), 0
    ).astype(np.float32),
    labels=np.where(valid, rng.integers(0, 9, k), 0).astype(np.int32),
    scores=scores.astype(np.float32),
    valid=valid,
    count=np.int32(used + 3),
  )


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
  seed=st.integers(0, 2**32 - 1),
  share=st.floats(0, 1),
  spread=st.sampled_from((8.0, 40.0, 200.0)),
  most_iou=st.sampled_from((0.1, 0.5)),
  k=st.sampled_from((1, 7, 700)),
)
def test_equals_the_greedy_one(seed, share, spread, most_iou, k):
  used = int(k * share)
  found = _detections(np.random.default_rng(seed), k, used, spread)
  stays = _greedy(found.boxes_yxyx[:used], most_iou)
  got = jax.tree.map(np.asarray, _suppress(found, most_iou))
  assert got.valid.sum() == len(stays)
  assert got.valid[: len(stays)].all()
  assert got.count == found.count - used + len(stays)
  for name in ("boxes_yxyx", "labels", "scores"):
    column = getattr(got, name)
    np.testing.assert_array_equal(
      column[: len(stays)], getattr(found, name)[stays]
    )
    assert not column[len(stays) :].any()


@pytest.mark.parametrize(
  ("on_cpu", "block"), [(True, 8192), (False, 8192), (False, 256)]
)
def test_a_chain_loses_every_other_box(monkeypatch, on_cpu, block):
  """The longest dependence: each box covers the next one only."""
  monkeypatch.setattr(backend, "on_cpu", lambda: on_cpu)
  monkeypatch.setattr(suppression, "_LARGE_BLOCK", block)
  top = 4.0 * np.arange(600, dtype=np.float32)
  found = structs.Detections(
    boxes_yxyx=np.stack((top, 0 * top, top + 10, 0 * top + 5), 1),
    labels=np.zeros(600, np.int32),
    scores=np.linspace(1, 0.1, 600, dtype=np.float32),
    valid=np.ones(600, bool),
    count=np.int32(600),
  )
  suppress = jax.jit(lambda found: suppression.suppress(found, 0.4))
  got = jax.tree.map(np.asarray, suppress(found))
  np.testing.assert_array_equal(got.boxes_yxyx[:300, 0], top[::2])
  assert got.count == 300


def _two_groups_see_one_object(suppress_iou):
  """Two energy groups find the same disc with different classes."""
  y, x = np.indices(HW) + 0.5
  disc = np.maximum(19 - 2 * np.hypot(y - 20.5, x - 20.5), 0)
  levels = np.stack((disc, 0.9 * disc), -1).astype(np.float32)
  levels = np.stack([levels] * 3)  # pages, as in other tests
  sizes = np.full((*levels.shape, 2), 8, np.float32)
  probs = np.zeros((*levels.shape, CLASSES), np.float32)
  probs[..., (0, 1), (0, 1)] = 1  # the class of a group has its number
  cfg = decode_config.DecodeConfig(
    max_detections=SLOTS, suppress_iou=suppress_iou
  )
  return jax.tree.map(np.asarray, decode(levels, sizes, probs, cfg))


@pytest.mark.parametrize(
  ("suppress_iou", "labels"),
  [
    pytest.param(0.0, [0, 1], id="off: two objects may share a place"),
    pytest.param(0.7, [0], id="the better stays"),
  ],
)
def test_the_decode_suppresses_across_groups(suppress_iou, labels):
  found = _two_groups_see_one_object(suppress_iou)
  for page_labels, valid in zip(found.labels, found.valid, strict=True):
    assert page_labels[valid].tolist() == labels
  assert found.count.tolist() == [len(labels)] * 3


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_bad_overlaps_name_the_key(value):
  with pytest.raises(errors.InputError, match=r"decode\.suppress_iou"):
    decode_config.DecodeConfig(suppress_iou=value)
