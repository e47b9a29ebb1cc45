"""Staged training: what is trained when, and where a run stands.

Reference: Tuggener et al. 2018, and the original's README for the steps:
energy, class and box alone, energy again, then all combined with each loss
divided by its running mean.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

from dwd_jax.core import config_sections
from dwd_jax.core.errors import InputError
from dwd_jax.objectives import detection_loss

LOSSES = tuple(detection_loss.LOSSES)


@dataclasses.dataclass(frozen=True)
class Stage:
  """One stretch of the training.

  Attributes:
    name: name of the stage in logs and metrics.
    steps: number of optimizer steps; 0 = the stage is left out.
    losses: the losses that are trained, of energy, class and box.
    factors: weight of each of these losses, above 0.
    balance: each loss is divided by its mean over the last `train.loss_window`
      steps.
    reset_optimizer: the stage starts with a fresh state of the optimizer.
    frozen: patterns of the paths of parameters that do not change, such as
      ^backbone/; which paths there are: WORKDIR/parameters.txt.
    learning_rate: highest learning rate of the stage; 0 =
      `optimizer.learning_rate`.
    patience: number of evaluations (`train.eval_every`) in a row without a
      better mAP that end the stage early; without evaluations, of validations
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


# The recipe of the paper.
PAPER = (
  Stage("energy", 20000, ("energy",), (1.0,)),
  Stage("class", 20000, ("class",), (1.0,)),
  Stage("box", 20000, ("box",), (1.0,)),
  Stage("energy_again", 10000, ("energy",), (1.0,)),
  Stage(
    "combined",
    30000,
    ("energy", "class", "box"),
    (2.0, 1.0, 1.0),
    balance=True,
  ),
)


def make_stages(entries: Iterable[Any]) -> tuple[Stage, ...]:
  """Reads `config.stages`.

  Args:
    entries: one mapping for each stage, keys as the fields of `Stage`.

  Returns:
    The stages that have steps.

  Raises:
    InputError: an unknown or missing key, a value out of range, no step at all.
  """
  stages = []
  for i, entry in enumerate(entries):
    config_sections.check(entry, Stage, f"stages[{i}]")
    stages.append(config_sections.make(Stage, entry))
  stages = tuple(stage for stage in stages if stage.steps)
  if not stages:
    raise InputError("config.stages: no stage has steps; give one at least one")
  return stages


class Progress:
  """Where a run stands in its stages.

  A stage with `patience` ends when mAP or validation loss has not improved that
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
    return sum(stage.steps for stage in self._stages)

  def _place(self, step: int) -> tuple[int, int]:
    """Index and first step of a step's stage, the last one past the end."""
    index, first = 0, 0
    for stage in self._stages[:-1]:
      if step < first + stage.steps:
        break
      index, first = index + 1, first + stage.steps
    return index, first

  def at(self, step: int) -> tuple[Stage, int]:
    """The stage that step number `step` (0, 1, ...) belongs to, its first."""
    index, first = self._place(step)
    return self._stages[index], first

  def begins(self, step: int) -> bool:
    """Whether step number `step` is the first of a stage but the first one."""
    return step > 0 and self.at(step)[1] == step < self.total

  def validated(self, done: int, losses: Mapping[str, float]) -> str:
    """Counts a validation; returns why the stage ends with it, or "".

    Args:
      done: steps done.
      losses: `loss_<name>` of every loss that is trained.
    """
    stage, _ = self.at(done - 1)
    ends = self.judged(done, _value(stage, losses))
    return "no lower validation loss" if ends else ""

  def judged(self, done: int, value: float) -> bool:
    """Counts a value, lower is better; returns whether the stage ends."""
    index, first = self._place(max(done - 1, 0))
    stage = self._stages[index]
    if not stage.patience or done == first + stage.steps:
      return False
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
