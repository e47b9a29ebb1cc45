"""Degradations as values: sampled once, applied to pixels and boxes."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, UInt8

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core.errors import InputError
from dwd_jax.imaging.degrade import (
  legibility,
  moved_boxes,
  scan_and_photo,
  warps,
)

RECIPES = {
  "scan": (scan_and_photo.scan_bend, scan_and_photo.scan_look),
  "photo": (scan_and_photo.photo_bend, scan_and_photo.photo_look),
}
MAX_STRENGTH = 2.0
MIN_VISIBLE = 0.5  # share of a box's area that must stay on the image
_MAX_SIDE_PX = 32766  # limit of cv2.remap
STAFF_SPACES_PX = (1.0, 1000.0)


@dataclasses.dataclass(frozen=True)
class Plan:
  """A sampled degradation of one image, made by `sample`.

  Attributes:
    hw: height and width of the degraded image, px.
    severity: drawn for this image; 0 changes nothing.
    staff_space_px: distance of two staff lines.
  """

  recipe: str
  hw: tuple[int, int]
  severity: float
  staff_space_px: float
  bend: scan_and_photo.Bend
  seed: int

  def source_extent(self) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of the visible page in the image's frame.

    May exceed 0 .. `hw`, where the map brings in what lies beside the frame.
    """
    return self.bend.warp.source_extent(self.hw)

  def apply(
    self,
    ink: UInt8[np.ndarray, "H W"],
    boxes_yxyx: Float[np.ndarray, "n 4"],
    origin_yx: tuple[float, float] = (0.0, 0.0),
  ) -> tuple[UInt8[np.ndarray, "h w"], Float[np.ndarray, "n 4"]]:
    """The degraded image and its boxes, not clipped.

    Boxes of which hardly any ink is left have no area: they show nothing that
    can be found.

    Args:
      ink: of the page, 0 = paper; there is paper beside it.
      boxes_yxyx: px of the image's frame before degradation.
      origin_yx: of `ink` in the image's frame, px.
    """
    flat = warps.move_pixels(ink, self.bend.warp, self.hw, origin_yx)
    boxes = self.boxes(boxes_yxyx, ink, origin_yx)
    if not self.severity:
      return flat, boxes
    rng = np.random.default_rng(self.seed)
    look = RECIPES[self.recipe][1]
    image = look(flat, rng, self.bend, self.severity, self.staff_space_px)
    gone = ~legibility.legible(
      boxes, flat, image, margin_px=0.5 * self.staff_space_px
    )
    boxes[gone, 2:] = boxes[gone, :2]
    return image, boxes

  def classes(
    self, values: UInt8[np.ndarray, "H W"]
  ) -> UInt8[np.ndarray, "h w"]:
    """Class ids by pixel, moved like the ink, to the nearest pixel."""
    return warps.move_pixels(values, self.bend.warp, self.hw, nearest=True)

  def boxes(
    self,
    boxes_yxyx: Float[np.ndarray, "n 4"],
    ink: UInt8[np.ndarray, "H W"],
    origin_yx: tuple[float, float] = (0.0, 0.0),
  ) -> Float[np.ndarray, "n 4"]:
    """Boxes moved like the ink, whether it is legible or not; not clipped.

    Args:
      boxes_yxyx: px of the image's frame before degradation.
    """
    if not self.severity:
      return boxes_yxyx.astype(np.float32)
    return moved_boxes.move(boxes_yxyx, self.bend.warp, ink, origin_yx)

  def corners(
    self,
    corners_yx: Float[np.ndarray, "n 4 2"],
    moved_yxyx: Float[np.ndarray, "n 4"],
  ) -> Float[np.ndarray, "n 4 2"]:
    """Oriented boxes moved like the ink, not clipped.

    Args:
      corners_yx: px of the image's frame before degradation.
      moved_yxyx: the same objects' boxes from `boxes`.
    """
    if not self.severity:
      return corners_yx.astype(np.float32)
    return moved_boxes.move_corners(corners_yx, self.bend.warp, moved_yxyx)


def sample(
  rng: np.random.Generator,
  hw: tuple[int, int],
  *,
  recipe: str,
  strength: float = 1.0,
  staff_space_px: float,
) -> Plan:
  """Draws a degradation.

  Args:
    rng: equal states give equal plans.
    hw: height and width of the image, px.
    recipe: `scan` or `photo`.
    strength: 0 = no change, 1 = as real scans and photos, 2 = as the worst of
      them; an image gets 0.3 to 1.2 times this.
    staff_space_px: distance of two staff lines; all lengths scale with it.

  Raises:
    InputError: an argument is out of range.
  """
  check(recipe, strength)
  least, most = STAFF_SPACES_PX
  if not least <= staff_space_px <= most:
    raise InputError(
      f"degrade: a staff space of {staff_space_px} px is not within"
      f" {least:g}..{most:g} px"
    )
  if not 1 <= min(hw) <= max(hw) <= _MAX_SIDE_PX:
    raise InputError(
      f"degrade: an image of {hw[1]} x {hw[0]} px; sides of 1 to"
      f" {_MAX_SIDE_PX} px can be degraded"
    )
  severity = float(strength * rng.uniform(0.3, 1.2))
  bend = RECIPES[recipe][0](rng, hw, severity, float(staff_space_px))
  seed = int(rng.integers(1 << 62))
  return Plan(recipe, hw, severity, float(staff_space_px), bend, seed)


def check(recipe: str, strength: float) -> None:
  """Raises `InputError` for an unknown recipe or a strength out of range."""
  if recipe not in RECIPES:
    raise InputError(
      f"degrade: {recipe!r} is unknown; use {' or '.join(RECIPES)}"
    )
  if not 0 <= strength <= MAX_STRENGTH:  # NaN, too
    raise InputError(
      f"strength: {strength} is not within 0..{MAX_STRENGTH:g}; 1 is as real"
      " scans and photos"
    )


def on_image(
  boxes_yxyx: Float[np.ndarray, "n 4"], hw: tuple[int, int]
) -> tuple[Float[np.ndarray, "m 4"], Bool[np.ndarray, " n"]]:
  """Clips boxes, and tells which have at least half of their area on the image.

  Boxes without area are dropped.
  """
  clipped, kept = boxes_lib.visible(boxes_yxyx, hw, MIN_VISIBLE)
  return clipped[kept], kept
