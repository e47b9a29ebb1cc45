"""Maps -> Detections: the decode of Deep Watershed Detection.

Pages and energy groups are walked one after the other (`lax.map`): vmap would
turn every early exit into a select and do all the work always.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dwd_jax import boxes, structs
from dwd_jax.decode import basins as basins_lib
from dwd_jax.decode import components, foreground, measure, segments, votes
from dwd_jax.decode import config as config_lib

# (page int32 [P], y int32 [P], x int32 [P], group int32 [P]) -> [P, C]
ClassFn = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]
# The same -> (height, width) in pixels of the map, float32 [P, 2]
SizeFn = ClassFn


def decode(
  energy_logits: Float[structs.Array, "B h w G E"],
  sizes: Float[structs.Array, "B h w G 2"] | SizeFn,
  class_fn: ClassFn,
  cfg: config_lib.DecodeConfig,
) -> structs.Detections:
  """Turns the network's maps into boxes.

  Args:
    energy_logits: softmax logits over E energy levels, for G energy groups.
    sizes: see `decode_levels`.
    class_fn: class probabilities at the pixels (page, y, x, group), each
      int32 [P], as float32 [P, C]; classes of other groups are 0. A row of
      zeros is background and casts no vote.
    cfg: settings.

  Returns:
    K detections of each page, best first, in pixels of the map.
  """
  return decode_levels(
    expected_levels(energy_logits, cfg), sizes, class_fn, cfg
  )


def expected_levels(
  energy_logits: Float[structs.Array, "*n E"], cfg: config_lib.DecodeConfig
) -> Float[jax.Array, "*n"]:
  """Energy level of each pixel: the mean of the softmax over the levels.

  Method `threshold` takes the likeliest level, as the paper does.
  """
  if cfg.method == "threshold":
    return jnp.argmax(energy_logits, -1).astype(jnp.float32)
  level = jnp.arange(energy_logits.shape[-1], dtype=jnp.float32)
  return jax.nn.softmax(jnp.asarray(energy_logits, jnp.float32)) @ level


def decode_levels(
  energy_levels: Float[structs.Array, "B h w G"],
  sizes: Float[structs.Array, "B h w G 2"] | SizeFn,
  class_fn: ClassFn,
  cfg: config_lib.DecodeConfig,
) -> structs.Detections:
  """Turns energy levels into boxes; see `decode`.

  Args:
    energy_levels: level 0 (background) .. E - 1 (centre) of each pixel.
    sizes: (height, width) of the box in pixels of the map; 0 = unknown. A
      function like `class_fn` is asked at the pixels of objects only.
    class_fn: see `decode`.
    cfg: settings.

  Returns:
    K detections of each page, best first, in pixels of the map. Boxes may
    reach over its edges: it may be a tile of a larger page.
  """
  num_pages, _, _, num_groups = energy_levels.shape
  levels = jnp.asarray(energy_levels)
  size_fn = sizes if callable(sizes) else read_map(sizes)

  def plane(page, group):
    def own(fn):
      return lambda y, x: fn(
        jnp.full_like(y, page), y, x, jnp.full_like(y, group)
      )

    return _decode_plane(
      levels[page, :, :, group], own(size_fn), own(class_fn), cfg
    )

  def decode_page(page):
    groups = jnp.arange(num_groups, dtype=jnp.int32)
    found = jax.lax.map(lambda group: plane(page, group), groups)
    return _best_of_groups(found, cfg.max_detections)

  pages = jnp.arange(num_pages, dtype=jnp.int32)
  return jax.lax.map(decode_page, pages)


def read_map(values: Float[structs.Array, "B h w G n"]) -> SizeFn:
  """A function that reads a map at pixels (page, y, x, group)."""
  values = jnp.asarray(values)
  return lambda page, y, x, group: values[page, y, x, group]


def _decode_plane(levels, size_fn, class_fn, cfg):
  """Detections of one page and one energy group, in no order."""
  w = levels.shape[1]
  if cfg.method == "threshold":
    mask = levels > cfg.energy_cutoff
    roots = components.component_roots(mask).reshape(-1)
    pixels = foreground.compact(mask.reshape(-1))
    parts = segments.number_roots(roots, pixels, levels.shape)
    found = measure.measure_components(parts, levels, size_fn, cfg)
    labels, share = votes.vote_all_pixels(found, parts, w, class_fn, cfg)
  else:
    levels = basins_lib.smooth(levels, cfg.smooth)
    parts, passes = basins_lib.find_basins(
      levels, cfg.energy_cutoff, cfg.min_saddle_depth
    )
    found = measure.measure_basins(parts, passes, levels, size_fn, cfg)
    labels, share = votes.vote_near_peaks(found, parts, w, class_fn, cfg)
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
