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
  """A data set besides the run's own; an entry without a builder does nothing.

  Classes are matched by their vocabularies (other_sets.md).

  Attributes:
    builder: what reads the original files, as `data.builder`; "" = no data set.
    builder_config: edition of the data set, as `data.builder_config`.
    manual_dir: folder of the original files.
    data_dir: folder of the prepared records; "" = WORKDIR/data/on, with a name
      WORKDIR/data/on/NAME.
    split: split to evaluate.
    name: name of the results, WORKDIR/eval/NAME.json; "" = BUILDER-SPLIT.
    eval_scale: scale of the pages, as `data.eval_scale`; 0 = the run's.
    max_pages: number of pages to evaluate, as `data.max_pages`; 0 = the run's.
    options: options of the builder, with the keys of `data.options`.
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
    protocol: how average precision is computed, see evaluation.md.
    calibrate: turns scores into probabilities and chooses a default threshold,
      on the pages of `data.eval_split`; both are kept with the checkpoint. Not
      in the legacy protocol.
    checkpoint: checkpoint that --mode=eval takes: the last one, or the best of
      those evaluated during the training.
    min_score: lowest score of the detections that count, 0..1.
    overlays: number of pages, the first ones, that are drawn with boxes; 0 =
      none.
    viewer_pages: number of pages, the first ones, in the viewer; -1 = all, 0 =
      no viewer.
    from_saved: with --mode=eval: the detections in WORKDIR/eval are measured
      again, by another protocol or min_score, without the network.
    on: data sets to evaluate the run on, besides its own; by default three
      empty entries, a config file may give more.
    on_during_training: evaluates these data sets every `train.eval_every`
      steps, too.
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
