"""Checkpoints with orbax: state, input iterator and what the network is."""

import contextlib
import dataclasses
import errno
import os
import pathlib
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp

from dwd_jax.checkpoints import checksums
from dwd_jax.checkpoints.card import CARD_KEYS, ModelCard
from dwd_jax.cluster import processes
from dwd_jax.core import files
from dwd_jax.core.errors import InputError


class DamagedError(InputError):
  """A checkpoint that cannot be read."""


@dataclasses.dataclass(frozen=True)
class _NewestAndBest:
  """Which checkpoints stay: orbax asks after each save."""

  keep: int
  scores: Mapping[int, float]

  def should_preserve(self, checkpoints, *, context) -> list[bool]:
    """True for those that stay, in the order given (the oldest first)."""
    del context
    steps = [checkpoint.step for checkpoint in checkpoints]
    kept = {*steps[-self.keep :], best_of(self.scores, steps)}
    return [step in kept for step in steps]


def best_of(scores: Mapping[int, float], steps: Iterable[int]) -> int | None:
  """The step with the highest score, the first of equals; None = no score."""
  scored = sorted(step for step in steps if step in scores)
  return max(scored, key=scores.__getitem__, default=None)


class Checkpoints:
  """Numbered checkpoints of a run in WORKDIR/checkpoints.

  A checkpoint is written to a temporary name and renamed when it is whole, so
  a killed run never leaves half of one under its number.
  """

  def __init__(self, folder: pathlib.Path, keep: int = 3):
    """Args: `folder` is made if missing; the last `keep` steps stay."""
    self._folder = pathlib.Path(folder).absolute()
    self._scores: dict[int, float] = {}
    self._unsealed: list[int] = []
    options = ocp.CheckpointManagerOptions(
      preservation_policy=_NewestAndBest(keep, self._scores),
      create=True,
      # On CPUs the next step is given the buffers that are being written.
      enable_async_checkpointing=jax.default_backend() != "cpu",
    )
    _remove_rests(self._folder)
    self._manager = ocp.CheckpointManager(self._folder, options=options)

  def all_steps(self) -> list[int]:
    """Steps that are saved, the newest first."""
    return sorted(self._manager.all_steps(), reverse=True)

  def best_step(self) -> int | None:
    """Step with the best score; None if none was saved with one."""
    steps = self.all_steps()
    if not steps:
      return None
    return best_of(_scores(self._progress(steps[0])), steps)

  def folder(self, step: int) -> pathlib.Path:
    """Where a checkpoint lies; what is put there is removed with it."""
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
    """Saves, if this step is not saved yet; in the background if it can.

    Args:
      step: steps done.
      state: a pytree of arrays: the training state.
      data: state of the input iterator.
      card: what the network is.
      progress: of the stages, see `progress.Progress.to_json`.
      score: of this state on validation pages, if it is known: the checkpoint
        with the highest one stays.
    """
    if step in self._manager.all_steps():
      return
    self.wait()
    if score is not None:
      self._scores[step] = float(score)
    scores = {str(key): value for key, value in self._scores.items()}
    self._unsealed.append(step)
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
    """Moves a checkpoint out of the way, so that its step can be saved again.

    Returns:
      Where it lies now.
    """
    target = self._folder.parent / "checkpoints_damaged" / str(step)
    if jax.process_index() == 0:
      target.parent.mkdir(exist_ok=True)
      shutil.rmtree(target, ignore_errors=True)
      self.folder(step).rename(target)
    processes.wait_for_all("damaged")
    self._manager.reload()
    return target

  def card(self, step: int) -> dict[str, Any]:
    """What the network of a checkpoint is, see `ModelCard.to_json`."""
    card = self._read(step, card=ocp.args.JsonRestore()).card
    if not isinstance(card, dict) or not set(card) >= set(CARD_KEYS):
      raise self._unreadable(step, "its card lacks a key")
    return card

  def restore(
    self, step: int, shapes: Any, card: ModelCard
  ) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Reads a checkpoint.

    Args:
      step: which.
      shapes: of the state, with the shardings to read into, as
        `state.state_shapes` gives them.
      card: the network that reads it.

    Returns:
      The state, the state of the input iterator and that of the stages.

    Raises:
      DamagedError: it cannot be read.
      InputError: the checkpoint belongs to another network, was made with
        another optimizer, or is not there.
    """
    self._check_files(step)
    self._check(step, card)
    restored = self._read(
      step, state=ocp.args.StandardRestore(shapes), data=ocp.args.JsonRestore()
    )
    progress = self._progress(step)
    self._scores.update(_scores(progress))
    return restored.state, restored.data, progress

  def _progress(self, step: int) -> dict[str, Any]:
    progress = self._read(step, progress=ocp.args.JsonRestore()).progress
    if not isinstance(progress, dict):
      raise self._unreadable(step, "its progress is no list of keys")
    return progress

  def _check_files(self, step: int) -> None:
    """Stops where a file is not as it was written; in all processes alike."""
    wrong = ""
    if processes.is_first():
      wrong = checksums.first_wrong(self.folder(step)) or ""
    wrong = processes.from_first("checksums", wrong)
    if wrong:
      raise self._unreadable(step, f"{wrong} is not as it was written")

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
      " go on from the checkpoint before"
    )

  def _check(self, step: int, card: ModelCard) -> None:
    """Stops with one line where the networks differ."""
    difference = card.difference(self.card(step))
    if difference:
      raise InputError(
        f"{self.folder(step)}: checkpoint of another {difference}; use another"
        " --workdir, or the config the checkpoint was made with"
      )

  def wait(self) -> None:
    """Waits until everything is written, and notes what was."""
    with self._writing():
      self._manager.wait_until_finished()
      for step in self._unsealed:
        if jax.process_index() == 0 and self.folder(step).is_dir():
          checksums.write(self.folder(step))
    self._unsealed.clear()

  @contextlib.contextmanager
  def _writing(self) -> Iterator[None]:
    """Tells a disk that takes nothing more from a fault of the program."""
    try:
      yield
    except (ValueError, OSError) as e:
      code = getattr(e, "errno", None)
      found = re.search(r"os_error_code='(\d+)'", str(e))  # of tensorstore
      code = int(found[1]) if found else code
      if code not in (*files.UNWRITABLE, errno.EACCES, errno.EPERM):
        raise
      step, self._unsealed = self._unsealed[-1:], []
      _remove_rests(self._folder)
      raise InputError(
        f"{self._folder}: cannot save step {step[0] if step else ''}:"
        f" {os.strerror(code)}; the checkpoints before it are whole: make room"
        " there and start the same command again"
      ) from None

  def close(self) -> None:
    """Waits until everything is written."""
    self.wait()
    self._manager.close()


def _scores(progress: Mapping[str, Any]) -> dict[int, float]:
  """Step -> score, of a checkpoint's progress."""
  return {int(k): float(v) for k, v in progress.get("scores", {}).items()}


def _remove_rests(folder: pathlib.Path) -> None:
  """Removes what killed runs left half-written.

  Orbax would do it in a thread, which outlives a program that ends at once.
  """
  if jax.process_index() == 0 and folder.is_dir():
    for path in folder.glob("*.orbax-checkpoint-tmp*"):
      shutil.rmtree(path, ignore_errors=True)
