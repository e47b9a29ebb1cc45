"""What a search is: the configs of its trials, checked before the first starts.

DIR/study.journal         Optuna's storage: settings, scores, states
DIR/trial_NNN/            workdir of a trial, with its trial.log
DIR/data        shared by all trials
DIR/sweep.json            all trials, best first
"""

import dataclasses
import functools
import math
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dwd_jax.core.errors import InputError
from dwd_jax.evaluate import other_data_sets
from dwd_jax.train import config_file
from dwd_jax.train import settings as config_lib
from launch import search_space
from launch.command_line import AGAIN


@dataclasses.dataclass(frozen=True)
class Search:
  """A search.

  Attributes:
    config: file of the config.
    overrides: KEY=VALUE, the user's, for every trial.
    out: folder of the search.
    space: see `search_space`.
    sampler: tpe or random.
    seed: of the sampler.
    trials: how many in all.
    steps: of a trial that is not stopped early.
    rungs: how often trials are compared, the last time at their end.
    eta: 1 / eta of the trials continue after a rung.
    split: name of the scores, W/eval/<split>.json.
    metric: key of the scores; higher is better.
  """

  config: str
  overrides: tuple[str, ...]
  out: pathlib.Path
  space: dict[str, Any]
  sampler: str
  seed: int
  trials: int
  steps: int
  rungs: int
  eta: int
  split: str
  metric: str

  @functools.cached_property
  def base(self) -> Any:
    """The config with the user's overrides."""
    return config_file.load(self.config, self.overrides)

  @property
  def first_rung(self) -> int:
    """Steps after which trials are first compared."""
    return math.ceil(self.steps / self.eta ** (self.rungs - 1))

  def facts(self) -> dict[str, Any]:
    """What the results depend on, which the number of trials is not."""
    facts = dataclasses.asdict(self) | {"overrides": list(self.overrides)}
    return {k: v for k, v in facts.items() if k not in ("out", "trials")}

  def trial_overrides(self, settings: Mapping[str, str]) -> list[str]:
    """KEY=VALUE of a trial's run.

    Args:
      settings: {key: value} of the trial, see `search_space.suggest`.
    """
    out = self.out.absolute()
    values = {
      "eval.overlays": "0",
      "eval.viewer_pages": "0",
      "train.eval_every": str(self.first_rung if self.rungs > 1 else 0),
    }
    if not self.base.data.data_dir:
      values["data.data_dir"] = str(out / "data")
    values |= dict(text.split("=", 1) for text in self.overrides)
    if self.split == self.base.data.eval_split:  # no other set is asked for
      values = {k: v for k, v in values.items() if not k.startswith("eval.on")}
      values["eval.on"] = "()"
    else:
      values["eval.on_during_training"] = "True"
      for i, other in enumerate(self.base.eval.on):
        if other.builder and not other.data_dir:
          values[f"eval.on[{i}].data_dir"] = str(out / "data/on" / other.name)
    values |= settings
    steps = stage_steps([s.steps for s in self.base.stages], self.steps)
    values |= {f"stages[{i}].steps": str(n) for i, n in enumerate(steps)}
    # All trials end after the same number of steps.
    for i, stage in enumerate(self.base.stages):
      if stage.patience:
        values[f"stages[{i}].patience"] = "0"
    # The test pages are for the run that is chosen in the end.
    values["data.test_split"] = ""
    return [f"{key}={value}" for key, value in values.items()]

  def command(
    self, workdir: pathlib.Path, settings: Mapping[str, str]
  ) -> list[str]:
    """Command line of a trial's run."""
    program = [sys.executable, "-m", "dwd_jax.main", f"--config={self.config}"]
    program += [f"--workdir={workdir}", f"--preempted_code={AGAIN}"]
    overrides = self.trial_overrides(settings)
    return program + [f"--config.{text}" for text in overrides]

  def check(self) -> None:
    """Raises `InputError` if a trial would fail or be judged on test pages."""
    data = self.base.data
    others = other_data_sets.names_in_config(self.base)
    own = self.split == data.eval_split
    if not own and self.split not in others:
      raise InputError(
        f"--split={self.split}: neither data.eval_split ({data.eval_split}) nor"
        f" a set of eval.on ({', '.join(others) or 'none'})"
      )
    judged = self.split if own else others[self.split][1].split
    tests = {data.test_split} if own else {"test", data.test_split}
    if tests & {part.split("[")[0].strip() for part in judged.split("+")}:
      raise InputError(
        f"--split={self.split}: has pages of the test, on which nothing may be"
        " chosen; name others"
      )
    if self.steps < self.eta ** (self.rungs - 1):
      raise InputError(
        f"{self.steps} steps are too few for {self.rungs} rungs with"
        f" --eta={self.eta}; give more steps or fewer rungs"
      )
    for settings in search_space.corners(self.space):
      try:
        config = config_file.load(self.config, self.trial_overrides(settings))
        config_lib.validate(config)
      except InputError as e:
        raise InputError(f"a trial would fail: {e}") from None


def folder(trial: Any) -> str:
  """Name of a trial's folder: its own, or that of the trial it repeats."""
  return trial.user_attrs.get("folder", f"trial_{trial.number:03d}")


def stage_steps(steps: Sequence[int], total: int) -> list[int]:
  """Steps of every stage for a training of `total` steps.

  Args:
    steps: of the stages of the config; some may be 0.
    total: steps of all stages together.

  Returns:
    As many numbers as `steps`, with the sum `total`: every stage keeps its
    share, and at least one step if it had any.

  Raises:
    InputError: fewer steps than stages.
  """
  active = [i for i, count in enumerate(steps) if count]
  if not 0 < len(active) <= total:
    raise InputError(
      f"{total} steps for {len(active)} stages; give at least one each"
    )
  found = list(steps)
  for i in active:
    found[i] = max(1, steps[i] * total // sum(steps))
  while sum(found) > total:  # single steps of short stages add up
    found[int(np.argmax(found))] -= 1
  found[int(np.argmax(found))] += total - sum(found)
  return found
