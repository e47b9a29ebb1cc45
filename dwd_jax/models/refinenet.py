"""RefineNet (Lin et al. 2017): fuses ResNet features up to stride 4."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from dwd_jax.core.structs import Array
from dwd_jax.models import layers


def _lerp_axis(x: Array, factor: int, axis: int, step: int) -> Array:
  """Every step-th element of an axis upsampled bilinearly, edges repeated."""
  n = x.shape[axis]

  def cut(start, stop):
    return jax.lax.slice_in_dim(x, start, stop, axis=axis)

  before = jnp.concatenate([cut(0, 1), cut(0, n - 1)], axis)
  after = jnp.concatenate([cut(1, n), cut(n - 1, n)], axis)
  phases = []
  for i in range(0, factor, step):
    t = (i + 0.5) / factor - 0.5  # centre of this pixel, in cells
    other = before if t < 0 else after
    phases.append(x * (1 - abs(t)) + other * abs(t))
  shape = (*x.shape[:axis], n * len(phases), *x.shape[axis + 1 :])
  return jnp.stack(phases, axis + 1).reshape(shape)


def upsample(x: Array, factor: int, step: int = 1) -> Array:
  """Bilinear upsampling of [B, h, w, ...] by an integer factor.

  Equal to `jax.image.resize(method="bilinear")`, whose dense weight matrices
  are far slower on whole pages. Of the result only every step-th row and column
  is computed; `step` divides the factor.
  """
  if factor == 1:
    return x
  return _lerp_axis(_lerp_axis(x, factor, 1, step), factor, 2, step)


class RefineNet(nn.Module):
  """Features at stride 4 from ResNet's four levels.

  Attributes:
    filters: channels of all levels (256 in the paper).
    norm: makes the batch norm after every convolution, which trains much faster
      from scratch; None = no batch norm, as in the paper.
    remat: keep only the input of each unit for the backward pass.

  Reference: Lin et al. 2017, figure 2: residual conv units, multi-resolution
  fusion, chained residual pooling, output convolution. Differs from the
  original DWD: the second pooling of the chain takes the output of the first
  (the original took the wrong tensor); every level has `filters` channels.
  """

  filters: int = 256
  dtype: Any = jnp.float32
  norm: Callable[..., nn.Module] | None = None
  remat: bool = False

  def _unit(self, unit: Callable, x: Array, name: str) -> Array:
    """Applies a residual unit or a chained pooling."""

    def apply(module, x):
      return unit(module, x, name)

    return (nn.remat(apply) if self.remat else apply)(self, x)

  def _conv(self, x: Array, name: str, size: int = 3) -> Array:
    pad = (size - 1) // 2
    x = nn.Conv(
      self.filters,
      (size, size),
      padding=((pad, pad), (pad, pad)),
      use_bias=self.norm is None,
      dtype=self.dtype,
      kernel_init=nn.initializers.he_normal(),
      conv_general_dilated=layers.conv_general_dilated,
      name=name,
    )(x)
    return x if self.norm is None else self.norm(name=f"{name}_bn")(x)

  def _residual_unit(self, x: Array, name: str) -> Array:
    y = self._conv(nn.relu(x), f"{name}_conv1")
    return x + self._conv(nn.relu(y), f"{name}_conv2")

  def _chained_pooling(self, x: Array, name: str) -> Array:
    out = x = nn.relu(x)
    for i in (1, 2):
      x = self._conv(layers.max_pool_5x5(x), f"{name}_conv{i}")
      out = out + x
    return out

  @nn.compact
  def __call__(
    self, features: tuple[Array, ...]
  ) -> Float[Array, "B h w {self.filters}"]:
    """Fuses features from the coarsest to the finest; returns the finest."""
    fused = None
    for level in reversed(range(len(features))):
      name = f"level{level + 1}"
      x = self._conv(features[level], f"{name}_adapt", size=1)
      for unit in (1, 2):
        x = self._unit(RefineNet._residual_unit, x, f"{name}_in{unit}")
      if fused is not None:  # [B, h / 2, w / 2, filters]
        x = self._conv(x, f"{name}_fuse_fine")
        x = x + upsample(self._conv(fused, f"{name}_fuse_coarse"), 2)
      x = self._unit(RefineNet._chained_pooling, x, f"{name}_pool")
      fused = self._unit(RefineNet._residual_unit, x, f"{name}_out")
    assert fused is not None
    return fused
