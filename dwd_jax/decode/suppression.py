"""Suppression: of two detections that overlap only the better stays.

Each energy plane yields an object once; duplicates come from energy groups that
saw the same object, or from two peaks of a large one.
"""

import jax
import jax.numpy as jnp

from dwd_jax.core import boxes, rectangles, structs
from dwd_jax.decode import backend

# Detections compared with all others at a time. On accelerators nearly always
# all: a page of 8,192 takes 64 MiB.
_BLOCK, _LARGE_BLOCK = 256, 8192


def suppress(found: structs.Detections, most_iou: float) -> structs.Detections:
  """Drops detections that overlap a better one, whatever their classes.

  Greedy by falling score: a detection stays unless its IoU with a better one
  that stays is above `most_iou`: that of the oriented boxes where there are.

  Args:
    found: of one page, best first; K slots without the axis B.
    most_iou: 0..1.

  Returns:
    The detections that stay, best first; the other slots are empty. `count`
    falls by the number dropped, so it still exceeds K where slots ran out,
    unless as many were duplicates.
  """
  k = found.scores.shape[0]
  if found.oriented_yx is None:
    shapes, iou = found.boxes_yxyx, boxes.pairwise_iou
  else:
    shapes, iou = found.oriented_yx, rectangles.pairwise_iou
  keep = _stays(jnp.asarray(shapes), found.valid, most_iou, iou)
  order = jnp.argsort(~keep, stable=True)
  valid = jnp.arange(k) < keep.sum()

  def moved(x):
    used = valid.reshape(k, *(1 for _ in x.shape[1:]))
    return jnp.where(used, x[order], jnp.zeros((), x.dtype))

  per_slot = jax.tree.map(moved, found.replace(valid=None, count=None))
  dropped = (found.valid.sum() - keep.sum()).astype(jnp.int32)
  return per_slot.replace(valid=valid, count=found.count - dropped)


def suppress_pages(
  found: structs.Detections, most_iou: float
) -> structs.Detections:
  """`suppress` of each page; 0 = none."""
  if not most_iou:
    return found

  def page(one):
    return suppress(one, most_iou)

  return jax.lax.map(page, found) if backend.on_cpu() else jax.vmap(page)(found)


def _stays(shapes, valid, most_iou, pairwise_iou):
  """Which of the sorted boxes or corners [K, ...] stay, a block at a time."""
  k = valid.shape[0]
  size = _BLOCK if backend.on_cpu() else min(k, _LARGE_BLOCK)
  rest = -k % size
  padded = jnp.pad(shapes, ((0, rest), *((0, 0) for _ in shapes.shape[1:])))
  number = jnp.arange(k + rest)

  def block(i, keep):
    first = i * size
    own = jax.lax.dynamic_slice_in_dim(padded, first, size)
    mine = jax.lax.dynamic_slice(keep, (first,), (size,))
    within = pairwise_iou(own, own) > most_iou
    later = number[:size, None] < number[None, :size]

    def settle(state):
      _, old = state
      # Exact once nothing changes: the first box that is not settled depends
      # on settled ones only.
      return old, mine & ~(within & later & old[:, None]).any(0)

    _, mine = backend.loop_while(
      lambda state: jnp.any(state[0] != state[1]), settle, (~mine, mine)
    )
    covered = pairwise_iou(own, padded) > most_iou  # [size, k + rest]
    after = number >= first + size
    keep &= ~((covered & mine[:, None]).any(0) & after)
    return jax.lax.dynamic_update_slice(keep, mine, (first,))

  keep = jnp.pad(valid, (0, rest))
  if size == k:
    return block(0, keep)
  # Valid slots come first, so blocks without any need no work.
  used = valid.sum() if backend.on_cpu() else k
  blocks = (used + size - 1) // size
  return jax.lax.fori_loop(0, blocks, block, keep)[:k]
