"""Boxes -> energy, class and size maps, rendered on the device.

Every box paints a small disc around its centre on the maps of its energy group
(`labels -> group`, see `dwd_jax.objectives.energy_groups`). Exact against maps
recorded from the original code for every box that does not touch the crop's
edge; what differs on purpose: discs are cut at the crop's edge (the original
shrank them from both sides), the last row and column are painted, and a
box-sized disc whose top equals its left does not vanish.
"""

import dataclasses
import functools
import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import NUM_ENERGY_LEVELS, Array, Targets
from dwd_jax.objectives import large_discs

_BOX_SHARE = 0.8  # size of a box-sized disc relative to its box


@dataclasses.dataclass(frozen=True)
class TargetConfig:
  """How boxes become maps.

  Attributes:
    num_energy_levels: number E of energy levels, 2 or more; level 0 is
      background, E - 1 the centre of an object.
    energy_disc: size of the energy disc. fixed: `targets.energy_disc_px`; box:
      0.8 x the sides of the box; mask: the object's own ink, from its pixel
      nearest to the box's centre outwards (records with masks,
      `data.options.masks`).
    energy_disc_px: diameter of the fixed energy disc, px: 1, or 3 or more.
    disc_center: exact: the fixed energy disc lies around the box's centre to a
      fraction of a pixel, other discs (and one of 1 px) around the pixel that
      holds it; rounded (the paper): all discs are up to 1 px away.
    energy_shape: shape of the energy disc.
    energy_profile: how the energy falls from the centre of the disc to its
      edge.
    large_share: discs of large objects grow with the box: the energy disc is
      an oval of this share of the sides of the box, where that is more than
      `targets.energy_disc_px`; class and size discs are half as large, where
      that is more than theirs. 0 = all discs are fixed (the paper).
    class_disc_px: diameter of the disc on which classes are trained, px: 1, or
      3 or more.
    class_overlap: which box counts where class discs overlap. last: the later
      one (the paper); nearest: the one with the nearest centre.
    size_disc_px: diameter of the disc on which box sizes are trained, px: 1, or
      3 or more; where discs overlap, the box with the nearest centre counts.
    energy_strides: strides at which the final energy map is trained, 1 or more:
      8 = every 8th pixel of every 8th row. Coarser maps of their own have
      `model.deep_energy_strides`.
    size_strides: the same for box sizes and centre offsets.
    stride_reduction: how the losses of all strides, and those of all levels of
      RefineNet with heads, become one: their mean or their minimum.
  """

  num_energy_levels: int = NUM_ENERGY_LEVELS
  energy_disc: Literal["fixed", "box", "mask"] = "fixed"
  energy_disc_px: int = 17
  disc_center: Literal["exact", "rounded"] = "exact"
  energy_shape: Literal["oval", "square"] = "oval"
  energy_profile: Literal["linear", "root", "quadratic"] = "linear"
  large_share: float = 0.0
  class_disc_px: int = 9
  class_overlap: Literal["last", "nearest"] = "last"
  size_disc_px: int = 9
  energy_strides: tuple[int, ...] = (1, 8, 16)
  size_strides: tuple[int, ...] = (1, 8)
  stride_reduction: Literal["mean", "min"] = "mean"

  def __post_init__(self):
    if self.num_energy_levels < 2:
      raise InputError(
        f"config: targets.num_energy_levels is {self.num_energy_levels}; use 2"
        " or more"
      )
    for key in ("energy_disc_px", "class_disc_px", "size_disc_px"):
      size = getattr(self, key)
      if size < 1 or size == 2:  # its pixels are as far out as its edge
        raise InputError(
          f"config: targets.{key} is {size}, which may paint nothing; use 1, or"
          " 3 or more"
        )
    if not 0 <= self.large_share <= 1:
      raise InputError(
        f"config: targets.large_share is {self.large_share}; use 0 to 1"
      )
    if self.large_share and self.energy_disc != "fixed":
      raise InputError(
        "config: targets.large_share needs targets.energy_disc=fixed"
      )
    for key in ("energy_strides", "size_strides"):
      strides = getattr(self, key)
      if not strides or min(strides) < 1:
        raise InputError(
          f"config: targets.{key} is {strides}; use one or more, all above 0"
        )


def _profile(value, peak, profile: str):
  """Applies the decrease; `peak` is the disc's highest value, at its middle."""
  if profile == "linear":
    return value
  ratio = value / peak
  return jnp.sqrt(ratio) if profile == "root" else ratio**2


def _fixed_disc(
  size_px: int, shape: str, profile: str, levels: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns offsets [P, 2] from the disc's top left and levels [P] > 0."""
  radius = max((size_px - 1) / 2, 1e-9)
  distance = np.abs(np.arange(size_px) - (size_px - 1) / 2)
  dy, dx = np.meshgrid(distance, distance, indexing="ij")
  r = np.hypot(dy, dx) if shape == "oval" else np.maximum(dy, dx)
  value = np.clip(1 - r / radius, 0, 1)
  if profile != "linear":
    value = value**2 if profile == "quadratic" else np.sqrt(value)
  level = np.round((levels - 1) * value).astype(np.int32)
  inside = (r < radius) | (r == 0)
  return np.argwhere(inside).astype(np.int32), level[inside]


def _disc_start(boxes_yxyx, size, center: str = "rounded"):
  """Top-left pixel of a disc of `size` px laid on the boxes' centres.

  "rounded" rounds half to even twice, as the original; "exact" centres odd
  discs on the pixel that holds the box's centre. `size` is [..., 1 or 2].
  """
  top_left, box_hw = boxes_yxyx[..., :2], boxes_lib.sizes_hw(boxes_yxyx)
  if center == "exact":
    start = jnp.floor(top_left + box_hw / 2 - (size - 1) / 2)
  else:
    start = jnp.round(top_left + jnp.round((box_hw - size) / 2))
  return start.astype(jnp.int32)


def _flat_index(start, offsets, groups, box_mask, shape):
  """Indices [N, P] into a flat [H * W * G] map; out of range if invisible."""
  height, width, num_groups = shape
  pos = start[:, None, :] + offsets[None]  # [N, P, 2]
  y, x = pos[..., 0], pos[..., 1]
  inside = (y >= 0) & (y < height) & (x >= 0) & (x < width) & box_mask[:, None]
  index = (y * width + x) * num_groups + groups[:, None]
  return jnp.where(inside, index, height * width * num_groups)


def render_energy(
  boxes_yxyx: Float[Array, "N 4"],
  groups: Int[Array, " N"],
  box_mask: Bool[Array, " N"],
  hw: tuple[int, int],
  num_groups: int,
  cfg: TargetConfig,
) -> Int[Array, "H W G"]:
  """Energy levels at stride 1; where discs overlap the highest stays.

  Args:
    boxes_yxyx: boxes in pixels.
    groups: energy group of each box, 0 .. G-1.
    box_mask: True for real boxes.
    hw: (height, width) of the maps.
    num_groups: G.
    cfg: see `TargetConfig`.

  Returns:
    Levels 0 .. E-1.

  Reference: Tuggener et al. 2018, section 3.2 (energy map).
  """
  if cfg.energy_disc == "box":
    return _render_box_energy(boxes_yxyx, groups, box_mask, hw, num_groups, cfg)
  # A disc of one pixel has no room for a centre between pixels.
  if cfg.disc_center == "exact" and cfg.energy_disc_px > 1:
    start, offsets, levels = _exact_discs(boxes_yxyx, cfg)
  else:
    offsets, levels = _fixed_disc(
      cfg.energy_disc_px,
      cfg.energy_shape,
      cfg.energy_profile,
      cfg.num_energy_levels,
    )
    size = float(cfg.energy_disc_px)
    start = _disc_start(boxes_yxyx, size, cfg.disc_center)
  shape = (*hw, num_groups)
  index = _flat_index(start, offsets, groups, box_mask, shape)
  values = jnp.broadcast_to(jnp.asarray(levels), index.shape)
  flat = jnp.zeros(math.prod(shape), jnp.int32)
  energy = flat.at[index].max(values, mode="drop").reshape(shape)
  if not cfg.large_share:
    return energy
  return large_discs.add_energy(
    energy,
    *(boxes_yxyx, groups, box_mask),
    share=cfg.large_share,
    least_px=cfg.energy_disc_px,
    level_of=functools.partial(_level, cfg=cfg),
  )


def _exact_discs(boxes_yxyx, cfg):
  """Fixed discs around centres between pixels.

  Returns top-left pixels [N, 2], offsets [P, 2] and levels [N, P], 0 outside.
  """
  size = cfg.energy_disc_px + 1  # a disc between pixels touches one more
  center = boxes_lib.centers_yx(boxes_yxyx)
  start = jnp.floor(center - cfg.energy_disc_px / 2)
  offsets = np.argwhere(np.ones((size, size), bool)).astype(np.int32)
  # Distance of the middle of each pixel from the centre, by rows and columns.
  delta = jnp.abs(start[..., None] + np.arange(size) + 0.5 - center[..., None])
  dy, dx = delta[:, 0, :, None], delta[:, 1, None, :]  # [N, size, size]
  square = cfg.energy_shape == "square"
  distance = jnp.maximum(dy, dx) if square else jnp.sqrt(dy**2 + dx**2)
  distance = distance.reshape(len(boxes_yxyx), -1)  # [N, P]
  value = jnp.clip(1 - distance / ((cfg.energy_disc_px - 1) / 2), 0, 1)
  return start.astype(jnp.int32), offsets, _level(value, cfg)


def _level(value, cfg):
  """From 0 at the edge of a disc to 1 at its centre -> energy level."""
  value = _profile(value, 1.0, cfg.energy_profile)
  return jnp.round((cfg.num_energy_levels - 1) * value).astype(jnp.int32)


def _render_box_energy(boxes_yxyx, groups, box_mask, hw, num_groups, cfg):
  """Discs of 0.8 x the box; one pass over the whole map for every box."""
  box_hw = boxes_lib.sizes_hw(boxes_yxyx)
  sizes = jnp.maximum(jnp.floor(_BOX_SHARE * box_hw), 1.0)  # [N, 2]
  starts = _disc_start(boxes_yxyx, sizes, cfg.disc_center)
  rows = jnp.arange(hw[0])[:, None]
  columns = jnp.arange(hw[1])[None]
  group_ids = jnp.arange(num_groups)

  def distance(y, x, size):
    # Offsets are stretched to the longer side, so that the disc fills its box.
    longest = size.max()
    dy = jnp.abs(y - (size[0] - 1) / 2) * (longest / size[0])
    dx = jnp.abs(x - (size[1] - 1) / 2) * (longest / size[1])
    if cfg.energy_shape == "square":
      return jnp.maximum(dy, dx)
    return jnp.sqrt(dy * dy + dx * dx)

  def paint(i, levels):
    size, start = sizes[i], starts[i]
    y, x = rows - start[0], columns - start[1]
    wide = size[1] >= size[0]
    # The level is 0 at the middle of the two far edges of the disc.
    edge = jnp.where(
      wide,
      distance(jnp.floor(size[0] / 2), 0.0, size),
      distance(0.0, jnp.floor(size[1] / 2), size),
    )
    edge = jnp.maximum(edge, 1e-6)
    value = jnp.clip(1 - distance(y, x, size) / edge, 0, 1)
    middle = jnp.floor(size / 2)
    peak = 1 - distance(middle[0], middle[1], size) / edge
    value = _profile(value, jnp.maximum(peak, 1e-6), cfg.energy_profile)
    level = jnp.round((cfg.num_energy_levels - 1) * value).astype(jnp.int32)
    inside = (y >= 0) & (y < size[0]) & (x >= 0) & (x < size[1]) & box_mask[i]
    level = jnp.where(inside, level, 0)[..., None]
    return jnp.maximum(levels, jnp.where(group_ids == groups[i], level, 0))

  levels = jnp.zeros((*hw, num_groups), jnp.int32)
  return jax.lax.fori_loop(0, boxes_yxyx.shape[0], paint, levels)


def render_owner(
  boxes_yxyx: Float[Array, "N 4"],
  groups: Int[Array, " N"],
  box_mask: Bool[Array, " N"],
  hw: tuple[int, int],
  num_groups: int,
  disc_px: int,
  overlap: str,
  center: str,
  large_share: float = 0.0,
) -> Int[Array, "H W G"]:
  """Index of the box whose disc covers a pixel; -1 = background.

  For the arguments not listed see `render_energy`.

  Args:
    disc_px: diameter of the round disc.
    overlap: "last" (the later box, as the paper) or "nearest" (centre; the
      later box where two are as near).
    center: see `TargetConfig.disc_center`.
    large_share: discs of large objects are as large, by the sides of the box.
  """
  n = boxes_yxyx.shape[0]
  offsets, _ = _fixed_disc(disc_px, "oval", "linear", 2)
  start = _disc_start(boxes_yxyx, float(disc_px), center)
  shape = (*hw, num_groups)
  index = _flat_index(start, offsets, groups, box_mask, shape)
  key = jnp.broadcast_to(jnp.arange(n)[:, None], index.shape)
  if overlap == "nearest":
    # 4 x the squared distance is whole; the nearer the disc, the larger.
    twice = 2 * offsets - (disc_px - 1)
    square = (twice**2).sum(-1)
    key = key + n * jnp.asarray(square.max() - square)
  flat = jnp.full(math.prod(shape), -1, jnp.int32)
  owner = flat.at[index].max(key, mode="drop").reshape(shape)
  owner = jnp.where(owner < 0, -1, owner % n)
  if not large_share:
    return owner
  return large_discs.add_owners(
    owner,
    *(boxes_yxyx, groups, box_mask),
    share=large_share,
    least_px=disc_px,
  )


def _render_one(boxes_yxyx, labels, box_mask, group_of_class, hw, cfg):
  """Maps of one image, see `render`."""
  num_groups = int(group_of_class.max()) + 1
  groups = jnp.asarray(group_of_class)[labels]
  common = (boxes_yxyx, groups, box_mask, hw, num_groups)
  energy = render_energy(*common, cfg)
  half = cfg.large_share / 2
  owner = render_owner(
    *common, cfg.class_disc_px, cfg.class_overlap, cfg.disc_center, half
  )
  classes = jnp.where(owner < 0, 0, labels[owner] + 1)
  size_owner = render_owner(
    *common, cfg.size_disc_px, "nearest", cfg.disc_center, half
  )
  box_hw = boxes_lib.sizes_hw(boxes_yxyx)
  centers = boxes_yxyx[:, :2] + box_hw / 2
  middles = jnp.stack(jnp.indices(hw), -1)[:, :, None] + 0.5  # [H, W, 1, 2]
  known = (size_owner >= 0)[..., None]
  sizes = jnp.where(known, box_hw[size_owner], 0.0)
  offsets = jnp.where(known, centers[size_owner] - middles, 0.0)
  return Targets(energy, classes, sizes, owner, offsets)


def render(
  boxes_yxyx: Float[Array, "B N 4"],
  labels: Int[Array, "B N"],
  box_mask: Bool[Array, "B N"],
  group_of_class: Int[np.ndarray, " C"],
  hw: tuple[int, int],
  cfg: TargetConfig,
  masks: UInt8[Array, "B N p p"] | None = None,
) -> Targets:
  """Renders all maps of a batch at stride 1.

  Args:
    boxes_yxyx: padded boxes in pixels.
    labels: class ids 0 .. C-1.
    box_mask: True for real boxes.
    group_of_class: energy group of each class; the largest id + 1 is G.
    hw: (height, width) of the images.
    cfg: see `TargetConfig`.
    masks: see `Batch.masks`; None = energy comes from boxes.

  Returns:
    Targets at stride 1; the maps of stride s are `losses.subsample` of them.
  """

  def one(boxes, ids, mask):
    return _render_one(boxes, ids, mask, group_of_class, hw, cfg)

  targets = jax.vmap(one)(boxes_yxyx, labels, box_mask)
  if masks is None:
    return targets
  of_masks = masks, boxes_yxyx, labels, box_mask, group_of_class
  return targets.replace(energy=render_masks(*of_masks, hw=hw, cfg=cfg))


def render_unknown(
  boxes_yxyx: Float[Array, "B N 4"],
  labels: Int[Array, "B N"],
  ignored: Bool[Array, "B N"],
  group_of_class: Int[np.ndarray, " C"],
  energy: Int[Array, "B H W G"],
  cfg: TargetConfig,
) -> Bool[Array, "B H W G"]:
  """Background on the energy discs of boxes that may be objects or not.

  For the other arguments see `render`.

  Args:
    ignored: True for such boxes.
    energy: of the other boxes.
  """
  _, height, width, num_groups = energy.shape

  def one(boxes, ids, mask):
    groups = jnp.asarray(group_of_class)[ids]
    hw = height, width
    return render_energy(boxes, groups, mask, hw, num_groups, cfg)

  return (jax.vmap(one)(boxes_yxyx, labels, ignored) > 0) & (energy == 0)


def render_masks(
  masks: UInt8[Array, "B N p p"],
  boxes_yxyx: Float[Array, "B N 4"],
  labels: Int[Array, "B N"],
  box_mask: Bool[Array, "B N"],
  group_of_class: Int[np.ndarray, " C"],
  hw: tuple[int, int],
  cfg: TargetConfig,
) -> Int[Array, "B H W G"]:
  """Energy levels on masks of objects; where they overlap the highest stays.

  For the arguments see `render`.

  Reference: an option of the original on branches; the fall from the middle of
  a mask outwards is ours.
  """
  num_groups = int(group_of_class.max()) + 1
  side = masks.shape[-1]

  def weights(length, low, high):
    at = (jnp.arange(length) + 0.5 - low) / jnp.maximum(high - low, 1e-6) * side
    inside = (at >= 0) & (at <= side)
    at = jnp.clip(at - 0.5, 0, side - 1)
    near = jnp.maximum(1 - jnp.abs(at[:, None] - jnp.arange(side)), 0)
    return jnp.where(inside[:, None], near, 0.0)

  def one(masks, boxes, ids, real):
    groups = jnp.asarray(group_of_class)[ids]

    def paint(i, levels):
      y0, x0, y1, x1 = boxes[i]
      value = (
        weights(hw[0], y0, y1)
        @ (masks[i].astype(jnp.float32) / 255)
        @ weights(hw[1], x0, x1).T
      )
      value = _profile(jnp.clip(value, 0, 1), 1.0, cfg.energy_profile)
      level = jnp.round((cfg.num_energy_levels - 1) * value).astype(jnp.int32)
      level = jnp.where(real[i], level, 0)[..., None]
      here = jnp.arange(num_groups) == groups[i]
      return jnp.maximum(levels, jnp.where(here, level, 0))

    levels = jnp.zeros((*hw, num_groups), jnp.int32)
    return jax.lax.fori_loop(0, len(boxes), paint, levels)

  return jax.vmap(one)(masks, boxes_yxyx, labels, box_mask)
