"""Losses and steps of the pretraining; pure functions."""

from typing import Any, Protocol

import flax.linen as nn
import jax.numpy as jnp
import optax
from jaxtyping import Float, Int

from dwd_jax.core.structs import Array, Params
from dwd_jax.train import update
from dwd_jax.train.pretraining.loaders import PixelBatch, SymbolBatch
from dwd_jax.train.stages import LOSSES
from dwd_jax.train.state import TrainState, eval_variables
from dwd_jax.train.step import apply

LOSS = "class"  # both levels train what the loop knows as the class loss


def symbol_loss(
  logits: Float[Array, "B C"], labels: Int[Array, " B"]
) -> tuple[Array, dict[str, Array]]:
  """Cross-entropy, the mean over the batch.

  Args:
    logits: of each crop.
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


class PretrainingLoss(Protocol):
  """Losses of parameters, batch statistics and batch; see `update.update`."""

  def __call__(
    self, params: Params, batch_stats: Any, batch: Any, train: bool = True
  ) -> tuple[Array, Any, dict[str, Array]]:
    """Losses in the order of `stages.LOSSES`, new statistics, metrics."""
    ...


def losses_of(model: nn.Module) -> PretrainingLoss:
  """The losses of a `SymbolNet` or a `PixelNet`, by the kind of the batch."""

  def losses_fn(params, batch_stats, batch, train=True):
    variables = {"params": params, "batch_stats": batch_stats}
    logits, batch_stats = apply(model, variables, batch.image, train)
    loss, metrics = _loss(jnp.asarray(logits), batch)
    losses = jnp.stack([loss if k == LOSS else 0.0 * loss for k in LOSSES])
    return losses, batch_stats, metrics | {f"loss_{LOSS}": loss}

  return losses_fn


def _loss(logits: Array, batch: SymbolBatch | PixelBatch):
  if isinstance(batch, SymbolBatch):
    return symbol_loss(logits, batch.labels)
  return pixel_loss(logits, batch.classes)


def train_step(
  state: TrainState,
  batch: SymbolBatch | PixelBatch,
  plan: update.StepPlan,
  *,
  model: nn.Module,
  tx: optax.GradientTransformation,
  cfg: update.UpdateConfig,
) -> tuple[TrainState, Any]:
  """One step; see `train.update.update`."""
  return update.update(
    state, batch, plan, losses_fn=losses_of(model), tx=tx, cfg=cfg
  )


def eval_step(
  state: TrainState, batch: SymbolBatch | PixelBatch, *, model: nn.Module
) -> dict[str, Array]:
  """Loss and accuracy as the network is used: running averages."""
  losses_fn = losses_of(model)
  return losses_fn(**eval_variables(state), batch=batch, train=False)[2]
