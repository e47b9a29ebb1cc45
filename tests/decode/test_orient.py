"""Oriented boxes: targets -> perfect maps -> decode gives the corners back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core import rectangles, structs
from dwd_jax.decode import decode_config, orient, votes, watershed
from dwd_jax.objectives import oriented_targets, targets

_HW, _SLOTS = (128, 160), 16
_GROUPS = np.array([0, 1], np.int32)


@jax.jit
def _there_and_back(boxes, labels, mask, corners):
  maps = targets.render(
    boxes[None],
    labels[None],
    mask[None],
    _GROUPS,
    _HW,
    targets.TargetConfig(),
    corners[None],
  )

  def class_fn(page, y, x, group):
    found = jnp.asarray(maps.classes)[page, y, x, group] - 1
    return votes.Likeliest(found, len(_GROUPS))

  found = watershed.decode_levels(
    maps.energy.astype(jnp.float32),
    watershed.read_map(maps.sizes_px),
    class_fn,
    decode_config.DecodeConfig(max_detections=_SLOTS),
  )
  read = watershed.read_map(maps.oriented)
  return orient.add_corners(found, read, _GROUPS, _HW)


_suppress = jax.jit(orient.suppress, static_argnames="cfg")


def _found(corners, labels, most_iou=0.0):
  """What perfect maps of some corners become."""
  n, rest = len(labels), (0, _SLOTS - len(labels))
  boxes = np.concatenate([corners.min(1), corners.max(1)], 1)
  high = np.array([*_HW, *_HW])
  found = _there_and_back(
    np.pad(np.clip(boxes, 0, high).astype(np.float32), (rest, (0, 0))),
    np.pad(np.int32(labels), rest),
    np.arange(_SLOTS) < n,
    np.pad(np.float32(corners), (rest, (0, 0), (0, 0))),
  )
  if most_iou:
    cfg = decode_config.DecodeConfig(suppress_iou=most_iou)
    found = _suppress(found, cfg=cfg)
  return jax.tree.map(lambda x: np.asarray(x[0]), found)


def _bars(centers, length, width, angles):
  along = np.stack([np.sin(angles), np.cos(angles)], -1) * length / 2
  across = np.stack([np.cos(angles), -np.sin(angles)], -1) * width / 2
  ways = [-along - across, along - across, along + across, across - along]
  return np.asarray(centers)[:, None] + np.stack(ways, 1)


def _farthest(one, other):
  """Largest distance of each corner from the nearest of the other box."""
  gaps = np.linalg.norm(one[:, None] - other[None], axis=-1)
  return max(gaps.min(0).max(), gaps.min(1).max())


@pytest.mark.parametrize("seed", range(3))
def test_corners_come_back_at_any_angle(seed):
  rng = np.random.default_rng(seed)
  centers = [(y, x) for y in (40.3, 88.6) for x in (30.2, 80.5, 125.7)]
  angles = rng.uniform(-np.pi, np.pi, 6)
  angles[0] = 0  # an upright box
  corners = _bars(centers, rng.uniform(30, 40), rng.uniform(4, 25), angles)
  found = _found(corners, np.arange(6) % 2)
  assert found.valid.sum() == 6
  for center, wanted in zip(centers, corners, strict=True):
    middles = rectangles.centers_yx(found.oriented_yx)
    i = np.linalg.norm(middles - center, axis=-1).argmin()
    assert _farthest(found.oriented_yx[i], wanted) < 0.5
  assert not found.oriented_yx[6:].any()


def test_boxes_are_cut_as_upright_ones_at_the_edge():
  """The visible part of a bar that goes out of the crop, at its angle."""
  corners = _bars([(60, 0)], 100, 8, np.array([0.3]))
  found = _found(corners, [0])
  wanted = _bars([(60, 0)], 100, 8, np.array([0.3]))[0]
  wanted[[0, 3]] += 0.5 * (wanted[[1, 2]] - wanted[[0, 3]])
  along = (wanted[1] - wanted[0]) / np.linalg.norm(wanted[1] - wanted[0])
  wanted[[0, 3]] -= 4 * np.tan(0.3) * along  # its corner is on the edge
  assert _farthest(found.oriented_yx[0], wanted) < 0.5
  beside = corners + np.array([0, 300])  # not seen: the upright box
  boxes = np.float32([[3, 4, 9, 12]])
  cut = jax.jit(oriented_targets.clip, static_argnums=2)(beside, boxes, _HW)
  np.testing.assert_allclose(cut, boxes_lib.corners_yx(boxes))


@pytest.mark.parametrize(("most_iou", "count"), [(0.0, 3), (0.3, 2)])
def test_crossing_bars_are_two_objects(most_iou, count):
  """Their upright boxes are the same; a third one lies on the first."""
  place = [(60, 70), (60, 80), (60, 70)]
  corners = _bars(place, 60, 8, np.array([0.78, -0.78, 0.72]))
  found = _found(corners, [0, 0, 1], most_iou)
  assert found.count == found.valid.sum() == count
  upright = boxes_lib.pairwise_iou(found.boxes_yxyx, found.boxes_yxyx)
  assert upright[0, 1] > 0.6
  if count == 2:
    assert _farthest(found.oriented_yx[0], found.oriented_yx[1]) > 20


def test_the_upright_box_stands_in_for_what_is_not_finite():
  boxes = np.float32([[[2, 3, 8, 9], [0, 0, 0, 0]]])
  found = structs.Detections(
    boxes_yxyx=boxes,
    labels=np.zeros((1, 2), np.int32),
    scores=np.float32([[0.5, 0]]),
    valid=np.array([[True, False]]),
    count=np.int32([1]),
  )

  def nothing(page, y, x, group):
    return jnp.full((len(page), 5), jnp.nan)

  add = jax.jit(lambda found: orient.add_corners(found, nothing, _GROUPS, _HW))
  got = add(found).oriented_yx
  np.testing.assert_allclose(got[0, 0], boxes_lib.corners_yx(boxes[0, 0]))
  assert not np.any(got[0, 1])
