"""The head that refines boxes of found objects by a second look at the ink.

The heads of the network see features at stride 4, and tell edges to about a
pixel. A small network of its own sees the ink itself around each box that the
decode found, and says how the box has to change and how well it fits then. The
detector's features do not depend on it.

Reference: ours; the second look at each box is that of two-stage detectors
(Ren et al. 2015), the score by IoU that of Jiang et al. 2018 (IoU-Net).
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from dwd_jax.core.structs import Array, Params
from dwd_jax.models import ink_windows

NAME = "refinement_head"  # of its parameters
TYPICAL_LOG_SIDE = 2.5  # about which the head sees sides


class RefinementHead(nn.Module):
  """Windows of ink, features and sides of boxes -> changes and fit.

  Attributes:
    num_values: 5, or 10 with oriented boxes.
  """

  num_values: int = 5

  @nn.compact
  def __call__(
    self,
    windows: Float[Array, "P side side"],
    features: Float[Array, "P F"],
    log_sides: Float[Array, "P 2"],
  ) -> Float[Array, "P values"]:
    """Applies the head.

    Args:
      windows: see `ink_windows.windows_at`.
      features: `Predictions.class_features` at the centres of the boxes.
      log_sides: see `ink_windows.log_sides`.

    Returns:
      Changes, see `ink_windows.moved`, and the logit of the IoU after them;
      then those of the oriented box, see `ink_windows.oriented`.
    """
    x = windows[..., None]
    for i, width in enumerate((16, 32), 1):
      pad = ((1, 1), (1, 1))
      conv = nn.Conv(width, (3, 3), (2, 2), padding=pad, name=f"conv{i}")
      x = nn.relu(conv(x))
    x = [x.reshape(len(x), -1), features, log_sides - TYPICAL_LOG_SIDE]
    x = nn.relu(nn.Dense(64, name="hidden")(jnp.concatenate(x, -1)))
    start = nn.initializers.normal(0.01)
    return nn.Dense(self.num_values, kernel_init=start, name="out")(x)


def create(num_features: int, oriented: bool) -> None:
  """Creates the parameters of the head; for a compact module."""
  window = jnp.zeros((1, ink_windows.SIDE, ink_windows.SIDE))
  features = jnp.zeros((1, num_features))
  head = RefinementHead(10 if oriented else 5, name=NAME)
  head(window, features, jnp.zeros((1, 2)))


def has_oriented(params: Params) -> bool:
  """Whether the head of a network tells oriented boxes, too."""
  return len(params[NAME]["out"]["bias"]) > 5


def values(
  params: Params,
  windows: Float[Array, "P side side"],
  features: Float[Array, "P F"],
  log_sides: Float[Array, "P 2"],
) -> Float[Array, "P values"]:
  """Applies the head; `params` are those of `DWDNet`."""
  own = params[NAME]
  head = RefinementHead(len(own["out"]["bias"]))
  return jnp.asarray(head.apply({"params": own}, windows, features, log_sides))
