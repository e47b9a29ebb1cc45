"""Settings of the decode."""

import dataclasses
from typing import Any, Literal

from dwd_jax.core import errors
from dwd_jax.core.config_sections import NOT_A_KEY, check_choices
from dwd_jax.core.structs import NUM_ENERGY_LEVELS

# The most that time and memory suffice for.
_MOST = {"max_detections": 1 << 20, "class_pixels": 99**2, "smooth": 99}


@dataclasses.dataclass(frozen=True)
class DecodeConfig:
  """How maps become detections.

  Attributes:
    method: how pixels become objects. watershed: touching discs are split at
      their energy peaks; threshold: connected components are taken whole (the
      paper).
    energy: level of a pixel: expectation of the softmax over the levels, or
      argmax (the paper); auto: argmax for the threshold method, else
      expectation.
    energy_cutoff: energy level above which pixels belong to an object, from 0
      to below E - 1.
    min_seed_level: watershed: lowest energy level of a peak that makes an
      object.
    min_saddle_depth: watershed: least number of levels by which the way from a
      peak to a higher one must dip below it; with less, both are one object.
    smooth: watershed: number of passes of a 3 x 3 binomial filter over the
      energy before peaks are sought; one keeps noise from shattering objects.
    min_area_px: least number of pixels of an object above the cutoff.
    max_detections: most objects of a page; if it has more, those with the
      highest scores are kept, and a warning names the page.
    size: box size, from the sizes predicted at an object's pixels. weighted:
      mean, weighted by how far the energy rises above the object's edge; mean:
      plain mean; max: largest (the paper).
    class_vote: class of an object. share: the class with the largest sum of
      probabilities over the pixels that vote; majority: the one that is
      likeliest at most of them (the paper).
    class_pixels: watershed: number of pixels around the peak that vote on the
      class, two pixels apart; the square of an odd number. With the threshold
      method every pixel of an object votes.
    suppress_iou: a detection whose IoU with a better one is above this is
      dropped, whatever their classes, 0..1; 0 = none is, as symbols do overlap.
      With `model.oriented`, the IoU of the oriented boxes.
    on: where it runs: on the device of the network; or on the host's CPU, to
      which the network's maps are copied: try it on TPUs.
    legacy: the threshold method exactly as the original, quirks included; needs
      size=max and class_vote=majority.
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
  on: Literal["device", "host"] = "device"
  legacy: bool = False
  num_energy_levels: int = dataclasses.field(
    default=NUM_ENERGY_LEVELS, metadata=NOT_A_KEY
  )

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
    ):
      if getattr(self, key) < least:
        raise errors.InputError(
          f"config key decode.{key}: {getattr(self, key)} is too small; "
          f"choose {least} or more"
        )
    for key, most in _MOST.items():
      if getattr(self, key) > most:
        raise errors.InputError(
          f"config key decode.{key}: {getattr(self, key)} is too large; "
          f"choose up to {most}"
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

  def to_json(self) -> dict[str, Any]:
    """What decides about detections, so not `on`, as JSON values."""
    values = dataclasses.asdict(self)
    del values["on"]
    return values

  @property
  def mean_energy(self) -> bool:
    """Whether levels are expectations."""
    if self.energy == "auto":
      return self.method == "watershed"
    return self.energy == "expectation"
