"""Staged training: config -> a validated tuple of Stage.

Reference: Tuggener et al. 2018, section 4: energy, class and box alone, energy
again, then all combined with each loss divided by its running mean.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from dwd_jax.core.errors import InputError

LOSSES = ("energy", "class", "box")


@dataclasses.dataclass(frozen=True)
class Stage:
  """One stretch of the training; fields are keys of `config.stages` entries.

  Attributes:
    name: shown in logs and metrics.
    steps: number of optimizer steps.
    losses: which of "energy", "class", "box" are trained.
    factors: weight of each loss.
    balance: divide each loss by its mean over the last few steps.
    reset_optimizer: start with fresh optimizer state.
    frozen: patterns of parameter paths that do not change.
    learning_rate: instead of the optimizer's; 0 = the optimizer's.
    patience: the stage ends early after this many validations
      (`train.validate_every`) without a lower loss; 0 = never.
  """

  name: str
  steps: int
  losses: tuple[str, ...]
  factors: tuple[float, ...]
  balance: bool = False
  reset_optimizer: bool = True
  frozen: tuple[str, ...] = ()
  learning_rate: float = 0.0
  patience: int = 0

  def __post_init__(self):
    where = f"config.stages, stage '{self.name}'"
    if self.steps < 0:
      raise InputError(f"{where}: steps is {self.steps}; use 0 or more")
    if not self.losses:
      raise InputError(f"{where}: no losses; name some of {LOSSES}")
    for loss in self.losses:
      if loss not in LOSSES:
        raise InputError(f"{where}: unknown loss '{loss}'; use {LOSSES}")
    if len(set(self.losses)) != len(self.losses):
      raise InputError(f"{where}: a loss is named twice; name each once")
    if len(self.factors) != len(self.losses):
      raise InputError(
        f"{where}: {len(self.factors)} factors for {len(self.losses)} losses;"
        " give one each"
      )
    if any(factor <= 0 for factor in self.factors):
      raise InputError(f"{where}: factors must be positive")
    if self.patience < 0:
      raise InputError(f"{where}: patience is {self.patience}; 0 = never")


def make_stages(entries: Iterable[Mapping[str, Any]]) -> tuple[Stage, ...]:
  """Reads `config.stages`.

  Args:
    entries: one mapping for each stage, keys as the fields of `Stage`.

  Returns:
    The stages that have steps.

  Raises:
    InputError: an unknown or missing key, a value out of range, no step at all.
  """
  known = {field.name for field in dataclasses.fields(Stage)}
  stages = []
  for entry in entries:
    values = dict(entry)
    unknown = set(values) - known
    if unknown:
      raise InputError(
        f"config.stages: unknown key '{min(unknown)}'; known: {sorted(known)}"
      )
    who = f"stage '{values['name']}'" if "name" in values else "a stage"
    for key in ("name", "steps", "losses", "factors"):
      if key not in values:
        raise InputError(f"config.stages: {who} has no '{key}'; add it")
    for key in ("losses", "factors", "frozen"):
      if key in values:
        values[key] = tuple(values[key])
    stages.append(Stage(**values))
  stages = tuple(stage for stage in stages if stage.steps)
  if not stages:
    raise InputError("config.stages: no stage has steps; give one at least one")
  return stages


def total_steps(stages: tuple[Stage, ...]) -> int:
  """Steps of all stages together."""
  return sum(stage.steps for stage in stages)


def stage_at(stages: tuple[Stage, ...], step: int) -> tuple[int, int]:
  """Index of the stage that a step (0, 1, ...) belongs to, and its first step.

  A step past the end belongs to the last stage.
  """
  start = 0
  for index, stage in enumerate(stages):
    if step < start + stage.steps or index == len(stages) - 1:
      return index, start
    start += stage.steps
  raise ValueError("no stages")
