"""`config.pretraining`, checked."""

import dataclasses
from typing import Literal

from dwd_jax.core.config_sections import check_choices
from dwd_jax.core.errors import InputError
from dwd_jax.models.dwd import SIZE_MULTIPLE

TRAINED = ("class", "semseg")  # in W/pretraining, before the detection
_SYMBOL_HW = (64, 64)
_NEEDS_PATH = {
  "imagenet": "a .pth or .safetensors file of torchvision's ResNet",
  "run": "the workdir of a run, one of its checkpoints, or a file of weights",
}


@dataclasses.dataclass(frozen=True)
class PretrainingConfig:
  """Where the initial parameters of a run without a checkpoint come from.

  The levels class and semseg are trained in WORKDIR/pretraining. Parameters are
  matched by name and shape.

  Attributes:
    level: none: random parameters; class: the backbone learns to classify
      symbols first; semseg: the network learns to classify pixels first;
      imagenet: weights of a ResNet of torchvision; run: parameters of another
      run; packaged: those of the detector that comes with the package.
    path: where the level reads from. class: symbol records or a folder with a
      folder of images for each class, "" = the symbols of the run's own
      training pages; imagenet: a .pth or .safetensors file; run: a workdir
      (also WORKDIR/pretraining), WORKDIR/checkpoints/STEP or a file of weights.
    steps: number of steps of the levels class and semseg.
    batch_size: crops of a step of the levels class and semseg, over all
      devices.
    learning_rate: highest learning rate of the levels class and semseg; 0 =
      `optimizer.learning_rate`.
    crop_hw: (height, width) of a crop of the levels class and semseg, px,
      multiples of 32; () = 64 x 64 for class, `data.crop_hw` for semseg.
  """

  level: Literal["none", "class", "semseg", "imagenet", "run", "packaged"] = (
    "none"
  )
  path: str = ""
  steps: int = 2000
  batch_size: int = 16
  learning_rate: float = 0.0
  crop_hw: tuple[int, ...] = ()

  def __post_init__(self):
    where = "config: pretraining"
    check_choices(self, "pretraining")
    if self.level in _NEEDS_PATH and not self.path:
      raise InputError(
        f"{where}.path is empty; for level {self.level} it is"
        f" {_NEEDS_PATH[self.level]}"
      )
    if self.path and self.level in ("none", "semseg", "packaged"):
      raise InputError(
        f"{where}.path is set, but level {self.level} reads no files; leave it"
        " empty or choose another level"
      )
    for key in ("steps", "batch_size"):
      if getattr(self, key) < 1:
        raise InputError(f"{where}.{key} must be at least 1")
    if not 0 <= self.learning_rate < float("inf"):
      raise InputError(f"{where}.learning_rate must be 0 or more")
    if len(self.crop_hw) not in (0, 2) or any(
      size < 1 or size % SIZE_MULTIPLE for size in self.crop_hw
    ):
      raise InputError(
        f"{where}.crop_hw {self.crop_hw}: use (height, width), multiples of"
        f" {SIZE_MULTIPLE}, or ()"
      )

  def crop_size(self, data_crop_hw: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a crop, px; `data_crop_hw` is that of the detector."""
    if self.crop_hw:
      return self.crop_hw[0], self.crop_hw[1]
    return _SYMBOL_HW if self.level == "class" else data_crop_hw
