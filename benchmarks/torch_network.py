"""The network in PyTorch, with the weights of the JAX one: the peer to beat.

The only module, beside its users among the benchmarks, that needs PyTorch
(`pip install dwd_jax[torch]`).
"""

# PyTorch is an optional extra.
# pyright: reportMissingImports=false

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dwd_jax.models import dwd
from dwd_jax.models.resnet import STAGES


def _conv(
  inputs: int, outputs: int, size: int, stride: int = 1, bias: bool = False
) -> nn.Conv2d:
  pad = (size - 1) // 2
  return nn.Conv2d(inputs, outputs, size, stride, pad, bias=bias)


def _norm(channels: int, momentum: float) -> nn.BatchNorm2d:
  return nn.BatchNorm2d(channels, eps=1e-5, momentum=1 - momentum)


class Block(nn.Module):
  """A residual block of ResNet, basic or bottleneck."""

  def __init__(
    self, inputs: int, width: int, stride: int, bottleneck: bool, keep: float
  ):
    super().__init__()
    out = width * 4 if bottleneck else width
    sizes = (1, 3, 1) if bottleneck else (3, 3)
    strides = (1, stride, 1) if bottleneck else (stride, 1)
    self.steps = len(sizes)
    channels = inputs
    for i, (size, step) in enumerate(zip(sizes, strides, strict=True), 1):
      outputs = out if i == self.steps else width
      self.add_module(f"conv{i}", _conv(channels, outputs, size, step))
      self.add_module(f"bn{i}", _norm(outputs, keep))
      channels = outputs
    self.downsample = self.downsample_bn = None
    if stride != 1 or inputs != out:
      self.downsample = _conv(inputs, out, 1, stride)
      self.downsample_bn = _norm(out, keep)

  def forward(self, x: Tensor) -> Tensor:
    """Adds the convolved input to the input."""
    y = x
    for i in range(1, self.steps + 1):
      y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
      y = y if i == self.steps else functional.relu(y)
    if self.downsample is not None and self.downsample_bn is not None:
      x = self.downsample_bn(self.downsample(x))
    return functional.relu(x + y)


class Backbone(nn.Module):
  """ResNet; image -> features at strides 4, 8, 16 and 32."""

  def __init__(self, depth: int, width: int, keep: float):
    super().__init__()
    blocks, bottleneck = STAGES[depth]
    self.stem = _conv(1, width, 7, 2)
    self.stem_bn = _norm(width, keep)
    self.blocks = blocks
    self.channels = []
    inputs = width
    for stage, count in enumerate(blocks):
      for block in range(count):
        stride = 2 if stage > 0 and block == 0 else 1
        self.add_module(
          f"stage{stage + 1}_block{block + 1}",
          Block(inputs, width * 2**stage, stride, bottleneck, keep),
        )
        inputs = width * 2**stage * (4 if bottleneck else 1)
      self.channels.append(inputs)

  def forward(self, image: Tensor) -> list[Tensor]:
    """Returns the features of the four stages."""
    x = functional.relu(self.stem_bn(self.stem(image)))
    x = functional.max_pool2d(x, 3, 2, 1)
    features = []
    for stage, count in enumerate(self.blocks):
      for block in range(count):
        x = getattr(self, f"stage{stage + 1}_block{block + 1}")(x)
      features.append(x)
    return features


class RefineNet(nn.Module):
  """Fuses the features; see `dwd_jax.models.refinenet`."""

  def __init__(
    self, channels: list[int], filters: int, norm: bool, keep: float
  ):
    super().__init__()
    self.norm, self.levels = norm, len(channels)
    for level, inputs in enumerate(channels, 1):
      units = ["in1", "in2", "pool", "out"]
      names = [f"{unit}_conv{i}" for unit in units for i in (1, 2)]
      names += ["fuse_fine", "fuse_coarse"] * (level < self.levels)
      for name in ("adapt", *names):
        size, wide = (1, inputs) if name == "adapt" else (3, filters)
        conv = _conv(wide, filters, size, bias=not norm)
        self.add_module(f"level{level}_{name}", conv)
        if norm:
          self.add_module(f"level{level}_{name}_bn", _norm(filters, keep))

  def _conv(self, x: Tensor, name: str) -> Tensor:
    x = getattr(self, name)(x)
    return getattr(self, f"{name}_bn")(x) if self.norm else x

  def _residual_unit(self, x: Tensor, name: str) -> Tensor:
    y = self._conv(functional.relu(x), f"{name}_conv1")
    return x + self._conv(functional.relu(y), f"{name}_conv2")

  def forward(self, features: list[Tensor]) -> Tensor:
    """Returns the finest level."""
    fused = None
    for level in range(self.levels, 0, -1):
      name = f"level{level}"
      x = self._conv(features[level - 1], f"{name}_adapt")
      x = self._residual_unit(x, f"{name}_in1")
      x = self._residual_unit(x, f"{name}_in2")
      if fused is not None:
        coarse = self._conv(fused, f"{name}_fuse_coarse")
        x = self._conv(x, f"{name}_fuse_fine") + upsample(coarse, 2)
      out = x = functional.relu(x)
      for i in (1, 2):
        pooled = functional.max_pool2d(x, 5, 1, 2)
        x = self._conv(pooled, f"{name}_pool_conv{i}")
        out = out + x
      fused = self._residual_unit(out, f"{name}_out")
    assert fused is not None
    return fused


class Network(nn.Module):
  """`dwd.DWDNet` with one decoder for all heads, for float32 NCHW images."""

  def __init__(self, cfg: dwd.ModelConfig):
    super().__init__()
    if cfg.separate_decoders or cfg.refinenet != "light":
      raise ValueError("the peer has one light decoder for all heads")
    self.backbone = Backbone(
      cfg.backbone_depth, cfg.backbone_width, cfg.bn_momentum
    )
    self.refinenet = RefineNet(
      self.backbone.channels, cfg.filters, cfg.decoder_norm, cfg.bn_momentum
    )
    groups, levels = cfg.num_groups, cfg.num_energy_levels
    hidden = cfg.class_hidden or cfg.filters
    self.energy_head = nn.Conv2d(cfg.filters, groups * levels, 1)
    self.size_head = nn.Conv2d(cfg.filters, groups * 2, 1)
    self.class_hidden = (
      nn.Linear(cfg.filters, hidden) if cfg.class_hidden else None
    )
    self.class_head = nn.Linear(hidden, cfg.num_classes)

  def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns energy logits, log-sizes and class features at stride 4, NCHW."""
    features = functional.relu(self.refinenet(self.backbone(image)))
    return self.energy_head(features), self.size_head(features), features

  def class_logits(self, pixels: Tensor) -> Tensor:
    """The class head on features [n, F] of single pixels."""
    if self.class_hidden is not None:
      pixels = functional.relu(self.class_hidden(pixels))
    return self.class_head(pixels)


def upsample(x: Tensor, factor: int) -> Tensor:
  """Bilinear, as `dwd_jax.models.refinenet.upsample`."""
  return functional.interpolate(
    x, scale_factor=factor, mode="bilinear", align_corners=False
  )


_NAMES = {"kernel": "weight", "scale": "weight", "bias": "bias"}
_STATISTICS = {"mean": "running_mean", "var": "running_var"}


def _layers(tree: Mapping[str, Any], prefix: str = ""):
  """Yields (path of a layer, its arrays by name)."""
  for name, value in tree.items():
    if all(not isinstance(leaf, Mapping) for leaf in value.values()):
      yield prefix + name, value
    else:
      yield from _layers(value, f"{prefix}{name}.")


def _to_torch(kernel: np.ndarray, wanted: torch.Size) -> torch.Tensor:
  """[(height, width), in, ...out] -> [out, in, (height, width)]."""
  value = np.asarray(kernel, np.float32)
  if value.ndim == 1 or len(wanted) == 1:
    return torch.tensor(value.reshape(wanted))
  if len(wanted) == 4 and wanted[2:] != (1, 1):
    return torch.tensor(value.transpose(3, 2, 0, 1))
  return torch.tensor(value.reshape(wanted[1], wanted[0]).T.reshape(wanted))


def to_state(net: Network, variables: Any) -> dict[str, Tensor]:
  """JAX parameters, or their gradients, under PyTorch's names and layouts.

  Args:
    net: the network they belong to.
    variables: {"params": .., "batch_stats": ..}; the latter may be missing.
  """
  state = {}
  current = net.state_dict()
  for collection, names in (("params", _NAMES), ("batch_stats", _STATISTICS)):
    for layer, arrays in _layers(variables.get(collection, {})):
      for name, value in arrays.items():
        key = f"{layer}.{names[name]}"
        state[key] = _to_torch(np.asarray(value), current[key].shape)
  return state


def from_variables(cfg: dwd.ModelConfig, variables: Any) -> Network:
  """The same network with the same weights.

  Args:
    cfg: of the JAX network.
    variables: its {"params": .., "batch_stats": ..}.

  Returns:
    The network, in training mode as PyTorch makes it.
  """
  net = Network(cfg)
  missing, _ = net.load_state_dict(to_state(net, variables), strict=False)
  left = [key for key in missing if not key.endswith("num_batches_tracked")]
  if left:
    raise ValueError(f"no JAX parameter for {', '.join(left)}")
  return net


def fold_norms(net: Network) -> Network:
  """Batch norms of an evaluated network become part of its convolutions."""
  net.eval()
  for module in list(net.modules()):
    for name, conv in list(module.named_children()):
      norm = getattr(module, _norm_name(name), None)
      if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
        setattr(module, name, nn.utils.fuse_conv_bn_eval(conv, norm))
        setattr(module, _norm_name(name), nn.Identity())
  return net


def _norm_name(conv: str) -> str:
  """Name of the batch norm that follows a convolution."""
  return conv.replace("conv", "bn") if conv.startswith("conv") else f"{conv}_bn"
