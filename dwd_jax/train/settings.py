"""config (ml_collections) -> checked settings of every part."""

import dataclasses
import difflib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import ml_collections

from configs import default
from dwd_jax.core import vocabulary
from dwd_jax.core.errors import InputError
from dwd_jax.data.synthetic import SyntheticConfig
from dwd_jax.decode.decode_config import DecodeConfig
from dwd_jax.evaluate import other_data_sets
from dwd_jax.models import dwd
from dwd_jax.objectives import losses, targets
from dwd_jax.predict.predict_config import PredictConfig
from dwd_jax.train import optim, stages
from dwd_jax.train.pretraining_config import PretrainingConfig

T = TypeVar("T")

_CHOICES = {
  "targets.energy_disc": ("fixed", "box"),
  "targets.disc_center": ("exact", "rounded"),
  "targets.energy_shape": ("oval", "square"),
  "targets.energy_profile": ("linear", "root", "quadratic"),
  "targets.class_overlap": ("last", "nearest"),
  "targets.stride_reduction": ("mean", "min"),
  "losses.size_loss": ("mse", "smooth_l1", "log_l1"),
  "losses.energy_weights": ("none", "balanced"),
  "losses.class_weights": ("none", "by_class", "by_object"),
  "optimizer.name": tuple(optim.OPTIMIZERS),
  "optimizer.schedule": ("constant", "cosine"),
  "model.backbone_depth": (10, 18, 34, 50, 101, 152),
  "model.dtype": ("auto", "float32", "bfloat16"),
  "eval.protocol": ("coco", "voc", "legacy"),
  "eval.checkpoint": ("last", "best"),
  "data.common_with": ("", *vocabulary.VOCABULARIES),
}
_FREE = ("data.engrave",)  # options of the generator, which checks them


@dataclasses.dataclass(frozen=True)
class Settings:
  """The parts of a config that do not depend on the data."""

  targets: targets.TargetConfig
  losses: losses.LossConfig
  optimizer: optim.OptimizerConfig
  stages: tuple[stages.Stage, ...]
  decode: DecodeConfig
  predict: PredictConfig
  pretraining: PretrainingConfig


def _build(cls: Callable[..., T], values: Mapping[str, Any], **more: Any) -> T:
  """A dataclass from a section of the config; lists become tuples."""
  plain = {
    key: tuple(value) if isinstance(value, list) else value
    for key, value in dict(values).items()
  }
  return cls(**plain, **more)


def nearest(key: str, known: list[str]) -> str:
  """A hint: the known key that looks most like `key`, or all of them."""
  close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
  return f"did you mean '{close[0]}'?" if close else f"known: {sorted(known)}"


def unknown_key(path: str) -> str | None:
  """What is wrong with an override such as "stages[4].steps"; None = nothing.

  Args:
    path: keys from the top of the config on, joined by dots.
  """
  known: Any = default.get_config()
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


def _check_keys(config: Any, reference: Any, prefix: str = "") -> None:
  section = Mapping | ml_collections.ConfigDict
  for key in reference:
    if key not in config:
      raise InputError(
        f"config: '{prefix}{key}' is missing; start from the defaults, as"
        " configs/engraved.py does"
      )
  for key, value in config.items():
    path = f"{prefix}{key}"
    if key not in reference:
      if prefix.rstrip(".") in _FREE:
        continue
      raise InputError(
        f"config: unknown key '{path}'; {nearest(key, list(reference))}"
      )
    if path == "eval.on":
      _check_entries(value, reference[key][0], path)
    elif isinstance(reference[key], section):
      if not isinstance(value, section):
        raise InputError(f"config: '{path}' is a section; set keys inside it")
      _check_keys(value, reference[key], f"{path}.")


def _check_entries(entries: Any, reference: Any, path: str) -> None:
  """Checks the keys of every section of a list."""
  section = Mapping | ml_collections.ConfigDict
  if not isinstance(entries, list | tuple) or not all(
    isinstance(entry, section) for entry in entries
  ):
    raise InputError(
      f"config: '{path}' is a list of sections; give a tuple of them, each as"
      " configs/default.py shows"
    )
  for i, entry in enumerate(entries):
    _check_keys(entry, reference, f"{path}[{i}].")


def _check_values(config: Any) -> None:
  """Stops at choices that do not exist and numbers out of range."""
  for path, choices in _CHOICES.items():
    section, key = path.split(".")
    if config[section][key] not in choices:
      raise InputError(
        f"config: {path} is {config[section][key]!r}; use one of {choices}"
      )
  _check_train(config.train)
  if config.eval.viewer_pages < -1:
    raise InputError(
      f"config: eval.viewer_pages is {config.eval.viewer_pages}; use a number"
      " of pages, -1 for all, 0 for none"
    )
  if not 1 <= config.losses.class_pixels <= losses.MAX_CLASS_PIXELS:
    raise InputError(
      f"config: losses.class_pixels is {config.losses.class_pixels}; use 1 to"
      f" {losses.MAX_CLASS_PIXELS}"
    )
  for size in config.data.crop_hw:
    if size % dwd.SIZE_MULTIPLE:
      raise InputError(
        f"config: data.crop_hw {tuple(config.data.crop_hw)}: use multiples of"
        f" {dwd.SIZE_MULTIPLE}"
      )


_AT_LEAST_1 = (
  "batch_size",
  "accumulate",
  "log_every",
  "checkpoint_every",
  "keep_checkpoints",
  "validate_batches",
  "loss_window",
  "max_skipped",
)


def _check_train(train: Any) -> None:
  for key in _AT_LEAST_1:
    if train[key] < 1:
      raise InputError(f"config: train.{key} must be at least 1")
  for key in ("eval_every", "validate_every", "pictures_every"):
    if train[key] < 0:
      raise InputError(f"config: train.{key} is {train[key]}; 0 = never")
  if not 0 <= train.ema_decay < 1:
    raise InputError(f"config: train.ema_decay is {train.ema_decay}; use 0..1")
  if train.max_loss_ratio and train.max_loss_ratio <= 1:
    raise InputError("config: train.max_loss_ratio must be above 1, or 0")
  if train.batch_size % (train.accumulate * jax.device_count()):
    raise InputError(
      f"config: train.batch_size {train.batch_size} is no multiple of"
      f" {jax.device_count()} devices x train.accumulate {train.accumulate};"
      " change one of them"
    )
  for rule in train.sharding:
    if len(rule) != 2 or rule[1] not in ("fsdp", "replicate"):
      raise InputError(
        f"config: train.sharding: {tuple(rule)!r} is no (pattern, 'fsdp' or"
        " 'replicate')"
      )
    try:
      re.compile(rule[0])
    except re.error as e:
      raise InputError(
        f"config: train.sharding: pattern {rule[0]!r}: {e}"
      ) from None


def validate(config: ml_collections.ConfigDict) -> Settings:
  """Checks a config against `configs/default.py`.

  Args:
    config: of the run, overrides applied.

  Returns:
    Settings of targets, losses, optimizer, stages, decode, prediction and
    pretraining.

  Raises:
    InputError: an unknown key (with the nearest known one), a value that is
      not one of the choices, stages or entries of `eval.on` that make no
      sense.
  """
  _check_keys(config, default.get_config())
  _check_values(config)
  other_data_sets.names_in_config(config)
  _build(SyntheticConfig, config.data.synthetic)
  return Settings(
    targets=_build(targets.TargetConfig, config.targets),
    losses=_build(losses.LossConfig, config.losses),
    optimizer=_build(optim.OptimizerConfig, config.optimizer),
    stages=stages.make_stages(config.stages),
    decode=_build(
      DecodeConfig,
      config.decode,
      num_energy_levels=config.targets.num_energy_levels,
    ),
    predict=_build(
      PredictConfig,
      config.predict,
      staff_space_px=float(config.data.staff_space_px),
    ),
    pretraining=_build(PretrainingConfig, config.pretraining),
  )


def model_config(
  config: ml_collections.ConfigDict, num_classes: int, num_groups: int
) -> dwd.ModelConfig:
  """The network for a data set; dtype "auto" is resolved by the backend."""
  values = dict(config.model)
  if values["dtype"] == "auto":
    on_cpu = jax.default_backend() == "cpu"
    values["dtype"] = "float32" if on_cpu else "bfloat16"
  return dwd.ModelConfig(
    num_classes=num_classes,
    num_groups=num_groups,
    num_energy_levels=config.targets.num_energy_levels,
    bn_momentum=config.train.batch_norm_momentum,
    remat=bool(config.train.remat),
    **values,
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
    text: as given. True, False, 1, 0; numbers; names separated by commas.
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
    options[name] = tuple(part for part in value.split(",") if part)
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
