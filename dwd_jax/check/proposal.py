"""The training to come: its config, with settings that suit the objects."""

import dataclasses
import json
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dwd_jax.check.measures import Limits, Measures, max_in_window
from dwd_jax.check.page_sets import PageSet
from dwd_jax.core import config_sections
from dwd_jax.data.data_config import DataConfig
from dwd_jax.train import config_file

# Sides of the objects that the network sees, px: where the median lies within
# the first two, the scale stays.
_LEAST_PX, _MOST_PX, _BEST_PX = 9, 40, 24
_CROP_STEP = 32
_CROPS_OF_OBJECT = 3  # the side of a crop, in those of the largest objects
_MOST_CROP = {"cpu": 320}  # of other devices: 640
_SAME_CENTRE = 1 / 6  # of a disc: closer objects need two groups
_MIN_SHARED = 0.02  # of the objects, for a second group
_DISC_RANGE = (9, 17)


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
  """

  limits: Limits
  measured: str
  changes: dict[str, Any]
  command: str


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
  suggested = _suggest(pages, page_set.class_names, config, own)
  changes = {key: v for key, v in suggested.items() if key not in own}
  words = ["python -m dwd_jax.main", f"--config={shlex.quote(file)}"]
  words.append(f"--workdir={shlex.quote(f'runs/{_name(page_set)}')}")
  words += [shlex.quote(f"--config.{text}") for text in given.overrides]
  words += [
    shlex.quote(f"--config.{key}={_text(value)}")
    for key, value in {**read, **changes}.items()
  ]
  compared = config if given.file else with_values(config, changes)
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
  )


def load(given: Given) -> Any:
  """The config of the command line, checked.

  Raises:
    InputError: no such file, an unknown key, a bad value.
  """
  config = config_file.load(given.file or _config_of("boxes"), given.overrides)
  # The rest depends on the devices, which may be others here.
  config_sections.make(DataConfig, config.data)
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
  if not (config_file.installed() / f"{builder}.py").is_file():
    file = "configs/boxes.py"
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


def _suggest(pages, class_names, config, own) -> dict[str, Any]:
  """Key -> value for those that do not suit the objects; `own` are the user's.

  The configs of the other builders are made for their sizes.
  """
  changes: dict[str, Any] = {}
  if config.data.builder == "boxes":
    changes = _sizes(pages, class_names, config, own)
  scale = changes.get("data.eval_scale", float(config.data.eval_scale))
  crop_px = min(changes.get("data.crop_hw", config.data.crop_hw))
  crowd = max(
    max_in_window(p.centres_yx, p.image_hw, crop_px / scale) for p in pages
  )
  if crowd > config.data.max_boxes:
    changes["data.max_boxes"] = -(-crowd // 64) * 64
  most = max(len(p.labels) for p in pages)
  if most > config.decode.max_detections:
    changes["decode.max_detections"] = -(-most // 64) * 64
  return changes


def _sizes(pages, class_names, config, own) -> dict[str, Any]:
  """Scale, crop and discs that suit the objects, classes too large for any."""
  left_out = set(config.data.leave_out)
  kept = np.array([name not in left_out for name in class_names], bool)
  labels = np.concatenate([p.labels for p in pages]).astype(int)
  sizes = np.concatenate([p.sizes_hw for p in pages]).astype(np.float64)
  sizes, labels = sizes[kept[labels]], labels[kept[labels]]
  if not len(labels):
    return {}
  changes: dict[str, Any] = {}
  scale = float(config.data.eval_scale)
  side = float(np.median(np.sqrt(sizes.prod(axis=1))))
  # Training and evaluation have one scale: both change, or neither does.
  is_free = own.isdisjoint(("data.scales", "data.eval_scale"))
  if is_free and not _LEAST_PX <= scale * side <= _MOST_PX:
    new = _rounded(_BEST_PX / side)
    changes["data.scales"] = tuple(
      _rounded(new * s / scale) for s in config.data.scales
    )
    scale = changes["data.eval_scale"] = new
  longest = scale * sizes.max(axis=1)
  page_px = scale * max(max(p.image_hw) for p in pages)
  crop_px = _crop(longest, page_px, min(config.data.crop_hw))
  if crop_px > min(config.data.crop_hw):
    changes["data.crop_hw"] = (crop_px, crop_px)
  too_long = np.bincount(labels[longest > crop_px], minlength=len(class_names))
  total = np.bincount(labels, minlength=len(class_names))
  never = np.flatnonzero(too_long > total / 2)
  if 0 < len(never) < np.count_nonzero(total):
    more = (class_names[c] for c in never)
    changes["data.leave_out"] = (*config.data.leave_out, *more)
  return changes | _discs(pages, scale, config)


def _crop(longest, page_px: float, least: int) -> int:
  """Three times the largest objects, no larger than a page or a device can."""
  most = _MOST_CROP.get(jax.default_backend(), 640)
  wanted = _CROPS_OF_OBJECT * float(np.percentile(longest, 95))
  wanted = max(wanted, float(np.percentile(longest, 99)))
  steps = -(-min(wanted, page_px, most) // _CROP_STEP)
  return max(int(steps) * _CROP_STEP, least)


def _discs(pages, scale: float, config) -> dict[str, Any]:
  """Groups for objects that share a centre, smaller discs for close ones."""
  near = scale * np.concatenate([*(p.nearest_px for p in pages), np.zeros(0)])
  disc = config.targets.energy_disc_px
  apart = near[near >= _SAME_CENTRE * disc]
  changes: dict[str, Any] = {}
  shared = len(near) - len(apart)
  if shared > _MIN_SHARED * len(near) and config.groups.num < 2:
    changes["groups.num"] = 2
  if len(apart):
    # Half a disc between two centres keeps them two peaks.
    room = int(2 * np.percentile(apart, 5))
    size = int(np.clip(room, *_DISC_RANGE)) // 2 * 2 + 1
    if size < disc:
      changes["targets.energy_disc_px"] = size
  return changes


def _rounded(value: float) -> float:
  """Two digits, at most 4."""
  return min(float(f"{value:.2g}"), 4.0)


def _text(value: Any) -> str:
  """A value as the command line takes it."""
  if isinstance(value, tuple):
    last = "," if len(value) == 1 else ""
    return f"({','.join(map(_quoted, value))}{last})"
  return str(value)


def _quoted(value: Any) -> str:
  """A name in the quotes that a shell leaves alone within others."""
  return json.dumps(value) if isinstance(value, str) else repr(value)
