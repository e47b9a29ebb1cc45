"""Training crops degraded on the fly: from the page around them, at its size.

A crop is degraded before it is resized: dust, JPEG blocks and thresholds happen
to the pixels of a scanner, not to those of the network.
"""

import numpy as np
from jaxtyping import Float, UInt8

from dwd_jax import degrade
from dwd_jax.data import transforms
from dwd_jax.data.sources import PageSource
from dwd_jax.data.transforms import Window
from dwd_jax.errors import InputError

# The distance of two staff lines in the network's image, px: what the scales of
# the configs are made for (0.5 for DeepScores and MUSCIMA++, 1.0 for generated
# pages). Records do not say how far staff lines are apart.
NETWORK_STAFF_SPACE_PX = 9.0
# Crops that show more of a page are shrunk before, which bounds the time.
MAX_PIXELS = 1_500_000
_STAFF_SPACES_PX = (1.0, 1000.0)  # what `degrade.sample` takes


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


class DegradedCrops:
  """Windows of pages as scans and photos show them, with their boxes."""

  def __init__(self, source: PageSource, cfg):
    """Args: `source` gives the pages; `cfg` is config.data.degrade."""
    self._source = source
    self._strength = float(cfg.strength)
    self._recipes = tuple(
      (name, float(cfg[f"{name}_prob"])) for name in degrade.RECIPES
    )
    self._off = not self._strength or not any(p for _, p in self._recipes)

  def __call__(
    self,
    page: int,
    window: Window,
    boxes_yxyx: Float[np.ndarray, "n 4"],
    rng: np.random.Generator,
  ) -> tuple[UInt8[np.ndarray, "h w"], Float[np.ndarray, "n 4"]] | None:
    """Degrades a window, or draws not to.

    Args:
      page: its number in the source.
      window: of the page.
      boxes_yxyx: all of the page, px.
      rng: source of randomness; not used where degradations are off.

    Returns:
      Pixels of `window.out_hw`, and the boxes in their pixels, not clipped; a
      box out of sight has no area. None: the crop stays as it is.
    """
    recipe = "" if self._off else self._draw(rng)
    if not recipe:
      return None
    work = _bounded(window)
    space = NETWORK_STAFF_SPACE_PX * work.out_hw[0] / window.out_hw[0]
    plan = degrade.sample(
      rng,
      work.out_hw,
      recipe=recipe,
      strength=self._strength,
      staff_space_px=float(np.clip(space, *_STAFF_SPACES_PX)),
    )
    wide, origin_yx = _widened(work, plan.source_extent())
    page_hw = tuple(self._source.box_index().page_hw[page].tolist())
    top, left, height, width = wide.on_page(page_hw)
    region = self._source.image_window(page, top, left, height, width)
    ink = transforms.fit(region, wide, top, left)
    image = plan.image(ink, origin_yx)
    resized = Window(0, 0, work.out_hw, window.out_hw)
    inside = wide.to_output(boxes_yxyx)
    rows = _touching(inside, wide.out_hw)
    shift = np.array(origin_yx * 2, np.float32)
    moved = np.zeros_like(inside)
    moved[rows] = resized.to_output(
      plan.boxes(inside[rows] + shift, ink, origin_yx)
    )
    return transforms.fit(image, resized, 0, 0), moved

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
