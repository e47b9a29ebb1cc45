"""Networks of the pretraining: parts of the detector with another head.

What they have in common with `dwd.DWDNet` has the same names, so that it can be
matched (`pretraining.matching`).
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from dwd_jax.core.structs import Array
from dwd_jax.models.dwd import ModelConfig
from dwd_jax.models.refinenet import RefineNet
from dwd_jax.models.resnet import ResNet, make_norm


def _features(cfg: ModelConfig, image: Array, train: bool) -> tuple[Array, ...]:
  """The backbone's features; to be called within a compact module."""
  backbone = ResNet(
    cfg.backbone_depth,
    cfg.backbone_width,
    jnp.dtype(cfg.dtype),
    cfg.bn_momentum,
    remat=cfg.remat and train,
    name="backbone",
  )
  return backbone(image, train)


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
    features = _features(self.cfg, image, train)[-1]
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

  Attributes:
    cfg: of the detector.
  """

  cfg: ModelConfig

  @nn.compact
  def __call__(
    self, image: Float[Array, "B H W c"], train: bool = False
  ) -> Float[Array, "B h w C"]:
    """Applies the network to ink 0..1; C is one more than the classes."""
    cfg, dtype = self.cfg, jnp.dtype(self.cfg.dtype)
    norm = make_norm(train, cfg.bn_momentum, dtype)
    refinenet = RefineNet(
      cfg.filters,
      dtype,
      norm if cfg.decoder_norm else None,
      remat=cfg.remat and train,
      name="refinenet",
    )
    x = nn.relu(refinenet(_features(cfg, image, train))).astype(jnp.float32)
    small = nn.initializers.normal(0.01)
    background = nn.Dense(1, kernel_init=small, name="background_head")(x)
    if cfg.class_hidden:
      x = nn.relu(nn.Dense(cfg.class_hidden, name="class_hidden")(x))
    classes = nn.Dense(cfg.num_classes, kernel_init=small, name="class_head")(x)
    return jnp.concatenate([background, classes], -1)
