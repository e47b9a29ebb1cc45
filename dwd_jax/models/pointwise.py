"""1 x 1 convolutions as matrix products.

Equal to convolutions but for rounding. On CPUs XLA computes the gradient of the
weights of a 1 x 1 convolution up to five times slower than the product that it
is, the forward pass and the other gradient a third slower
(benchmarks/train_step.py).
"""

from typing import Any

import jax
from jax import lax


def conv_general_dilated(
  lhs: jax.Array,
  rhs: jax.Array,
  window_strides: Any,
  padding: Any,
  **options: Any,
) -> jax.Array:
  """`lax.conv_general_dilated` for `flax.linen.Conv`.

  Args:
    lhs: [B, h, w, c].
    rhs: kernel [height, width, c, C].
    window_strides: (rows, columns).
    padding: ((top, bottom), (left, right)).
    **options: the others; given as they are.
  """
  if jax.default_backend() != "cpu" or not _is_pointwise(rhs, padding, options):
    return lax.conv_general_dilated(
      lhs, rhs, window_strides, padding, **options
    )
  rows, columns = window_strides
  x = lhs[:, ::rows, ::columns]
  # Flat: with four axes XLA transposes copies.
  y = x.reshape(-1, x.shape[-1]) @ rhs.reshape(rhs.shape[-2:])
  return y.reshape(*x.shape[:-1], y.shape[-1])


def _is_pointwise(
  rhs: jax.Array, padding: Any, options: dict[str, Any]
) -> bool:
  return (
    rhs.ndim == 4
    and rhs.shape[:2] == (1, 1)
    and all(tuple(side) == (0, 0) for side in padding)
    and options.get("feature_group_count", 1) == 1
  )
