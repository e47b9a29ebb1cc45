"""What the staves of a page say: which tone is paper, and how the page lies.

Staff lines are found in one polarity and direction only; whether a page stands
on its head is told by its clefs, once they are detected.
"""

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dwd_jax.imaging import staff_lines, staff_pieces, staff_space
from dwd_jax.imaging.staff_lines import Staff
from dwd_jax.imaging.staff_pieces import Pieces
from dwd_jax.imaging.staff_space import Measured
from dwd_jax.predict import staff_sizes

_SURE = 0.2  # confidence; below, the page may lie otherwise
# Degrees; detectors are trained on scans and photos that are skewed a little.
# Less costs them nothing, and levelling would blur the page.
_LEVEL = 2.0
# Symbols do not fill the corners of their boxes: the share of the longer side
# that the shorter one gains on a skewed page.
_ROUND = 0.7


@dataclasses.dataclass(frozen=True)
class Staves:
  """How a page has to be changed before its symbols are detected.

  Attributes:
    inverted: ink and paper are exchanged.
    turn: degrees clockwise that make it upright: 0, 90, 180 or 270.
    level: further degrees clockwise that make its staves level; 0 = they are.
    staff_space_px: distance of staff lines, px; None = no staff was found.
    spaces: those that the page is predicted at, the most frequent first.
    pieces: of the staves on the page upright.
  """

  inverted: bool = False
  turn: int = 0
  level: float = 0.0
  staff_space_px: float | None = None
  spaces: tuple[float, ...] = dataclasses.field(default=(), compare=False)
  pieces: Pieces | None = dataclasses.field(default=None, compare=False)

  @property
  def turned(self) -> float:
    """Degrees clockwise in all; an int unless the page is levelled."""
    return round(self.turn + self.level, 2) if self.level else self.turn

  def applied(self, ink: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "h w"]:
    """The page upright, with 0 = paper."""
    ink = 255 - ink if self.inverted else ink
    ink = np.ascontiguousarray(np.rot90(ink, -self.turn // 90))
    if not self.level:
      return ink
    matrix, (height, width) = _levelling(ink.shape, self.level)
    # From centres of pixels to centres of pixels.
    matrix[:, 2] += 0.5 * matrix[:, :2].sum(1) - 0.5
    return cv2.warpAffine(
      ink, matrix, (width, height), flags=cv2.INTER_CUBIC
    ).astype(np.uint8, copy=False)

  def on_its_head(self, hw: tuple[int, int]) -> "Staves":
    """The same turned by further 180 degrees; `hw` is of the page upright."""
    return dataclasses.replace(
      self,
      turn=(self.turn + 180) % 360,
      pieces=self.pieces and self.pieces.upside_down(hw),
    )

  def boxes_back(
    self, boxes_yxyx: Float[np.ndarray, "n 4"], hw: tuple[int, int]
  ) -> Float[np.ndarray, "n 4"]:
    """Boxes on the upright page -> boxes on the page as it came, of size hw."""
    height, width = hw
    dtype = boxes_yxyx.dtype
    if self.level:
      upright = hw if self.turn % 180 == 0 else (width, height)
      boxes_yxyx = _skewed(boxes_yxyx, upright, self.level)
    y0, x0, y1, x1 = boxes_yxyx.T
    corners = {
      0: (y0, x0, y1, x1),
      90: (height - x1, y0, height - x0, y1),
      180: (height - y1, width - x1, height - y0, width - x0),
      270: (x0, width - y1, x1, width - y0),
    }[self.turn]
    return np.stack(corners, 1).astype(dtype)

  def traced(
    self, upright: UInt8[np.ndarray, "h w"], hw: tuple[int, int]
  ) -> tuple[Staff, ...]:
    """The lines of all staves, on the page as it came, of size hw.

    Args:
      upright: of `applied`.

    Returns:
      Staves and lines in the order in which they are read; none where no staff
      was found.
    """
    if self.staff_space_px is None or self.pieces is None:
      return ()
    found = staff_lines.trace(upright, self.staff_space_px, self.pieces)
    return tuple(
      dataclasses.replace(
        staff,
        lines_yx=tuple(self.points_back(line, hw) for line in staff.lines_yx),
      )
      for staff in found
    )

  def points_back(
    self, points_yx: Float[np.ndarray, "*n 2"], hw: tuple[int, int]
  ) -> Float[np.ndarray, "*n 2"]:
    """Points (y, x) on the upright page -> on the page as it came, of size hw.

    Exact, while `boxes_back` has to guess what a turned box would be.
    """
    height, width = hw
    points = points_yx.astype(np.float64)
    if self.level:
      upright = hw if self.turn % 180 == 0 else (width, height)
      points = _levelled_back(points, upright, self.level)
    y, x = points[..., 0], points[..., 1]
    turned = {
      0: (y, x),
      90: (height - x, y),
      180: (height - y, width - x),
      270: (x, width - y),
    }[self.turn]
    return np.stack(turned, -1).astype(points_yx.dtype)


def find(ink: UInt8[np.ndarray, "H W"]) -> Staves:
  """Looks for staves on the page.

  Where they are not sure, also in negative, turned, and both; the surest is
  taken.

  Args:
    ink: 0 = what most pixels are, taken for paper.
  """
  found = staff_space.measure(ink)
  best = (Staves(), found) if found else None
  least = _SURE
  if found is None or found.space.confidence < least:
    for inverted, turn in ((True, 0), (False, 90), (True, 90)):
      tried = Staves(inverted, turn)
      found = staff_space.measure(tried.applied(ink))
      if found is not None and found.space.confidence >= least:
        best, least = (tried, found), found.space.confidence
  return _with_pieces(*best, ink) if best else Staves()


def as_it_lies(ink: UInt8[np.ndarray, "H W"]) -> Staves:
  """The sizes of the staves of a page that is upright, maybe skewed a little.

  Args:
    ink: 0 = paper.
  """
  found = staff_space.measure(ink)
  if found is None:
    return Staves()
  return _of_sizes(Staves(), found, staff_pieces.find(found))


def _with_pieces(
  staves: Staves, measured: Measured, ink: UInt8[np.ndarray, "H W"]
) -> Staves:
  """Adds what the pieces of the staves say about skew and sizes."""
  pieces = staff_pieces.find(measured)
  if not staves.level and abs(pieces.skew()) >= _LEVEL:
    level = dataclasses.replace(staves, level=-pieces.skew())
    again = staff_space.measure(level.applied(ink))
    if again is not None:
      return _with_pieces(level, again, ink)
  return _of_sizes(staves, measured, pieces)


def _of_sizes(staves: Staves, measured: Measured, pieces: Pieces) -> Staves:
  px = measured.space.px
  return dataclasses.replace(
    staves,
    staff_space_px=px,
    spaces=staff_sizes.sizes(pieces, px),
    pieces=pieces,
  )


def _levelling(
  hw: tuple[int, ...], degrees: float
) -> tuple[Float[np.ndarray, "2 3"], tuple[int, int]]:
  """The map of points (x, y, 1) to a page with room for all, and its size."""
  height, width = hw
  angle = np.radians(degrees)
  sin, cos = np.sin(angle), np.cos(angle)
  to_hw = (
    int(np.ceil(height * cos + width * abs(sin))),
    int(np.ceil(width * cos + height * abs(sin))),
  )
  turn = np.array([[cos, -sin], [sin, cos]])
  shift = np.array(to_hw[::-1]) / 2 - turn @ np.array([width, height]) / 2
  return np.concatenate([turn, shift[:, None]], 1), to_hw


def _levelled_back(
  points_yx: Float[np.ndarray, "*n 2"], hw: tuple[int, int], degrees: float
) -> Float[np.ndarray, "*n 2"]:
  """Points on the levelled page -> on the skewed one of size hw."""
  matrix, _ = _levelling(hw, degrees)
  turn, shift = matrix[:, :2], matrix[:, 2]
  return ((points_yx[..., ::-1] - shift) @ turn)[..., ::-1]  # turn.T inverts


def _skewed(
  boxes_yxyx: Float[np.ndarray, "n 4"], hw: tuple[int, int], degrees: float
) -> Float[np.ndarray, "n 4"]:
  """Boxes on the levelled page -> on the skewed one of size hw, clipped."""
  boxes = boxes_yxyx.astype(np.float64)
  middle = _levelled_back((boxes[:, :2] + boxes[:, 2:]) / 2, hw, degrees)
  angle = np.radians(degrees)
  cos, sin = np.cos(angle), _ROUND * abs(np.sin(angle))
  size = boxes[:, 2:] - boxes[:, :2]
  half = (cos * size + sin * size[:, ::-1]) / 2
  ends = np.concatenate([middle - half, middle + half], 1)
  return np.clip(ends, 0, np.tile(hw, 2))
