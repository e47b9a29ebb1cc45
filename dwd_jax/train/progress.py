"""Where a run stands in its stages, which may end early."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from dwd_jax.train import stages as stages_lib
from dwd_jax.train.stages import Stage


class Progress:
  """The stages of a run as they are, not only as they were planned.

  A stage with `patience` ends when its validation loss has not improved that
  many times; what was planned after it moves forward. Kept with every
  checkpoint, so that a resumed run ends its stages at the same steps.
  """

  def __init__(self, stages: tuple[Stage, ...]):
    """Args: `stages` as planned."""
    self._stages = list(stages)
    self._planned = [stage.steps for stage in stages]
    self._lowest: float | None = None
    self._since = 0

  @property
  def total(self) -> int:
    """Steps of all stages together."""
    return stages_lib.total_steps(tuple(self._stages))

  def at(self, step: int) -> tuple[Stage, int]:
    """The stage that step number `step` (0, 1, ...) belongs to, its first."""
    index, first = stages_lib.stage_at(tuple(self._stages), step)
    return self._stages[index], first

  def begins(self, step: int) -> bool:
    """Whether step number `step` is the first of a stage but the first one."""
    return step > 0 and self.at(step)[1] == step < self.total

  def validated(self, done: int, losses: Mapping[str, float]) -> bool:
    """Takes a validation's losses; whether the current stage ends with it.

    Args:
      done: steps done.
      losses: `loss_<name>` of every loss that is trained.
    """
    index, first = stages_lib.stage_at(tuple(self._stages), done - 1)
    stage = self._stages[index]
    if not stage.patience or done == first + stage.steps:
      return False
    value = _value(stage, losses)
    if self._lowest is None or value < self._lowest:
      self._lowest, self._since = value, 0
      return False
    self._since += 1
    if self._since < stage.patience:
      return False
    self._stages[index] = dataclasses.replace(stage, steps=done - first)
    return True

  def start_stage(self) -> None:
    """Forgets the validations of the stage before."""
    self._lowest, self._since = None, 0

  def to_json(self) -> dict[str, Any]:
    """What `restore` takes."""
    return {
      "stage_steps": [stage.steps for stage in self._stages],
      "planned": self._planned,
      "lowest": self._lowest,
      "since": self._since,
    }

  def restore(self, saved: Mapping[str, Any], done: int) -> None:
    """Continues after `done` steps of a run.

    Stages that are over keep their length; the plan counts for the others, and
    for the last one if it did not end early: a finished run can get more steps.

    Args:
      saved: of `to_json`.
      done: steps done.
    """
    first = 0
    had = saved.get("stage_steps", ())
    planned = saved.get("planned", had)
    for i, steps in enumerate(had[: len(self._stages)]):
      last = i == len(self._stages) - 1
      if first + steps > done or (last and steps == planned[i]):
        break
      self._stages[i] = dataclasses.replace(self._stages[i], steps=steps)
      first += steps
    self._lowest = saved.get("lowest")
    self._since = int(saved.get("since", 0))


def _value(stage: Stage, losses: Mapping[str, float]) -> float:
  """What a stage minimises; relative changes count where it balances."""
  pairs = zip(stage.losses, stage.factors, strict=True)
  if stage.balance:
    return sum(f * math.log(max(losses[f"loss_{k}"], 1e-12)) for k, f in pairs)
  return sum(f * losses[f"loss_{k}"] for k, f in pairs)
