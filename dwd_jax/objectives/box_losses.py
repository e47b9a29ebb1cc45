"""Losses of the box: its size, and the offset to its centre.

Each returns (loss, metrics), as in `dwd_jax.objectives.losses`.
Reference: Tuggener et al. 2018, section 3.3.
"""

import jax.numpy as jnp
from jaxtyping import Float

from dwd_jax.core.structs import Array, Targets
from dwd_jax.objectives.losses import (
  LossConfig,
  Metrics,
  reduce_strides,
  subsample,
  weighted_mean,
)

_MAX_LOG_SIZE = 14.0  # 1.2 million px: squares stay finite


def size_loss(
  log_sizes: Float[Array, "B H W G 2"],
  targets: Targets,
  cfg: LossConfig,
  strides: tuple[int, ...] = (1,),
  reduction: str = "mean",
) -> tuple[Float[Array, ""], Metrics]:
  """Regression of the box size, averaged over the pixels of the size discs.

  Args:
    log_sizes: predicted log (height, width) in pixels, at stride 1.
    targets: at stride 1.
    cfg: "mse" and "smooth_l1" compare pixels, "log_l1" log-sizes.
    strides: as in `losses.energy_loss`; those without disc pixels are ignored.
    reduction: as in `losses.energy_loss`.
  """
  disc = targets.sizes_px[..., 0] > 0
  # Constants outside the discs, so that no NaN reaches gradients.
  wanted = jnp.where(disc[..., None], targets.sizes_px, 1.0)
  predicted = jnp.where(disc[..., None], log_sizes, 0.0)
  loss = _of_both_sides(_size_error(predicted, wanted, cfg.size_loss))
  error = _of_both_sides(jnp.abs(_size_px(predicted) - wanted)) / 2
  metrics = {"size_error_px": weighted_mean(error, disc.astype(jnp.float32))}
  return _on_discs(loss, disc, strides, reduction), metrics


def offset_loss(
  offsets: Float[Array, "B H W G 2"],
  targets: Targets,
  strides: tuple[int, ...] = (1,),
  reduction: str = "mean",
) -> tuple[Float[Array, ""], Metrics]:
  """Regression of the offset to the box's centre, over pixels of size discs.

  Relative to the side of the box, as IoU is.

  Args:
    offsets: predicted (y, x) in pixels, at stride 1.
    targets: at stride 1, with offsets.
    strides: as in `size_loss`.
    reduction: as in `losses.energy_loss`.

  Reference: ours; the paper takes the centre from the energy alone.
  """
  assert targets.offsets_px is not None
  disc = targets.sizes_px[..., 0] > 0
  sides = jnp.where(disc[..., None], targets.sizes_px, 1.0)
  error = jnp.where(disc[..., None], jnp.abs(offsets - targets.offsets_px), 0)
  loss = _of_both_sides(error / jnp.maximum(sides, 1.0))
  mean = weighted_mean(_of_both_sides(error) / 2, disc.astype(jnp.float32))
  metrics = {"offset_error_px": mean}
  return _on_discs(loss, disc, strides, reduction), metrics


def _on_discs(loss, disc, strides, reduction):
  """Means over the disc pixels of each stride, ignoring strides without."""
  losses, used = [], []
  for stride in strides:
    weights = subsample(disc, stride).astype(jnp.float32)
    losses.append(weighted_mean(subsample(loss, stride), weights))
    used.append(weights.any())
  return reduce_strides(losses, reduction, used)


def _of_both_sides(error: Float[Array, "*n 2"]) -> Float[Array, "*n"]:
  """Sum over height and width; `sum` would be four times as slow on CPUs."""
  return error[..., 0] + error[..., 1]


def _size_px(log_sizes):
  """Sizes in pixels, limited as log-sizes may grow while not trained."""
  return jnp.exp(jnp.minimum(log_sizes, _MAX_LOG_SIZE))


def _size_error(log_sizes, sizes_px, kind: str):
  if kind == "log_l1":
    return jnp.abs(log_sizes - jnp.log(sizes_px))
  error = _size_px(log_sizes) - sizes_px
  if kind == "mse":
    return error**2
  return jnp.where(jnp.abs(error) < 1, 0.5 * error**2, jnp.abs(error) - 0.5)
