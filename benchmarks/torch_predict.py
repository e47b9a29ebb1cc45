"""PyTorch and the NumPy decode as the peer of `benchmarks.predict`."""

# PyTorch is an optional extra.
# pyright: reportMissingImports=false

import copy
import os
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks import numpy_decode, torch_network
from dwd_jax.core import boxes as box_lib
from dwd_jax.core.structs import PageBoxes, Predictions
from dwd_jax.decode.decode_config import DecodeConfig
from dwd_jax.models import dwd

_MAPS_CLOSE = 1e-3  # of the largest absolute value of a map
_AGREE = 0.99  # of the detections, with the same class
_MATCH_IOU = 0.95
_SCORES_CLOSE = 0.01


class Peer:
  """One way to run the network.

  Attributes:
    run: image NCHW -> energy logits, log-sizes, class features, NCHW.
  """

  def __init__(self, net, run, decode_cfg: DecodeConfig, truth: dict[str, Any]):
    self._net, self._run, self._cfg = net, run, decode_cfg
    self._truth = tuple(
      torch.tensor(np.asarray(truth[key])).flatten(3).permute(0, 3, 1, 2)
      for key in ("energy", "log_sizes")
      if truth
    )

  @torch.inference_mode()
  def network(self, image: Float[np.ndarray, "1 H W 1"]) -> tuple[Tensor, ...]:
    """The network alone: maps at stride 4, NCHW in channels_last."""
    return self._run(torch.from_numpy(image).permute(0, 3, 1, 2))

  @torch.inference_mode()
  def decode(self, maps: tuple[Tensor, ...]) -> numpy_decode.Found:
    """Boxes, labels and scores from the maps of `network`, plus the truth."""
    energy, sizes, features = maps
    if self._truth:
      energy, sizes = energy + self._truth[0], sizes + self._truth[1]
    logits = energy[0].permute(1, 2, 0)  # contiguous, as channels are last
    level = torch.arange(logits.shape[-1], dtype=logits.dtype)
    levels = (logits.softmax(-1) @ level)[None, None]
    levels = torch_network.upsample(levels, dwd.STRIDE)[0, 0].numpy()
    width = levels.shape[1]
    sizes, features = sizes[0].permute(1, 2, 0), features[0].permute(1, 2, 0)

    def size_fn(at):
      return _bilinear(sizes, at, width).exp().numpy()

    def class_fn(at):
      logits = self._net.class_logits(_bilinear(features, at, width))
      if self._cfg.class_vote == "majority":
        return logits.argmax(1).numpy()
      return logits.softmax(1).numpy()

    num_classes = self._net.class_head.out_features
    return numpy_decode.decode(
      levels, size_fn, class_fn, num_classes, self._cfg
    )

  def detect(self, image: Float[np.ndarray, "1 H W 1"]) -> numpy_decode.Found:
    """Boxes, labels and scores of a page with one energy group."""
    return self.decode(self.network(image))


def _bilinear(maps: Tensor, at: np.ndarray, width: int) -> Tensor:
  """Maps [h, w, c] at stride 4 -> values [n, c] at pixels, as `upsample`."""
  y, x = np.divmod(at, width)
  weights, taps = [], []
  for position, size in ((y, maps.shape[0]), (x, maps.shape[1])):
    place = ((position + 0.5) / dwd.STRIDE - 0.5).clip(0, size - 1)
    low = place.astype(np.int64)
    taps.append((low, np.minimum(low + 1, size - 1)))
    weights.append(torch.from_numpy((place - low).astype(np.float32))[:, None])
  (y0, y1), (x0, x1) = taps
  ty, tx = weights
  flat, w = maps.reshape(-1, maps.shape[2]), maps.shape[1]
  corners = (
    flat[torch.from_numpy(b * w + a)] for b in (y0, y1) for a in (x0, x1)
  )
  top_left, top_right, bottom_left, bottom_right = corners
  top = torch.lerp(top_left, top_right, tx)
  return torch.lerp(top, torch.lerp(bottom_left, bottom_right, tx), ty)


def peers(
  cfg: dwd.ModelConfig,
  decode_cfg: DecodeConfig,
  variables: dict[str, Any],
  compiled: bool,
) -> dict[str, Peer]:
  """The ways to run the network, by name.

  Args:
    cfg: of the JAX network.
    decode_cfg: settings of the decode.
    variables: its parameters, batch statistics and maybe the truth of the page.
    compiled: whether to make a compiled one as well.
  """
  torch.set_num_threads(len(os.sched_getaffinity(0)))
  net = torch_network.from_variables(cfg, variables)
  net = torch_network.fold_norms(net).to(memory_format=torch.channels_last)  # pyright: ignore
  truth = variables.get("truth", {})
  made = {"torch": Peer(net, net, decode_cfg, truth)}
  if compiled:
    other = copy.deepcopy(net)
    # Weights are constants: laid out once, as the kernels like them.
    run = torch.compile(other, options={"freezing": True})
    made["torch_compiled"] = Peer(other, run, decode_cfg, truth)
  return made


def check(
  made: dict[str, Peer],
  image: Float[np.ndarray, "1 H W 1"],
  wanted: Predictions,
  boxes: PageBoxes,
) -> dict[str, float]:
  """Stops unless the peers find what JAX found.

  Two detections agree if they have the same class, an IoU above 0.95 and
  scores at most 0.01 apart.

  Args:
    made: see `peers`.
    image: the padded page.
    wanted: maps of the JAX network, without the page's truth.
    boxes: its detections.

  Returns:
    The share of detections that agree, by name of the peer.

  Raises:
    ValueError: the maps or more than 1 % of the detections differ.
  """
  maps = (wanted.energy_logits, wanted.log_sizes, wanted.class_features)
  shares = {}
  for name, peer in made.items():
    for ours, theirs in zip(maps, peer.network(image), strict=True):
      ours = np.asarray(ours)
      found = theirs.permute(0, 2, 3, 1).numpy().reshape(ours.shape)
      error = np.abs(found - ours).max() / np.abs(ours).max()
      if error > _MAPS_CLOSE:
        raise ValueError(f"{name}: maps differ by {error:.1e} of their range")
    their_boxes, labels, scores = peer.detect(image)
    count = max(len(labels), len(boxes.labels), 1)
    iou = np.asarray(box_lib.pairwise_iou(boxes.boxes_yxyx, their_boxes))
    same = (iou > _MATCH_IOU) & (boxes.labels[:, None] == labels)
    our_scores = np.asarray(boxes.scores)
    same &= np.abs(our_scores[:, None] - scores) < _SCORES_CLOSE
    shares[name] = float(same.any(1).sum() / count)
    if shares[name] < _AGREE:
      raise ValueError(
        f"{name}: only {shares[name]:.1%} of the detections agree"
      )
  return shares
