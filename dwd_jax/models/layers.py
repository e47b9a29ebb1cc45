"""Convolutions and max pooling that are fast on CPUs.

1 x 1 convolutions are matrix products, equal but for rounding. XLA's gradient
of their weights is up to five times slower, the rest a third slower.

Max pooling is a maximum of shifted slices, equal to `flax.linen.max_pool`.
XLA's gradient of a pooling window is a scatter, 15 to 20 times slower, which
would take most of a training step (benchmarks/train_step.py).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from dwd_jax.core.structs import Array


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
    **options: of `lax.conv_general_dilated`.
  """
  if jax.default_backend() != "cpu" or not _is_pointwise(rhs, padding, options):
    return lax.conv_general_dilated(
      lhs, rhs, window_strides, padding, **options
    )
  rows, columns = window_strides
  x = lhs[:, ::rows, ::columns]
  # Flattened, as XLA transposes copies of arrays with four axes.
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


def _pad(x: Array, axis: int, before: int, after: int) -> Array:
  widths = [(0, 0)] * x.ndim
  widths[axis] = (before, after)
  return jnp.pad(x, widths, constant_values=jnp.finfo(x.dtype).min)


def _max5(x: Array, axis: int) -> Array:
  """Maximum over windows of 5 along one axis, stride 1."""
  n = x.shape[axis]

  def cut(a, start, size):
    return jax.lax.slice_in_dim(a, start, start + size, axis=axis)

  padded = _pad(x, axis, 2, 2)
  pairs = jnp.maximum(cut(padded, 0, n + 3), cut(padded, 1, n + 3))
  fours = jnp.maximum(cut(pairs, 0, n), cut(pairs, 2, n))
  return jnp.maximum(fours, cut(padded, 4, n))


def max_pool_5x5(x: Float[Array, "B h w c"]) -> Float[Array, "B h w c"]:
  """Max pooling over 5 x 5 windows, stride 1, same size."""
  return _max5(_max5(x, 1), 2)


def _max3_stride2(x: Array, axis: int) -> Array:
  """Maximum over windows of 3 around every even position of one axis."""
  n = x.shape[axis]
  if n % 2:
    x, n = _pad(x, axis, 0, 1), n + 1
  even = jax.lax.slice_in_dim(x, 0, n, 2, axis=axis)
  odd = jax.lax.slice_in_dim(x, 1, n, 2, axis=axis)
  before = jax.lax.slice_in_dim(_pad(odd, axis, 1, 0), 0, n // 2, axis=axis)
  return jnp.maximum(jnp.maximum(even, odd), before)


def max_pool_3x3_stride2(x: Float[Array, "B H W c"]) -> Float[Array, "B h w c"]:
  """3 x 3 windows, stride 2, padded by 1: torchvision's ResNet pooling."""
  return _max3_stride2(_max3_stride2(x, 1), 2)
