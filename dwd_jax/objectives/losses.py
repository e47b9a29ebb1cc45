"""The options of all losses, what they share, and the energy loss.

Every loss returns (loss, metrics), a weighted mean: the sum of weight x loss
over pixels divided by the sum of the weights, 0 where no pixel counts. Padded
boxes paint nothing (`dwd_jax.objectives.targets`), so they never count; padded
paper counts as paper. Reference: Tuggener et al. 2018, section 3.3.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import Array

Metrics = dict[str, Array]
MAX_CLASS_PIXELS = 65535

# Of the highest energy, around the centres: a coarse grid may miss these.
_CENTRE = 0.6


@dataclasses.dataclass(frozen=True)
class LossConfig:
  """The losses that are minimised.

  Attributes:
    energy_focal_gamma: focal exponent of the energy loss, 0 or more; 0 =
      cross-entropy.
    class_focal_gamma: focal exponent of the class loss, 0 or more; 0 =
      cross-entropy.
    energy_smoothing: width, in levels, of a Gaussian around the true level as
      the target of foreground pixels; 0 = the one true level, as the paper.
    size_loss: error of the box sizes: mse (of pixels; the paper), smooth_l1 (of
      pixels) or log_l1 (of log-sizes).
    energy_weights: weights of the pixels in the energy loss. balanced:
      foreground and background of a plane get the same total weight, over the
      images of a batch.
    class_weights: weights of the pixels in the class loss. by_class: all
      classes in a batch get the same total weight; by_object: all objects do.
    class_pixels: most foreground pixels of an image (all groups together) at
      which the class head is evaluated, 1..65535; more are thinned evenly.
  """

  energy_focal_gamma: float = 0.0
  class_focal_gamma: float = 0.0
  energy_smoothing: float = 0.0
  size_loss: Literal["mse", "smooth_l1", "log_l1"] = "mse"
  energy_weights: Literal["none", "balanced"] = "none"
  class_weights: Literal["none", "by_class", "by_object"] = "none"
  class_pixels: int = 4096

  def __post_init__(self):
    if not 1 <= self.class_pixels <= MAX_CLASS_PIXELS:
      raise InputError(
        f"config: losses.class_pixels is {self.class_pixels}; use 1 to"
        f" {MAX_CLASS_PIXELS}"
      )


def softmax_cross_entropy(
  logits: Float[Array, "*n C"],
  labels: Int[Array, "*n"],
  focal_gamma: float = 0.0,
  smoothing: float = 0.0,
) -> Float[Array, "*n"]:
  """Cross-entropy, or focal loss, of every element; the caller reduces.

  Args:
    logits: unnormalised.
    labels: true class of each element.
    focal_gamma: (1 - p) ** gamma times the cross-entropy (Lin et al. 2017).
    smoothing: standard deviation, in classes, of a Gaussian target around
      labels > 0 (ordered classes whose 0 is background); 0 = one class.
  """
  count = logits.shape[-1]
  if smoothing > 0:
    level = np.arange(count)
    table = np.exp(-0.5 * ((level - level[:, None]) / smoothing) ** 2)
    table[:, 0] = 0.0
    table /= table.sum(1, keepdims=True)
    table[0] = level == 0
    # A product with one-hot rows: a gather of rows is slow on CPUs.
    # At the default precision of accelerators its rows would be rounded.
    target = jnp.matmul(
      jax.nn.one_hot(labels, count),
      jnp.asarray(table, logits.dtype),
      precision=jax.lax.Precision.HIGHEST,
    )
  else:
    target = jax.nn.one_hot(labels, count, dtype=logits.dtype)
  # The target sums to 1, so the normaliser stays outside of the sum.
  loss = jax.nn.logsumexp(logits, -1) - (target * logits).sum(-1)
  if focal_gamma:
    # Below gamma = 1 the power has no slope at 0, and sure pixels reach it.
    loss = loss * jnp.maximum(-jnp.expm1(-loss), 1e-7) ** focal_gamma
  return loss


def weighted_mean(
  values: Float[Array, "*n"], weights: Float[Array, "*n"]
) -> Float[Array, ""]:
  """Sum of weights x values over the sum of weights; 0 where that is 0."""
  return (values * weights).sum() / jnp.maximum(weights.sum(), 1e-6)


def subsample(maps: Array, stride: int, first: int = 0) -> Array:
  """Every stride-th pixel of maps [B, H, W, ...], from pixel `first` on."""
  return maps[:, first::stride, first::stride]


def reduce_strides(
  losses: list[Array], how: str, used: list[Array] | None = None
) -> Array:
  """Mean or minimum of the strides' losses, of those in use; 0 if none is."""
  stacked = jnp.stack(losses)
  if used is None:
    return stacked.min() if how == "min" else stacked.mean()
  count = jnp.stack(used)
  if how == "min":
    lowest = jnp.where(count, stacked, jnp.inf).min()
    return jnp.where(count.any(), lowest, 0.0)
  return weighted_mean(stacked, count.astype(jnp.float32))


def energy_loss(
  logits: Float[Array, "B H W G E"],
  levels: Int[Array, "B H W G"],
  cfg: LossConfig,
  strides: tuple[int, ...] = (1,),
  reduction: str = "mean",
  unknown: Bool[Array, "B H W G"] | None = None,
  seed_level: float = 5.0,
) -> tuple[Float[Array, ""], Metrics]:
  """Softmax cross-entropy of the energy level at every pixel of every plane.

  Args:
    logits: at stride 1, or at a stride that divides all of those trained.
    levels: `Targets.energy` at the same stride.
    cfg: options.
    strides: the loss is computed on every stride-th pixel for each of these.
    reduction: "mean" or "min" of the strides' losses.
    unknown: pixels that do not count; None = all do.
    seed_level: energy from which a peak makes an object in the decode.

  Returns:
    The loss, divided by the sum of the pixel weights (the number of pixels
    where they are "none"), and metrics: `energy_recall` is the share of the
    pixels around the centres of objects from which the decode would make one.
  """
  # Once for all strides: they look at the same pixels.
  loss = softmax_cross_entropy(
    logits, levels, cfg.energy_focal_gamma, cfg.energy_smoothing
  )
  losses = []
  for stride in strides:
    values = subsample(loss, stride)
    weights = jnp.ones_like(values)
    if cfg.energy_weights == "balanced":
      weights = _balanced(subsample(levels, stride) > 0)
    if unknown is not None:
      weights = jnp.where(subsample(unknown, stride), 0.0, weights)
    losses.append(weighted_mean(values, weights))
  probs = jax.nn.softmax(jax.lax.stop_gradient(logits))
  num_levels = logits.shape[-1]
  expected = probs @ jnp.arange(num_levels, dtype=probs.dtype)
  centres = levels >= _CENTRE * (num_levels - 1)
  found = centres & (expected >= seed_level)
  recall = found.sum() / jnp.maximum(centres.sum(), 1)
  return reduce_strides(losses, reduction), {"energy_recall": recall}


def _balanced(
  foreground: Bool[Array, "B H W G"],
) -> Float[Array, "B H W G"]:
  """Weights that give both parts of every plane of a batch the same total."""
  # A plane that is all paper has half the weight of the others.
  share = foreground.mean((0, 1, 2), keepdims=True)
  share = jnp.clip(share, 1e-4, 1 - 1e-4)
  return jnp.where(foreground, 0.5 / share, 0.5 / (1 - share))
