"""Accuracy of positions: of right detections of symbols that have one."""

import dataclasses

import numpy as np

from dwd_jax.core.structs import NO_POSITION, PageBoxes
from dwd_jax.metrics import matching
from dwd_jax.metrics.positions import PositionMeter


def _page(scores=None, positions=None, labels=(0, 0, 1, 1, 2)):
  y = 30 * np.arange(len(labels))
  boxes = np.stack([y, y, y + 10, y + 10], 1).astype(np.float32)
  return PageBoxes(
    filename="a.png",
    image_hw=(200, 200),
    boxes_yxyx=boxes,
    labels=np.array(labels, np.int32),
    scores=scores,
    positions=None if positions is None else np.array(positions, np.int32),
  )


def test_right_detections_of_known_positions_are_judged():
  none = NO_POSITION
  truth = _page(positions=[1, 2, 3, none, none])
  # The third is right but elsewhere; the last has a wrong class.
  found = _page(
    scores=np.linspace(0.9, 0.5, 5),
    positions=[1, -2, none, 4, 5],
    labels=(0, 0, 1, 1, 0),
  )
  meter = PositionMeter(3)
  for _ in range(2):
    meter.add(truth, found, matching.judge_page(truth, found))
  table = meter.table()
  assert table is not None
  assert table.judged.tolist() == [4, 2, 0]
  assert table.right.tolist() == [2, 0, 0]
  np.testing.assert_array_equal(table.per_class(), [0.5, 0.0, np.nan])
  assert table.overall() == 2 / 6


def test_without_positions_nothing_is_measured():
  truth, found = _page(positions=[1] * 5), _page(scores=np.ones(5))
  meter = PositionMeter(3)
  meter.add(truth, found, matching.judge_page(truth, found))
  bare = dataclasses.replace(truth, positions=None)
  meter.add(bare, found, matching.judge_page(bare, found))
  assert meter.table() is None
