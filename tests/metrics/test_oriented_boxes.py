"""IoU, AP and errors of oriented boxes."""

import dataclasses

import numpy as np
import pytest
import scene_helpers

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core.structs import PageBoxes
from dwd_jax.metrics import matching, protocols
from dwd_jax.metrics import pairs as pairs_lib
from dwd_jax.metrics.matching import BACKGROUND, LOCATION, RIGHT


def _turned(center_yx, hw, degrees):
  """Corners of a rectangle, turned about its centre."""
  height, width = hw
  corners = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * (height, width) / 2
  c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
  return corners @ np.array([[c, -s], [s, c]]) + center_yx


def _page(corners, scores=None):
  corners = np.array(corners, np.float32).reshape(-1, 4, 2)
  return PageBoxes(
    filename="p",
    image_hw=(100, 100),
    boxes_yxyx=np.concatenate([corners.min(1), corners.max(1)], 1),
    labels=np.zeros(len(corners), np.int32),
    scores=scores,
    oriented_yx=corners,
  )


SQUARE = _turned((50, 50), (20, 20), 0)
TURNED = _turned((50, 50), (4, 40), 30)
# Caption: two outlines, and their IoU.
PAIRS = {
  "the same, from another corner": (TURNED, np.roll(TURNED, 1, axis=0), 1.0),
  "the same, the other way around": (TURNED, TURNED[::-1], 1.0),
  "an octagon": (
    SQUARE, _turned((50, 50), (20, 20), 45), (2**0.5 - 1) / (2 - 2**0.5)
  ),
  "a cross": (TURNED, _turned((50, 50), (4, 40), 120), 16 / (320 - 16)),
  "a half along an edge": (SQUARE, np.add(SQUARE, (0, 10)), 1 / 3),
  "a quarter at a corner": (SQUARE, 40 + (SQUARE - 40) / 2, 1 / 4),
  "edges that touch": (SQUARE, np.add(SQUARE, (0, 20)), 0.0),
  "apart, upright boxes overlap": (
    TURNED, np.add(TURNED, (10, 0)), 0.0
  ),
  "a line": (SQUARE, SQUARE[[0, 2, 0, 2]], 0.0),
  "a point": (SQUARE, SQUARE[[0, 0, 0, 0]], 0.0),
}  # fmt: skip


@pytest.mark.parametrize("caption", PAIRS)
def test_iou(caption):
  *outlines, expected = PAIRS[caption]
  a, b = (np.array(outline)[None] for outline in outlines)
  for first, second in ((a, b), (b, a)):
    pairs = pairs_lib.overlapping_oriented(first, second, 1e-6)
    iou = pairs.iou.sum()
    assert iou == pytest.approx(expected, abs=1e-6)


def _turned_page(page, degrees):
  """The page's boxes as oriented ones, all turned together."""
  c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
  corners = boxes_lib.corners_yx(page.boxes_yxyx.astype(np.float64))
  corners = corners @ np.array([[c, -s], [s, c]])
  return dataclasses.replace(
    page,
    boxes_yxyx=np.concatenate([corners.min(1), corners.max(1)], axis=1),
    oriented_yx=corners,
  )


def _measured(sides, protocol, **options):
  meter = protocols.Meter(
    scene_helpers.CLASSES, protocols.PROTOCOLS[protocol], **options
  )
  for pages in zip(*sides, strict=True):
    meter.add(*pages)
  return meter.table().ap


@pytest.mark.parametrize("protocol", ["coco", "voc"])
@pytest.mark.parametrize("crowded", [False, True])
def test_ap_does_not_depend_on_how_all_boxes_are_turned(protocol, crowded):
  for seed in range(6):
    truth, found = scene_helpers.scene(seed, crowded=crowded)
    expected = _measured((truth, found), protocol)
    turned = [[_turned_page(p, 31) for p in side] for side in (truth, found)]
    for sides in ((truth, found), turned):
      ap = _measured(sides, protocol, rotated=True)
      np.testing.assert_allclose(ap, expected, atol=1e-12)
    # Upright boxes are measured upright, whatever else a page has.
    upright = _measured(turned, protocol)
    bare = [
      [dataclasses.replace(p, oriented_yx=None) for p in side]
      for side in turned
    ]
    np.testing.assert_array_equal(upright, _measured(bare, protocol))


def test_a_beam_that_slopes_the_other_way_is_found_upright_only():
  truth = _page(_turned((50, 50), (4, 40), 30))
  found = _page(_turned((50, 50), (4, 40), -30), np.ones(1))
  assert _measured(([truth], [found]), "coco")[0, 0] == 1
  assert _measured(([truth], [found]), "coco", rotated=True)[0, 0] == 0


# Truth is a beam at 45 degrees, 4 px thick and 60 px long; the detection is the
# same beam, moved. Caption: its move (y, x), kind upright, kind oriented.
MOVED = {
  "in its place": ((0, 0), RIGHT, RIGHT),
  "across, the next beam of the group": ((7, 0), RIGHT, BACKGROUND),
  "across by a part of its thickness": ((3, 0), RIGHT, LOCATION),
  "along its own slope": ((12, -12), LOCATION, RIGHT),
  "far away": ((40, 40), BACKGROUND, BACKGROUND),
}


@pytest.mark.parametrize("caption", MOVED)
def test_errors_of_a_thin_box_that_slants(caption):
  by, *expected = MOVED[caption]
  beam = _turned((50, 50), (4, 60), -45)
  truth, found = _page(beam), _page(np.add(beam, by), np.ones(1))
  pages = ((truth.upright(), found.upright()), (truth, found))
  kinds = [matching.judge_page(*page).kind.item() for page in pages]
  assert kinds == expected
  # Of one side alone the corners say nothing.
  for mixed in ((truth.upright(), found), (truth, found.upright())):
    assert matching.judge_page(*mixed).kind.item() == expected[0]
  hit = [matching.match(*page).hit.item() for page in pages]
  assert hit == [kind == RIGHT for kind in expected]


@pytest.mark.parametrize("crowded", [False, True])
def test_errors_do_not_depend_on_how_all_boxes_are_turned(crowded):
  upright, turned = matching.Collector(), matching.Collector()
  scene = scene_helpers.scene(4, pages=8, crowded=crowded)
  for truth, found in zip(*scene, strict=True):
    sides = (_turned_page(truth, 31), _turned_page(found, 31))
    of_page = matching.judge_page(truth, found)
    upright.add(truth, found, of_page)
    bare = matching.judge_page(*(side.upright() for side in sides))
    turned.add(truth, found, bare, matching.judge_page(*sides))
  expected, got = upright.outcomes(), turned.rotated()
  assert upright.rotated() is None and got is not None
  for name in ("kind", "of_truth", "labels", "scores", "page"):
    np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))
  assert len(set(got.kind.tolist())) > 2
  # The upright boxes around them overlap otherwise.
  assert (turned.outcomes().kind != got.kind).any()
