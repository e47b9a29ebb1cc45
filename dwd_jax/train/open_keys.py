"""Keys of a config that may be None: they follow from the data.

`from_data` sets them when the records are there. A flag or a config file that
gives a value has the last word.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import ml_collections
from ml_collections import config_dict

# Lists of sections are named without a number: an entry of any number.
OPEN = (
  "data.scales",
  "data.eval_scale",
  "data.crop_hw",
  "data.max_boxes",
  "groups.num",
  "targets.energy_disc_px",
  "targets.large_share",
  "targets.energy_strides",
  "targets.size_strides",
  "model.backbone_depth",
  "model.backbone_width",
  "model.filters",
  "model.decoder_norm",
  "model.class_hidden",
  "losses.class_pixels",
  "losses.class_weights",
  "losses.energy_smoothing",
  "optimizer.learning_rate",
  "optimizer.warmup_steps",
  "train.batch_size",
  "train.batch_norm_momentum",
  "train.eval_every",
  "train.log_every",
  "decode.energy_cutoff",
  "decode.min_seed_level",
  "decode.max_detections",
)
STAGE_KEYS = ("steps", "patience")  # of the last stage


def leave_open(
  config: ml_collections.ConfigDict, keys: tuple[str, ...] = OPEN
) -> None:
  """Sets keys to None, in place; flags still know their types."""
  for key in keys:
    section, _, name = key.rpartition(".")
    of: Any = _section(config, section)
    of[name] = config_dict.placeholder(type(of[name]))


def leave_last_stage_open(config: ml_collections.ConfigDict) -> None:
  """The same for steps and patience of the last stage."""
  for name in STAGE_KEYS:
    config.stages[-1][name] = config_dict.placeholder(int)


def is_open(config: Any, key: str) -> bool:
  """Whether a key of `OPEN` is None."""
  section, _, name = key.rpartition(".")
  return _section(config, section)[name] is None


def left(config: Any) -> Iterator[str]:
  """The keys that are None."""
  yield from (key for key in OPEN if is_open(config, key))
  for name in STAGE_KEYS:
    if config.stages and config.stages[-1].get(name) is None:
      yield f"stages[{len(config.stages) - 1}].{name}"


def set_value(config: Any, key: str, value: Any) -> None:
  """Sets a key that `left` names, in place."""
  section, _, name = key.rpartition(".")
  of = config.stages[-1] if section.startswith("stages[") else None
  if of is None:
    of = _section(config, section)
  of[name] = value


def closed(config: Any, defaults: Any) -> Any:
  """A copy with the default of every key that is None, for checks before.

  Args:
    config: with sections of the right keys; else it is returned as it is, for
      the check to say so.
    defaults: of all keys.
  """
  made = copy(config)
  try:
    for key in tuple(left(made)):
      name = key.rpartition(".")[2]
      of_stage = key.startswith("stages[")
      value = (
        {"steps": 1, "patience": 0}[name] if of_stage else _get(defaults, key)
      )
      set_value(made, key, value)
  except (KeyError, AttributeError, TypeError):
    return config
  return made


def copy(config: Any) -> Any:
  """A copy without references, also of the sections in lists."""
  made = config.copy_and_resolve_references()
  if isinstance(made.get("stages"), list | tuple):
    made.stages = tuple(
      ml_collections.ConfigDict(dict(stage.items()))
      if isinstance(stage, ml_collections.ConfigDict | Mapping)
      else stage
      for stage in made.stages
    )
  return made


def _section(config: Any, path: str) -> Any:
  for part in path.split("."):
    config = config[part]
  return config


def _get(config: Any, key: str) -> Any:
  section, _, name = key.rpartition(".")
  return _section(config, section)[name]
