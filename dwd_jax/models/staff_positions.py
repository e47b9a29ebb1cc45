"""Places on the staff, read off columns of ink around symbols.

A symbol's place is counted from lines that may be far away, in steps that are
finer than the stride of the class features. So a small network of its own looks
at the ink itself: rows above and below the middle of the symbol, averaged over
short stretches beside and on it. The detector's features do not depend on it.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from dwd_jax.core import boxes
from dwd_jax.core.structs import NO_POSITION, Array, Detections, Params

MAX_POSITION = 25  # steps from the middle line; what is farther counts as this
NAME = "position_head"  # of its parameters
_ROWS = np.arange(-72, 73)  # in ninths of a staff space
_ACROSS = np.array(
  [-72, -48, -28, -14, 0, 14, 28, 48, 72]
)  # middles of the stretches, likewise
_STRETCH = 9  # length of a stretch, likewise
COLUMN = len(_ROWS), len(_ACROSS)
_USUAL_SPACE_PX = 9.0
_AT_ONCE = 256  # detections
_FAR_PX = 1e6


class PositionHead(nn.Module):
  """Columns of ink -> logits of the positions -MAX_POSITION .. MAX_POSITION."""

  @nn.compact
  def __call__(
    self, columns: Float[Array, "P rows across"]
  ) -> Float[Array, "P positions"]:
    """Applies the head to the result of `columns_at`."""
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


@dataclasses.dataclass(frozen=True)
class Ruler:
  """Sizes on the network's images.

  Attributes:
    space_px: distance of two staff lines; 0 = unknown, a usual one.
  """

  space_px: float

  @property
  def space(self) -> float:
    """Distance of two staff lines, px."""
    return self.space_px or _USUAL_SPACE_PX

  @property
  def ninth(self) -> float:
    """A ninth of it, px."""
    return self.space / 9


def stretches(
  image: Float[Array, "B H W 1"], ruler: Ruler
) -> Float[Array, "B H W"]:
  """The mean ink of the stretch around each pixel, paper beyond the edges."""
  width = 2 * round(_STRETCH * ruler.ninth / 2 - 0.5) + 1  # odd
  half = width // 2
  ink = jnp.asarray(image)[..., 0]
  sums = jnp.cumsum(jnp.pad(ink, ((0, 0), (0, 0), (half + 1, half))), -1)
  return (sums[..., width:] - sums[..., :-width]) / width


def columns_at(
  means: Float[Array, "*B H W"],
  y: Float[Array, " P"],
  x: Float[Array, " P"],
  ruler: Ruler,
  page: Int[Array, " P"] | None = None,
) -> Float[Array, "P rows across"]:
  """Columns of ink around points of the image.

  Args:
    means: see `stretches`.
    y: px, like boxes: the middle of the first row is at 0.5.
    x: px.
    page: index into the batch; None: `means` is of one image.
  """
  height, width = means.shape[-2:]
  rows = y[:, None] - 0.5 + np.float32(_ROWS * ruler.ninth)  # [P, rows]
  columns = jnp.floor(x[:, None] + np.float32(_ACROSS * ruler.ninth)).astype(
    jnp.int32
  )
  low = jnp.floor(rows)
  share = (rows - low)[..., None]
  low = low.astype(jnp.int32)

  def ink(row):
    """Ink [P, rows, across]; paper beyond the edges."""
    there = ((row >= 0) & (row < height))[..., None]
    there &= ((columns >= 0) & (columns < width))[:, None]
    at = (
      jnp.clip(row, 0, height - 1)[..., None],
      jnp.clip(columns, 0, width - 1)[:, None],
    )
    values = means[at] if page is None else means[page[:, None, None], *at]
    return jnp.where(there, values, 0.0)

  return ink(low) * (1 - share) + ink(low + 1) * share


def with_positions(
  found: Detections,
  params: Params,
  image: Float[Array, "B H W 1"],
  *,
  ruler: Ruler,
  position_classes: tuple[int, ...],
) -> Detections:
  """Adds the positions of detections, read off at the middles of their boxes.

  Work follows the detections, not the slots.

  Args:
    params: of `DWDNet`, with this head.
    position_classes: ids of the classes that have positions; others get
      `NO_POSITION`.
  """
  num_pages, slots = found.labels.shape
  num_classes = params["class_head"]["bias"].size
  has = jnp.asarray(np.isin(np.arange(num_classes), position_classes))
  known = found.valid & has[jnp.asarray(found.labels)]
  means = stretches(image, ruler)
  centers = jnp.asarray(boxes.centers_yx(found.boxes_yxyx))
  # What is not finite is read off the page.
  centers = jnp.clip(jnp.nan_to_num(centers, nan=-_FAR_PX), -_FAR_PX, _FAR_PX)
  page = jnp.broadcast_to(jnp.arange(num_pages)[:, None], (num_pages, slots))
  parts = -(-slots // _AT_ONCE)

  def cut(values):  # [B, K, ...] -> [parts, B, at once, ...]
    rest = [(0, 0)] * (values.ndim - 2)
    room = parts * _AT_ONCE - slots
    values = jnp.pad(values, ((0, 0), (0, room), *rest))
    shape = (num_pages * parts, _AT_ONCE, *values.shape[2:])
    return values.reshape(shape)

  def read(given):
    page, center, known = given

    def likeliest():
      columns = columns_at(means, center[:, 0], center[:, 1], ruler, page)
      return logits(params, columns).argmax(-1).astype(jnp.int32) - MAX_POSITION

    nothing = jnp.full(_AT_ONCE, NO_POSITION, jnp.int32)
    read = jax.lax.cond(known.any(), likeliest, lambda: nothing)
    return jnp.where(known, read, NO_POSITION)

  positions = jax.lax.map(read, (cut(page), cut(centers), cut(known)))
  positions = positions.reshape(num_pages, parts * _AT_ONCE)[:, :slots]
  return found.replace(positions=positions)
