"""`config.adapt`, checked."""

import dataclasses
from dataclasses import field

from dwd_jax.core.errors import InputError
from dwd_jax.data.degraded_crops import DegradeConfig

EMA_DECAY = 0.99  # of the teacher, where `train.ema_decay` is 0


@dataclasses.dataclass(frozen=True)
class AdaptDegradeConfig(DegradeConfig):
  """As `data.degrade`, for crops of the pages without boxes."""

  PATH = "adapt.degrade"

  scan_prob: float = 0.3
  photo_prob: float = 0.3


@dataclasses.dataclass(frozen=True)
class AdaptConfig:
  """Adaptation of a trained run to pages without boxes.

  The run starts with `pretraining.level=run` and has one stage, with the losses
  of the last of `stages`. Its running mean (`train.ema_decay`; 0 = 0.99 here)
  predicts boxes on the pages, on which it is trained further, beside the
  training pages.

  Attributes:
    pages: folder of images and PDFs; boxes are not looked for. "" = no
      adaptation.
    steps: most steps.
    learning_rate: highest learning rate; 0 = a third of
      `optimizer.learning_rate`.
    share: share of the crops that show these pages, 0..1; the others are of the
      training pages.
    every: steps between two predictions of the pages.
    scales: scales at which pages are predicted besides their own, as multiples
      of it.
    min_iou: least IoU of boxes at two scales that are of one object, 0..1.
    min_score: objects from this score on become boxes, 0..1. The score is the
      mean of the calibrated scores at all scales, 0 where a scale does not show
      the object.
    ignore_score: objects from this score on, up to `adapt.min_score`, are left
      out of the energy loss; below, they are background.
    held_out: share of the pages that are not trained on, but tell how well the
      scales agree, above 0, up to 0.5.
    patience: predictions of the pages in a row without better agreement that
      end the training; 0 = never.
    scale_jitter: as `data.scale_jitter`, for crops of these pages.
  """

  pages: str = ""
  steps: int = 1000
  learning_rate: float = 0.0
  share: float = 0.5
  every: int = 200
  scales: tuple[float, ...] = (0.85, 1.15)
  min_iou: float = 0.5
  min_score: float = 0.7
  ignore_score: float = 0.2
  held_out: float = 0.2
  patience: int = 3
  scale_jitter: float = 0.15
  degrade: AdaptDegradeConfig = field(default_factory=AdaptDegradeConfig)

  def __post_init__(self):
    where = "config: adapt"
    for key, least in (("steps", 1), ("every", 1), ("patience", 0)):
      if getattr(self, key) < least:
        raise InputError(f"{where}.{key} must be at least {least}")
    if not 0 <= self.learning_rate < float("inf"):
      raise InputError(f"{where}.learning_rate must be 0 or more")
    if not 0 < self.share < 1:
      raise InputError(f"{where}.share must be above 0 and below 1")
    if not 0 < self.held_out <= 0.5:
      raise InputError(f"{where}.held_out must be above 0, up to 0.5")
    for key in ("min_iou", "min_score", "ignore_score"):
      if not 0 < getattr(self, key) <= 1:
        raise InputError(f"{where}.{key} must be above 0, up to 1")
    if self.ignore_score > self.min_score:
      raise InputError(
        f"{where}.ignore_score {self.ignore_score} is above min_score"
        f" {self.min_score}; lower it"
      )
    if not self.scales or not all(0.25 <= s <= 4 for s in self.scales):
      raise InputError(
        f"{where}.scales is {self.scales}; use one or more factors, 0.25..4"
      )
    if not 0 <= self.scale_jitter < 1:
      raise InputError(f"{where}.scale_jitter must be 0 to below 1")
