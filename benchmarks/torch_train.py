"""Training in PyTorch as the peer of `benchmarks.train_step`.

The same network, losses, balancing and batch as `dwd_jax.train.step`, with
target maps that were rendered on the host before the clock starts: the peer
only has to send them to the device. Two variants: "dense" has class, energy and
size logits at full resolution and a loss on all of them, as the original had;
"stride4" evaluates the class head at foreground pixels only, as we do.

PyTorch's rmsprop adds its epsilon outside of the root, optax inside; adam and
sgd are the same.
"""

# PyTorch is an optional extra.
# pyright: reportMissingImports=false

import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks import torch_network
from benchmarks.common import NUM_CLASSES
from benchmarks.train_scene import VARIANTS, Scene, make_scene
from dwd_jax.core.structs import Batch
from dwd_jax.models import dwd
from dwd_jax.objectives import class_loss
from dwd_jax.objectives import targets as targets_lib
from dwd_jax.train.stages import LOSSES

_IGNORED = -100  # label of pixels that do not count
_MAX_LOG_SIZE = 14.0
_CLASS_MAPS = {"dense": ("classes",), "stride4": ("pixels", "labels")}
_COVERED = 0.08  # of a dense page's pixels lie on class discs


def host_maps(scene: Scene, batch: Batch) -> dict[str, np.ndarray]:
  """Target maps of a batch, and the pixels that `stride4` looks at.

  Returns:
    "energy" uint8 [B, H, W], "classes" int16 [B, H, W] (label; -100 = none),
    "sizes" float32 [B, 2, H, W] in px (0 = none), "pixels" int64 [B, P] (flat)
    and "labels" int16 [B, P] (-100 = none).
  """

  def render(boxes, labels, mask):
    maps = targets_lib.render(
      boxes,
      labels,
      mask,
      np.asarray(scene.cfg.group_of_class, np.int32),
      (batch.image.shape[1], batch.image.shape[2]),
      scene.cfg.targets,
    )
    classes = maps.classes.reshape(len(boxes), -1)
    budget = min(scene.cfg.losses.class_pixels, classes.shape[1])
    select = jax.vmap(lambda x: class_loss.select_pixels(x, budget))
    return maps, *select(classes > 0)

  maps, pixels, valid = jax.device_get(
    jax.jit(render)(batch.boxes_yxyx, batch.labels, batch.box_mask)
  )
  labels = np.where(maps.classes > 0, maps.classes - 1, _IGNORED)[..., 0]
  pixels = np.minimum(pixels, labels[0].size - 1).astype(np.int64)
  chosen = np.take_along_axis(labels.reshape(len(labels), -1), pixels, 1)
  return {
    "energy": maps.energy[..., 0].astype(np.uint8),
    "classes": labels.astype(np.int16),
    "sizes": maps.sizes_px[..., 0, :].transpose(0, 3, 1, 2).copy(),
    "pixels": pixels,
    "labels": np.where(valid, chosen, _IGNORED).astype(np.int16),
  }


def own_step(variant: str, mode: str, **scene: Any) -> Callable[[], Any]:
  """A step without JAX, see `device.peak_memory`.

  Args:
    variant: "dense" or "stride4".
    mode: of torch.compile; "" = eager.
    **scene: see `train_scene.make_scene`.
  """
  made = make_scene(**scene)
  size, crop, _ = made.batch_shape
  rng = np.random.default_rng(0)
  classes = rng.integers(0, NUM_CLASSES, (size, crop, crop), np.int16)
  classes[rng.random(classes.shape) > _COVERED] = _IGNORED
  pixels = min(made.cfg.losses.class_pixels, crop * crop)
  maps = {
    "energy": rng.integers(0, 20, (size, crop, crop), np.uint8),
    "classes": classes,
    "sizes": rng.uniform(3, 16, (size, 2, crop, crop)).astype(np.float32),
    "pixels": rng.integers(0, crop * crop, (size, pixels)),
    "labels": rng.integers(0, NUM_CLASSES, (size, pixels), np.int16),
  }
  trainer = Trainer(made, None, variant, mode)
  return functools.partial(trainer.step_and_wait, made.batch().image, maps)


class Trainer:
  """The peer: `step(image, maps)` trains its network by one step."""

  def __init__(self, scene: Scene, variables: Any, variant: str, mode: str):
    """Prepares network and optimizer.

    Args:
      scene: what is trained.
      variables: {"params", "batch_stats"} to start with; None = PyTorch's own.
      variant: "dense" or "stride4".
      mode: of torch.compile, such as "default"; "" = eager.
    """
    _check(scene, variant)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    self.device = "cuda" if torch.cuda.is_available() else "cpu"
    if self.device == "cuda":  # XLA's default, too
      torch.set_float32_matmul_precision("high")
      torch.backends.cudnn.allow_tf32 = True
      torch.backends.cudnn.benchmark = True
    self._scene, self._variant = scene, variant
    self._autocast = scene.model.cfg.dtype == "bfloat16"
    net = torch_network.Network(scene.model.cfg)
    if variables is not None:
      net = torch_network.from_variables(scene.model.cfg, variables)
    self.net = net.to(self.device, memory_format=torch.channels_last)  # pyright: ignore
    self._optimizer = _optimizer(scene, self.net)
    self._factors = torch.tensor(scene.plan.factors, device=self.device)
    window = (len(LOSSES), scene.loss_window)
    self._history = torch.full(window, torch.nan, device=self.device)
    self._total, self._update = self._total_loss, self._optimizer.step
    if mode:
      self._total = torch.compile(self._total_loss, mode=mode)
      self._update = torch.compile(self._optimizer.step, mode=mode)

  def step(self, image: np.ndarray, maps: dict[str, np.ndarray]) -> Tensor:
    """One step of training.

    Args:
      image: uint8 [B, H, W, 1], 255 = ink.
      maps: see `host_maps`.

    Returns:
      The losses, in the order of `stages.LOSSES`, on the device.
    """
    names = ("energy", "sizes", *_CLASS_MAPS[self._variant])
    sent = [self._send(maps[name]) for name in names]
    nchw = self._send(image).permute(0, 3, 1, 2).float() / 255
    total, losses, history = self._total(nchw, self._history, *sent)
    self._history = history.clone()
    self._optimizer.zero_grad(set_to_none=True)
    total.backward()
    clip = self._scene.settings.optimizer.clip_norm
    if clip:
      torch.nn.utils.clip_grad_norm_(self.net.parameters(), clip)
    self._update()
    return losses.detach()

  def step_and_wait(self, image, maps: dict[str, np.ndarray]) -> Tensor:
    """Does a `step` and waits until the device is done."""
    losses = self.step(image, maps)
    if self.device == "cuda":
      torch.cuda.synchronize()
    return losses

  def _send(self, x: np.ndarray) -> Tensor:
    return torch.from_numpy(x).to(self.device, non_blocking=True)

  def _total_loss(self, image, history, energy, sizes, *classes):
    """(loss of the stage, losses, new history)."""
    with torch.autocast(self.device, torch.bfloat16, self._autocast):
      features = self.net.refinenet(self.net.backbone(image))
    features = functional.relu(features).float()
    levels = torch_network.upsample(self.net.energy_head(features), dwd.STRIDE)
    log_sizes = torch_network.upsample(self.net.size_head(features), dwd.STRIDE)
    cfg = self._scene.cfg.targets
    class_loss = self._dense if self._variant == "dense" else self._sparse
    losses = torch.stack(
      [
        _energy_loss(levels, energy.long(), cfg.energy_strides),
        class_loss(features, *classes),
        _size_loss(
          log_sizes, sizes, cfg.size_strides, self._scene.cfg.losses.size_loss
        ),
      ]
    )
    history = torch.cat([losses.detach()[:, None], history[:, :-1]], 1)
    means = history.nanmean(1).clamp(min=1e-8)
    balance = bool(self._scene.plan.balance)
    weights = self._factors / means if balance else self._factors
    return (weights * losses).sum(), losses, history

  def _dense(self, features: Tensor, labels: Tensor) -> Tensor:
    """Loss of class logits at every pixel."""
    net = self.net
    if net.class_hidden is None:  # a 1 x 1 convolution: it may come first
      logits = functional.conv2d(
        features, net.class_head.weight[..., None, None], net.class_head.bias
      )
      logits = torch_network.upsample(logits, dwd.STRIDE)
    else:
      pixels = torch_network.upsample(features, dwd.STRIDE).permute(0, 2, 3, 1)
      logits = net.class_logits(pixels).permute(0, 3, 1, 2)
    return functional.cross_entropy(
      logits, labels.long(), ignore_index=_IGNORED
    )

  def _sparse(self, features: Tensor, pixels: Tensor, labels: Tensor) -> Tensor:
    """Loss of class logits at the chosen pixels."""
    logits = self.net.class_logits(_bilinear(features, pixels))
    return functional.cross_entropy(
      logits, labels.flatten().long(), ignore_index=_IGNORED
    )


def _check(scene: Scene, variant: str) -> None:
  """Raises ValueError for what the peer cannot do."""
  losses, targets = scene.cfg.losses, scene.cfg.targets
  plain = (
    scene.model.cfg.num_groups == 1
    and not scene.model.cfg.center_offsets
    and scene.model.cfg.energy_stride == dwd.STRIDE
    and losses.energy_focal_gamma == losses.class_focal_gamma == 0
    and losses.energy_smoothing == 0
    and losses.energy_weights == losses.class_weights == "none"
    and losses.size_loss in ("mse", "log_l1")
    and targets.stride_reduction == "mean"
    and not scene.settings.optimizer.weight_decay
  )
  if not plain or variant not in VARIANTS:
    raise ValueError(f"the peer has the paper's losses only, and {VARIANTS}")


def _optimizer(scene: Scene, net: torch.nn.Module) -> torch.optim.Optimizer:
  """The optimizer of the config; L2 on kernels only."""
  cfg = scene.settings.optimizer
  kernels = [p for p in net.parameters() if p.ndim > 1]
  others = [p for p in net.parameters() if p.ndim == 1]
  groups = [
    {"params": kernels, "weight_decay": cfg.l2},
    {"params": others, "weight_decay": 0.0},
  ]
  rate = float(scene.plan.learning_rate)
  if cfg.name == "rmsprop":
    return torch.optim.RMSprop(groups, rate, cfg.rmsprop_decay, foreach=True)
  if cfg.name == "adam":
    return torch.optim.Adam(groups, rate, fused=True)
  return torch.optim.SGD(groups, rate, cfg.momentum, fused=True)


def _energy_loss(logits: Tensor, level: Tensor, strides) -> Tensor:
  return torch.stack(
    [
      functional.cross_entropy(logits[:, :, ::s, ::s], level[:, ::s, ::s])
      for s in strides
    ]
  ).mean()


def _size_loss(log_sizes: Tensor, sizes: Tensor, strides, kind: str) -> Tensor:
  """Mean over the disc pixels of every stride that meets one."""
  losses, used = [], []
  for s in strides:
    predicted, wanted = log_sizes[:, :, ::s, ::s], sizes[:, :, ::s, ::s]
    on_disc = wanted[:, :1] > 0
    wanted = torch.where(on_disc, wanted, 1.0)
    predicted = torch.where(on_disc, predicted, 0.0)
    if kind == "log_l1":
      error = (predicted - wanted.log()).abs()
    else:
      error = (predicted.clamp(max=_MAX_LOG_SIZE).exp() - wanted) ** 2
    count = on_disc.sum()
    losses.append((error * on_disc).sum() / count.clamp(min=1))
    used.append(count > 0)
  weights = torch.stack(used).float()
  return (torch.stack(losses) * weights).sum() / weights.sum().clamp(min=1e-6)


def _bilinear(maps: Tensor, pixels: Tensor) -> Tensor:
  """Maps [B, c, h, w] at stride 4 -> values [B * P, c] at pixels [B, P]."""
  _, c, h, w = maps.shape
  rows = maps.permute(0, 2, 3, 1).reshape(-1, c)
  width = w * dwd.STRIDE
  page = torch.arange(len(maps), device=maps.device)[:, None] * (h * w)
  taps, parts = [], []
  for at, size in ((pixels // width, h), (pixels % width, w)):
    place = ((at + 0.5) / dwd.STRIDE - 0.5).clamp(0, size - 1)
    low = place.long()
    taps.append((low, (low + 1).clamp(max=size - 1)))
    parts.append((place - low).flatten()[:, None])
  (y0, y1), (x0, x1) = taps
  ty, tx = parts

  def value(y, x):
    return rows.index_select(0, (page + y * w + x).flatten())

  top = torch.lerp(value(y0, x0), value(y0, x1), tx)
  return torch.lerp(top, torch.lerp(value(y1, x0), value(y1, x1), tx), ty)
