"""Sums over the pixels of each object: centre, size, area, confidence."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from dwd_jax.decode import basins as basins_lib
from dwd_jax.decode import config as config_lib
from dwd_jax.decode import foreground

# Sums over a page-sized object must neither overflow int32 nor pass the
# integers that float32 holds:
_LOW = 32  # coordinates are summed in two parts, see `_mean_coordinate`
_STEPS = 16  # energy levels are summed as whole sixteenths


class Objects(NamedTuple):
  """Objects of one energy plane (n pixels) in K slots.

  Attributes:
    seeds: raster index of the pixel that stands for the object.
    centers: (y, x) in pixels; the middle of the first pixel is (0.5, 0.5).
    sizes: (height, width) in pixels.
    confidence: energy, 0..1.
    area: pixels above the cutoff.
    valid: slots in use.
    count: objects found; may exceed K, then the least confident are left out.
  """

  seeds: Int[jax.Array, " K"]
  centers: Float[jax.Array, "K 2"]
  sizes: Float[jax.Array, "K 2"]
  confidence: Float[jax.Array, " K"]
  area: Int[jax.Array, " K"]
  valid: Bool[jax.Array, " K"]
  count: Int[jax.Array, ""]


def measure_components(
  roots: Int[jax.Array, " n"],
  pixels: Int[jax.Array, " m"],
  num_pixels: Int[jax.Array, ""],
  levels: Float[jax.Array, "h w"],
  sizes: Float[jax.Array, "h w 2"],
  cfg: config_lib.DecodeConfig,
) -> Objects:
  """Measures components: every pixel counts the same, as in the paper.

  Args:
    roots: for each pixel the first pixel of its component, else -1.
    pixels: list of the pixels of all components.
    num_pixels: its used length.
    levels: energy levels.
    sizes: (height, width) in pixels; 0 where unknown.
    cfg: settings of the decode.

  Returns:
    The objects.

  Reference:
    Differs from the original: centres are not truncated to whole pixels and
    mean sizes skip pixels without a size (`cfg.legacy` truncates).
  """
  w = levels.shape[1]
  level, size = levels.reshape(-1), sizes.reshape(-1, 2)
  seeds, count, row_of = _rows(roots, levels.shape)
  rows = seeds.shape[0]

  def step(state, at, live):
    ints, floats, highest = state
    row = foreground.drop_unless(live, row_of[roots[at]], rows)
    y, x = at // w, at % w
    ones = jnp.ones_like(at)
    energy = jnp.round(level[at] * _STEPS).astype(jnp.int32)
    parts = (ones, y // _LOW, y % _LOW, x // _LOW, x % _LOW, energy)
    ints = ints.at[row].add(jnp.stack(parts, 1), mode="drop")
    hw = size[at]
    known = (hw > 0).all(1, keepdims=True).astype(hw.dtype)
    parts = jnp.concatenate((known, hw * known), 1)
    floats = floats.at[row].add(parts, mode="drop")
    return ints, floats, highest.at[row].max(hw, mode="drop")

  ints, floats, highest = foreground.for_chunks(
    pixels,
    num_pixels,
    step,
    (
      jnp.zeros((rows, 6), jnp.int32),
      jnp.zeros((rows, 3), size.dtype),
      jnp.zeros((rows, 2), size.dtype),
    ),
  )
  area = ints[:, 0]
  centers = jnp.stack(
    [
      _mean_coordinate(ints[:, 1], ints[:, 2], area, cfg.legacy),
      _mean_coordinate(ints[:, 3], ints[:, 4], area, cfg.legacy),
    ],
    axis=1,
  )
  mean = floats[:, 1:] / jnp.maximum(floats[:, :1], 1)
  energy = ints[:, 5] / jnp.maximum(area, 1) / _STEPS
  energy = jnp.clip(energy / (cfg.num_energy_levels - 1), 0, 1)
  hw = highest if cfg.size == "max" else mean
  return _select(seeds, count, centers, hw, energy, area, cfg)


def measure_basins(
  basins: basins_lib.Basins,
  levels: Float[jax.Array, "h w"],
  sizes: Float[jax.Array, "h w 2"],
  cfg: config_lib.DecodeConfig,
) -> Objects:
  """Measures basins by their caps, the part above the highest pass.

  Where two discs touch, the common part of their basins is lopsided; the cap
  above the pass is not. Pixels weigh as much as they rise above the pass (or
  the cutoff), and one whose mirror image about the peak is off the page does
  not count, so that a disc cut by the page's edge keeps its centre.

  Args:
    basins: of one energy plane.
    levels: energy levels.
    sizes: (height, width) in pixels; 0 where unknown.
    cfg: settings of the decode.

  Returns:
    The objects. Confidence is the level of the peak.
  """
  h, w = levels.shape
  level, size = levels.reshape(-1), sizes.reshape(-1, 2)
  peaks = basins.peaks
  high = level[jnp.maximum(peaks, 0)] >= cfg.min_seed_level
  seeds, count, row_of = _rows(jnp.where(high, peaks, -1), levels.shape)
  rows = seeds.shape[0]

  def step(state, at, live):
    area, sums, highest = state
    peak = peaks[at]
    row = foreground.drop_unless(live, row_of[peak], rows)
    dy, dx = at // w - peak // w, at % w - peak % w
    mirror_y, mirror_x = peak // w - dy, peak % w - dx
    on_page = (mirror_y >= 0) & (mirror_y < h)
    on_page &= (mirror_x >= 0) & (mirror_x < w)
    base = jnp.maximum(basins.passes[peak], cfg.energy_cutoff)
    weight = jnp.where(on_page, jnp.maximum(level[at] - base, 0), 0)
    hw = size[at]
    known = weight * (hw > 0).all(1)
    parts = (weight, weight * dy, weight * dx, known, *(known * hw.T))
    sums = sums.at[row].add(jnp.stack(parts, 1), mode="drop")
    area = area.at[row].add(1, mode="drop")
    return area, sums, highest.at[row].max(hw, mode="drop")

  area, sums, highest = foreground.for_chunks(
    basins.pixels,
    basins.num_pixels,
    step,
    (
      jnp.zeros(rows, jnp.int32),
      jnp.zeros((rows, 6), level.dtype),
      jnp.zeros((rows, 2), size.dtype),
    ),
  )
  peak_yx = jnp.stack([seeds // w, seeds % w], 1)
  shift = sums[:, 1:3] / jnp.maximum(sums[:, :1], 1e-6)
  known = sums[:, 3:4]
  mean = jnp.where(
    known > 0, sums[:, 4:] / jnp.maximum(known, 1e-6), size[seeds]
  )
  energy = jnp.clip(level[seeds] / (cfg.num_energy_levels - 1), 0, 1)
  hw = highest if cfg.size == "max" else mean
  centers = peak_yx + 0.5 + shift
  if cfg.rounded_disc_px:
    centers = undo_rounding(centers, hw, cfg.rounded_disc_px)
  return _select(seeds, count, centers, hw, energy, area, cfg)


def undo_rounding(
  centers: Float[jax.Array, "K 2"],
  sizes: Float[jax.Array, "K 2"],
  disc_px: int,
) -> Float[jax.Array, "K 2"]:
  """Moves centres back by the part of the discs' rounding that is known.

  Targets lay the disc at round(top_left + round((size - disc_px) / 2)), half
  to even, as the original. The inner rounding depends on the size alone: up
  to half a pixel, which decides about boxes of 3 px at IoU 0.5.

  Args:
    centers: (y, x) in pixels.
    sizes: (height, width) in pixels.
    disc_px: diameter of the discs in the targets.

  Returns:
    New centres.
  """
  margin = (sizes - disc_px) / 2
  return centers + (margin - jnp.round(margin))


def _rows(roots, shape):
  """Gives each object a row of a table.

  Roots of two objects are never in one 2 x 2 block (they would touch), which
  bounds the number of rows.

  Returns:
    seeds: int32 [rows], the roots in raster order.
    count: number of objects.
    row_of: int32 [n], the row at each root, else `rows`.
  """
  n = roots.shape[0]
  rows = ((shape[0] + 1) // 2) * ((shape[1] + 1) // 2)
  is_root = roots == jnp.arange(n, dtype=jnp.int32)
  seeds, count = foreground.compact(is_root)
  rank = foreground.exclusive_cumsum(is_root.astype(jnp.int32))
  return seeds[:rows], count, jnp.where(is_root, rank, rows)


def _mean_coordinate(high, low, area, legacy):
  """Mean of _LOW * high + low over `area` pixels, in pixel coordinates.

  Sums of coordinates of a page-sized component overflow int32; the two parts
  do not, and the division stays exact until the last step.
  """
  area = jnp.maximum(area, 1)
  whole = _LOW * (high // area)
  rest = _LOW * (high % area) + low
  if legacy:
    return (whole + rest // area).astype(jnp.float32)
  return whole + rest / area + 0.5


def _select(seeds, count, centers, sizes, confidence, area, cfg):
  """Drops small objects and puts the K most confident into slots."""
  rows, k = seeds.shape[0], cfg.max_detections
  keep = jnp.arange(rows) < count
  keep &= area >= cfg.min_area_px
  count = keep.sum(dtype=jnp.int32)

  def all_of_them():
    return jnp.pad(foreground.compact(keep)[0], (0, k))[:k]

  def the_best():
    order = jnp.where(keep, confidence, -1)
    best = jax.lax.top_k(order, min(k, rows))[1]
    return jnp.pad(best.astype(jnp.int32), (0, k - min(k, rows)))

  chosen = jax.lax.cond(count <= k, all_of_them, the_best)
  return Objects(
    seeds=seeds[chosen],
    centers=centers[chosen],
    sizes=sizes[chosen],
    confidence=confidence[chosen],
    area=area[chosen],
    valid=jnp.arange(k) < count,
    count=count,
  )
