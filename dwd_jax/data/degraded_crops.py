"""Training crops degraded on the fly, with the page around them.

A crop is degraded before it is resized: dust, JPEG blocks and thresholds belong
to the pixels of a scanner, not to those of the network.
"""

import dataclasses
from typing import ClassVar

import numpy as np
from jaxtyping import Float, UInt8

from dwd_jax.core.errors import InputError
from dwd_jax.imaging import degrade, page_windows
from dwd_jax.imaging.page_windows import Window

# Distance of two staff lines in a crop, px, if it is not known; the scales of
# the configs lead to it (0.5 for DeepScores and MUSCIMA++, 1.0 for generated
# pages).
NETWORK_STAFF_SPACE_PX = 9.0
# Crops of a larger part of a page are shrunk first, which bounds the time.
MAX_PIXELS = 1_500_000


@dataclasses.dataclass(frozen=True)
class DegradeConfig:
  """Training crops that look scanned or photographed; the rest stays clean.

  Attributes:
    scan_prob: share of the crops that look scanned, 0..1: skew, worn ink and
      plates, dirt, paper, photocopies, faxes, JPEG, 1 bit.
    photo_prob: share of the crops that look photographed, 0..1: perspective,
      curl, light, blur, noise; with `scan_prob` at most 1.
    strength: strength of both, 0..2: 1 = as real ones, 2 = as the worst; each
      crop draws 0.3 to 1.2 times this.
  """

  PATH: ClassVar[str] = "data.degrade"  # named in errors

  scan_prob: float = 0.0
  photo_prob: float = 0.0
  strength: float = 1.0

  def __post_init__(self):
    for key in ("scan_prob", "photo_prob"):
      if not 0 <= getattr(self, key) <= 1:
        raise InputError(
          f"{self.PATH}.{key}: {getattr(self, key)} is not within 0..1"
        )
    if self.scan_prob + self.photo_prob > 1:
      raise InputError(
        f"{self.PATH}: scan_prob {self.scan_prob} and photo_prob"
        f" {self.photo_prob} are more than 1 together"
      )
    if not 0 <= self.strength <= degrade.MAX_STRENGTH:
      raise InputError(
        f"{self.PATH}.strength: {self.strength} is not within"
        f" 0..{degrade.MAX_STRENGTH:g}"
      )


@dataclasses.dataclass(frozen=True)
class Wear:
  """A degradation of one crop.

  Attributes:
    plan: the degradation.
    out: window of the crop.
    work: that window at the scale of the degradation.
    wide: window of all that the degradation brings in, at the same scale.
    origin_yx: corner of `wide` in the frame of `work`'s output, px.
  """

  plan: degrade.Plan
  out: Window
  work: Window
  wide: Window
  origin_yx: tuple[float, float]

  @property
  def shown(self) -> Window:
    """Window of the pixels that `apply` needs, at the size of the page."""
    return dataclasses.replace(self.wide, out_hw=self.wide.source_hw)

  def apply(
    self, ink: UInt8[np.ndarray, "H W *c"], boxes_yxyx: Float[np.ndarray, "n 4"]
  ) -> tuple[UInt8[np.ndarray, "h w *c"], Float[np.ndarray, "n 4"]]:
    """Degrades the pixels of a window and moves its boxes.

    Args:
      ink: pixels of `shown`; of colours, each channel wears like ink.
      boxes_yxyx: in these pixels.

    Returns:
      Pixels of size `out.out_hw`, and the boxes in them, not clipped; boxes
      outside, or of which hardly any ink is left, have no area.
    """
    ink = page_windows.resize(ink, self.wide.out_hw)
    inside = self.wide.at_origin.to_output(boxes_yxyx)
    rows = _touching(inside, self.wide.out_hw)
    shift = np.array(self.origin_yx * 2, np.float32)
    image, worn = self._worn(ink, inside[rows] + shift)
    moved = np.zeros_like(inside)
    moved[rows] = self._resized.to_output(worn)
    return page_windows.resize(image, self.out.out_hw), moved

  def _worn(
    self, ink: np.ndarray, boxes_yxyx: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray]:
    if ink.ndim == 2:
      return self.plan.apply(ink, boxes_yxyx, self.origin_yx)
    made = [
      self.plan.apply(
        np.ascontiguousarray(255 - ink[..., c]), boxes_yxyx, self.origin_yx
      )
      for c in range(ink.shape[2])
    ]
    # An object stays while a channel shows it; elsewhere it has no area.
    largest = np.max([boxes[:, 2:] for _, boxes in made], axis=0)
    boxes = np.concatenate([made[0][1][:, :2], largest], axis=1)
    return 255 - np.stack([image for image, _ in made], axis=-1), boxes

  def corners(
    self,
    corners_yx: Float[np.ndarray, "n 4 2"],
    moved_yxyx: Float[np.ndarray, "n 4"],
  ) -> Float[np.ndarray, "n 4 2"]:
    """Moves oriented boxes, not clipped.

    Args:
      corners_yx: in pixels of `shown`.
      moved_yxyx: the same objects' boxes from `apply`.
    """
    inside = self.wide.at_origin.points_to_output(corners_yx)
    shift = np.array(self.origin_yx, np.float32)
    upright = self._resized.to_source(moved_yxyx)
    return self._resized.points_to_output(
      self.plan.corners(inside + shift, upright)
    )

  @property
  def _resized(self) -> Window:
    """From the degraded image to the crop."""
    return Window(0, 0, self.work.out_hw, self.out.out_hw)


class DegradedCrops:
  """Draws degradations of crops."""

  def __init__(self, cfg, staff_space_px: float = 0.0):
    """A sampler of degradations.

    Args:
      cfg: config.data.degrade.
      staff_space_px: distance of two staff lines in a crop; 0 = unknown.
    """
    self._space = staff_space_px or NETWORK_STAFF_SPACE_PX
    self._strength = float(cfg.strength)
    self._recipes = tuple(
      (name, float(cfg[f"{name}_prob"])) for name in degrade.RECIPES
    )
    self._off = not self._strength or not any(p for _, p in self._recipes)

  def __call__(self, window: Window, rng: np.random.Generator) -> Wear | None:
    """Draws the degradation of a window; None: it stays clean.

    `rng` is not used if degradations are off.
    """
    recipe = "" if self._off else self._draw(rng)
    if not recipe:
      return None
    work = _bounded(window)
    space = self._space * work.out_hw[0] / window.out_hw[0]
    plan = degrade.sample(
      rng,
      work.out_hw,
      recipe=recipe,
      strength=self._strength,
      staff_space_px=float(np.clip(space, *degrade.STAFF_SPACES_PX)),
    )
    wide, origin_yx = _widened(work, plan.source_extent())
    return Wear(
      plan=plan, out=window, work=work, wide=wide, origin_yx=origin_yx
    )

  def _draw(self, rng: np.random.Generator) -> str:
    drawn = rng.random()
    for name, probability in self._recipes:
      if drawn < probability:
        return name
      drawn -= probability
    return ""


def _bounded(window: Window) -> Window:
  """The window at the page's own size, or shrunk to the bound."""
  height, width = window.source_hw
  shrink = min(1.0, (MAX_PIXELS / (height * width)) ** 0.5)
  size = max(1, round(height * shrink)), max(1, round(width * shrink))
  return Window(window.top, window.left, window.source_hw, size)


def _widened(
  window: Window, extent: tuple[int, int, int, int]
) -> tuple[Window, tuple[float, float]]:
  """Widens a window to an extent.

  Args:
    extent: top, left, bottom, right in px of the window's output.

  Returns:
    A window at about the same scale, and its corner in the frame of the first
    one's output, px.
  """
  scale = window.scale_hw
  low = [int(np.floor(extent[k] / scale[k])) for k in (0, 1)]
  height, width = (
    int(np.ceil(extent[k + 2] / scale[k])) - low[k] for k in (0, 1)
  )
  wide = Window(
    top=window.top + low[0],
    left=window.left + low[1],
    source_hw=(height, width),
    out_hw=(max(1, round(height * scale[0])), max(1, round(width * scale[1]))),
  )
  return wide, (low[0] * scale[0], low[1] * scale[1])


def _touching(
  boxes_yxyx: Float[np.ndarray, "n 4"], hw: tuple[int, int]
) -> np.ndarray:
  """Rows of the boxes that are partly inside."""
  y0, x0, y1, x1 = boxes_yxyx.T
  return np.flatnonzero((y1 > 0) & (x1 > 0) & (y0 < hw[0]) & (x0 < hw[1]))
