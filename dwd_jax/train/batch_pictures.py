"""Pictures of a training batch for TensorBoard: input, targets, predictions."""

import functools
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from dwd_jax.core.structs import Batch
from dwd_jax.models import dwd
from dwd_jax.objectives import targets as targets_lib
from dwd_jax.train.step import network_input

_CROPS = 2  # one below the other
_GAP_PX = 4
_BOX_RGB = (0, 114, 178)


@functools.partial(jax.jit, static_argnames=("model", "cfg"))
def _energies(variables, batch: Batch, *, model, cfg):
  """Target and expected energy of each crop, 0..1, highest of all groups."""
  levels = cfg.num_energy_levels
  groups = np.zeros(model.cfg.num_classes, np.int32)
  hw = batch.image.shape[1], batch.image.shape[2]
  wanted = targets_lib.render(
    batch.boxes_yxyx, batch.labels, batch.box_mask, groups, hw, cfg
  ).energy.max(-1)
  found = model.apply(variables, network_input(batch.image), train=False)
  probs = jax.nn.softmax(dwd.energy_logits_full(found))
  expected = (probs * jnp.arange(levels)).sum(-1).max(-1)
  return wanted / (levels - 1), expected / (levels - 1)


def of_batch(
  model: dwd.DWDNet,
  cfg: targets_lib.TargetConfig,
  variables: Any,
  batch: Batch,
) -> dict[str, np.ndarray]:
  """The first crops of a batch, each with its boxes and energies.

  Args:
    model: the network.
    cfg: how boxes become maps.
    variables: of the network, on a device of this process.
    batch: on the host.

  Returns:
    {"crops": uint8 [H, W, 3]}: from left to right the crop with its boxes, the
    target energy (all groups in one), the predicted energy.
  """
  batch = jax.tree.map(lambda x: x[:_CROPS], batch)
  wanted, found = _energies(variables, batch, model=model, cfg=cfg)
  rows = []
  for i in range(len(batch.image)):
    image = np.asarray(network_input(jnp.asarray(batch.image[i])))[..., 0]
    paper = np.repeat((255 * (1 - image)).astype(np.uint8)[..., None], 3, -1)
    for y0, x0, y1, x1 in batch.boxes_yxyx[i][batch.box_mask[i]]:
      corners = (int(x0), int(y0)), (int(x1) - 1, int(y1) - 1)
      cv2.rectangle(paper, *corners, _BOX_RGB)
    rows.append([paper, _heat(wanted[i]), _heat(found[i])])
  return {"crops": _grid(rows)}


def _heat(energy: Any) -> np.ndarray:
  grey = (255 * np.clip(np.asarray(energy), 0, 1)).astype(np.uint8)
  return cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO)[..., ::-1]


def _grid(rows: list[list[np.ndarray]]) -> np.ndarray:
  """Pictures of one size in rows, with white gaps."""
  height, width, _ = rows[0][0].shape
  full = len(rows) * (height + _GAP_PX), len(rows[0]) * (width + _GAP_PX), 3
  grid = np.full(full, 255, np.uint8)
  for i, row in enumerate(rows):
    for j, picture in enumerate(row):
      y, x = i * (height + _GAP_PX), j * (width + _GAP_PX)
      grid[y : y + height, x : x + width] = picture
  return grid
