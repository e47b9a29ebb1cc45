"""DWDNet: ResNet + RefineNet + energy, size and class heads at stride 4.

The heads are 1 x 1 convolutions and commute with bilinear upsampling, so the
maps are computed at stride 4 and upsampled; class logits are evaluated only at
the pixels that are asked for.
"""

import dataclasses
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from dwd_jax.core.config_sections import check_choices
from dwd_jax.core.structs import (
  NUM_ENERGY_LEVELS,
  Array,
  Params,
  Predictions,
)
from dwd_jax.models.refinenet import RefineNet, upsample
from dwd_jax.models.resnet import Depth, ResNet, make_norm

STRIDE = 4  # of the heads
SIZE_MULTIPLE = 32  # images are padded to multiples of this, in pixels
_TYPICAL_SIZE_PX = 12.0  # where the size head starts


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
  """The network.

  Attributes:
    backbone_depth: number of layers of the ResNet.
    backbone_width: channels of the backbone's first stage; each further stage
      has twice as many.
    filters: channels of RefineNet.
    class_hidden: units of a hidden layer in the class head, which is evaluated
      at single pixels only; 0 = none, as the paper.
    decoder_norm: batch norm in RefineNet, too (the paper: none).
    separate_decoders: one RefineNet for each head instead of one for all.
    center_offsets: a fourth head says how far each pixel is from the centre of
      its box (the paper: none, centres come from the energy).
    oriented: oriented boxes, too (the paper: upright ones only); the records
      must have `oriented_yx`.
    staff_positions: the place of noteheads on their staff, too (the paper:
      none); the records must have `positions`.
    dtype: number type of the computation; auto: bfloat16 on GPU and TPU,
      float32 on CPU.
  """

  backbone_depth: Depth = 101
  backbone_width: int = 64
  filters: int = 256
  class_hidden: int = 0
  decoder_norm: bool = False
  separate_decoders: bool = False
  center_offsets: bool = False
  oriented: bool = False
  staff_positions: bool = False
  dtype: Literal["auto", "float32", "bfloat16"] = "auto"

  def __post_init__(self):
    check_choices(self, "model")

  @property
  def compute_dtype(self) -> Any:
    """The type of the computation on this machine."""
    if self.dtype != "auto":
      return jnp.dtype(self.dtype)
    on_cpu = jax.default_backend() == "cpu"
    return jnp.dtype("float32" if on_cpu else "bfloat16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig(NetworkConfig):
  """The network for a data set and a training.

  Attributes:
    num_classes: C, background not counted.
    num_groups: G energy groups.
    num_energy_levels: E.
    bn_momentum: share of the running averages kept at each step.
    remat: compute blocks again in the backward pass instead of keeping what is
      inside of them; changes memory and time, no result.
  """

  num_classes: int
  num_groups: int = 1
  num_energy_levels: int = NUM_ENERGY_LEVELS
  bn_momentum: float = 0.99
  remat: bool = False


def make_backbone(cfg: ModelConfig, train: bool) -> nn.Module:
  """Image -> features at strides 4, 8, 16 and 32; for a compact module.

  The one place that names a backbone: another one is a module like `ResNet`.
  """
  return ResNet(
    cfg.backbone_depth,
    cfg.backbone_width,
    cfg.compute_dtype,
    cfg.bn_momentum,
    remat=cfg.remat and train,
    name="backbone",
  )


def make_decoder(
  cfg: ModelConfig, train: bool, name: str = "refinenet"
) -> RefineNet:
  """Features of the backbone -> one map at stride 4; for a compact module."""
  dtype = cfg.compute_dtype
  norm = make_norm(train, cfg.bn_momentum, dtype)
  return RefineNet(
    cfg.filters,
    dtype,
    norm if cfg.decoder_norm else None,
    remat=cfg.remat and train,
    name=name,
  )


def _energy_bias(groups: int, levels: int):
  """Starts with 85 % background in every group, as on a sparse page."""
  prob = np.full((groups, levels), 0.15 / (levels - 1), np.float32)
  prob[:, 0] = 0.85

  def init(key, shape, dtype=jnp.float32):
    del key
    return jnp.asarray(np.log(prob), dtype).reshape(shape)

  return init


class DWDNet(nn.Module):
  """Image -> `Predictions` at stride 4.

  Reference: Tuggener et al. 2018, section 3 and figure 2. Differs from the
  original: heads at stride 4; the size head predicts log-sizes; groups.
  """

  cfg: ModelConfig

  @nn.compact
  def __call__(
    self, image: Float[Array, "B H W 1"], train: bool = False
  ) -> Predictions:
    """Applies the network.

    Args:
      image: 0 = paper, 1 = ink; H and W multiples of 32.
      train: batch statistics (and mutable "batch_stats") instead of averages.

    Returns:
      Predictions at stride 4.
    """
    cfg = self.cfg
    if image.shape[1] % SIZE_MULTIPLE or image.shape[2] % SIZE_MULTIPLE:
      raise ValueError(
        f"image of {image.shape[1]} x {image.shape[2]} px: pad both sides to"
        f" multiples of {SIZE_MULTIPLE}"
      )
    features = make_backbone(cfg, train)(image, train)
    if cfg.separate_decoders:
      decoded = {
        head: make_decoder(cfg, train, f"refinenet_{head}")(features)
        for head in ("energy", "size", "class")
      }
    else:
      shared = make_decoder(cfg, train)(features)
      decoded = dict.fromkeys(("energy", "size", "class"), shared)
    decoded = {k: nn.relu(v).astype(jnp.float32) for k, v in decoded.items()}
    groups, levels = cfg.num_groups, cfg.num_energy_levels
    energy = nn.DenseGeneral(
      (groups, levels),
      bias_init=_energy_bias(groups, levels),
      kernel_init=nn.initializers.normal(0.01),
      name="energy_head",
    )(decoded["energy"])
    sizes = nn.DenseGeneral(
      (groups, 2),
      bias_init=nn.initializers.constant(np.log(_TYPICAL_SIZE_PX)),
      kernel_init=nn.initializers.normal(0.01),
      name="size_head",
    )(decoded["size"])
    self._class_head(decoded["class"])
    return Predictions(
      energy_logits=energy,  # [B, h, w, G, E]
      log_sizes=sizes,  # [B, h, w, G, 2]
      class_features=decoded["class"],  # [B, h, w, F]
      offsets=self._offsets(decoded["size"]),  # [B, h, w, G, 2]
    )

  def _offsets(self, features: Array) -> Array | None:
    """The offsets of the head for them; None if the network has none."""
    if not self.cfg.center_offsets:
      return None
    head = nn.DenseGeneral(
      (self.cfg.num_groups, 2),
      kernel_init=nn.initializers.normal(0.01),
      name="offset_head",
    )
    return head(features)

  def _class_head(self, features: Array) -> None:
    """Creates the parameters that `class_logits` uses; nothing is computed."""
    pixel = features[:1, :1, :1]
    if self.cfg.class_hidden:
      pixel = nn.Dense(self.cfg.class_hidden, name="class_hidden")(pixel)
    head = nn.Dense(
      self.cfg.num_classes,
      kernel_init=nn.initializers.normal(0.01),
      name="class_head",
    )
    head(pixel)


CLASS_HEAD = ("class_hidden", "class_head")  # parameters of `class_logits`


def class_logits(
  params: Params, features: Float[Array, "*n F"]
) -> Float[Array, "*n C"]:
  """The class head on features of single pixels.

  Args:
    params: parameters of `DWDNet`.
    features: pixels of `Predictions.class_features`, maybe interpolated.
  """
  if "class_hidden" in params:
    hidden = params["class_hidden"]
    features = nn.relu(features @ hidden["kernel"] + hidden["bias"])
  head = params["class_head"]
  return features @ head["kernel"] + head["bias"]


def mask_other_groups(
  logits: Float[Array, "*n C"],
  groups: Int[Array, "*n"],
  group_of_class: Int[np.ndarray, " C"],
) -> Float[Array, "*n C"]:
  """Each group has its own softmax: other groups' logits become -1e9."""
  own = jnp.asarray(group_of_class) == groups[..., None]
  return jnp.where(own, logits, -1e9)


def energy_logits_full(
  predictions: Predictions, step: int = 1
) -> Float[Array, "B H W G E"]:
  """Energy logits at stride `step`, a divisor of `STRIDE`."""
  logits = upsample(predictions.energy_logits, STRIDE, step)
  # On CPUs XLA would repeat the upsampling in every pass of the softmax.
  return jax.lax.optimization_barrier(logits)


def make_model(cfg: ModelConfig) -> DWDNet:
  """The network of a configuration."""
  return DWDNet(cfg)


def init_variables(
  model: nn.Module, seed: jax.typing.ArrayLike, hw: tuple[int, int]
) -> Any:
  """Fresh parameters and batch statistics, {"params": .., "batch_stats": ..}.

  Args:
    model: this network, or one of a pretraining: called with (image, train).
    hw: (height, width) of an image; the parameters do not depend on it.
  """
  image = jnp.zeros((1, *hw, 1), jnp.float32)
  return model.init(jax.random.key(seed), image, train=False)


def network_input(image: Array) -> Array:
  """uint8 ink 0..255, as it travels to the device, -> float32 ink 0..1."""
  if image.dtype != jnp.uint8:
    return image
  return image.astype(jnp.float32) * np.float32(1 / 255)


def apply(
  model: nn.Module, variables: Any, image: Array, train: bool
) -> tuple[Any, Any]:
  """Outputs of a network on a batch, and its batch statistics after it.

  Args:
    model: as in `init_variables`.
    variables: {"params": .., "batch_stats": ..}.
    image: see `network_input`.
    train: batch norm uses the batch and updates the averages; else it uses the
      averages.
  """
  ink = network_input(image)
  if not train:
    return model.apply(variables, ink, train=False), variables["batch_stats"]
  outputs, updates = model.apply(
    variables, ink, train=True, mutable=["batch_stats"]
  )
  return outputs, updates["batch_stats"]
