"""Training crops degraded on the fly: from the page around them, at its size.

A crop is degraded before it is resized: dust, JPEG blocks and thresholds happen
to the pixels of a scanner, not to those of the network.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, UInt8

from dwd_jax.core.errors import InputError
from dwd_jax.imaging import degrade, page_windows
from dwd_jax.imaging.page_windows import Window

# The distance of two staff lines in the network's image, px, where it is not
# known: what the scales of the configs are made for (0.5 for DeepScores and
# MUSCIMA++, 1.0 for generated pages).
NETWORK_STAFF_SPACE_PX = 9.0
# Crops that show more of a page are shrunk before, which bounds the time.
MAX_PIXELS = 1_500_000


def check(cfg) -> None:
  """Stops at values of `config.data.degrade` that make no sense.

  Raises:
    InputError: such a value.
  """
  for key in ("scan_prob", "photo_prob"):
    if not 0 <= cfg[key] <= 1:
      raise InputError(f"data.degrade.{key}: {cfg[key]} is not within 0..1")
  if cfg.scan_prob + cfg.photo_prob > 1:
    raise InputError(
      f"data.degrade: scan_prob {cfg.scan_prob} and photo_prob"
      f" {cfg.photo_prob} are more than 1 together"
    )
  if not 0 <= cfg.strength <= degrade.MAX_STRENGTH:
    raise InputError(
      f"data.degrade.strength: {cfg.strength} is not within"
      f" 0..{degrade.MAX_STRENGTH:g}"
    )


@dataclasses.dataclass(frozen=True)
class Wear:
  """A degradation of one crop.

  Attributes:
    plan: what happens.
    out: the crop's window, px of the page.
    work: that window at the scale at which it happens.
    wide: the part of the page that it brings in, at the same scale.
    origin_yx: corner of `wide` in the frame of `work`'s output, px.
  """

  plan: degrade.Plan
  out: Window
  work: Window
  wide: Window
  origin_yx: tuple[float, float]

  @property
  def shown(self) -> Window:
    """What `apply` wants to be given of the page, in its own pixels."""
    return dataclasses.replace(self.wide, out_hw=self.wide.source_hw)

  def apply(
    self, ink: UInt8[np.ndarray, "H W"], boxes_yxyx: Float[np.ndarray, "n 4"]
  ) -> tuple[UInt8[np.ndarray, "h w"], Float[np.ndarray, "n 4"]]:
    """Degrades the pixels of a window and moves its boxes.

    Args:
      ink: of `shown`.
      boxes_yxyx: in its pixels.

    Returns:
      Pixels of `out.out_hw`, and the boxes in their pixels, not clipped; a box
      out of sight has no area.
    """
    ink = page_windows.resize(ink, self.wide.out_hw)
    image = self.plan.image(ink, self.origin_yx)
    resized = Window(0, 0, self.work.out_hw, self.out.out_hw)
    inside = self.wide.at_origin.to_output(boxes_yxyx)
    rows = _touching(inside, self.wide.out_hw)
    shift = np.array(self.origin_yx * 2, np.float32)
    moved = np.zeros_like(inside)
    moved[rows] = resized.to_output(
      self.plan.boxes(inside[rows] + shift, ink, self.origin_yx)
    )
    return page_windows.resize(image, self.out.out_hw), moved


class DegradedCrops:
  """Draws how crops are degraded, as `config.data.degrade` says."""

  def __init__(self, cfg, staff_space_px: float = 0.0):
    """How crops are degraded.

    Args:
      cfg: config.data.degrade.
      staff_space_px: distance of two staff lines in a crop; 0 = as usual.
    """
    self._space = staff_space_px or NETWORK_STAFF_SPACE_PX
    self._strength = float(cfg.strength)
    self._recipes = tuple(
      (name, float(cfg[f"{name}_prob"])) for name in degrade.RECIPES
    )
    self._off = not self._strength or not any(p for _, p in self._recipes)

  def __call__(self, window: Window, rng: np.random.Generator) -> Wear | None:
    """What happens to a window; None: it stays as it is.

    Args:
      window: of a page.
      rng: source of randomness; not used where degradations are off.
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
    return Wear(plan, window, work, wide, origin_yx)

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
  """A window that shows all that a map brings in, and where it begins.

  Args:
    window: of the page.
    extent: what is needed: top, left, bottom, right in px of the output.

  Returns:
    The window, at about the same scale, and its corner in the frame of the
    first one's output, px.
  """
  scale = window.scale_hw
  corner, source, out = [], [], []
  for axis in (0, 1):
    low = int(np.floor(extent[axis] / scale[axis]))
    high = int(np.ceil(extent[axis + 2] / scale[axis]))
    corner.append(low)
    source.append(high - low)
    out.append(max(1, round((high - low) * scale[axis])))
  return Window(
    window.top + corner[0],
    window.left + corner[1],
    (source[0], source[1]),
    (out[0], out[1]),
  ), (corner[0] * scale[0], corner[1] * scale[1])


def _touching(
  boxes_yxyx: Float[np.ndarray, "n 4"], hw: tuple[int, int]
) -> np.ndarray:
  """Rows of the boxes that are partly inside."""
  y0, x0, y1, x1 = boxes_yxyx.T
  return np.flatnonzero((y1 > 0) & (x1 > 0) & (y0 < hw[0]) & (x0 < hw[1]))
