"""Objects in K slots: which are kept, and their centre, size and confidence."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from dwd_jax.decode import backend, bits, pixel_lists
from dwd_jax.decode.decode_config import DecodeConfig

# (y int32 [N], x int32 [N]) of `Planes` below each other -> (height, width) in
# pixels, float32 [N, 2]; or [N, 4], then (y, x) from the middle of the pixel to
# the centre of the box.
PlaneSizeFn = Callable[[jax.Array, jax.Array], jax.Array]
# Sums over a page-sized object must neither overflow int32 nor exceed the
# integers that float32 holds:
_LOW = 32  # coordinates are summed in two parts, see `_mean_coordinate`
_STEPS = 16  # energy levels are summed as whole sixteenths


class Objects(NamedTuple):
  """Objects of P energy planes in K slots for each, S = P * K.

  Attributes:
    rows: row of the object in its `pixel_lists.Segments`.
    slot_of: slot of each of its T rows (and of row T); S if none.
    seeds: raster index, in all planes, of the pixel that represents the object.
    centers: (y, x) in pixels of its plane; the middle of the first pixel is
      (0.5, 0.5).
    sizes: (height, width) in pixels.
    confidence: energy, 0..1.
    area: pixels above the cutoff.
    valid: slots in use, the first ones of each plane.
    count: objects found in each plane; if one exceeds K, the least confident
      are left out, or `complete` is False.
    complete: whether the slots hold what they should.
  """

  rows: Int[jax.Array, " S"]
  slot_of: Int[jax.Array, " T1"]
  seeds: Int[jax.Array, " S"]
  centers: Float[jax.Array, "S 2"]
  sizes: Float[jax.Array, "S 2"]
  confidence: Float[jax.Array, " S"]
  area: Int[jax.Array, " S"]
  valid: Bool[jax.Array, " S"]
  count: Int[jax.Array, " P"]
  complete: Bool[jax.Array, ""]


def measure_components(
  components: pixel_lists.Segments,
  levels: Float[jax.Array, "H w"],
  planes: pixel_lists.Planes,
  size_fn: PlaneSizeFn,
  cfg: DecodeConfig,
) -> Objects:
  """Measures components; all pixels weigh the same in the centre.

  Args:
    levels: of `planes` below each other.
    size_fn: (height, width) at pixels; 0 where unknown.

  Returns:
    The objects. Confidence is the mean level.

  Reference:
    Differs from the original: centres are not truncated to whole pixels and
    mean sizes skip pixels without a size (`cfg.legacy` truncates).
  """
  area, energy = _weigh(components, levels)

  def confidence(rows):
    area_of = jnp.maximum(backend.take(area, rows), 1)
    mean = backend.take(energy, rows) / (_STEPS * area_of)
    return jnp.clip(mean / (cfg.num_energy_levels - 1), 0, 1)

  slots = _fill_slots(
    components,
    planes,
    lambda row: backend.take(area, row) >= cfg.min_area_px,
    confidence,
    cfg,
  )
  rows = slots.rows
  areas = backend.take(area, rows)
  places, sums, highest = _sum_components(
    components, slots.slot_of, levels, planes, size_fn, cfg
  )
  y_high, y_low, x_high, x_low = places
  y = _mean_coordinate(y_high, y_low, areas, cfg.legacy)
  x = _mean_coordinate(x_high, x_low, areas, cfg.legacy)
  mean = jnp.stack(sums[1:], 1) / jnp.maximum(sums[0], 1e-6)[:, None]
  return Objects(
    **slots._asdict(),
    seeds=backend.take(components.seeds, rows),
    centers=jnp.stack([y, x], 1),
    sizes=jnp.stack(highest, 1) if cfg.size == "max" else mean,
    confidence=confidence(rows),
    area=areas,
  )


def _weigh(components, levels):
  """Pixels of each row, and the sum of their energy in steps."""
  level = levels.reshape(-1)
  num_rows = components.seeds.shape[0]

  def step(state, at, live, row):
    row = pixel_lists.drop_unless(live, row, num_rows)
    energy = jnp.round(backend.take(level, at) * _STEPS).astype(jnp.int32)
    return _add(state, row, (jnp.ones_like(at), energy))

  sums = pixel_lists.for_chunks(
    components.pixels,
    step,
    _tables(2, num_rows, jnp.int32),
    beside=(components.rows,),
  )
  return _columns(sums)


def _sum_components(components, slot_of, levels, planes, size_fn, cfg):
  """Sums by slot; integers stay exact for an object as large as the page.

  Returns:
    places: 4 times [S], y and x in two parts each.
    sums: 3 times [S], weights of the pixels with a size, sums of their
      heights and widths.
    highest: 2 times [S], largest height and width, for the size "max" only.
  """
  w, k = levels.shape[1], planes.number * cfg.max_detections
  level = levels.reshape(-1)

  def step(state, at, live, row):
    places, sums, highest = state
    slot = pixel_lists.drop_unless(live, backend.take(slot_of, row), k)
    y, x = at // w, at % w
    hw = size_fn(y, x)[:, :2]
    _, y = planes.split(y)
    places = _add(places, slot, (y // _LOW, y % _LOW, x // _LOW, x % _LOW))
    if cfg.size == "max":
      return places, sums, _raise(highest, slot, tuple(hw.T))
    known = (hw > 0).all(1).astype(hw.dtype)
    if cfg.size == "weighted":
      known *= backend.take(level, at) - cfg.energy_cutoff
    return places, _add(sums, slot, (known, *(hw * known[:, None]).T)), highest

  start = (
    _tables(4, k, jnp.int32),
    _tables(3, k, jnp.float32),
    _tables(2, k, jnp.float32),
  )
  tables = pixel_lists.for_chunks(
    components.pixels, step, start, beside=(components.rows,)
  )
  return tuple(map(_columns, tables))


def _tables(count, num_rows, dtype):
  """Separate columns: on CPUs much faster than one table of rows.

  On accelerators one table, as each column would be a kernel.
  """
  if not backend.on_cpu():
    return (jnp.zeros((num_rows, count), dtype),)
  return tuple(jnp.zeros(num_rows, dtype) for _ in range(count))


def _columns(tables):
  """Columns of `_tables`."""
  return tables if backend.on_cpu() else tuple(tables[0].T)


def _values(values):
  return values if backend.on_cpu() else (jnp.stack(values, 1),)


def _add(tables, row, values):
  pairs = zip(tables, _values(values), strict=True)
  return tuple(t.at[row].add(v, mode="drop") for t, v in pairs)


def _raise(tables, row, values):
  pairs = zip(tables, _values(values), strict=True)
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
  levels: Float[jax.Array, "H w"],
  planes: pixel_lists.Planes,
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
    levels: of `planes` below each other.
    size_fn: see `PlaneSizeFn`; sizes are 0 where unknown.

  Returns:
    The objects. Confidence is the root of the peak's share of the highest
    level: multiplied by the share of the class, it ranks the objects of a class
    slightly better than the share itself.
  """
  w = levels.shape[1]
  level = levels.reshape(-1)
  area = pixel_lists.for_chunks(
    basins.pixels,
    lambda area, at, live, row: area.at[row].add(
      live.astype(jnp.int32), mode="drop"
    ),
    pixel_lists.zeros(basins.seeds.shape[0], basins.rows[0]),
    beside=(basins.rows,),
  )

  def peak(row):
    return backend.take(level, backend.take(basins.seeds, row))

  def keep(row):
    high = peak(row) >= cfg.min_seed_level
    return high & (backend.take(area, row) >= max(cfg.min_area_px, 1))

  def confidence(row):
    energy = peak(row) / (cfg.num_energy_levels - 1)
    return jnp.sqrt(jnp.clip(energy, 0, 1))

  slots = _fill_slots(basins, planes, keep, confidence, cfg)
  rows = slots.rows
  sums, highest = _sum_basins(
    basins, slots.slot_of, passes, levels, planes, size_fn, cfg
  )
  seeds, sums = backend.take(basins.seeds, rows), jnp.stack(sums, 1)
  shift = sums[:, 1:3] / jnp.maximum(sums[:, :1], 1e-6)
  _, y = planes.split(seeds // w)
  centers = jnp.stack([y, seeds % w], 1) + 0.5 + shift
  known = sums[:, 3:4]
  mean = sums[:, 4:] / jnp.maximum(known, 1e-6)
  of_seeds = size_fn(seeds // w, seeds % w)[:, :2]
  mean = jnp.where(known > 0, mean, of_seeds)
  return Objects(
    **slots._asdict(),
    seeds=seeds,
    centers=centers,
    sizes=jnp.stack(highest, 1) if cfg.size == "max" else mean,
    confidence=confidence(rows),
    area=backend.take(area, rows),
  )


def _sum_basins(basins, slot_of, passes, levels, planes, size_fn, cfg):
  """Sums by slot.

  Returns:
    sums: 6 times [S], weights, times the offset from the peak in y and x;
      weights of the pixels with a size, times their height and width.
    highest: 2 times [S], largest height and width, for the size "max" only.
  """
  level, k = levels.reshape(-1), planes.number * cfg.max_detections

  def step(state, at, live, row):
    sums, highest = state
    slot = pixel_lists.drop_unless(live, backend.take(slot_of, row), k)
    offset, on_page = _offset(at, backend.take(basins.seeds, row), planes)
    base = jnp.maximum(backend.take(passes, row), cfg.energy_cutoff)
    weight = jnp.where(
      on_page, jnp.maximum(backend.take(level, at) - base, 0), 0
    )
    predicted = size_fn(at // levels.shape[1], at % levels.shape[1])
    hw, to_center = predicted[:, :2], predicted[:, 2:]
    known = (hw > 0).all(1).astype(hw.dtype)
    if to_center.shape[1]:
      weight, offset = weight * known, offset + to_center.T
    if cfg.size == "weighted":
      known *= weight
    if cfg.size == "max":
      highest = _raise(highest, slot, tuple(hw.T))
    parts = (weight, *(weight * offset), known, *(known * hw.T))
    return _add(sums, slot, parts), highest

  start = (_tables(6, k, jnp.float32), _tables(2, k, jnp.float32))
  tables = pixel_lists.for_chunks(
    basins.pixels, step, start, beside=(basins.rows,)
  )
  return tuple(map(_columns, tables))


def _offset(at, peak, planes):
  """(y, x) from the peak; whether the mirror image of `at` is on the page."""
  w = planes.width
  dy, dx = at // w - peak // w, at % w - peak % w
  y, x = planes.split(peak // w)[1] - dy, peak % w - dx
  on_page = (y >= 0) & (y < planes.height) & (x >= 0) & (x < w)
  return jnp.stack([dy, dx]), on_page


class _Slots(NamedTuple):
  """See `Objects`."""

  rows: jax.Array
  slot_of: jax.Array
  valid: jax.Array
  count: jax.Array
  complete: jax.Array


def _fill_slots(parts, planes, keep, confidence, cfg):
  """Puts objects into slots, the K most confident if there are too many.

  Args:
    keep: rows int32 [m] -> bool [m], objects that count.
    confidence: rows int32 [m] -> float32 [m], 0 or more.
  """
  k, room = cfg.max_detections, parts.seeds.shape[0]
  kept = pixel_lists.mark(parts.numbers(), keep)
  listed = pixel_lists.compact(kept)
  first = _first_of_planes(parts, planes, kept)
  count = first[1:] - first[:-1]
  slots = jnp.arange(planes.number * k, dtype=jnp.int32)
  valid = slots % k < backend.take(count, slots // k)

  def all_of_them():
    number = backend.take(first, slots // k) + slots % k
    return backend.take(listed.indices, number)

  def the_best():
    used = jnp.arange(room) < kept.count
    order = jnp.where(used, confidence(listed.indices), -1)
    best = listed.indices[jax.lax.top_k(order, min(k, room))[1]]
    return jnp.pad(best, (0, k - min(k, room)))

  fits = (count <= k).all()
  if not planes.sorts:
    row = jnp.arange(room, dtype=jnp.int32)
    plane = planes.split(backend.take(parts.seeds, row) // planes.width)[0]
    inside, number = bits.look_up(kept, jnp.zeros_like(row), row)
    before = backend.take(first, jnp.broadcast_to(plane, row.shape))
    slot_of = plane * k + number - before
    slot_of = pixel_lists.drop_unless(inside, slot_of, len(slots))
    return _Slots(all_of_them(), slot_of, valid, count, fits)
  # Pages with more objects than slots are rare, and sorting is slow.
  rows = jax.lax.cond(fits, all_of_them, the_best)
  place = pixel_lists.drop_unless(valid, rows, room + 1)
  slot_of = len(slots) + pixel_lists.zeros(room + 1, rows[0])
  slot_of = slot_of.at[place].set(slots, mode="drop")
  return _Slots(rows, slot_of, valid, count, jnp.array(True))


def _first_of_planes(parts, planes, kept):
  """Kept objects before each plane, and of all: int32 [P + 1]."""
  zero = jnp.zeros(1, jnp.int32)
  if planes.number == 1:
    return jnp.stack([zero[0], kept.count])
  # Rows are in raster order of their seeds.
  plane = planes.split(parts.seeds // planes.width)[0]
  numbers = parts.numbers()
  used = numbers.part(0, numbers.room) < numbers.count
  plane = jnp.where(used, plane, planes.number)
  # Rows of the planes up to each: a plane begins where the one before ends.
  ends = (plane[None] <= jnp.arange(planes.number - 1)[:, None]).sum(1)
  before = bits.rank(kept, ends.astype(jnp.int32))
  before = jnp.where(ends < numbers.count, before, kept.count)
  return jnp.concatenate([zero, before, kept.count[None]])
