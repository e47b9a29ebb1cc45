"""Networks of the pretraining, parts of the detector, and their losses.

What they have in common with `dwd.DWDNet` has the same names, so that it can be
matched (`pretraining.parameter_matching`).
"""

import flax.linen as nn
import jax.numpy as jnp
import optax
from jaxtyping import Float, Int

from dwd_jax.core.structs import Array
from dwd_jax.models import dwd
from dwd_jax.models.dwd import ModelConfig, make_backbone, make_decoder
from dwd_jax.models.refinenet import head_input
from dwd_jax.train.pretraining.loaders import PixelBatch, SymbolBatch
from dwd_jax.train.stages import LOSSES
from dwd_jax.train.step import LossesFn

LOSS = "class"  # both levels train what the loop knows as the class loss


class SymbolNet(nn.Module):
  """Crop of a symbol -> logits of its class: backbone, mean, linear head.

  Attributes:
    cfg: of the detector, with the classes of the symbols.
  """

  cfg: ModelConfig

  @nn.compact
  def __call__(
    self, image: Float[Array, "B H W c"], train: bool = False
  ) -> Float[Array, "B {self.cfg.num_classes}"]:
    """Applies the network to ink 0..1; see `dwd.DWDNet`."""
    features = make_backbone(self.cfg, train)(image, train)[-1]
    pooled = features.astype(jnp.float32).mean((1, 2))
    head = nn.Dense(
      self.cfg.num_classes,
      kernel_init=nn.initializers.normal(0.01),
      name="symbol_head",
    )
    return head(pooled)


class PixelNet(nn.Module):
  """Crop -> logits of the class of each cell of 4 x 4 pixels, 0 = background.

  Backbone, RefineNet and class head are those of the detector; the head that
  tells background is all that is left behind.
  """

  cfg: ModelConfig

  @nn.compact
  def __call__(
    self, image: Float[Array, "B H W c"], train: bool = False
  ) -> Float[Array, "B h w C"]:
    """Applies the network to ink 0..1; C is one more than the classes."""
    cfg = self.cfg
    maps = make_decoder(cfg, train)(make_backbone(cfg, train)(image, train))
    x = head_input(maps[0], cfg.refinenet)
    small = nn.initializers.normal(0.01)
    background = nn.Dense(1, kernel_init=small, name="background_head")(x)
    if cfg.class_hidden:
      x = nn.relu(nn.Dense(cfg.class_hidden, name="class_hidden")(x))
    classes = nn.Dense(cfg.num_classes, kernel_init=small, name="class_head")(x)
    return jnp.concatenate([background, classes], -1)


def symbol_loss(
  logits: Float[Array, "B C"], labels: Int[Array, " B"]
) -> tuple[Array, dict[str, Array]]:
  """Cross-entropy, the mean over the batch.

  Args:
    labels: class ids.

  Returns:
    The loss, and the share of right classes.
  """
  losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  right = logits.argmax(-1) == labels
  return losses.mean(), {"accuracy": right.mean(dtype=jnp.float32)}


def pixel_loss(
  logits: Float[Array, "B h w D"], classes: Int[Array, "B h w"]
) -> tuple[Array, dict[str, Array]]:
  """Cross-entropy; foreground and background weigh the same.

  Args:
    logits: of each cell, background first.
    classes: class + 1, 0 = background.

  Returns:
    Half the mean over foreground cells plus half that over background cells (a
    batch without one of them has 0 for it), and the shares of right cells of
    both kinds.
  """
  classes = classes.astype(jnp.int32)
  losses = optax.softmax_cross_entropy_with_integer_labels(logits, classes)
  right = logits.argmax(-1) == classes

  def mean(x, mask):
    return jnp.where(mask, x, 0.0).sum() / jnp.maximum(mask.sum(), 1)

  ink = classes > 0
  loss = (mean(losses, ink) + mean(losses, ~ink)) / 2
  return loss, {
    "accuracy_foreground": mean(right, ink),
    "accuracy_background": mean(right, ~ink),
  }


def losses_of(model: nn.Module) -> LossesFn:
  """The losses of a `SymbolNet` or a `PixelNet`, by the kind of the batch."""

  def losses_fn(params, batch_stats, batch, train=True):
    variables = {"params": params, "batch_stats": batch_stats}
    logits, batch_stats = dwd.apply(model, variables, batch.image, train)
    loss, metrics = _loss(jnp.asarray(logits), batch)
    losses = jnp.stack([loss if k == LOSS else 0.0 * loss for k in LOSSES])
    return losses, batch_stats, metrics | {f"loss_{LOSS}": loss}

  return losses_fn


def _loss(logits: Array, batch: SymbolBatch | PixelBatch):
  if isinstance(batch, SymbolBatch):
    return symbol_loss(logits, batch.labels)
  return pixel_loss(logits, batch.classes)
