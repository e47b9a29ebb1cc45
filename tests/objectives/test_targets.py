"""Target maps: golden values of the original code, edges, overlaps, groups."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.objectives import losses, targets


@pytest.fixture(scope="module")
def golden(golden_dir):
  # Recorded from the original code (commit ac54e34, Python 3.6, NumPy 1.16).
  with np.load(golden_dir / "reference_maps.npz") as maps:
    return dict(maps)


@functools.partial(jax.jit, static_argnames=("groups", "hw", "cfg"))
def _compiled(boxes_yxyx, labels, mask, groups, hw, cfg):
  of_class = np.array(groups, np.int32)
  return targets.render(
    boxes_yxyx[None], labels[None], mask[None], of_class, hw, cfg
  )


def _render(boxes_yxyx, labels, hw, cfg, groups=(0,) * 200, used=True):
  """Maps of one page; few are compiled, as boxes are padded."""
  pad = -len(labels) % (8 if len(labels) <= 8 else _MAX_BOXES)
  out = _compiled(
    np.pad(np.float32(boxes_yxyx), ((0, pad), (0, 0))),
    np.pad(np.int32(labels), (0, pad)),
    np.arange(len(labels) + pad) < len(labels) * used,
    groups,
    hw,
    cfg,
  )
  return jax.tree.map(lambda x: np.asarray(x)[0], out)


def _touched(boxes_yxyx, disc_hw, hw):
  """Pixels of the discs that meet the edge: the original's quirk is there."""
  mask = np.zeros(hw, bool)
  disc_hw = np.broadcast_to(disc_hw, (len(boxes_yxyx), 2))
  start = np.asarray(targets._disc_start(boxes_yxyx, disc_hw))
  for (y, x), (h, w) in zip(start, disc_hw.astype(int), strict=True):
    if y <= 0 or x <= 0 or y + h >= hw[0] or x + w >= hw[1]:
      mask[max(y - 2, 0) : y + h + 2, max(x - 2, 0) : x + w + 2] = True
  return mask


PAPER = targets.TargetConfig(disc_center="rounded")
_MAX_BOXES = 48  # of a crop
CROPS = pytest.mark.parametrize("crop", range(5))


@CROPS
def test_fixed_discs_equal_the_original(golden, crop):
  boxes = golden[f"crop{crop}_boxes_xyxy"][:, [1, 0, 3, 2]]
  labels = golden[f"crop{crop}_labels"]
  maps = _render(boxes, labels, (480, 480), PAPER)
  edge17 = _touched(boxes, 17, (480, 480))
  edge9 = _touched(boxes, 9, (480, 480))
  assert edge17.mean() < 0.02
  for stride in (1, 8, 16):
    want = golden[f"crop{crop}_energy_17px_oval_stride{stride}"]
    got = losses.subsample(maps.energy[None], stride)[0, ..., 0]
    keep = ~edge17[::stride, ::stride]
    np.testing.assert_array_equal(got[keep], want[keep])
  # The recorded map holds the label itself, so class 0 looks like background.
  got = np.maximum(maps.classes[..., 0] - 1, 0)
  want = golden[f"crop{crop}_class_9px_stride1"]
  np.testing.assert_array_equal(got[~edge9], want[~edge9])
  for stride in (1, 8):
    want = golden[f"crop{crop}_size_9px_nearest_stride{stride}"]
    got = maps.sizes_px[::stride, ::stride, 0]
    keep = ~edge9[::stride, ::stride]
    np.testing.assert_array_equal(got[keep], want[keep])


@CROPS
@pytest.mark.parametrize("profile", ["linear", "quadratic"])
def test_box_discs_equal_the_original(golden, crop, profile):
  boxes = golden[f"crop{crop}_boxes_xyxy"][:, [1, 0, 3, 2]]
  labels = golden[f"crop{crop}_labels"]
  cfg = dataclasses.replace(PAPER, energy_disc="box", energy_profile=profile)
  got = _render(boxes, labels, (480, 480), cfg).energy[..., 0]
  want = golden[f"crop{crop}_energy_08box_oval_{profile}_stride1"]
  size = np.maximum(np.floor(0.8 * boxes_lib.sizes_hw(boxes)), 1)
  keep = ~_touched(boxes, size, (480, 480))
  # In the original a disc whose top equals its left is not painted at all:
  # one box each of crop 1 and crop 3.
  start = np.asarray(targets._disc_start(boxes, size))
  lost = [i for i in range(len(boxes)) if start[i, 0] == start[i, 1]]
  assert len(lost) == (crop in (1, 3))
  for i in lost:
    (y, x), (h, w) = start[i], size[i].astype(int)
    assert want[y : y + h, x : x + w].max() == 0 < got[y : y + h].max()
    keep[y : y + h, x : x + w] = False
  np.testing.assert_array_equal(got[keep], want[keep])


def test_discs_are_cut_at_the_edge_and_last_row_is_painted():
  hw = (40, 50)
  boxes = np.array([[-2, -2, 3, 3], [37, 47, 42, 52]], np.float32)
  got = _render(boxes, [0, 1], hw, PAPER)
  assert got.energy[0, 0, 0] == 19 and got.energy[39, 49, 0] == 19
  assert got.classes[0, 0, 0] == 1 and got.classes[39, 49, 0] == 2
  whole = _render(boxes + 20, [0, 1], (90, 90), PAPER)
  np.testing.assert_array_equal(
    got.energy[..., 0], whole.energy[20:60, 20:70, 0]
  )


@pytest.mark.parametrize("profile", ["linear", "root", "quadratic"])
def test_a_disc_of_one_pixel_is_the_one_that_holds_the_center(profile):
  boxes = np.array([[2, 3, 7, 8], [10.3, 10.2, 14.6, 15.9]], np.float32)
  cfg = targets.TargetConfig(
    energy_disc_px=1, disc_center="exact", energy_profile=profile
  )
  got = _render(boxes, [0, 0], (20, 20), cfg).energy[..., 0]
  wanted = np.zeros((20, 20), int)
  wanted[4, 5] = wanted[12, 13] = 19
  np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("center", ["exact", "rounded"])
@pytest.mark.parametrize("shape", ["oval", "square"])
@pytest.mark.parametrize("size", [1, 3, 4])  # 2 px are refused
def test_small_discs_paint_wherever_the_center_is(size, shape, center):
  cfg = targets.TargetConfig(
    energy_disc_px=size,
    class_disc_px=size,
    size_disc_px=size,
    energy_shape=shape,
    energy_profile="quadratic",
    disc_center=center,
  )
  centers = np.array([[6, 6], [6.5, 18], [18.25, 6.75], [18.5, 18.5]])
  boxes = np.concatenate([centers - 3, centers + 3], 1)
  got = _render(boxes, [0, 1, 2, 3], (24, 24), cfg)
  for y, x in centers.astype(int):
    around = np.s_[y - 3 : y + 4, x - 3 : x + 4]
    assert got.energy[around].max() > 0
    assert got.classes[around].max() > 0
    assert got.sizes_px[around].max() == 6


def test_overlap_last_and_nearest():
  boxes = np.array([[10, 10, 20, 20], [10, 14, 20, 24]], np.float32)
  last = _render(boxes, [5, 7], (40, 40), PAPER)
  cfg = dataclasses.replace(PAPER, class_overlap="nearest")
  near = _render(boxes, [5, 7], (40, 40), cfg)
  y, x0 = np.argwhere(last.energy[..., 0] == 19)[0]
  assert last.classes[y, x0 + 1, 0] == 8  # inside both discs: the later box
  assert near.classes[y, x0 + 1, 0] == 6  # the nearer centre
  assert near.owner[y, x0 + 3, 0] == 1
  assert near.sizes_px[y, x0, 0].tolist() == [10, 10]


def test_offsets_lead_to_the_center():
  boxes = np.array([[10, 10, 13, 14], [9, 18.5, 21, 30], [-2, 0, 3, 5]])
  boxes = boxes.astype(np.float32)
  got = _render(boxes, [0, 1, 2], (40, 40), PAPER)
  known = got.sizes_px[..., 0, 0] > 0
  assert 100 < known.sum() < 3 * 81
  assert not got.offsets_px[~known].any()
  y, x = np.nonzero(known)
  reached = np.stack([y, x], 1) + 0.5 + got.offsets_px[y, x, 0]
  hw = got.sizes_px[y, x, 0]
  found = np.concatenate([reached - hw / 2, reached + hw / 2], 1)
  np.testing.assert_allclose(
    np.unique(found.round(3), axis=0), boxes[np.lexsort(boxes.T[::-1])]
  )


def test_groups_paint_their_own_planes_and_padding_paints_nothing():
  groups = (0, 1, 2)
  boxes = np.array([[10, 10, 20, 20]] * 3, np.float32)
  got = _render(boxes, [0, 1, 2], (32, 32), PAPER, groups)
  assert got.energy.shape == (32, 32, 3)
  assert [int(got.classes[15, 15, g]) for g in range(3)] == [1, 2, 3]
  masked = _render(boxes, [0, 0, 0], (32, 32), PAPER, groups, used=False)
  assert int(masked.energy.max()) == 0 and int(masked.owner.max()) == -1


@pytest.mark.parametrize("disc", ["fixed", "box"])
@pytest.mark.parametrize("shape", ["oval", "square"])
@pytest.mark.parametrize("profile", ["linear", "root", "quadratic"])
def test_every_disc_has_its_peak_at_the_centre(disc, shape, profile):
  cfg = targets.TargetConfig(
    energy_disc=disc, energy_shape=shape, energy_profile=profile
  )
  boxes = np.array([[20, 30, 41, 51]], np.float32)
  got = _render(boxes, [0], (64, 80), cfg).energy[..., 0]
  peaks = np.argwhere(got == got.max())
  assert abs(peaks.mean(0) - [30, 40]).max() <= 0.5
  assert got.max() >= (18 if disc == "fixed" else 17)
  # A square disc has corners, an oval one has none.
  top, left = np.argwhere(got > 0).min(0)
  assert (got[top, left] > 0) == (shape == "square")


def test_discs_of_uncertain_boxes_are_unknown_where_they_are_background():
  boxes = np.float32([[4, 4, 12, 12], [4, 8, 12, 16], [20, 20, 24, 24]])
  labels, cfg = np.zeros(3, np.int32), targets.TargetConfig(energy_disc_px=9)
  groups = np.zeros(1, np.int32)

  @jax.jit
  def energy_and_unknown(sure, ignored):
    of_page = boxes, labels, sure, (32, 32), 1, cfg
    energy = targets.render_energy(*of_page)[None]
    return energy, targets.render_unknown(
      boxes[None], labels[None], ignored[None], groups, energy, cfg
    )

  sure = np.array([True, False, False])
  energy, unknown = energy_and_unknown(sure, ~sure)
  every, none = energy_and_unknown(sure | True, sure & False)
  np.testing.assert_array_equal(unknown, (every > 0) & (energy == 0))
  assert unknown[0, 8, 14] and not unknown[0, 8, 8]
  assert not none.any()


def test_energy_of_masks():
  masks = np.zeros((2, 4, 4), np.uint8)
  masks[0, 1:3], masks[1] = 255, 128  # a bar, and a paler square
  boxes = np.float32([[4, 4, 12, 12], [8, 4, 16, 12]])
  cfg = targets.TargetConfig(energy_disc="mask", num_energy_levels=11)
  found = jax.jit(
    lambda real: targets.render_masks(
      masks[None],
      boxes[None],
      np.zeros((1, 2), np.int32),
      real[None],
      np.zeros(1, np.int32),
      hw=(20, 20),
      cfg=cfg,
    )[0, ..., 0]
  )
  alone = np.asarray(found(np.array([True, False])))
  # Two rows of cells of 2 px, with slopes between the middles of cells.
  assert alone[3:13, 8].tolist() == [0, 0, 2, 8, 10, 10, 8, 2, 0, 0]
  assert not alone[:, :4].any() and not alone[:, 12:].any()
  both = np.asarray(found(np.array([True, True])))
  assert both[8, 8] == 10 and both[12:16, 4:12].tolist() == [[5] * 8] * 4
