"""Settings of the decode."""

import dataclasses
from typing import Literal

from dwd_jax.core import errors
from dwd_jax.core.config_sections import NOT_A_KEY, check_choices


@dataclasses.dataclass(frozen=True)
class DecodeConfig:
  """What counts as an object.

  Attributes:
    method: watershed splits touching discs at their energy peaks, threshold
      takes whole connected components (the paper's).
    energy: level of a pixel as the expectation of the softmax over the levels
      or its argmax (the paper's); auto is the latter for the threshold method.
    energy_cutoff: a level; pixels above it belong to an object.
    min_seed_level: watershed: a lower peak is no object.
    min_saddle_depth: watershed, levels: two peaks are one object unless the
      way from the lower to the higher one dips at least this far below it.
    smooth: watershed: passes of a 3 x 3 binomial filter before the peaks. One
      pass keeps noise from shattering objects even where the least depth is
      small, which finds more neighbours than a large depth without a filter.
    min_area_px: objects with fewer pixels above the cutoff are dropped.
    max_detections: slots K of a page.
    size: box size as the mean of the pixels weighted by how far they rise above
      the object's edge, as their plain mean or their max (the paper's).
    class_vote: share: the class with the largest sum of probabilities;
      majority: the one that is likeliest at most pixels (the paper's).
    class_pixels: watershed: pixels around the peak that vote on the class, two
      pixels apart; an odd square number. The threshold method lets every pixel
      vote.
    suppress_iou: a detection whose IoU with a better one is above this is
      dropped, whatever their classes; 0 = none is, for symbols do overlap.
    legacy: the threshold method exactly as the original, quirks included.
    num_energy_levels: E; scores are made from levels / (E - 1).
  """

  method: Literal["watershed", "threshold"] = "watershed"
  energy: Literal["auto", "expectation", "argmax"] = "auto"
  energy_cutoff: float = 5.0
  min_seed_level: float = 5.0
  min_saddle_depth: float = 0.1
  smooth: int = 1
  min_area_px: int = 4
  max_detections: int = 2048
  size: Literal["weighted", "mean", "max"] = "weighted"
  class_vote: Literal["share", "majority"] = "share"
  class_pixels: int = 9
  suppress_iou: float = 0.0
  legacy: bool = False
  num_energy_levels: int = dataclasses.field(default=20, metadata=NOT_A_KEY)

  def __post_init__(self):
    """Checks the values, so that a typo in a config has a clear message."""
    check_choices(self, "decode")
    side = round(self.class_pixels**0.5)
    if side % 2 == 0 or side * side != self.class_pixels:
      raise errors.InputError(
        f"config key decode.class_pixels: {self.class_pixels} is not the "
        "square of an odd number; choose 1, 9, 25, 49 or 81"
      )
    for key, least in (
      ("max_detections", 1),
      ("min_area_px", 0),
      ("smooth", 0),
      ("min_saddle_depth", 0.0),
      ("num_energy_levels", 2),
    ):
      if getattr(self, key) < least:
        raise errors.InputError(
          f"config key decode.{key}: {getattr(self, key)} is too small; "
          f"choose {least} or more"
        )
    if not 0 <= self.suppress_iou <= 1:
      raise errors.InputError(
        f"config key decode.suppress_iou: {self.suppress_iou} is no overlap; "
        "choose 0 (off) to 1"
      )
    paper = (self.method, self.size, self.class_vote)
    if not 0 <= self.energy_cutoff < self.num_energy_levels - 1:
      raise errors.InputError(
        f"config key decode.energy_cutoff: no level lies above "
        f"{self.energy_cutoff}; choose 0 or more, and less than "
        f"{self.num_energy_levels - 1}"
      )
    if self.legacy and paper != ("threshold", "max", "majority"):
      raise errors.InputError(
        "config key decode.legacy: needs decode.method=threshold, decode.size="
        "max and decode.class_vote=majority; set them or turn legacy off"
      )

  @property
  def mean_energy(self) -> bool:
    """Whether levels are expectations."""
    if self.energy == "auto":
      return self.method == "watershed"
    return self.energy == "expectation"
