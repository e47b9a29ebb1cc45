"""Convolutions and max pooling whose gradients are cheap.

1 x 1 convolutions are matrix products on CPUs, equal but for rounding. XLA's
gradient of their weights is up to five times slower, the rest a third slower.

Max pooling is a maximum of shifted slices, equal to `flax.linen.max_pool`.
XLA's gradient of a pooling window is a scatter, 15 to 20 times slower on CPUs,
which would take most of a training step (benchmarks/train_step.py). That of
a maximum of slices keeps masks of every pair; for 5 x 5 windows one byte an
element and axis says which of five was the largest.
"""

import functools
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


def _pad(x: Array, axis: int, before: int, after: int, value: Any) -> Array:
  widths = [(0, 0, 0)] * x.ndim
  widths[axis] = (before, after, 0)
  return lax.pad(x, jnp.asarray(value, x.dtype), widths)


def _shifted(x: Array, axis: int, value: Any) -> list[Array]:
  """Moved by -2 .. 2 along an axis: element i is x[i - 2] .. x[i + 2]."""
  n = x.shape[axis]
  padded = _pad(x, axis, 2, 2, value)
  if jax.default_backend() == "cpu":
    # Else XLA looks for the edge in the innermost loop.
    padded = lax.optimization_barrier(padded)
  return [lax.slice_in_dim(padded, i, i + n, axis=axis) for i in range(5)]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max5(x: Array, axis: int) -> Array:
  """Maximum over windows of 5 along one axis, stride 1.

  Of equal elements the first gets the gradient.
  """
  return functools.reduce(jnp.maximum, _shifted(x, axis, -jnp.inf))


def _max5_forward(x, axis):
  largest, *others = _shifted(x, axis, -jnp.inf)
  place = jnp.zeros(x.shape, jnp.uint8)  # of the largest in its window
  for i, other in enumerate(others, 1):
    place = jnp.where(other > largest, jnp.uint8(i), place)
    largest = jnp.maximum(largest, other)
  return largest, place


def _max5_backward(axis, place, gradient):
  # Element i is the last of the window around i - 2, the first of i + 2's.
  places = _shifted(place, axis, 0)
  gradients = _shifted(gradient, axis, 0)
  parts = [
    jnp.where(places[i] == 4 - i, gradients[i], 0).astype(gradient.dtype)
    for i in range(5)
  ]
  return (functools.reduce(jnp.add, parts),)


_max5.defvjp(_max5_forward, _max5_backward)


def max_pool_5x5(x: Float[Array, "B h w c"]) -> Float[Array, "B h w c"]:
  """Max pooling over 5 x 5 windows, stride 1, same size.

  Of equal elements the first, row by row, gets the gradient, as in
  `flax.linen.max_pool`.
  """
  return _max5(_max5(x, 2), 1)


def _max3_stride2(x: Array, axis: int) -> Array:
  """Maximum over windows of 3 around every even position of one axis."""
  n = x.shape[axis]
  if n % 2:
    x, n = _pad(x, axis, 0, 1, -jnp.inf), n + 1
  even = lax.slice_in_dim(x, 0, n, 2, axis=axis)
  odd = lax.slice_in_dim(x, 1, n, 2, axis=axis)
  odd_before = lax.slice_in_dim(odd, 0, n // 2 - 1, axis=axis)
  before = _pad(odd_before, axis, 1, 0, -jnp.inf)
  return jnp.maximum(jnp.maximum(even, odd), before)


def max_pool_3x3_stride2(x: Float[Array, "B H W c"]) -> Float[Array, "B h w c"]:
  """3 x 3 windows, stride 2, padded by 1: torchvision's ResNet pooling."""
  return _max3_stride2(_max3_stride2(x, 1), 2)
