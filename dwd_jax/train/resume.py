"""The folder of a run: a new one, or one to go on in."""

import dataclasses
import json
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

from dwd_jax.checkpoints import checkpointer
from dwd_jax.cluster import processes
from dwd_jax.core import files
from dwd_jax.core.errors import InputError
from dwd_jax.train import settings as config_lib
from dwd_jax.train.stages import Stage
from dwd_jax.train.state import TrainState

ROOT = pathlib.Path("runs")
_MANY = 1_000_000


def choose_workdir(config: Any, root: pathlib.Path = ROOT) -> pathlib.Path:
  """Makes `ROOT/<data set>/<pretraining>/<model>/run_N`, N the next free one.

  The same folder in all processes of a run. Runs that start at the same time
  get different ones.

  Args:
    root: in the current folder.

  Returns:
    The new folder.

  Raises:
    InputError: it cannot be made.

  Reference: the original's
  `experiments/<music, music_handwritten or realistic>/pretrain_lvl_<level>/
  <model>/run_N` (`get_checkpoint_dir` of lib/main/train_dwd.py@5c314f1), N the
  number of folders there.
  """
  if not processes.is_first():
    return pathlib.Path(processes.from_first("workdir", ""))
  parent = root / _data_set(config.data) / config.pretraining.level
  # A depth that follows from the devices is not known yet.
  depth = config.model.backbone_depth
  parent /= f"RefineNet-Res{depth}" if depth else "RefineNet"
  try:
    made = _next(parent)
  except OSError as e:
    raise InputError(
      f"{parent}: cannot make the folder of the run ({e.strerror}); give"
      " --workdir"
    ) from None
  processes.from_first("workdir", str(made))
  return made


def _data_set(data: Any) -> str:
  """A name that can be a folder's."""
  if data.engrave.pages > 0 and not data.manual_dir:
    return "engraved"
  name = "-".join(filter(None, (data.builder, data.builder_config)))
  if data.builder == "boxes" and data.manual_dir:
    name = pathlib.Path(data.manual_dir).expanduser().absolute().name
  return re.sub(r"[^\w.-]+", "_", name).strip(".") or "data"


def _next(parent: pathlib.Path) -> pathlib.Path:
  parent.mkdir(parents=True, exist_ok=True)
  taken = [re.fullmatch(r"run_(\d{1,6})", p.name) for p in parent.iterdir()]
  first = max((int(m[1]) for m in taken if m), default=-1) + 1
  for number in range(first, _MANY):
    folder = parent / f"run_{number}"
    try:
      folder.mkdir()
    except FileExistsError:  # another run was faster
      continue
    return folder
  raise OSError(0, "all numbers are taken")


# What may differ from the config that a checkpoint was made with: it changes
# where things lie, what is written and what is judged, but not what is learned.
_FREE = (
  "data.data_dir",
  "data.manual_dir",
  "data.workers",
  "data.channels",  # compared in the checkpoint's card
  "data.engrave",
  "data.test_split",
  "data.eval_scale",
  "data.max_pages",
  "groups.by_class",  # compared in the checkpoint's card
  "model.dtype",
  "decode",
  "predict",
  "eval",
  "pretraining",  # done when there is a checkpoint
  "train.accept_changes",
  "train.compilation_cache",
  "train.steps_per_call",
  "train.log_every",
  "train.checkpoint_every",
  "train.keep_checkpoints",
  "train.eval_every",
  "train.pictures_every",
  "train.max_skipped",
  "train.remat",
  "train.deterministic",
  "train.fsdp",
  "train.sharding",
)

# Of the training pages, which are compared already; older configs lack it.
_STAFF_SPACE = "data.staff_space_px"
# What validations are made of; it counts where they may end a stage.
_VALIDATION = ("data.eval_split", "train.validate_batches")


def check_config(path: pathlib.Path, config: Any, accept: bool) -> list[str]:
  """Compares the config of a run with the one its checkpoints were made with.

  Args:
    path: W/config.json; where it is missing nothing is compared.
    config: of the run that goes on, resolved.
    accept: changes are let through.

  Returns:
    The changes, each as "key: old -> new".

  Raises:
    InputError: what is learned would change, and `accept` is not set.
  """
  try:
    saved = files.read_json(path)
  except FileNotFoundError:
    return []
  except (OSError, ValueError) as e:
    raise InputError(
      f"{path}: damaged ({e}); remove it to go on without a comparison"
    ) from None
  defaults = json.loads(config_lib.to_json(config_lib.default()))
  defaults["data"]["kind"] = "document"  # as all were
  entry = Stage("", 0, ("energy",), (1.0,))
  defaults["stages"] = json.loads(json.dumps(dataclasses.asdict(entry)))
  now = _filled(json.loads(config_lib.to_json(config)), defaults)
  free = _FREE
  if not config.data.normalise_staff_space:
    free += (_STAFF_SPACE,)
  if not any(stage.get("patience") for stage in config.stages):
    free += _VALIDATION
  changes = [
    f"{key}: {_short(old)} -> {_short(new)}"
    for key, old, new in _differences(_filled(saved, defaults), now, "")
    if not any(key == f or key.startswith(f"{f}.") for f in free)
  ]
  if changes and not accept:
    raise InputError(
      f"{path}: the checkpoints were made with another config:"
      f" {'; '.join(changes)}. Undo this, use another --workdir, or go on with"
      " --config.train.accept_changes=True"
    )
  return changes


def write_config(path: pathlib.Path, config: Any) -> None:
  """Keeps the config of a training run as W/config.json."""
  files.write_atomic(path, config_lib.to_json(config))


def _filled(saved: Any, defaults: Any) -> Any:
  """A config of an older version: what it lacks was as the default is.

  A list is filled with the default of its entries.
  """
  if isinstance(saved, list) and isinstance(defaults, dict):
    return [_filled(entry, defaults) for entry in saved]
  if not (isinstance(saved, dict) and isinstance(defaults, dict)):
    return saved
  filled = {key: _filled(saved[key], defaults.get(key)) for key in saved}
  return {**{k: v for k, v in defaults.items() if k not in saved}, **filled}


def _short(value: Any) -> str:
  text = "none" if value is _MISSING else json.dumps(value)
  return text if len(text) <= 60 else text[:57] + "..."


_MISSING = object()


def _differences(
  old: Any, new: Any, path: str
) -> Iterator[tuple[str, Any, Any]]:
  """(key, old value, new value) wherever two configs differ."""
  if isinstance(old, dict) and isinstance(new, dict):
    keys = [*old, *(key for key in new if key not in old)]
    for key in keys:
      below = f"{path}.{key}" if path else key
      yield from _differences(
        old.get(key, _MISSING), new.get(key, _MISSING), below
      )
  elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
    for i, (a, b) in enumerate(zip(old, new, strict=True)):
      yield from _differences(a, b, f"{path}[{i}]")
  elif old != new:
    yield path, old, new


def restore_newest(
  checkpoints: checkpointer.Checkpoints,
  shapes: Any,
  card: checkpointer.ModelCard,
  say: Callable[[str], None],
) -> tuple[TrainState, dict[str, Any], dict[str, Any]] | None:
  """The newest checkpoint that can be read.

  Damaged ones are moved to W/checkpoints_damaged, which is said.

  Args:
    shapes: see `Checkpoints.restore`.
    card: the network.
    say: takes a line for people.

  Returns:
    See `Checkpoints.restore`; None where there is no checkpoint.

  Raises:
    InputError: it belongs to another network, or none of several can be read.
  """
  damaged = None
  for step in checkpoints.all_steps():
    try:
      return checkpoints.restore(step, shapes, card)
    except checkpointer.DamagedError as e:
      damaged = e
      moved = checkpoints.remove_damaged(step)
      say(f"{e}; moved to {moved}, going on from the checkpoint before")
  if damaged is not None:
    raise InputError(
      f"{damaged}; there is no older one: remove the checkpoints to start anew"
    )
  return None
