"""Checkpoints with orbax: training state, input iterator, card, checksums."""

import contextlib
import dataclasses
import errno
import json
import pathlib
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp

from dwd_jax.cluster import processes
from dwd_jax.core import files
from dwd_jax.core.errors import InputError
from dwd_jax.models import dwd

CHECKSUMS = "checksums.json"
_CHUNK = 1 << 22
# Of a model whose card is older than these keys.
_DEFAULTS = {"refinenet": dwd.ModelConfig.refinenet}


class DamagedError(InputError):
  """A checkpoint cannot be read."""


@dataclasses.dataclass(frozen=True)
class ModelCard:
  """What a checkpoint and the run that reads it must agree on.

  Attributes:
    class_names: in the order of the class head.
    group_of_class: energy group of each class.
    model: fields of `ModelConfig`.
    training: settings that shape the rest of the state: name of the optimizer,
      window of the running means.
    staff_space_px: distance of two staff lines in the network's images; 0 =
      unknown. Not compared; older cards lack it.
    polarity: of the training pages, see `dwd_jax.imaging.grey.to_ink`. Not
      compared; older cards lack it.
  """

  class_names: tuple[str, ...]
  group_of_class: tuple[int, ...]
  model: dict[str, Any]
  training: dict[str, Any]
  staff_space_px: float = 0.0
  polarity: str = ""

  def to_json(self) -> dict[str, Any]:
    """The card as plain lists and dicts."""
    return {
      "class_names": list(self.class_names),
      "group_of_class": [int(group) for group in self.group_of_class],
      "model": {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in self.model.items()
      },
      "training": dict(self.training),
      "staff_space_px": self.staff_space_px,
      "polarity": self.polarity,
    }

  def difference(self, saved: Mapping[str, Any]) -> str | None:
    """First difference from a saved card.

    A phrase such as "model: filters is 8 there and 16 here", or None.
    """
    wanted = self.to_json()
    for part in ("model", "training"):
      # The first checkpoints lack `training`.
      there = saved.get(part, wanted[part])
      for key in sorted(set(there) | set(wanted[part])):
        # A key that an older card lacks had its default, or was off.
        default = _DEFAULTS.get(key) if part == "model" else None
        had, want = there.get(key, default), wanted[part].get(key)
        if had != want and (key in there or want):
          return f"{part}: {key} is {had} there and {want} here"
    for key in ("class_names", "group_of_class"):
      if saved[key] != wanted[key]:
        return f"model: its {key} differ"
    return None


@dataclasses.dataclass(frozen=True)
class _NewestAndBest:
  """Orbax's preservation policy: keep the newest checkpoints and the best."""

  keep: int
  scores: Mapping[int, float]

  def should_preserve(self, checkpoints, *, context) -> list[bool]:
    """Whether to keep each checkpoint; the oldest comes first."""
    del context
    steps = [checkpoint.step for checkpoint in checkpoints]
    kept = {*steps[-self.keep :], best_of(self.scores, steps)}
    return [step in kept for step in steps]


def best_of(scores: Mapping[int, float], steps: Iterable[int]) -> int | None:
  """The first step with the highest score; None if none has a score."""
  scored = sorted(step for step in steps if step in scores)
  return max(scored, key=scores.__getitem__, default=None)


class Checkpoints:
  """Numbered checkpoints of a run in WORKDIR/checkpoints.

  A checkpoint gets its number when it is complete, so a killed run never leaves
  a partial one.
  """

  def __init__(
    self, folder: pathlib.Path, keep: int = 3, *, read_only: bool = False
  ):
    """Opens the checkpoints of a run.

    Args:
      folder: made if missing, unless `read_only`.
      keep: number of the newest checkpoints to keep; the best one stays, too.
      read_only: changes nothing; the run may be training at the same time.
        Otherwise, the caller is the only writer: see `files.only_writer`.
    """
    self._folder = pathlib.Path(folder).absolute()
    self._scores: dict[int, float] = {}
    self._unsealed: list[int] = []
    self._bytes = 0  # of the last state saved
    options = ocp.CheckpointManagerOptions(
      preservation_policy=_NewestAndBest(keep, self._scores),
      create=not read_only,
      # On CPUs the next step would overwrite buffers while they are written.
      enable_async_checkpointing=jax.default_backend() != "cpu",
    )
    if not read_only:
      _remove_unfinished(self._folder)
    self._manager = ocp.CheckpointManager(self._folder, options=options)

  def all_steps(self) -> list[int]:
    """Saved steps, the newest first."""
    return sorted(self._manager.all_steps(), reverse=True)

  def best_step(self) -> int | None:
    """Step with the best score; None if no step has one."""
    steps = self.all_steps()
    if not steps:
      return None
    return best_of(_scores(self._progress(steps[0])), steps)

  def folder(self, step: int) -> pathlib.Path:
    """Folder of a checkpoint; files put there are removed with it."""
    return self._folder / str(step)

  def save(
    self,
    step: int,
    state: Any,
    data: dict[str, Any],
    card: ModelCard,
    progress: dict[str, Any] | None = None,
    score: float | None = None,
  ) -> None:
    """Saves a step unless it exists; in the background, except on CPUs.

    Args:
      score: of this state on validation pages, if known.
    """
    if step in self._manager.all_steps():
      return
    self.wait()
    if score is not None:
      self._scores[step] = float(score)
    scores = {str(key): value for key, value in self._scores.items()}
    self._unsealed.append(step)
    self._bytes = sum(x.nbytes for x in jax.tree.leaves(state))
    with self._writing():
      self._manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(state),
          data=ocp.args.JsonSave(data),
          card=ocp.args.JsonSave(card.to_json()),
          progress=ocp.args.JsonSave((progress or {}) | {"scores": scores}),
        ),
      )
    if jax.default_backend() == "cpu":
      self.wait()

  def remove_damaged(self, step: int) -> pathlib.Path:
    """Moves a checkpoint to W/checkpoints_damaged; returns its new folder."""
    target = self._folder.parent / "checkpoints_damaged" / str(step)
    if processes.is_first():
      target.parent.mkdir(exist_ok=True)
      shutil.rmtree(target, ignore_errors=True)
      self.folder(step).rename(target)
    processes.wait_for_all("damaged")
    self._manager.reload()
    return target

  def card(self, step: int) -> dict[str, Any]:
    """The card of a checkpoint, see `ModelCard.to_json`."""
    card = self._read(step, card=ocp.args.JsonRestore()).card
    keys = {"class_names", "group_of_class", "model"}
    if not isinstance(card, dict) or not set(card) >= keys:
      raise self._unreadable(step, "its card lacks a key")
    return card

  def restore(
    self, step: int, shapes: Any, card: ModelCard
  ) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Reads the states of training, input iterator and stages.

    Args:
      shapes: shapes and shardings of the state, see `state.state_shapes`.
      card: of the network that reads it.

    Raises:
      DamagedError: it cannot be read.
      InputError: it belongs to another network or optimizer, or is missing.
    """
    wrong = ""
    if processes.is_first():
      wrong = first_wrong_file(self.folder(step)) or ""
    wrong = processes.from_first("checksums", wrong)
    if wrong:
      raise self._unreadable(step, f"{wrong} has changed")
    difference = card.difference(self.card(step))
    if difference:
      raise InputError(
        f"{self.folder(step)}: checkpoint of another {difference}; use another"
        " --workdir, or the config the checkpoint was made with"
      )
    restored = self._read(
      step, state=ocp.args.StandardRestore(shapes), data=ocp.args.JsonRestore()
    )
    progress = self._progress(step)
    self._scores.update(_scores(progress))
    return restored.state, restored.data, progress

  def _progress(self, step: int) -> dict[str, Any]:
    progress = self._read(step, progress=ocp.args.JsonRestore()).progress
    if not isinstance(progress, dict):
      raise self._unreadable(step, "its progress is no mapping")
    return progress

  def _read(self, step: int, **items: Any) -> Any:
    if step not in self._manager.all_steps():
      raise InputError(
        f"{self.folder(step)}: no such checkpoint; there are"
        f" {sorted(self._manager.all_steps())}"
      )
    try:
      return self._manager.restore(step, args=ocp.args.Composite(**items))
    except (ValueError, KeyError, TypeError, OSError) as e:
      raise self._unreadable(step, str(e)) from e

  def _unreadable(self, step: int, reason: str) -> DamagedError:
    reason = " ".join(reason.split())[:120]
    return DamagedError(
      f"{self.folder(step)}: damaged ({reason}); remove this folder to"
      " resume from the previous checkpoint"
    )

  def wait(self) -> None:
    """Waits until everything is written, then writes checksums."""
    with self._writing():
      self._manager.wait_until_finished()
      for step in self._unsealed:
        if processes.is_first() and self.folder(step).is_dir():
          write_checksums(self.folder(step))
    self._unsealed.clear()

  @contextlib.contextmanager
  def _writing(self) -> Iterator[None]:
    """Raises `InputError` for a full or read-only disk."""
    try:
      yield
    except (ValueError, OSError) as e:
      cause = e if isinstance(e, OSError) else None
      if cause is None:  # of tensorstore
        cause = files.why_unwritable(self._folder, self._bytes)
      unwritable = (*files.UNWRITABLE, errno.EACCES, errno.EPERM)
      if cause is None or cause.errno not in unwritable:
        raise
      step, self._unsealed = self._unsealed[-1:], []
      _remove_unfinished(self._folder)
      raise InputError(
        f"{self._folder}: cannot save step {step[0] if step else ''}:"
        f" {cause.strerror}; the checkpoints before it are whole: make room"
        " there and start the same command again"
      ) from None

  def close(self) -> None:
    """Waits until everything is written."""
    self.wait()
    self._manager.close()


def _scores(progress: Mapping[str, Any]) -> dict[int, float]:
  """Step -> score, from a checkpoint's progress."""
  return {int(k): float(v) for k, v in progress.get("scores", {}).items()}


def _remove_unfinished(folder: pathlib.Path) -> None:
  """Removes what a killed run left of a checkpoint.

  Orbax would do so in a thread, which may outlive the program.
  """
  if processes.is_first() and folder.is_dir():
    for path in folder.glob("*.orbax-checkpoint-tmp*"):
      shutil.rmtree(path, ignore_errors=True)


def write_checksums(folder: pathlib.Path) -> None:
  """Records size and CRC-32 of every file in a checkpoint's subfolders.

  Orbax detects truncated and missing files, but not changed bytes.
  """
  found = {
    path.relative_to(folder).as_posix(): _checksum(path)
    for path in sorted(folder.glob("*/**/*"))
    if path.is_file()
  }
  files.write_atomic(folder / CHECKSUMS, json.dumps(found, indent=0))


def first_wrong_file(folder: pathlib.Path) -> str | None:
  """Name of the first file that differs from its checksum.

  None if all match, or if there are no checksums (or an empty file, after a
  power failure) because the run was killed before `write_checksums` was done.
  """
  try:
    path = folder / CHECKSUMS
    noted = files.read_json(path) if path.stat().st_size else {}
    for name, wanted in noted.items():
      path = folder / name
      if not path.is_relative_to(folder) or _checksum(path) != wanted:
        return name
  except FileNotFoundError as e:
    missing = pathlib.Path(str(e.filename)).name
    return None if missing == CHECKSUMS else missing
  except (OSError, ValueError, AttributeError):
    return CHECKSUMS
  return None


def _checksum(path: pathlib.Path) -> list[int]:
  """[bytes, CRC-32]."""
  crc, size = 0, 0
  with path.open("rb") as file:
    while chunk := file.read(_CHUNK):
      crc, size = zlib.crc32(chunk, crc), size + len(chunk)
  return [size, crc]
