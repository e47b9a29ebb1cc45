"""`config.eval`: how a run is judged, on which data sets."""

import dataclasses
from dataclasses import field
from typing import Any, Literal

import ml_collections

from dwd_jax.core.config_sections import config_dict
from dwd_jax.core.errors import InputError
from dwd_jax.data.data_config import BuilderOptions
from dwd_jax.metrics.protocols import Protocol


@dataclasses.dataclass(frozen=True)
class OtherSetConfig:
  """A data set besides the run's own; the empty one does nothing.

  Classes are matched by their vocabularies (other_sets.md).

  Attributes:
    builder: as in `data`; "" = none.
    builder_config: as in `data`.
    manual_dir: as in `data`.
    data_dir: "" = WORKDIR/data/on, with a name WORKDIR/data/on/NAME.
    split: whose pages count.
    name: of the results, W/eval/NAME.json; "" = BUILDER-SPLIT.
    eval_scale: 0 = the run's.
    max_pages: 0 = the run's.
    options: as in `data`.
  """

  builder: str = ""
  builder_config: str = ""
  manual_dir: str = ""
  data_dir: str = ""
  split: str = "test"
  name: str = ""
  eval_scale: float = 0.0
  max_pages: int = 0
  options: BuilderOptions = field(default_factory=BuilderOptions)

  def __post_init__(self):
    if not self.eval_scale >= 0:
      raise InputError(
        f"config: eval.on: eval_scale is {self.eval_scale}; use a factor above"
        " 0, or 0 for that of the run"
      )


@dataclasses.dataclass(frozen=True)
class EvalConfig:
  """How a run is judged.

  Attributes:
    protocol: of the APs, see evaluation.md.
    calibrate: scores become probabilities, and a default threshold is chosen,
      on the pages of `data.eval_split`; kept with the checkpoint. Not in the
      legacy protocol.
    checkpoint: the last one, or the best of those evaluated while training.
    min_score: detections below do not count.
    overlays: pages drawn; 0 = none.
    viewer_pages: first pages in the viewer; -1 = all, 0 = no viewer.
    from_saved: with --mode=eval: measure what W/eval has of the last
      evaluation, by another protocol or min_score, without the network.
    on: other data sets to judge the run on, besides its own; three empty ones,
      a config file may give more.
    on_during_training: at every `train.eval_every`, too.
  """

  protocol: Protocol = "coco"
  calibrate: bool = True
  checkpoint: Literal["last", "best"] = "last"
  min_score: float = 0.05
  overlays: int = 4
  viewer_pages: int = 50
  from_saved: bool = False
  on: tuple[OtherSetConfig, ...] = field(
    default_factory=lambda: (OtherSetConfig(),) * 3
  )
  on_during_training: bool = False

  def __post_init__(self):
    if self.viewer_pages < -1:
      raise InputError(
        f"config: eval.viewer_pages is {self.viewer_pages}; use a number of"
        " pages, -1 for all, 0 for none"
      )


def other_set(**values: Any) -> ml_collections.ConfigDict:
  """An entry of `eval.on` for a config file.

  Args:
    **values: keys that differ from the empty entry.
  """
  entry = config_dict(OtherSetConfig())
  entry.update(values)
  return entry
