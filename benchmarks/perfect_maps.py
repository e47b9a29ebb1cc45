"""Closure: truth -> target maps -> decode, and how much of it is recovered.

Perfect maps bound what any network can reach with these targets, energy groups
and decode settings; noise on the maps shows how robust they are.
"""

import collections
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core import structs
from dwd_jax.decode import decode_config, votes, watershed
from dwd_jax.objectives import targets

NOISES = ("none", "white", "smooth")
_WHITE = 0.1  # standard deviation, of the range of levels
_STRIDE = 4  # of a network's maps
_SMOOTH = 1.0  # standard deviation in levels, at the network's stride
_SIZE_NOISE = 0.05  # standard deviation of the logarithm of a side
_SAME_PX = 1.5  # centres closer than this count as the same

# (boxes_yxyx [N, 4], labels [N], box_mask [N], key) -> detections, B = 1
ClosureFn = Callable[..., structs.Detections]


class Outcome(NamedTuple):
  """Recovered and lost objects of one page.

  Attributes:
    lost: truth without a partner.
    repeated: truth that repeats an earlier object exactly (class and box); one
      detection stands for all of them.
    num_found: detections.
    num_matched: one-to-one pairs.
  """

  lost: Bool[np.ndarray, " n"]
  repeated: Bool[np.ndarray, " n"]
  num_found: int
  num_matched: int


def make_closure(
  groups: Int[np.ndarray, " C"],
  hw: tuple[int, int],
  target_cfg: targets.TargetConfig,
  decode_cfg: decode_config.DecodeConfig,
  noise: str = "none",
) -> ClosureFn:
  """Renders the maps of a page and decodes them, as one compiled function.

  Args:
    noise: "none"; "white" on every pixel; or "smooth", the best maps that a
      network with heads at stride 4 can make, with noise at that stride.

  Returns:
    A jitted function of boxes, labels, mask (padded to N) and a random key.
  """
  if noise not in NOISES:
    raise ValueError(f"noise {noise!r} is none of {', '.join(NOISES)}")

  def there_and_back(boxes, labels, mask, key):
    maps = targets.render(
      boxes[None], labels[None], mask[None], groups, hw, target_cfg
    )

    def class_fn(page, y, x, group):
      labels = jnp.asarray(maps.classes)[page, y, x, group] - 1
      return votes.Likeliest(labels, len(groups))

    levels = maps.energy.astype(jnp.float32)
    top = float(target_cfg.num_energy_levels - 1)
    sizes = maps.sizes_px
    if noise == "white":
      levels += _WHITE * top * jax.random.normal(key, levels.shape)
    elif noise == "smooth":
      levels, sizes = _as_network(levels, sizes, key)
    levels = jnp.clip(levels, 0, top)
    return watershed.decode_levels(levels, sizes, class_fn, decode_cfg)

  return jax.jit(there_and_back)


def _as_network(levels, sizes, key):
  """Maps interpolated from noisy ones at the network's stride."""
  planes = jnp.moveaxis(levels, 3, 1)
  h, w = planes.shape[2:]
  (up_y, down_y), (up_x, down_x) = _resizing(h), _resizing(w)
  wanted = down_y @ planes @ down_x.T
  back_y, back_x = down_y @ up_y, down_x @ up_x
  coarse = wanted
  for _ in range(8):  # towards the best fit, as training does
    coarse += 1.5 * (wanted - back_y @ coarse @ back_x.T)
  keys = jax.random.split(key)
  coarse += _SMOOTH * jax.random.normal(keys[0], coarse.shape)
  planes = up_y @ coarse @ up_x.T
  grow = _SIZE_NOISE * jax.random.normal(keys[1], sizes.shape)
  return jnp.moveaxis(planes, 1, 3), sizes * jnp.exp(grow)


def _resizing(n):
  """Matrices that interpolate from the network's stride to n and back."""
  low = -(-n // _STRIDE)
  up = jax.image.resize(jnp.eye(low), (n, low), "linear")
  return up, jax.image.resize(jnp.eye(n), (low, n), "linear")


def match(
  truth: tuple[np.ndarray, np.ndarray],
  found: tuple[np.ndarray, np.ndarray],
  iou: float = 0.5,
) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
  """One-to-one pairs of equal class, best overlap first.

  Args:
    truth: (boxes_yxyx [n, 4], labels [n]).
    found: (boxes_yxyx [k, 4], labels [k]).
    iou: least overlap of a pair.

  Returns:
    Indices into `truth` and into `found`.
  """
  (true_boxes, true_labels), (boxes, labels) = truth, found
  overlap = boxes_lib.pairwise_iou(true_boxes, boxes)
  overlap = np.where(true_labels[:, None] == labels[None], overlap, 0)
  rows, columns = np.nonzero(overlap >= iou)
  order = np.argsort(-overlap[rows, columns], kind="stable")
  pairs: dict[int, int] = {}
  taken: set[int] = set()
  for row, column in zip(rows[order], columns[order], strict=True):
    if row not in pairs and column not in taken:
      pairs[row] = column
      taken.add(column)
  return (
    np.fromiter(pairs.keys(), int, len(pairs)),
    np.fromiter(pairs.values(), int, len(pairs)),
  )


def run_page(
  closure: ClosureFn,
  boxes: Float[np.ndarray, "n 4"],
  labels: Int[np.ndarray, " n"],
  max_boxes: int,
  key: jax.Array | None = None,
) -> Outcome:
  """Sends one page through a closure.

  Args:
    boxes: in pixels of the maps.
    max_boxes: N; pages of the same N share a compilation.
  """
  pad = max_boxes - len(boxes)
  found = jax.device_get(
    closure(
      np.pad(boxes, ((0, pad), (0, 0))).astype(np.float32),
      np.pad(labels, (0, pad)).astype(np.int32),
      np.arange(max_boxes) < len(boxes),
      jax.random.key(0) if key is None else key,
    )
  )
  valid = found.valid[0]
  found_boxes, found_labels = found.boxes_yxyx[0][valid], found.labels[0][valid]
  rows, _ = match((boxes, labels), (found_boxes, found_labels))
  lost = np.ones(len(boxes), bool)
  lost[rows] = False
  repeated = _repeated(boxes, labels)
  return Outcome(lost, repeated, int(found.count[0]), len(rows))


def _repeated(boxes, labels):
  """Objects that equal an earlier one."""
  seen, repeated = set(), np.zeros(len(boxes), bool)
  for i, row in enumerate(zip(labels.tolist(), *boxes.T.tolist(), strict=True)):
    repeated[i] = row in seen
    seen.add(row)
  return repeated


def causes(
  outcome: Outcome,
  boxes: Float[np.ndarray, "n 4"],
  labels: Int[np.ndarray, " n"],
  groups: Int[np.ndarray, " C"],
  class_names: tuple[str, ...],
  disc_px: float,
) -> collections.Counter[tuple[str, str]]:
  """Why objects were lost, as far as the truth tells.

  Args:
    boxes: in pixels of the maps.

  Returns:
    (class, cause) -> objects. Causes are "repeated annotation", "same centre
    as NAME", "near NAME" (less than half a disc), "box under 3 px" and "other";
    NAME is the class of the nearest object of the group.
  """
  counts: collections.Counter[tuple[str, str]] = collections.Counter()
  centers, hw = boxes_lib.centers_yx(boxes), boxes_lib.sizes_hw(boxes)
  for i in np.flatnonzero(outcome.lost):
    other = (groups[labels] == groups[labels[i]]) & (
      np.arange(len(labels)) != i
    )
    distance = np.where(other, np.hypot(*(centers - centers[i]).T), np.inf)
    nearest = int(distance.argmin())
    name = class_names[int(labels[nearest])]
    if outcome.repeated[i]:
      cause = "repeated annotation"
    elif distance[nearest] < _SAME_PX:
      cause = f"same centre as {name}"
    elif distance[nearest] < disc_px / 2:
      cause = f"near {name}"
    else:
      cause = "box under 3 px" if hw[i].min() < 3 else "other"
    counts[class_names[int(labels[i])], cause] += 1
  return counts
