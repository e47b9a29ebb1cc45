"""Work on detections that follows their number, not that of the slots."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

_AT_ONCE = 256  # slots


def each_used(
  function: Callable[[Any, Array], Array],
  pages: Any,
  values: Array,
  used: Bool[Array, "B K"],
  nothing: Array,
) -> Array:
  """Applies a function to the values of slots, some hundreds at a time.

  Args:
    function: of one page's part of `pages` and [256, ...] of `values`; returns
      [256, ...].
    pages: a tree of arrays [B, ...].
    values: [B, K, ...].
    used: slots that matter. Where none of some hundreds does, no work is done.
    nothing: the result for a slot where none was done.

  Returns:
    [B, K, ...]; anything in slots that are not used.
  """
  num_pages, slots = used.shape

  def cut(x):  # [B, K, ...] -> [B, parts, at once, ...]
    rest = [(0, 0)] * (x.ndim - 2)
    x = jnp.pad(x, ((0, 0), (0, -slots % _AT_ONCE), *rest))
    return x.reshape(num_pages, -1, _AT_ONCE, *x.shape[2:])

  def of_page(one):
    page, values, used = one

    def of_part(part):
      values, used = part
      nothing_each = jnp.broadcast_to(nothing, (_AT_ONCE, *nothing.shape))
      return jax.lax.cond(
        used.any(), lambda: function(page, values), lambda: nothing_each
      )

    return jax.lax.map(of_part, (values, used))

  found = jax.lax.map(of_page, (pages, cut(values), cut(used)))
  found = found.reshape(num_pages, -1, *nothing.shape)
  return found[:, :slots]
