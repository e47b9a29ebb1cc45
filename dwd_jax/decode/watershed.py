"""Maps -> Detections: the decode of Deep Watershed Detection.

`decode` thresholds the energy, finds objects, measures them and lets their
pixels vote for a class. On CPUs, pages and energy groups go one after the other
(`lax.map`): vmap would turn every early exit into a select and always do all
the work. On accelerators they lie below each other as one tall plane.

Values that are not finite do no harm: such a level is background, such a size
unknown, such a class probability 0. No score and no box is ever NaN. A map
without pixels has no objects.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from dwd_jax.core import boxes, structs
from dwd_jax.decode import (
  backend,
  basins,
  bits,
  components,
  measure,
  pixel_lists,
  suppression,
  votes,
)
from dwd_jax.decode.decode_config import DecodeConfig

# (page int32 [P], y int32 [P], x int32 [P], group int32 [P]) -> probabilities
# [P, C], or the likeliest classes.
ClassFn = Callable[
  [jax.Array, jax.Array, jax.Array, jax.Array], jax.Array | votes.Likeliest
]
# The same -> (height, width) in pixels of the map, float32 [P, 2]; or [P, 4]
# with (y, x) from the middle of the pixel to the centre of the box.
SizeFn = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]

# A usual page has fewer pixels above the cutoff than 1 in this many, and fewer
# objects than 1 per this many blocks of 2 x 2 pixels.
_USUAL_PIXELS = 8
_USUAL_OBJECTS = 32
_SMALL_PAGE = 2**17  # pixels; below, the distinction does not pay


def decode(
  energy_logits: Float[structs.Array, "B h w G E"],
  sizes: Float[structs.Array, "B h w G n"] | SizeFn,
  class_fn: ClassFn,
  cfg: DecodeConfig,
) -> structs.Detections:
  """Turns the network's maps into boxes.

  Args:
    energy_logits: softmax logits over E energy levels, for G energy groups.
    sizes: see `decode_levels`.
    class_fn: class probabilities at the pixels (page, y, x, group), each
      int32 [P], as float32 [P, C]; classes of other groups are 0. A row of
      zeros is background and casts no vote.

  Returns:
    K detections of each page, best first, in pixels of the map.
  """
  return decode_levels(
    levels_from_logits(energy_logits, cfg), sizes, class_fn, cfg
  )


def levels_from_logits(
  energy_logits: Float[structs.Array, "*n E"], cfg: DecodeConfig
) -> Float[jax.Array, "*n"]:
  """Energy level of each pixel: mean of the softmax or argmax (`cfg.energy`).

  Compute it at the stride of the network's heads and upsample the levels, not
  the logits: that is a sixteenth of the work and costs trained networks no AP.
  """
  logits = jnp.asarray(energy_logits, jnp.float32)
  if not cfg.mean_energy:
    return jnp.argmax(logits, -1).astype(jnp.float32)
  level = jnp.arange(logits.shape[-1], dtype=jnp.float32)
  weight = jnp.exp(logits - logits.max(-1, keepdims=True))
  # At the default precision of accelerators a level would be off by more than
  # the depths that are compared.
  total = jnp.matmul(weight, level, precision=jax.lax.Precision.HIGHEST)
  return total / weight.sum(-1)


def decode_levels(
  energy_levels: Float[structs.Array, "B h w G"],
  sizes: Float[structs.Array, "B h w G n"] | SizeFn,
  class_fn: ClassFn,
  cfg: DecodeConfig,
) -> structs.Detections:
  """Turns energy levels into boxes; see `decode`.

  Args:
    energy_levels: level 0 (background) .. E - 1 (centre) of each pixel.
    sizes: (height, width) of the box in pixels of the map, 0 = unknown; or a
      function like `class_fn`, which is called at pixels of objects only.
    class_fn: see `decode`.

  Returns:
    K detections of each page, best first, in pixels of the map. Boxes may
    extend beyond the map, which may be a tile of a larger page.
  """
  num_pages, height, width, num_groups = energy_levels.shape
  levels = jnp.asarray(energy_levels)
  size_fn = sizes if callable(sizes) else read_map(sizes)

  if not levels.size:
    return _nothing(num_pages, cfg.max_detections)

  num_planes = num_pages * num_groups
  at_once = backend.planes_at_once(num_planes, height * width)

  def planes(number):
    """Decodes `at_once` planes; the groups of a page follow each other."""
    first = number * at_once

    def own(fn):
      def ask(plane, y, x):
        page, group = jnp.divmod(first + plane, num_groups)
        page, group = (jnp.broadcast_to(i, y.shape) for i in (page, group))
        asked = fn(page, y, x, group)
        return asked if isinstance(asked, votes.Likeliest) else _finite(asked)

      return ask

    if at_once == 1:
      page, group = jnp.divmod(first, num_groups)
      mine = levels[page, :, :, group][None]
    else:
      mine = jnp.moveaxis(levels, 3, 1).reshape(-1, height, width)
      mine = jax.lax.dynamic_slice_in_dim(mine, first, at_once)
    return _decode_planes(mine, own(size_fn), own(class_fn), cfg)

  def best_of_page(found):
    best = _best_of_groups(found, cfg.max_detections)
    if cfg.suppress_iou:
      best = suppression.suppress(best, cfg.suppress_iou)
    return best

  steps = jnp.arange(num_planes // at_once, dtype=jnp.int32)
  found = jax.lax.map(planes, steps)
  found = jax.tree.map(
    lambda x: x.reshape(num_pages, num_groups, *x.shape[2:]), found
  )
  if backend.on_cpu():
    return jax.lax.map(best_of_page, found)
  return jax.vmap(best_of_page)(found)


def read_map(values: Float[structs.Array, "B h w G n"]) -> SizeFn:
  """A function that reads a map at pixels (page, y, x, group)."""
  values = jnp.asarray(values)
  return lambda page, y, x, group: values[page, y, x, group]


def _finite(values):
  return jnp.where(jnp.isfinite(values), values, 0)


def _nothing(num_pages, k):
  """Detections of pages without objects."""
  return structs.Detections(
    boxes_yxyx=jnp.zeros((num_pages, k, 4)),
    labels=jnp.zeros((num_pages, k), jnp.int32),
    scores=jnp.zeros((num_pages, k)),
    valid=jnp.zeros((num_pages, k), bool),
    count=jnp.zeros(num_pages, jnp.int32),
  )


def _decode_planes(levels, size_fn, class_fn, cfg):
  """Detections [P, K] of energy planes [P, h, w], unordered.

  Args:
    size_fn: like `measure.PlaneSizeFn`, with the plane as first argument.
    class_fn: like `votes.PlaneClassFn`, likewise.
  """
  number, h, w = levels.shape
  usual = pixel_lists.Planes(number, h, w, sorts=backend.on_cpu())
  smoothed, mask = _foreground(levels, usual, cfg)
  small = h * w <= _SMALL_PAGE
  room, most = number * h * w, number * pixel_lists.most_objects((h, w))
  if not small:
    room, most = room // _USUAL_PIXELS, most // _USUAL_OBJECTS

  def decode_usual():
    return _decode_in(room, most, smoothed, mask, usual, size_fn, class_fn, cfg)

  def decode_any(i, smoothed, mask):
    """Decodes a plane with room for all pixels, as [1, K]."""

    def own(fn):
      return lambda _, y, x: fn(i, y, x)

    one = pixel_lists.Planes(1, h, w)
    room, most = h * w, pixel_lists.most_objects((h, w))
    size, class_ = own(size_fn), own(class_fn)
    return _decode_in(room, most, smoothed, mask, one, size, class_, cfg)[0]

  def decode_each():
    if number == 1:
      return decode_any(0, smoothed, mask)

    def plane(i):
      one = pixel_lists.Planes(1, h, w)
      return decode_any(i, *_foreground(levels[i][None], one, cfg))

    each = jax.lax.map(plane, jnp.arange(number, dtype=jnp.int32))
    return jax.tree.map(lambda x: x.reshape(number, *x.shape[2:]), each)

  def skip():
    nothing = jax.eval_shape(decode_usual)
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), nothing)

  # Tables for a whole page cost more than the work on a usual page.
  if not backend.on_cpu():
    found, complete = decode_usual()
    complete &= mask.count <= room
  elif small:
    return decode_usual()[0]
  else:
    found, complete = jax.lax.cond(mask.count <= room, decode_usual, skip)
  return jax.lax.cond(complete, lambda: found, decode_each)


def _foreground(levels, planes, cfg):
  """Filtered levels of planes [P, h, w], and the mask above the cutoff."""
  finite = jnp.isfinite(levels)
  if cfg.method == "watershed":
    levels = basins.smooth(jnp.where(finite, levels, 0), cfg.smooth)
  mask = (levels > cfg.energy_cutoff) & finite
  return planes.stack(levels), bits.pack(planes.stack(mask))


def _find_objects(levels, mask, pixels, most, cfg):
  """Objects of planes; of basins also the levels of their highest passes."""
  if cfg.method == "threshold":
    return components.find_components(mask, pixels, most), None
  return basins.find_basins(levels, mask, pixels, cfg, most)


def _decode_in(room, most, levels, mask, planes, size_fn, class_fn, cfg):
  """Detections [P, K] of planes; whether all objects found their place."""
  w = levels.shape[1]

  def of_planes(fn):
    return lambda y, x: fn(*planes.split(y), x)

  size_fn, class_fn = of_planes(size_fn), of_planes(class_fn)
  pixels = pixel_lists.compact(mask, room)
  parts, passes = _find_objects(levels, mask, pixels, most, cfg)
  if passes is None:
    found = measure.measure_components(parts, levels, planes, size_fn, cfg)
    labels, share = votes.vote_all_pixels(found, parts, w, class_fn, cfg)
  else:
    found = measure.measure_basins(parts, passes, levels, planes, size_fn, cfg)
    labels, share = votes.vote_near_peaks(found, parts, w, class_fn, cfg)
  result = _to_detections(found, labels, share, cfg)
  return result, found.complete & (parts.count <= most)


def _to_detections(found, labels, share, cfg):
  """Boxes and scores of the objects in the slots, [P, K]."""
  if cfg.legacy:
    half = jnp.trunc(found.sizes) / 2
    corners = (found.centers - half, found.centers + half)
    found_boxes = jnp.round(jnp.concatenate(corners, 1))
  else:
    found_boxes = boxes.from_centers(found.centers, found.sizes)

  def by_plane(x):
    return x.reshape(len(found.count), -1, *x.shape[1:])

  return structs.Detections(
    boxes_yxyx=by_plane(jnp.where(found.valid[:, None], found_boxes, 0)),
    labels=by_plane(jnp.where(found.valid, labels, 0)),
    scores=by_plane(jnp.where(found.valid, found.confidence * share, 0)),
    valid=by_plane(found.valid),
    count=found.count,
  )


def _best_of_groups(found, k):
  """Merges the groups of one page: the best K of G * K slots, sorted."""
  flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), found)
  order = jnp.where(flat.valid, flat.scores, -1)
  best = jax.lax.top_k(order, k)[1]
  return structs.Detections(
    boxes_yxyx=flat.boxes_yxyx[best],
    labels=flat.labels[best],
    scores=flat.scores[best],
    valid=flat.valid[best],
    count=found.count.sum(),
  )


class Inside(NamedTuple):
  """The objects of an energy plane, before low and small ones are dropped.

  Attributes:
    levels: after the decode's filter, if it has one.
    object_ids: of each pixel, from 0; -1 = below the cutoff.
    peaks_yx: pixel with the highest level of each object, the first in raster
      order among equals.
  """

  levels: Float[np.ndarray, "h w"]
  object_ids: Int[np.ndarray, "h w"]
  peaks_yx: Int[np.ndarray, "n 2"]


def look_inside(
  energy_levels: Float[structs.Array, "h w"], cfg: DecodeConfig
) -> Inside:
  """Shows which pixels of an energy plane the decode takes for one object.

  For inspection; the decode itself does not use it. Objects are basins of peaks
  (`cfg.method` "watershed") or connected components ("threshold"), numbered in
  raster order of their peaks.
  """
  levels, rows, indices, count = jax.device_get(
    _segment(jnp.asarray(energy_levels, jnp.float32), cfg)
  )
  h, w = levels.shape
  at, rows = indices[:count], rows[:count]
  # Objects one after the other, the highest pixel of each first.
  order = np.lexsort((at, -levels.reshape(-1)[at], rows))
  _, first, row = np.unique(rows[order], return_index=True, return_inverse=True)
  peaks = at[order][first]
  number = np.empty(len(peaks), np.int32)
  number[np.argsort(peaks)] = np.arange(len(peaks))
  object_ids = np.full(h * w, -1, np.int32)
  object_ids[at[order]] = number[row]
  peaks.sort()
  return Inside(
    levels, object_ids.reshape(h, w), np.stack([peaks // w, peaks % w], 1)
  )


@functools.partial(jax.jit, static_argnames="cfg")
def _segment(levels, cfg):
  """Filtered levels; objects of the pixels in a list."""
  plane = pixel_lists.Planes(1, *levels.shape)
  levels, mask = _foreground(levels[None], plane, cfg)
  pixels = pixel_lists.compact(mask)
  most = pixel_lists.most_objects(levels.shape)
  parts, _ = _find_objects(levels, mask, pixels, most, cfg)
  return levels, parts.rows, parts.pixels.indices, parts.pixels.count
