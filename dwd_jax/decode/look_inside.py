"""The decode from within: which pixels became one object.

For people who want to see why two symbols were taken for one; the decode itself
has no use for it.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from dwd_jax.core import structs
from dwd_jax.decode import basins as basins_lib
from dwd_jax.decode import bits, components, pixel_lists
from dwd_jax.decode.decode_config import DecodeConfig


class Inside(NamedTuple):
  """The objects of an energy plane, before low and small ones are dropped.

  Attributes:
    levels: as the decode takes them: after its filter, if it has one.
    object_ids: of each pixel, from 0 on; -1 = below the cutoff.
    peaks_yx: pixel with the highest level of each object, the first in raster
      order among equals.
  """

  levels: Float[np.ndarray, "h w"]
  object_ids: Int[np.ndarray, "h w"]
  peaks_yx: Int[np.ndarray, "n 2"]


def look_inside(
  energy_levels: Float[structs.Array, "h w"], cfg: DecodeConfig
) -> Inside:
  """Splits an energy plane into objects, as `watershed.decode_levels` does.

  Args:
    energy_levels: level of each pixel.
    cfg: its method is "watershed" (an object is the basin of a peak) or
      "threshold" (a connected component).

  Returns:
    The objects, numbered in raster order of their peaks.
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
  """Levels, and objects of the pixels in a list, as the decode makes them."""
  finite = jnp.isfinite(levels)
  if cfg.method == "watershed":
    levels = basins_lib.smooth(jnp.where(finite, levels, 0), cfg.smooth)
  mask = bits.pack((levels > cfg.energy_cutoff) & finite)
  pixels = pixel_lists.compact(mask)
  most = pixel_lists.most_objects(levels.shape)
  if cfg.method == "threshold":
    parts = components.find_components(mask, pixels, most)
  else:
    parts, _ = basins_lib.find_basins(
      levels, mask, pixels, cfg.min_saddle_depth, most
    )
  return levels, parts.rows, parts.pixels.indices, parts.pixels.count
