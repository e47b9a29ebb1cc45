"""What the staves of a page say: which tone is paper, and how the page lies.

Staff lines are found in one polarity and direction only; whether a page stands
on its head is told by its clefs, once they are detected.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from dwd_jax.imaging import staff_space

_SURE = 0.2  # confidence of staves where the page as it came shows none


class Staves(NamedTuple):
  """How a page has to be changed before its symbols are detected.

  Attributes:
    inverted: ink and paper are exchanged.
    turn: degrees clockwise that make it upright: 0, 90, 180 or 270.
    staff_space_px: distance of staff lines, px; None = no staff was found.
  """

  inverted: bool = False
  turn: int = 0
  staff_space_px: float | None = None

  def applied(self, ink: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "h w"]:
    """The page upright, with 0 = paper."""
    ink = 255 - ink if self.inverted else ink
    return np.ascontiguousarray(np.rot90(ink, -self.turn // 90))

  def on_its_head(self) -> "Staves":
    """The same turned by further 180 degrees."""
    return self._replace(turn=(self.turn + 180) % 360)

  def boxes_back(
    self, boxes_yxyx: Float[np.ndarray, "n 4"], hw: tuple[int, int]
  ) -> Float[np.ndarray, "n 4"]:
    """Boxes on the upright page -> boxes on the page as it came, of size hw."""
    height, width = hw
    y0, x0, y1, x1 = boxes_yxyx.T
    corners = {
      0: (y0, x0, y1, x1),
      90: (height - x1, y0, height - x0, y1),
      180: (height - y1, width - x1, height - y0, width - x0),
      270: (x0, width - y1, x1, width - y0),
    }[self.turn]
    return np.stack(corners, 1).astype(boxes_yxyx.dtype)


def find(ink: UInt8[np.ndarray, "H W"]) -> Staves:
  """Looks for staves on the page, in negative, turned, and both.

  Of the latter three the one with the surest staves is taken.

  Args:
    ink: 0 = what most pixels are, taken for paper.
  """
  found = staff_space.estimate(ink)
  if found is not None:
    return Staves(staff_space_px=found.px)
  best, least = Staves(), _SURE
  for inverted, turn in ((True, 0), (False, 90), (True, 90)):
    tried = Staves(inverted, turn)
    found = staff_space.estimate(tried.applied(ink))
    if found is not None and found.confidence >= least:
      best = tried._replace(staff_space_px=found.px)
      least = found.confidence
  return best
