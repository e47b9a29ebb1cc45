"""Objects in K slots: which are kept, and their centre, size and confidence."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from dwd_jax.decode import pixel_lists
from dwd_jax.decode.decode_config import DecodeConfig

# (y int32 [P], x int32 [P]) -> (height, width) in pixels, float32 [P, 2]; or
# [P, 4], then (y, x) from the middle of the pixel to the centre of the box.
PlaneSizeFn = Callable[[jax.Array, jax.Array], jax.Array]
# Sums over a page-sized object must neither overflow int32 nor exceed the
# integers that float32 holds:
_LOW = 32  # coordinates are summed in two parts, see `_mean_coordinate`
_STEPS = 16  # energy levels are summed as whole sixteenths


class Objects(NamedTuple):
  """Objects of one energy plane in K slots.

  Attributes:
    rows: row of the object in its `pixel_lists.Segments`.
    slot_of: slot of each of its T rows (and of row T); K if none.
    seeds: raster index of the pixel that represents the object.
    centers: (y, x) in pixels; the middle of the first pixel is (0.5, 0.5).
    sizes: (height, width) in pixels.
    confidence: energy, 0..1.
    area: pixels above the cutoff.
    valid: slots in use, which come first.
    count: objects found; if it exceeds K, the least confident are left out.
  """

  rows: Int[jax.Array, " K"]
  slot_of: Int[jax.Array, " T1"]
  seeds: Int[jax.Array, " K"]
  centers: Float[jax.Array, "K 2"]
  sizes: Float[jax.Array, "K 2"]
  confidence: Float[jax.Array, " K"]
  area: Int[jax.Array, " K"]
  valid: Bool[jax.Array, " K"]
  count: Int[jax.Array, ""]


def measure_components(
  components: pixel_lists.Segments,
  levels: Float[jax.Array, "h w"],
  size_fn: PlaneSizeFn,
  cfg: DecodeConfig,
) -> Objects:
  """Measures components; all pixels weigh the same in the centre.

  Args:
    size_fn: (height, width) at pixels; 0 where unknown.

  Returns:
    The objects. Confidence is the mean level.

  Reference:
    Differs from the original: centres are not truncated to whole pixels and
    mean sizes skip pixels without a size (`cfg.legacy` truncates).
  """
  area, energy = _weigh(components, levels)

  def confidence(rows):
    mean = energy[rows] / (_STEPS * jnp.maximum(area[rows], 1))
    return jnp.clip(mean / (cfg.num_energy_levels - 1), 0, 1)

  rows, slot_of, valid, count = _fill_slots(
    components, lambda row: area[row] >= cfg.min_area_px, confidence, cfg
  )
  places, sums, highest = _sum_components(
    components, slot_of, levels, size_fn, cfg
  )
  y_high, y_low, x_high, x_low = places
  y = _mean_coordinate(y_high, y_low, area[rows], cfg.legacy)
  x = _mean_coordinate(x_high, x_low, area[rows], cfg.legacy)
  mean = jnp.stack(sums[1:], 1) / jnp.maximum(sums[0], 1e-6)[:, None]
  return Objects(
    rows=rows,
    slot_of=slot_of,
    seeds=components.seeds[rows],
    centers=jnp.stack([y, x], 1),
    sizes=jnp.stack(highest, 1) if cfg.size == "max" else mean,
    confidence=confidence(rows),
    area=area[rows],
    valid=valid,
    count=count,
  )


def _weigh(components, levels):
  """Pixels of each row, and the sum of their energy in steps."""
  level = levels.reshape(-1)
  num_rows = components.seeds.shape[0]

  def step(state, at, live, row):
    row = pixel_lists.drop_unless(live, row, num_rows)
    energy = jnp.round(level[at] * _STEPS).astype(jnp.int32)
    return _add(state, row, (jnp.ones_like(at), energy))

  return pixel_lists.for_chunks(
    components.pixels,
    step,
    _tables(2, num_rows, jnp.int32),
    beside=(components.rows,),
  )


def _sum_components(components, slot_of, levels, size_fn, cfg):
  """Sums by slot; integers stay exact for an object as large as the page.

  Returns:
    places: 4 times [K], y and x in two parts each.
    sums: 3 times [K], weights of the pixels with a size, sums of their
      heights and widths.
    highest: 2 times [K], largest height and width, for the size "max" only.
  """
  w, k = levels.shape[1], cfg.max_detections
  level = levels.reshape(-1)

  def step(state, at, live, row):
    places, sums, highest = state
    slot = pixel_lists.drop_unless(live, slot_of[row], k)
    y, x = at // w, at % w
    places = _add(places, slot, (y // _LOW, y % _LOW, x // _LOW, x % _LOW))
    hw = size_fn(y, x)[:, :2]
    if cfg.size == "max":
      return places, sums, _raise(highest, slot, hw.T)
    known = (hw > 0).all(1).astype(hw.dtype)
    if cfg.size == "weighted":
      known *= level[at] - cfg.energy_cutoff
    return places, _add(sums, slot, (known, *(hw * known[:, None]).T)), highest

  start = (
    _tables(4, k, jnp.int32),
    _tables(3, k, jnp.float32),
    _tables(2, k, jnp.float32),
  )
  return pixel_lists.for_chunks(
    components.pixels, step, start, beside=(components.rows,)
  )


def _tables(count, num_rows, dtype):
  """Separate columns: on CPUs much faster than one table of rows."""
  return tuple(jnp.zeros(num_rows, dtype) for _ in range(count))


def _add(tables, row, values):
  pairs = zip(tables, values, strict=True)
  return tuple(t.at[row].add(v, mode="drop") for t, v in pairs)


def _raise(tables, row, values):
  pairs = zip(tables, values, strict=True)
  return tuple(t.at[row].max(v, mode="drop") for t, v in pairs)


def _mean_coordinate(high, low, area, legacy):
  """Mean of _LOW * high + low over `area` pixels, in pixel coordinates.

  Coordinate sums of a page-sized component overflow int32; the two parts do
  not, and the division stays exact until the last step.
  """
  area = jnp.maximum(area, 1)
  whole = _LOW * (high // area)
  rest = _LOW * (high % area) + low
  if legacy:
    return (whole + rest // area).astype(jnp.float32)
  return whole + rest / area + 0.5


def measure_basins(
  basins: pixel_lists.Segments,
  passes: Float[jax.Array, " T"],
  levels: Float[jax.Array, "h w"],
  size_fn: PlaneSizeFn,
  cfg: DecodeConfig,
) -> Objects:
  """Measures basins by their caps, the part above the highest pass.

  Where two discs touch, the common part of their basins is lopsided; the cap
  above the pass is not. Pixels weigh as much as they rise above the pass or the
  cutoff. Pixels whose mirror image about the peak is off the page do not count,
  so that a disc cut by the page's edge keeps its centre. Where pixels predict
  their offset from the centre, the centre is the mean of the predictions.

  Args:
    passes: level of the highest pass out of each basin.
    size_fn: see `PlaneSizeFn`; sizes are 0 where unknown.

  Returns:
    The objects. Confidence is the root of the peak's share of the highest
    level: multiplied by the share of the class, it ranks the objects of a class
    slightly better than the share itself.
  """
  w = levels.shape[1]
  level = levels.reshape(-1)
  (area,) = pixel_lists.for_chunks(
    basins.pixels,
    lambda area, at, live, row: _add(area, row, (live.astype(jnp.int32),)),
    (pixel_lists.zeros(basins.seeds.shape[0], basins.rows[0]),),
    beside=(basins.rows,),
  )

  def keep(row):
    high = level[basins.seeds[row]] >= cfg.min_seed_level
    return high & (area[row] >= max(cfg.min_area_px, 1))

  def confidence(row):
    energy = level[basins.seeds[row]] / (cfg.num_energy_levels - 1)
    return jnp.sqrt(jnp.clip(energy, 0, 1))

  rows, slot_of, valid, count = _fill_slots(basins, keep, confidence, cfg)
  sums, highest = _sum_basins(basins, slot_of, passes, levels, size_fn, cfg)
  seeds, sums = basins.seeds[rows], jnp.stack(sums, 1)
  shift = sums[:, 1:3] / jnp.maximum(sums[:, :1], 1e-6)
  centers = jnp.stack([seeds // w, seeds % w], 1) + 0.5 + shift
  known = sums[:, 3:4]
  mean = sums[:, 4:] / jnp.maximum(known, 1e-6)
  of_seeds = size_fn(seeds // w, seeds % w)[:, :2]
  mean = jnp.where(known > 0, mean, of_seeds)
  return Objects(
    rows=rows,
    slot_of=slot_of,
    seeds=seeds,
    centers=centers,
    sizes=jnp.stack(highest, 1) if cfg.size == "max" else mean,
    confidence=confidence(rows),
    area=area[rows],
    valid=valid,
    count=count,
  )


def _sum_basins(basins, slot_of, passes, levels, size_fn, cfg):
  """Sums by slot.

  Returns:
    sums: 6 times [K], weights, times the offset from the peak in y and x;
      weights of the pixels with a size, times their height and width.
    highest: 2 times [K], largest height and width, for the size "max" only.
  """
  level, k = levels.reshape(-1), cfg.max_detections

  def step(state, at, live, row):
    sums, highest = state
    slot = pixel_lists.drop_unless(live, slot_of[row], k)
    offset, on_page = _offset(at, basins.seeds[row], levels.shape)
    base = jnp.maximum(passes[row], cfg.energy_cutoff)
    weight = jnp.where(on_page, jnp.maximum(level[at] - base, 0), 0)
    predicted = size_fn(at // levels.shape[1], at % levels.shape[1])
    hw, to_center = predicted[:, :2], predicted[:, 2:]
    known = (hw > 0).all(1).astype(hw.dtype)
    if to_center.shape[1]:
      weight, offset = weight * known, offset + to_center.T
    if cfg.size == "weighted":
      known *= weight
    if cfg.size == "max":
      highest = _raise(highest, slot, hw.T)
    parts = (weight, *(weight * offset), known, *(known * hw.T))
    return _add(sums, slot, parts), highest

  start = (_tables(6, k, jnp.float32), _tables(2, k, jnp.float32))
  return pixel_lists.for_chunks(
    basins.pixels, step, start, beside=(basins.rows,)
  )


def _offset(at, peak, shape):
  """(y, x) from the peak; whether the mirror image of `at` is on the page."""
  h, w = shape
  dy, dx = at // w - peak // w, at % w - peak % w
  y, x = peak // w - dy, peak % w - dx
  on_page = (y >= 0) & (y < h) & (x >= 0) & (x < w)
  return jnp.stack([dy, dx]), on_page


def _fill_slots(parts, keep, confidence, cfg):
  """Puts objects into slots, the K most confident if there are too many.

  Args:
    keep: rows int32 [m] -> bool [m], objects that count.
    confidence: rows int32 [m] -> float32 [m], 0 or more.

  Returns:
    `rows`, `slot_of`, `valid` and `count` of `Objects`.
  """
  k = cfg.max_detections
  kept = pixel_lists.compact(pixel_lists.mark(parts.numbers(), keep))
  room = kept.indices.shape[0]

  def all_of_them():
    return jnp.pad(kept.indices, (0, k))[:k]

  def the_best():
    used = jnp.arange(room) < kept.count
    order = jnp.where(used, confidence(kept.indices), -1)
    best = kept.indices[jax.lax.top_k(order, min(k, room))[1]]
    return jnp.pad(best, (0, k - min(k, room)))

  # Pages with more objects than slots are rare, and sorting is slow.
  rows = jax.lax.cond(kept.count <= k, all_of_them, the_best)
  slots = jnp.arange(k, dtype=jnp.int32)
  valid, num_rows = slots < kept.count, parts.seeds.shape[0] + 1
  place = pixel_lists.drop_unless(valid, rows, num_rows)
  slot_of = k + pixel_lists.zeros(num_rows, rows[0])
  slot_of = slot_of.at[place].set(slots, mode="drop")
  return rows, slot_of, valid, kept.count
