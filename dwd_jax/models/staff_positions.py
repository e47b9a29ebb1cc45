"""Places on the staff, read off columns of ink around symbols.

A symbol's place is counted from lines that may be far away, in steps that are
finer than the stride of the class features. So a small network of its own looks
at the ink itself: rows above and below the middle of the symbol, averaged over
short stretches beside and on it. The detector's features do not depend on it.
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from dwd_jax.core import boxes
from dwd_jax.core.structs import NO_POSITION, Array, Detections, Params
from dwd_jax.models import ink_columns, ink_windows, slots

MAX_POSITION = 25  # steps from the middle line; what is farther counts as this
NAME = "position_head"  # of its parameters
COLUMN = len(ink_columns.ROWS), len(ink_columns.ACROSS)
USUAL_SPACE_PX = 9.0  # between staff lines, where nothing is known
_FAR_PX = 1e6


class PositionHead(nn.Module):
  """Columns of ink -> logits of the positions -MAX_POSITION .. MAX_POSITION."""

  @nn.compact
  def __call__(
    self, columns: Float[Array, "P rows across"]
  ) -> Float[Array, "P positions"]:
    """Applies the head to the result of `ink_columns.columns_at`."""
    x = columns
    for i, (width, stride) in enumerate(((16, 2), (32, 2), (32, 1)), 1):
      conv = nn.Conv(width, (9,), strides=(stride,), name=f"conv{i}")
      x = nn.relu(conv(x))
    x = nn.relu(nn.Dense(64, name="hidden")(x.reshape(len(x), -1)))
    return nn.Dense(2 * MAX_POSITION + 1, name="out")(x)


def create() -> None:
  """Creates the parameters of the head; for a compact module."""
  PositionHead(name=NAME)(jnp.zeros((1, *COLUMN)))


def logits(
  params: Params, columns: Float[Array, "P rows across"]
) -> Float[Array, "P positions"]:
  """Applies the head; `params` are those of `DWDNet`."""
  return jnp.asarray(PositionHead().apply({"params": params[NAME]}, columns))


def with_positions(
  found: Detections,
  params: Params,
  image: Float[Array, "B H W c"],
  *,
  space_px: float,
  position_classes: tuple[int, ...],
) -> Detections:
  """Adds the positions of detections, read off at the middles of their boxes.

  Work follows the detections, not the slots.

  Args:
    params: of `DWDNet`, with this head.
    space_px: distance of two staff lines on the image.
    position_classes: ids of the classes that have positions; others get
      `NO_POSITION`.
  """
  classes = np.array(position_classes, np.int32)
  known = jnp.asarray(found.valid) & jnp.isin(found.labels, classes)
  ink = ink_windows.grey_of(jnp.asarray(image))
  means = ink_columns.stretches(ink, space_px)
  centers = jnp.asarray(boxes.centers_yx(found.boxes_yxyx))
  # What is not finite is read off the page.
  centers = jnp.clip(jnp.nan_to_num(centers, nan=-_FAR_PX), -_FAR_PX, _FAR_PX)

  def likeliest(means, centers):
    columns = ink_columns.columns_at(means, centers, space_px)
    best = logits(params, columns).argmax(-1)
    return best.astype(jnp.int32) - MAX_POSITION

  nothing = jnp.array(NO_POSITION, jnp.int32)
  read = slots.each_used(likeliest, means, centers, known, nothing)
  return found.replace(positions=jnp.where(known, read, NO_POSITION))
