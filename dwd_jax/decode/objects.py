"""Objects in K slots: what is measured of them, and which are kept."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from dwd_jax.decode import decode_config as config_lib
from dwd_jax.decode import pixel_lists, segments


class Objects(NamedTuple):
  """Objects of one energy plane in K slots.

  Attributes:
    rows: row of the object in its `segments.Segments`.
    slot_of: slot of each of its T rows (and of row T); K where it has none.
    seeds: raster index of the pixel that stands for the object.
    centers: (y, x) in pixels; the middle of the first pixel is (0.5, 0.5).
    sizes: (height, width) in pixels.
    confidence: energy, 0..1.
    area: pixels above the cutoff.
    valid: slots in use; they come first.
    count: objects found; may exceed K, then the least confident are left out.
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


def choose_rows(
  parts: segments.Segments,
  keep: Callable[[jax.Array], jax.Array],
  confidence: Callable[[jax.Array], jax.Array],
  cfg: config_lib.DecodeConfig,
) -> tuple[Int[jax.Array, " K"], Bool[jax.Array, " K"], Int[jax.Array, ""]]:
  """Puts the objects into slots; the K most confident if there are too many.

  Args:
    parts: the objects.
    keep: rows int32 [m] -> bool [m], objects that count.
    confidence: rows int32 [m] -> float32 [m], 0 or more.
    cfg: settings of the decode.

  Returns:
    rows: of the objects in the slots.
    valid: slots in use.
    count: objects that count.
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

  # A page with more objects than slots is rare, and sorting is slow.
  rows = jax.lax.cond(kept.count <= k, all_of_them, the_best)
  return rows, jnp.arange(k) < kept.count, kept.count


def slots(
  rows: Int[jax.Array, " K"], valid: Bool[jax.Array, " K"], num_rows: int
) -> Int[jax.Array, " T1"]:
  """Slot of each row, K where it has none; see `Objects`.

  Args:
    rows: of the objects in the slots.
    valid: slots in use.
    num_rows: T.
  """
  (k,) = rows.shape
  place = pixel_lists.drop_unless(valid, rows, num_rows + 1)
  slot_of = k + pixel_lists.zeros(num_rows + 1, rows[0])
  return slot_of.at[place].set(jnp.arange(k, dtype=jnp.int32), mode="drop")
