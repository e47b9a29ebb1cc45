"""Detections of one page at several scales become one list."""

import dataclasses

import numpy as np
import pytest

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core.structs import NO_POSITION, PageBoxes
from dwd_jax.predict import assemble


def view(*rows):
  """Rows of (score, class, box)."""
  return PageBoxes(
    "p.png",
    (100, 200),
    np.array([box for _, _, box in rows], np.float32).reshape(-1, 4),
    np.array([label for _, label, _ in rows], np.int32),
    np.array([score for score, _, _ in rows], np.float32),
  )


BOX, NEAR, FAR = (10, 10, 30, 30), (12, 10, 32, 30), (60, 60, 80, 80)

# Caption: rows of two views -> rows of the result.
VIEWS = {
  "both agree: the mean weighted by the scores": (
    [(0.9, 1, BOX)],
    [(0.3, 1, NEAR)],
    [(0.6, 1, (10.5, 10, 30.5, 30))],
  ),
  "one alone has seen it: half the score": (
    [(0.9, 1, BOX)],
    [],
    [(0.45, 1, BOX)],
  ),
  "of different classes: two objects": (
    [(0.9, 1, BOX)],
    [(0.8, 2, BOX)],
    [(0.45, 1, BOX), (0.4, 2, BOX)],
  ),
  "far apart: two objects": (
    [(0.9, 1, BOX)],
    [(0.8, 1, FAR)],
    [(0.45, 1, BOX), (0.4, 1, FAR)],
  ),
  "two of one view are never one": (
    [(0.9, 1, BOX), (0.8, 1, NEAR)],
    [],
    [(0.45, 1, BOX), (0.4, 1, NEAR)],
  ),
  "neighbours find their own": (
    [(0.8, 1, BOX), (0.6, 1, NEAR)],
    [(0.5, 1, NEAR), (0.4, 1, BOX)],
    [(0.6, 1, BOX), (0.55, 1, NEAR)],
  ),
  "nothing at all": ([], [], []),
}


@pytest.mark.parametrize("caption", VIEWS)
def test_fusing_two_views(caption):
  one, two, expected = VIEWS[caption]
  fused, expected = assemble.fuse([view(*one), view(*two)]), view(*expected)
  assert fused.scores is not None
  assert expected.scores is not None
  np.testing.assert_allclose(fused.scores, expected.scores, atol=1e-6)
  np.testing.assert_array_equal(fused.labels, expected.labels)
  np.testing.assert_allclose(fused.boxes_yxyx, expected.boxes_yxyx, atol=1e-5)
  assert (fused.filename, fused.image_hw) == ("p.png", (100, 200))


def test_a_single_view_stays_as_it_is():
  only = view((0.9, 1, BOX), (0.2, 1, NEAR))
  assert assemble.fuse([only]) is only


def test_boxes_that_are_not_finite_stay_alone():
  broken = (np.nan, 0, 1, 1)
  fused = assemble.fuse([view((0.9, 1, broken)), view((0.5, 1, BOX))])
  assert len(fused.labels) == 2


def test_corners_and_position_are_those_of_the_best_box():
  one, two = view((0.3, 1, BOX), (0.2, 2, FAR)), view((0.9, 1, NEAR))
  one, two = (
    dataclasses.replace(
      v,
      oriented_yx=boxes_lib.corners_yx(v.boxes_yxyx),
      positions=v.boxes_yxyx[:, 0].astype(np.int32),
    )
    for v in (one, two)
  )
  fused = assemble.fuse([one, two])
  np.testing.assert_array_equal(fused.positions, [NEAR[0], FAR[0]])
  unknown = dataclasses.replace(two, positions=np.int32([NO_POSITION]))
  fused = assemble.fuse([one, unknown])
  np.testing.assert_array_equal(fused.positions, [BOX[0], FAR[0]])
  best = np.array([NEAR, FAR], np.float32)
  np.testing.assert_array_equal(fused.oriented_yx, boxes_lib.corners_yx(best))
