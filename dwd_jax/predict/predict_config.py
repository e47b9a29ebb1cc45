"""Settings of the prediction of whole pages."""

import dataclasses
import math
from typing import Literal

from dwd_jax.core.config_sections import NOT_A_KEY, check_choices
from dwd_jax.core.errors import InputError
from dwd_jax.predict import tiling

_MAX_SCALE = 8.0  # times the page's own scale; more is a mistake


@dataclasses.dataclass(frozen=True)
class PredictConfig:
  """How pages go through the network.

  Attributes:
    max_mpx: most megapixels (after scaling) of one call of the network on a
      device; larger pages are cut into tiles, batches hold fewer pages.
    overlap_px: least overlap of two tiles after scaling, px; half of it should
      cover the surroundings from which the network judges a pixel.
    batch_size: most pages of the same padded size, or tiles, of one call of the
      network on a device.
    scales: scales at which each page is predicted, as multiples of
      `data.eval_scale`; boxes that agree are fused (test-time augmentation).
    page_multiple: padded pages have sides that are multiples of this, px, so
      that few sizes are compiled; a multiple of 32.
    normalise: how pages are scaled to the staff space `data.staff_space_px`.
      auto: only if they are off by more than 8 %, in steps of 6 %, so that few
      sizes are compiled; exact: always; off: never.
    staff_space_px: `data.staff_space_px`; 0 = unknown, then pages keep their
      scale.
    sizes: heights and widths of all images that go through the network, px,
      multiples of 32: no other size is compiled. None = as the pages need.
    channels: of the images that the network takes, 1 or 3.
    devices: 1, or all of this process: each call has as many images for each of
      them, see `sharding.over_local_devices`.
  """

  max_mpx: float = 8.0
  overlap_px: int = 640
  batch_size: int = 1
  scales: tuple[float, ...] = (1.0,)
  page_multiple: int = 64
  normalise: Literal["auto", "exact", "off"] = "auto"
  staff_space_px: float = dataclasses.field(default=0.0, metadata=NOT_A_KEY)
  sizes: tuple[tuple[int, int], ...] = dataclasses.field(
    default=(), metadata=NOT_A_KEY
  )
  channels: int = dataclasses.field(default=1, metadata=NOT_A_KEY)
  devices: int = dataclasses.field(default=1, metadata=NOT_A_KEY)

  @property
  def normalises(self) -> bool:
    """Whether pages are scaled to the staff space of the training."""
    return self.normalise != "off" and self.staff_space_px > 0

  def __post_init__(self):
    """Stops at values that make no sense."""
    check_choices(self, "predict")
    if not 0 < self.max_mpx < 1e4:
      raise InputError(
        f"config: predict.max_mpx is {self.max_mpx}; use megapixels above 0"
      )
    if self.overlap_px < 0:
      raise InputError(
        f"config: predict.overlap_px is {self.overlap_px}; use 0 or more"
      )
    if self.batch_size < 1:
      raise InputError(
        f"config: predict.batch_size is {self.batch_size}; use 1 or more"
      )
    if not self.scales or not all(0 < s <= _MAX_SCALE for s in self.scales):
      raise InputError(
        f"config: predict.scales is {self.scales}; use one or more factors"
        f" above 0, up to {_MAX_SCALE:g}"
      )
    if self.page_multiple < 1 or self.page_multiple % tiling.ALIGN_PX:
      raise InputError(
        f"config: predict.page_multiple is {self.page_multiple}; use a multiple"
        f" of {tiling.ALIGN_PX}"
      )
    if not 0 <= self.staff_space_px < 1e4:
      raise InputError(
        f"config: data.staff_space_px is {self.staff_space_px}; use pixels"
        " above 0, or 0 to measure it"
      )
    tiling.check(math.isqrt(self.max_px), self.overlap_px)

  @property
  def max_px(self) -> int:
    """Most pixels of one call of the network."""
    return round(self.max_mpx * 1e6)


DEFAULT = PredictConfig()
