"""The training to come: its config, with settings that suit the objects."""

import dataclasses
import json
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dwd_jax.check.measures import Limits, Measures
from dwd_jax.check.page_sets import PageSet
from dwd_jax.core import config_sections
from dwd_jax.data import box_facts
from dwd_jax.data.box_facts import max_in_window
from dwd_jax.data.data_config import DataConfig
from dwd_jax.train import config_file, from_data, open_keys, settings


@dataclasses.dataclass(frozen=True)
class Given:
  """What the command line says of the training.

  Attributes:
    file: of --config; "" = the config that comes with the builder.
    overrides: KEY=VALUE of --config.KEY=VALUE.
    scale: of pages, crop_px: side of a crop, max_boxes: slots; None = as the
      config says, or as the data suggest where `file` is "".
    min_px: see `Limits`.
  """

  file: str = ""
  overrides: tuple[str, ...] = ()
  scale: float | None = None
  crop_px: int | None = None
  max_boxes: int | None = None
  min_px: float = 3.0


@dataclasses.dataclass(frozen=True)
class Proposal:
  """A training for a data set.

  Attributes:
    limits: what the data are compared with.
    measured: the same in words.
    changes: key of the config -> value that the data suggest.
    command: the whole command.
    choices: settings that the run chooses by the data, with reasons.
  """

  limits: Limits
  measured: str
  changes: dict[str, Any]
  command: str
  choices: tuple[from_data.Choice, ...] = ()

  def suggested(self) -> dict[str, Any]:
    """Key -> value of choices and changes."""
    return {c.key: c.value for c in self.choices} | self.changes


def propose(
  pages: Sequence[Measures], page_set: PageSet, given: Given
) -> Proposal:
  """Proposes a training, and says what the data are compared with.

  Raises:
    InputError: a config that cannot be read.
  """
  file = given.file or _config_of(page_set.keys["data.builder"])
  config = load(dataclasses.replace(given, file=file))
  own = {text.partition("=")[0] for text in given.overrides}
  read = _keys_to_read(config, page_set.keys, own)
  filled, choices = _filled(config, pages, page_set.class_names)
  suggested = _suggest(pages, page_set.class_names, filled)
  changes = {key: v for key, v in suggested.items() if key not in own}
  words = ["python -m dwd_jax.main", f"--config={shlex.quote(file)}"]
  words.append(f"--workdir={shlex.quote(f'runs/{_name(page_set)}')}")
  words += [shlex.quote(f"--config.{text}") for text in given.overrides]
  words += [
    shlex.quote(f"--config.{key}={_text(value)}")
    for key, value in {**read, **changes}.items()
  ]
  compared = filled if given.file else with_values(filled, changes)
  crop_px = given.crop_px or min(compared.data.crop_hw)
  scale = given.scale or float(compared.data.eval_scale)
  is_proposed = not (given.file or given.scale or given.crop_px)
  return Proposal(
    limits=Limits(
      scale=scale,
      crop_px=crop_px,
      min_px=given.min_px,
      max_boxes=given.max_boxes or compared.data.max_boxes,
      max_detections=compared.decode.max_detections,
    ),
    measured=f"{file}, scale {scale:g}, crops of {crop_px} px"
    + (", as proposed below" if is_proposed else ""),
    changes=changes,
    command=" ".join(words),
    choices=choices,
  )


def _filled(
  config, pages: Sequence[Measures], class_names: Sequence[str]
) -> tuple[Any, tuple[from_data.Choice, ...]]:
  """The config with all that follows from the data, as a run sets it."""
  filled = open_keys.copy(config)
  left_out = set(filled.data.leave_out)
  kept = np.array([name not in left_out for name in class_names], bool)
  of = {
    split: [p for p in pages if p.split == split]
    for split in (filled.data.train_split, filled.data.eval_split)
  }
  train = of[filled.data.train_split] or list(pages)
  rows = [kept[p.labels.astype(int)] for p in train]
  pairs = list(zip(train, rows, strict=True))
  sizes = [p.sizes_hw[r].astype(np.float64) for p, r in pairs]
  labels = [p.labels[r].astype(np.int32) for p, r in pairs]
  objects = box_facts.Objects(
    sizes_hw=np.concatenate([*sizes, np.zeros((0, 2))]),
    labels=np.concatenate([*labels, np.zeros(0, np.int32)]),
    image_hw=np.array([p.image_hw for p in train], np.int64).reshape(-1, 2),
    centres_yx=tuple(p.centres_yx[r] for p, r in pairs),
  )
  machine = from_data.Machine(
    jax.default_backend() == "cpu", jax.device_count()
  )
  judged = of[filled.data.eval_split] or train
  return filled, from_data.fill(filled, objects, machine, len(judged))


def load(given: Given) -> Any:
  """The config of the command line, checked.

  Raises:
    InputError: no such file, an unknown key, a bad value.
  """
  config = config_file.load(given.file or _config_of("boxes"), given.overrides)
  # The rest depends on the devices, which may be others here.
  checked = open_keys.closed(config, settings.default())
  config_sections.make(DataConfig, checked.data)
  return config


def with_values(config: Any, values: Mapping[str, Any]) -> Any:
  """A copy of a config with some keys, such as "data.scales", changed."""
  changed = config.copy_and_resolve_references()
  changed.update_from_flattened_dict(dict(values))
  return changed


def _name(page_set: PageSet) -> str:
  keys = page_set.keys
  folder = keys.get("data.manual_dir") or keys.get("data.data_dir", "")
  return pathlib.Path(folder).absolute().name or page_set.name


def _config_of(builder: str) -> str:
  """The config that comes with a builder, for the devices that are here."""
  file = f"configs/{builder}.py"
  if (
    builder == "boxes"
    or not (config_file.installed() / f"{builder}.py").is_file()
  ):
    return "configs/boxes.py"  # which suits any device
  return f"{file}:runlocal" if jax.default_backend() == "cpu" else file


def _keys_to_read(config, keys: Mapping[str, Any], own) -> dict[str, Any]:
  """The keys of the data set that the config does not hold yet."""
  flat = dict(_flat(config, ""))
  return {
    key: value
    for key, value in keys.items()
    if key not in own and value != flat.get(key)
  }


def _flat(config, path: str):
  for key, value in config.items():
    if hasattr(value, "items"):
      yield from _flat(value, f"{path}{key}.")
    else:
      yield f"{path}{key}", value


def _suggest(pages, class_names, config) -> dict[str, Any]:
  """Key -> value for what does not suit the objects.

  Args:
    config: with all that follows from the data.
  """
  changes: dict[str, Any] = {}
  if config.data.builder == "boxes":
    changes = _never_whole(pages, class_names, config)
  scale, crop_px = float(config.data.eval_scale), min(config.data.crop_hw)
  crowd = max(
    max_in_window(p.centres_yx, p.image_hw, crop_px / scale) for p in pages
  )
  if crowd > config.data.max_boxes:
    changes["data.max_boxes"] = -(-crowd // 64) * 64
  most = max(len(p.labels) for p in pages)
  if most > config.decode.max_detections:
    changes["decode.max_detections"] = -(-most // 64) * 64
  return changes


def _never_whole(pages, class_names, config) -> dict[str, Any]:
  """Classes most of whose objects are larger than any crop, to be left out."""
  labels = np.concatenate([p.labels for p in pages]).astype(int)
  sizes = np.concatenate([p.sizes_hw for p in pages])
  left_out = set(config.data.leave_out)
  kept = np.array([name not in left_out for name in class_names], bool)
  sizes, labels = sizes[kept[labels]], labels[kept[labels]]
  if not len(labels):
    return {}
  longest = float(config.data.eval_scale) * sizes.max(axis=1)
  too_long = labels[longest > min(config.data.crop_hw)]
  count = np.bincount(too_long, minlength=len(class_names))
  total = np.bincount(labels, minlength=len(class_names))
  never = np.flatnonzero(count > total / 2)
  if not 0 < len(never) < np.count_nonzero(total):
    return {}
  more = (class_names[c] for c in never)
  return {"data.leave_out": (*config.data.leave_out, *more)}


def _text(value: Any) -> str:
  """A value as the command line takes it."""
  if isinstance(value, tuple):
    last = "," if len(value) == 1 else ""
    return f"({','.join(map(_quoted, value))}{last})"
  return str(value)


def _quoted(value: Any) -> str:
  """A name in the quotes that a shell leaves alone within others."""
  return json.dumps(value) if isinstance(value, str) else repr(value)
