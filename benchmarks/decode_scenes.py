"""Made-up pages for the decode: symbols, their maps, network outputs, masks."""

from typing import Any

import jax
import numpy as np

from benchmarks.common import NUM_CLASSES
from dwd_jax.core import structs
from dwd_jax.objectives import targets

STRIDE = 4  # of the network's heads
_FEATURES = 64
_LEVELS = 20


def symbols(
  hw: tuple[int, int], count: int, disc: Any, batch: int = 1
) -> structs.Targets:
  """Perfect maps of symbols anywhere on a page, on the host.

  Args:
    hw: (height, width) in pixels.
    count: symbols of each page, 4 to 40 px.
    disc: "fixed" (17 px) or "box" (0.8 x the box).
    batch: pages; no two are equal.
  """
  rng = np.random.default_rng(0)
  sides = np.exp(rng.normal(np.log(11), 0.5, (batch, count, 2))).clip(4, 40)
  centers = rng.uniform(0, 1, (batch, count, 2)) * hw
  boxes = np.concatenate((centers - sides / 2, centers + sides / 2), -1)
  labels = rng.integers(0, NUM_CLASSES, (batch, count)).astype(np.int32)
  cfg = targets.TargetConfig(energy_disc=disc)
  groups = np.zeros(NUM_CLASSES, np.int32)

  def render(boxes, labels):
    mask = np.ones((batch, count), bool)
    return targets.render(boxes, labels, mask, groups, hw, cfg)

  maps = jax.jit(render)(boxes.astype(np.float32), labels)
  return jax.tree.map(np.asarray, maps)


def outputs(
  maps: structs.Targets,
) -> tuple[structs.Predictions, np.ndarray]:
  """What a well-trained, slightly unsure network gives for the maps.

  Args:
    maps: at stride 1.

  Returns:
    Predictions at stride 4, and the class head: class logits [.., C] =
    class_features @ head [F, C].
  """
  rng = np.random.default_rng(1)
  coarse = jax.tree.map(lambda x: x[:, 2::STRIDE, 2::STRIDE], maps)
  distance = coarse.energy[..., None] - np.arange(_LEVELS)
  logits = -(distance**2) / 4 + rng.normal(0, 0.2, distance.shape)
  log_sizes = np.log(np.where(coarse.sizes_px > 0, coarse.sizes_px, 12.0))
  # Classes are random directions; the head looks which one a feature is.
  directions = rng.normal(0, 1, (NUM_CLASSES + 1, _FEATURES))
  directions /= np.linalg.norm(directions, axis=1, keepdims=True)
  directions[0] = 0  # background
  predictions = structs.Predictions(
    energy_logits=logits.astype(np.float32),
    log_sizes=log_sizes.astype(np.float32),
    class_features=directions[coarse.classes[..., 0]].astype(np.float32),
  )
  return predictions, (12 * directions[1:].T).astype(np.float32)


def maze(hw: tuple[int, int]) -> np.ndarray:
  """Walls of a random maze: long thin components with many branches."""
  rng = np.random.default_rng(2)
  mask = np.zeros(hw, bool)
  mask[::2, ::2] = True
  sideways = rng.random(hw) < 0.5
  mask[1::2, ::2] = ~sideways[1::2, ::2]
  mask[::2, 1::2] = sideways[::2, 1::2]
  return mask


def noise(hw: tuple[int, int]) -> np.ndarray:
  """The density at which components are the most tangled."""
  return np.random.default_rng(3).random(hw) < 0.41


def serpentine(hw: tuple[int, int]) -> np.ndarray:
  """One line that visits the whole page."""
  y, x = np.indices(hw)
  turn = np.where(y % 4 == 1, x == hw[1] - 1, x == 0)
  return (y % 2 == 0) | turn
