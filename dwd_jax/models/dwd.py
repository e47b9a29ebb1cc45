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
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import (
  NUM_ENERGY_LEVELS,
  Array,
  Params,
  Predictions,
)
from dwd_jax.models import box_refinement, staff_positions
from dwd_jax.models.refinenet import RefineNet, Version, head_input, upsample
from dwd_jax.models.resnet import Depth, ResNet, make_norm

STRIDE = 4  # of the features, and of the heads
DEEP_STRIDES = (8, 16, 32)  # of the coarser levels of RefineNet
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
    refinenet: its structure. light: residual units on the backbone's features
      and at the output of each level; lin2017: figure 2 of the paper, with
      units on the coarser level's output, too, three at the end and twice the
      channels at the coarsest level; dwd2018: the original DWD, where the two
      units of an input lie side by side.
    class_hidden: units of a hidden layer in the class head, which is evaluated
      at single pixels only; 0 = none, as the paper.
    decoder_norm: batch norm in RefineNet, too (the paper: none).
    separate_decoders: one RefineNet for each head instead of one for all.
    center_offsets: a fourth head says how far each pixel is from the centre of
      its box (the paper: none, centres come from the energy).
    oriented: the second look tells oriented boxes, too (the paper: upright ones
      only), and `refine_boxes` goes without saying; the records must have
      `oriented_yx`.
    refine_boxes: boxes are refined by a second look at the ink (the paper:
      none), see `models.box_refinement`.
    staff_positions: the place of noteheads on their staff, too (the paper:
      none); the records must have `positions`.
    energy_stride: of the energy head. 2: it tells four cells for each pixel of
      the features (sub-pixel convolution), so that parallel beams and ledger
      lines closer than 8 px stay apart; 4: one (the paper: heads at stride 1,
      on upsampled features).
    deep_energy_strides: deep supervision: strides (8, 16, 32) of the coarser
      levels of RefineNet that have an energy head of their own, in the training
      only; the original: (8, 16).
    deep_size_strides: the same for box sizes; the original: (8,).
    dtype: number type of the computation; auto: bfloat16 on GPU and TPU,
      float32 on CPU.
  """

  backbone_depth: Depth = 101
  backbone_width: int = 64
  filters: int = 256
  refinenet: Version = "light"
  class_hidden: int = 0
  decoder_norm: bool = False
  separate_decoders: bool = False
  center_offsets: bool = False
  oriented: bool = False
  refine_boxes: bool = False
  staff_positions: bool = False
  energy_stride: Literal[2, 4] = 4
  deep_energy_strides: tuple[int, ...] = ()
  deep_size_strides: tuple[int, ...] = ()
  dtype: Literal["auto", "float32", "bfloat16"] = "auto"

  def __post_init__(self):
    check_choices(self, "model")
    for key in ("deep_energy_strides", "deep_size_strides"):
      strides = getattr(self, key)
      if not set(strides) <= set(DEEP_STRIDES) or len(set(strides)) < len(
        strides
      ):
        raise InputError(
          f"config: model.{key} is {strides}; name some of {DEEP_STRIDES}, each"
          " once"
        )

  @property
  def sees_ink(self) -> bool:
    """Whether heads look at the image itself."""
    return self.refines or self.staff_positions

  @property
  def refines(self) -> bool:
    """Whether there is a second look at boxes."""
    return self.refine_boxes or self.oriented

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
    channels: of the images: 1 = ink, 3 = red, green and blue.
    num_groups: G energy groups.
    num_energy_levels: E.
    position_classes: class ids that have places on the staff, if
      `staff_positions`.
    position_space_px: distance of two staff lines in the network's images, if
      `staff_positions`.
    bn_momentum: share of the running averages kept at each step.
    remat: compute blocks again in the backward pass instead of keeping what is
      inside of them; changes memory and time, no result.
  """

  num_classes: int
  channels: Literal[1, 3] = 1
  num_groups: int = 1
  num_energy_levels: int = NUM_ENERGY_LEVELS
  position_classes: tuple[int, ...] = ()
  position_space_px: float = 0.0
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
  """Features of the backbone -> a map of each level; for a compact module."""
  dtype = cfg.compute_dtype
  norm = make_norm(train, cfg.bn_momentum, dtype)
  return RefineNet(
    cfg.filters,
    dtype,
    norm if cfg.decoder_norm else None,
    remat=cfg.remat and train,
    version=cfg.refinenet,
    name=name,
  )


def _energy_bias(groups: int, levels: int):
  """Starts with 85 % background in every group, as on a sparse page."""
  prob = np.full((groups, levels), 0.15 / (levels - 1), np.float32)
  prob[:, 0] = 0.85

  def init(key, shape, dtype=jnp.float32):
    del key
    # All cells of a pixel start alike; `shape` is flat.
    return jnp.resize(jnp.asarray(np.log(prob), dtype), shape)

  return init


def _cells_apart(
  values: Float[Array, "B h w n n G E"],
) -> Float[Array, "B nh nw G E"]:
  """Rows and columns of cells within pixels become rows and columns."""
  batch, height, width, n, _, *rest = values.shape
  values = values.swapaxes(2, 3)
  return values.reshape(batch, height * n, width * n, *rest)


def _level(stride: int) -> int:
  """Index of a level of RefineNet, 0 = the finest."""
  return (stride // STRIDE).bit_length() - 1


class DWDNet(nn.Module):
  """Image -> `Predictions` at stride 4.

  Reference: Tuggener et al. 2018, section 3 and figure 2; the energy head at
  stride 2 is a sub-pixel convolution (Shi et al. 2016). Differs from the
  original: heads at stride 4; the size head predicts log-sizes; groups.
  """

  cfg: ModelConfig

  @nn.compact
  def __call__(
    self, image: Float[Array, "B H W c"], train: bool = False
  ) -> Predictions:
    """Applies the network.

    Args:
      image: 0 = paper, 1 = ink, or colours 0..1; H and W multiples of 32.
      train: batch statistics (and mutable "batch_stats") instead of averages,
        and deep supervision, if any.

    Returns:
      Predictions at stride 4, the energy at `cfg.energy_stride`.
    """
    cfg = self.cfg
    if image.shape[1] % SIZE_MULTIPLE or image.shape[2] % SIZE_MULTIPLE:
      raise ValueError(
        f"image of {image.shape[1]} x {image.shape[2]} px: pad both sides to"
        f" multiples of {SIZE_MULTIPLE}"
      )
    features = make_backbone(cfg, train)(image, train)
    if cfg.separate_decoders:
      maps = {
        head: make_decoder(cfg, train, f"refinenet_{head}")(features)
        for head in ("energy", "size", "class")
      }
    else:
      shared = make_decoder(cfg, train)(features)
      maps = dict.fromkeys(("energy", "size", "class"), shared)
    decoded = {k: head_input(v[0], cfg.refinenet) for k, v in maps.items()}
    energy = self._energy_head("energy_head", cfg.energy_stride)(
      decoded["energy"]
    )
    if cfg.energy_stride < STRIDE:
      energy = _cells_apart(energy)
    sizes = self._size_head("size_head")(decoded["size"])
    self._class_head(decoded["class"])
    if cfg.refines:
      box_refinement.create(cfg.filters, cfg.oriented)
    if cfg.staff_positions:
      staff_positions.create()
    offsets = self._offsets(decoded["size"])
    deep_energy = deep_sizes = None
    if train or self.is_initializing():

      def deep(head, name, levels, strides):
        return {
          s: head(f"{name}_{s}")(head_input(levels[_level(s)], cfg.refinenet))
          for s in strides
        } or None

      deep_energy = deep(
        self._energy_head,
        "energy_head",
        maps["energy"],
        cfg.deep_energy_strides,
      )
      deep_sizes = deep(
        self._size_head, "size_head", maps["size"], cfg.deep_size_strides
      )
    return Predictions(
      energy_logits=energy,  # [B, h, w, G, E], or of twice as many rows
      log_sizes=sizes,  # [B, h, w, G, 2]
      class_features=decoded["class"],  # [B, h, w, F]
      offsets=offsets,  # [B, h, w, G, 2]
      image=image if cfg.sees_ink else None,
      deep_energy=deep_energy,
      deep_sizes=deep_sizes,
    )

  def _energy_head(self, name: str, stride: int = STRIDE) -> nn.Module:
    groups, levels = self.cfg.num_groups, self.cfg.num_energy_levels
    cells = STRIDE // stride
    return nn.DenseGeneral(
      (groups, levels) if cells == 1 else (cells, cells, groups, levels),
      bias_init=_energy_bias(groups, levels),
      kernel_init=nn.initializers.normal(0.01),
      name=name,
    )

  def _size_head(self, name: str) -> nn.Module:
    return nn.DenseGeneral(
      (self.cfg.num_groups, 2),
      bias_init=nn.initializers.constant(np.log(_TYPICAL_SIZE_PX)),
      kernel_init=nn.initializers.normal(0.01),
      name=name,
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


# Heads that are evaluated at single pixels or boxes: parameters of
# `class_logits`, `box_refinement` and `staff_positions`.
PIXEL_HEADS = (
  "class_hidden",
  "class_head",
  box_refinement.NAME,
  staff_positions.NAME,
)


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


def energy_stride(predictions: Predictions) -> int:
  """Stride of the energy logits, by their height and that of the features."""
  logits, features = predictions.energy_logits, predictions.class_features
  return STRIDE * features.shape[1] // logits.shape[1]


def energy_logits_full(
  predictions: Predictions, step: int = 1
) -> Float[Array, "B H W G E"]:
  """Energy logits at stride `step`, 1, 2 or 4."""
  stride = energy_stride(predictions)
  own = min(step, stride)
  logits = upsample(predictions.energy_logits, stride, own)
  logits = logits[:, :: step // own, :: step // own]
  # On CPUs XLA would repeat the upsampling in every pass of the softmax.
  return jax.lax.optimization_barrier(logits)


def for_inference(cfg: ModelConfig, variables: Any) -> tuple[ModelConfig, Any]:
  """A network and its variables without the heads that only training needs."""
  heads = {f"energy_head_{s}" for s in DEEP_STRIDES}
  heads |= {f"size_head_{s}" for s in DEEP_STRIDES}
  params = {k: v for k, v in variables["params"].items() if k not in heads}
  cfg = dataclasses.replace(cfg, deep_energy_strides=(), deep_size_strides=())
  return cfg, {**variables, "params": params}


def make_model(cfg: ModelConfig) -> DWDNet:
  """The network of a configuration."""
  return DWDNet(cfg)


def init_variables(
  model: Any, seed: jax.typing.ArrayLike, hw: tuple[int, int]
) -> Any:
  """Fresh parameters and batch statistics, {"params": .., "batch_stats": ..}.

  Args:
    model: this network, or one of a pretraining: called with (image, train),
      and with a `cfg`, whose channels count.
    hw: (height, width) of an image; the parameters do not depend on it.
  """
  image = jnp.zeros((1, *hw, model.cfg.channels), jnp.float32)
  return model.init(jax.random.key(seed), image, train=False)


def network_input(image: Array) -> Array:
  """uint8 values 0..255, as they travel to the device, -> float32 0..1."""
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
