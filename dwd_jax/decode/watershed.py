"""Maps -> Detections: the decode of Deep Watershed Detection.

`decode` thresholds the energy, finds objects, measures them and lets their
pixels vote for a class. Pages and energy groups go one after the other
(`lax.map`): vmap would turn every early exit into a select and always do all
the work.

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
  return (weight @ level) / weight.sum(-1)


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
  num_pages, _, _, num_groups = energy_levels.shape
  levels = jnp.asarray(energy_levels)
  size_fn = sizes if callable(sizes) else read_map(sizes)

  if not levels.size:
    return _nothing(num_pages, cfg.max_detections)

  def plane(page, group):
    def own(fn):
      def ask(y, x):
        asked = fn(jnp.full_like(y, page), y, x, jnp.full_like(y, group))
        return asked if isinstance(asked, votes.Likeliest) else _finite(asked)

      return ask

    return _decode_plane(
      levels[page, :, :, group], own(size_fn), own(class_fn), cfg
    )

  def decode_page(page):
    groups = jnp.arange(num_groups, dtype=jnp.int32)
    found = jax.lax.map(lambda group: plane(page, group), groups)
    best = _best_of_groups(found, cfg.max_detections)
    if cfg.suppress_iou:
      best = suppression.suppress(best, cfg.suppress_iou)
    return best

  pages = jnp.arange(num_pages, dtype=jnp.int32)
  return jax.lax.map(decode_page, pages)


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


def _decode_plane(levels, size_fn, class_fn, cfg):
  """Detections of one page and one energy group, unordered."""
  levels, mask = _foreground(levels, cfg)
  most = pixel_lists.most_objects(levels.shape)
  args = (levels, mask, size_fn, class_fn, cfg)

  def any_page():
    return _decode_in(levels.size, most, *args)[0]

  if levels.size <= _SMALL_PAGE:
    return any_page()
  room = levels.size // _USUAL_PIXELS

  def usual():
    return _decode_in(room, most // _USUAL_OBJECTS, *args)

  def skip():
    nothing = jax.eval_shape(usual)
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), nothing)

  # Tables for a whole page cost more than the work on a usual page.
  found, complete = jax.lax.cond(mask.count <= room, usual, skip)
  return jax.lax.cond(complete, lambda: found, any_page)


def _foreground(levels, cfg):
  """Filtered levels, and the mask of pixels above the cutoff."""
  finite = jnp.isfinite(levels)
  if cfg.method == "watershed":
    levels = basins.smooth(jnp.where(finite, levels, 0), cfg.smooth)
  return levels, bits.pack((levels > cfg.energy_cutoff) & finite)


def _find_objects(levels, mask, pixels, most, cfg):
  """Objects of a plane; of basins also the levels of their highest passes."""
  if cfg.method == "threshold":
    return components.find_components(mask, pixels, most), None
  return basins.find_basins(levels, mask, pixels, cfg, most)


def _decode_in(room, most, levels, mask, size_fn, class_fn, cfg):
  """Detections of one plane; whether there were `most` objects at most."""
  w = levels.shape[1]
  pixels = pixel_lists.compact(mask, room)
  parts, passes = _find_objects(levels, mask, pixels, most, cfg)
  if passes is None:
    found = measure.measure_components(parts, levels, size_fn, cfg)
    labels, share = votes.vote_all_pixels(found, parts, w, class_fn, cfg)
  else:
    found = measure.measure_basins(parts, passes, levels, size_fn, cfg)
    labels, share = votes.vote_near_peaks(found, parts, w, class_fn, cfg)
  result = _to_detections(found, labels, share, cfg)
  return result, parts.count <= most


def _to_detections(found, labels, share, cfg):
  """Boxes and scores of the objects in the slots."""
  if cfg.legacy:
    half = jnp.trunc(found.sizes) / 2
    corners = (found.centers - half, found.centers + half)
    found_boxes = jnp.round(jnp.concatenate(corners, 1))
  else:
    found_boxes = boxes.from_centers(found.centers, found.sizes)
  return structs.Detections(
    boxes_yxyx=jnp.where(found.valid[:, None], found_boxes, 0),
    labels=jnp.where(found.valid, labels, 0),
    scores=jnp.where(found.valid, found.confidence * share, 0),
    valid=found.valid,
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
  levels, mask = _foreground(levels, cfg)
  pixels = pixel_lists.compact(mask)
  most = pixel_lists.most_objects(levels.shape)
  parts, _ = _find_objects(levels, mask, pixels, most, cfg)
  return levels, parts.rows, parts.pixels.indices, parts.pixels.count
