"""RefineNet: fuses ResNet features up to stride 4, in three versions."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from dwd_jax.core.structs import Array
from dwd_jax.models import layers

Version = Literal["light", "lin2017", "dwd2018"]
_GLOROT = nn.initializers.glorot_uniform()


@dataclasses.dataclass(frozen=True)
class Structure:
  """What the blocks of a version are made of.

  A block has one input from the backbone, whose channels a 1 x 1 convolution
  adapts, and all but the coarsest block have the output of the coarser one as
  a second input. Every input has a convolution in the fusion, which sums them
  up at the higher resolution. Chained residual pooling follows, then residual
  units.

  Attributes:
    coarse_units: residual units on the input from the coarser block, too.
    parallel: the two units of an input lie side by side, each with its own
      convolution in the fusion, of which the coarsest block has one, too.
    wide_coarsest: the coarsest block has twice the filters of the others.
    last_units: residual units at the output of the finest block; all others
      have one.
    relu_first: ReLU after the 1 x 1 convolutions, and none before the heads.
    kernel_init: of all convolutions. The original's, Glorot's; He's would
      double the variance at every residual unit of a network without norm.
  """

  coarse_units: bool = True
  parallel: bool = False
  wide_coarsest: bool = False
  last_units: int = 1
  relu_first: bool = False
  kernel_init: Callable[..., Array] = _GLOROT


STRUCTURES: dict[Version, Structure] = {
  "light": Structure(
    coarse_units=False, kernel_init=nn.initializers.he_normal()
  ),
  "lin2017": Structure(wide_coarsest=True, last_units=3),
  "dwd2018": Structure(parallel=True, relu_first=True),
}


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


def head_input(x: Array, version: Version) -> Array:
  """What heads take of a map of `RefineNet`, float32."""
  if not STRUCTURES[version].relu_first:
    x = nn.relu(x)
  return x.astype(jnp.float32)


class RefineNet(nn.Module):
  """Fuses features of ResNet's four levels, from the coarsest to the finest.

  Attributes:
    filters: channels of all levels (256 in the paper).
    norm: makes the batch norm after every convolution, which trains much faster
      from scratch; None = no batch norm, as in the paper.
    remat: keep only the input of each unit for the backward pass.
    version: see `STRUCTURES`. lin2017: figure 2 and section 3.2 of the paper.
      dwd2018: lib/models/RefineNet.py of the original DWD (commit 050d77b),
      except that the second pooling of the chain takes the output of the first
      (the original took the wrong tensor). light: fewer units.

  Reference: Lin et al. 2017: RefineNet, multi-path refinement networks.
  """

  filters: int = 256
  dtype: Any = jnp.float32
  norm: Callable[..., nn.Module] | None = None
  remat: bool = False
  version: Version = "light"

  def _unit(self, unit: Callable, x: Array, name: str) -> Array:
    """Applies a residual unit or a chained pooling."""

    def apply(module, x):
      return unit(module, x, name)

    return (nn.remat(apply) if self.remat else apply)(self, x)

  def _conv(self, x: Array, name: str, filters: int, size: int = 3) -> Array:
    pad = (size - 1) // 2
    x = nn.Conv(
      filters,
      (size, size),
      padding=((pad, pad), (pad, pad)),
      use_bias=self.norm is None,
      dtype=self.dtype,
      kernel_init=STRUCTURES[self.version].kernel_init,
      conv_general_dilated=layers.conv_general_dilated,
      name=name,
    )(x)
    return x if self.norm is None else self.norm(name=f"{name}_bn")(x)

  def _residual_unit(self, x: Array, name: str) -> Array:
    filters = x.shape[-1]
    y = self._conv(nn.relu(x), f"{name}_conv1", filters)
    return x + self._conv(nn.relu(y), f"{name}_conv2", filters)

  def _chained_pooling(self, x: Array, name: str) -> Array:
    out = x = nn.relu(x)
    for i in (1, 2):
      x = self._conv(layers.max_pool_5x5(x), f"{name}_conv{i}", x.shape[-1])
      out = out + x
    return out

  def _input(self, x: Array, units: str, fuse: str) -> Array:
    """An input of a block up to the sum of the fusion.

    Args:
      units: name of its residual units; "" = none.
      fuse: name of its convolution in the fusion; "" = none.
    """
    if STRUCTURES[self.version].parallel:
      parts = []
      for i in (1, 2):
        y = self._unit(RefineNet._residual_unit, x, f"{units}{i}")
        parts.append(self._conv(y, f"{fuse}{i}", self.filters))
      return parts[0] + parts[1]
    for i in (1, 2) if units else ():
      x = self._unit(RefineNet._residual_unit, x, f"{units}{i}")
    return self._conv(x, fuse, self.filters) if fuse else x

  @nn.compact
  def __call__(self, features: tuple[Array, ...]) -> tuple[Array, ...]:
    """Fuses features, from the coarsest to the finest.

    Args:
      features: [B, h, w, c] of each level, the finest first, each twice as
        large as the next one.

    Returns:
      The output of each level's block, the finest first.
    """
    structure, coarsest = STRUCTURES[self.version], len(features) - 1
    fused: list[Array] = []
    for level in range(coarsest, -1, -1):
      name = f"level{level + 1}"
      wide = structure.wide_coarsest and level == coarsest
      filters = self.filters * (2 if wide else 1)
      x = self._conv(features[level], f"{name}_adapt", filters, size=1)
      if structure.relu_first:
        x = nn.relu(x)
      alone = level == coarsest and not structure.parallel
      x = self._input(x, f"{name}_in", "" if alone else f"{name}_fuse_fine")
      if fused:  # [B, h / 2, w / 2, c]
        units = f"{name}_coarse" if structure.coarse_units else ""
        coarse = self._input(fused[0], units, f"{name}_fuse_coarse")
        x = x + upsample(coarse, 2)
      x = self._unit(RefineNet._chained_pooling, x, f"{name}_pool")
      for i in range(structure.last_units if level == 0 else 1):
        out = f"{name}_out{i + 1}" if i else f"{name}_out"
        x = self._unit(RefineNet._residual_unit, x, out)
      fused.insert(0, x)
    return tuple(fused)
