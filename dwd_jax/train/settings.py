"""The config of a run: all its sections, its defaults, its check.

`python -m dwd_jax.train.settings` prints docs/configuration.md.
"""

import dataclasses
import json
import re
import textwrap
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal

import jax
import ml_collections

from dwd_jax.cluster.sharding import RULES
from dwd_jax.core import cli, config_sections
from dwd_jax.core.config_sections import nearest
from dwd_jax.core.errors import InputError
from dwd_jax.data.data_config import BuilderOptions, DataConfig
from dwd_jax.decode.decode_config import DecodeConfig
from dwd_jax.evaluate import other_data_sets
from dwd_jax.evaluate.eval_config import EvalConfig
from dwd_jax.models import dwd
from dwd_jax.objectives.energy_groups import GroupConfig
from dwd_jax.objectives.losses import LossConfig
from dwd_jax.objectives.targets import TargetConfig
from dwd_jax.predict.predict_config import PredictConfig
from dwd_jax.train import open_keys
from dwd_jax.train.adapt_config import AdaptConfig
from dwd_jax.train.optim import OptimizerConfig
from dwd_jax.train.pretraining_config import PretrainingConfig
from dwd_jax.train.stages import PAPER, Stage, make_stages
from dwd_jax.train.step import UpdateConfig

_AT_LEAST_1 = (
  "batch_size",
  "accumulate",
  "steps_per_call",
  "log_every",
  "checkpoint_every",
  "keep_checkpoints",
  "validate_batches",
  "loss_window",
  "max_skipped",
)


@dataclasses.dataclass(frozen=True)
class TrainConfig(UpdateConfig):
  """The training in all stages.

  Attributes:
    batch_size: crops of a step, over all devices; a multiple of the devices
      times `train.accumulate`.
    remat: saves memory: the backward pass computes again what the forward pass
      would keep.
    steps_per_call: steps of a call of the compiled program; several save time
      where they are short, as with small networks on GPUs. Steps go one by one
      where a log, checkpoint, evaluation or the end of a stage comes sooner.
    deterministic: on GPUs, the same start gives the same parameters, bit for
      bit, as it does on CPUs in any case; slower, as sums may not be added up
      in any order.
    log_every: steps between two lines of WORKDIR/metrics.jsonl.
    checkpoint_every: steps between two checkpoints.
    keep_checkpoints: number of the newest checkpoints to keep; the best one
      stays besides.
    eval_every: steps between two evaluations of the pages of `data.eval_split`;
      0 = only at the end.
    validate_every: steps between two validations, which log the losses on crops
      of `data.eval_split`; 0 = never.
    validate_batches: number of batches of a validation.
    pictures_every: steps between two pictures of crops, target and predicted
      energy in TensorBoard; 0 = never.
    compilation_cache: folder of compiled code; "" = ~/.cache/dwd_jax/compiled.
      What lies there is run: name only a folder in which nobody writes whom you
      would not let run programs. The environment variable
      JAX_COMPILATION_CACHE_DIR takes precedence.
    loss_window: number of steps over which the running means of the losses are
      taken.
    batch_norm_momentum: share of the running averages of batch norm that a step
      keeps, 0..1.
    max_skipped: number of steps skipped in a row that stops the run.
    accept_changes: goes on from a checkpoint although the config is not the one
      it was made with.
    fsdp: number of devices over which parameters and optimizer state are split;
      a divisor of all devices.
    sharding: ((pattern, fsdp or replicate), ...): which parameters are split
      and which are whole on every device, by their paths; the first pattern
      that matches counts.
  """

  batch_size: int = 1
  remat: bool = False
  steps_per_call: int = 1
  deterministic: bool = False
  log_every: int = 50
  checkpoint_every: int = 1000
  keep_checkpoints: int = 3
  eval_every: int = 0
  validate_every: int = 0
  validate_batches: int = 8
  pictures_every: int = 0
  compilation_cache: str = ""
  loss_window: int = 5
  batch_norm_momentum: float = 0.99
  max_skipped: int = 20
  accept_changes: bool = False
  fsdp: int = 1
  sharding: tuple[tuple[str, str], ...] = RULES

  def __post_init__(self):
    for key in _AT_LEAST_1:
      if getattr(self, key) < 1:
        raise InputError(f"config: train.{key} must be at least 1")
    for key in ("eval_every", "validate_every", "pictures_every"):
      if getattr(self, key) < 0:
        raise InputError(
          f"config: train.{key} is {getattr(self, key)}; 0 = never"
        )
    if not 0 <= self.ema_decay < 1:
      raise InputError(f"config: train.ema_decay is {self.ema_decay}; use 0..1")
    if self.max_loss_ratio and self.max_loss_ratio <= 1:
      raise InputError("config: train.max_loss_ratio must be above 1, or 0")
    for pattern, where in self.sharding:
      if where not in ("fsdp", "replicate"):
        raise InputError(
          f"config: train.sharding: {(pattern, where)!r} is no (pattern, 'fsdp'"
          " or 'replicate')"
        )
      try:
        re.compile(pattern)
      except re.error as e:
        raise InputError(
          f"config: train.sharding: pattern {pattern!r}: {e}"
        ) from None


@dataclasses.dataclass(frozen=True)
class RunSettings:
  """All keys of a config, with their defaults.

  A config file, which is a Python program and is run, changes some of them, and
  the command line others: `--config.train.batch_size=8`,
  `'--config.stages[4].steps=2000'`. An unknown key, a value of another type or
  one that is not among the choices is an error. `python -m
  dwd_jax.train.settings` prints this page.

  Attributes:
    seed: seed of all random numbers: initial parameters, order of the pages,
      crops; 0 .. 2**32 - 1.
    stages: stretches of the training, one after the other; by default the
      paper's five: energy, class, box, energy again, all combined.
  """

  seed: int = 0
  data: DataConfig = field(default_factory=DataConfig)
  groups: GroupConfig = field(default_factory=GroupConfig)
  targets: TargetConfig = field(default_factory=TargetConfig)
  model: dwd.NetworkConfig = field(default_factory=dwd.NetworkConfig)
  losses: LossConfig = field(default_factory=LossConfig)
  pretraining: PretrainingConfig = field(default_factory=PretrainingConfig)
  adapt: AdaptConfig = field(default_factory=AdaptConfig)
  optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
  stages: tuple[Stage, ...] = PAPER
  train: TrainConfig = field(default_factory=TrainConfig)
  decode: DecodeConfig = field(default_factory=DecodeConfig)
  predict: PredictConfig = field(default_factory=PredictConfig)
  eval: EvalConfig = field(default_factory=EvalConfig)


def default() -> ml_collections.ConfigDict:
  """Every key with its default, the paper's value where it gives one.

  A config file changes some of them; it names a data set at least.
  """
  return config_sections.config_dict(RunSettings())


def unknown_key(path: str) -> str | None:
  """What is wrong with an override such as "stages[4].steps"; None = nothing.

  Args:
    path: keys from the top of the config on, joined by dots.
  """
  known: Any = default()
  keys = re.sub(r"\[[^]]*\]", "", path)
  for part in keys.split("."):
    if isinstance(known, tuple) and known:
      if keys == path:
        start, _, end = path.partition(f".{part}")
        return (
          f"config: '{start}' is a list of sections; name one of them, such as"
          f" {start}[0].{part}{end}"
        )
      known = known[0]  # entries of a list are alike
    if not isinstance(known, ml_collections.ConfigDict) or part not in known:
      keys = list(known) if isinstance(known, ml_collections.ConfigDict) else []
      return f"config: unknown key '{path}'; {nearest(part, keys)}"
    known = known[part]  # pyright: ignore
  return None


def validate(config: ml_collections.ConfigDict) -> RunSettings:
  """Checks a config; keys that follow from the data count as their defaults.

  Args:
    config: of the run, overrides applied.

  Raises:
    InputError: an unknown key (with the nearest known one), a value of another
      type, out of range or not one of the choices, stages or entries of
      `eval.on` that make no sense.
  """
  config = open_keys.closed(config, default())
  config_sections.check(config, RunSettings)
  train: Any = config.train
  data = config_sections.make(DataConfig, config.data)
  targets = config_sections.make(TargetConfig, config.targets)
  settings = config_sections.make(
    RunSettings,
    config,
    data=data,
    targets=targets,
    stages=make_stages(config.stages),
    decode=config_sections.make(
      DecodeConfig,
      config.decode,
      num_energy_levels=targets.num_energy_levels,
    ),
    predict=config_sections.make(
      PredictConfig,
      config.predict,
      staff_space_px=data.staff_space_px,
      channels=3 if data.channels == "3" else 1,
    ),
  )
  if train.batch_size % (train.accumulate * jax.device_count()):
    raise InputError(
      f"config: train.batch_size {train.batch_size} is no multiple of"
      f" {jax.device_count()} devices x train.accumulate {train.accumulate};"
      " change one of them"
    )
  if targets.energy_disc == "mask":
    for key, used in (
      ("data.synthetic.layout", data.synthetic.layout != "no"),
      ("adapt.pages", bool(settings.adapt.pages)),
    ):
      if used:
        raise InputError(
          f"config: {key} brings objects without masks, which"
          " targets.energy_disc=mask needs; choose one of them"
        )
  if settings.adapt.pages and settings.pretraining.level != "run":
    raise InputError(
      "config: adapt.pages needs a trained run; set pretraining.level=run and"
      " name its workdir in pretraining.path"
    )
  other_data_sets.names_in_config(config)
  return settings


def model_config(
  config: ml_collections.ConfigDict,
  num_classes: int,
  num_groups: int,
  channels: Literal[1, 3] = 1,
) -> dwd.ModelConfig:
  """The network for a data set."""
  return config_sections.make(
    dwd.ModelConfig,
    config.model,
    num_classes=num_classes,
    num_groups=num_groups,
    channels=channels,
    num_energy_levels=config.targets.num_energy_levels,
    bn_momentum=config.train.batch_norm_momentum,
    remat=bool(config.train.remat),
  )


def to_json(config: ml_collections.ConfigDict) -> str:
  """The resolved config as text for W/config.json."""

  def plain(value):
    if isinstance(value, Mapping | ml_collections.ConfigDict):
      return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
      return [plain(item) for item in value]
    return value

  return json.dumps(plain(config), indent=2) + "\n"


def parse_option(text: str, options: ml_collections.ConfigDict) -> None:
  """Sets NAME=VALUE in `config.data.options`.

  Args:
    text: as given. True, False, 1, 0; numbers; `cli.names`.
    options: changed in place.

  Raises:
    InputError: unknown name, or a value of another type.
  """
  name, equals, value = text.partition("=")
  if name not in options:
    hint = nearest(name, list(options))
    raise InputError(f"--option: {name!r} is unknown; {hint}")
  kind: Any = type(options[name])
  if kind is tuple:
    options[name] = cli.names(value)
    return
  known = {"true": True, "1": True, "false": False, "0": False}
  try:
    made: Any = known[value.lower()] if kind is bool else kind(value)
  except (KeyError, ValueError):
    made = None
  if not equals or made is None:
    raise InputError(
      f"--option: {text!r} is not {name}=VALUE with a value of type"
      f" {kind.__name__}"
    )
  options[name] = made


def options_help() -> str:
  """Names and meanings of `config.data.options`, for --helpfull."""
  lines = ["values of --option:"]
  for name, meaning in config_sections.meanings(BuilderOptions).items():
    lines += textwrap.wrap(
      f"{name}: {meaning}",
      width=78,
      initial_indent="  ",
      subsequent_indent="    ",
    )
  return "\n".join(lines)


def documentation() -> str:
  """The text of docs/configuration.md."""
  lines = config_sections.table(RunSettings, "")
  return "\n".join(["# Configuration", "", *lines, ""])


def main(argv: list[str]) -> int:
  """Prints it; returns the exit code."""
  cli.parser(
    "dwd_jax.train.settings", "Print every key of a config.", ""
  ).parse_args(argv)
  print(documentation(), end="")
  return 0


if __name__ == "__main__":
  cli.start(main)
