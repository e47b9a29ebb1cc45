"""What a search does: its trials, their configs, folders and commands.

DIR/plan.json             what the results depend on; must stay the same
DIR/trial_NNN/            workdir of a run; trial_NNN/rung_R where a longer
                          run of the trial starts anew
DIR/data, DIR/compilation_cache  shared by all trials
"""

import dataclasses
import functools
import json
import pathlib
import sys
from typing import Any

from dwd_jax.core import files
from dwd_jax.core.errors import InputError
from dwd_jax.evaluate import other_data_sets
from dwd_jax.train import settings as config_lib
from launch import budget, search_space


@dataclasses.dataclass(frozen=True)
class Plan:
  """A search.

  Attributes:
    config: file of the config.
    overrides: KEY=VALUE of the user, for every trial.
    out: folder of the search.
    space: see `search_space`.
    seed: of the search.
    trials: how many start.
    rungs: steps of the trials in each round, smallest first.
    eta: 1 / eta of the trials of a round go on.
    by: key of the config; the best of each of its values go on, "" = the best
      of all.
    scale: which stages a budget changes, see `budget.stage_steps`.
    split: name of the scores, W/eval/<split>.json.
    metric: key of the scores; the higher the better.
  """

  config: str
  overrides: tuple[str, ...]
  out: pathlib.Path
  space: dict[str, Any]
  seed: int
  trials: int
  rungs: tuple[int, ...]
  eta: int
  by: str
  scale: str
  split: str
  metric: str
  _settings: dict[tuple[int, int], config_lib.Settings] = dataclasses.field(
    default_factory=dict, compare=False, repr=False
  )
  _starts: dict[tuple[int, int], int] = dataclasses.field(
    default_factory=dict, compare=False, repr=False
  )

  @functools.cached_property
  def base(self) -> Any:
    """The config with the user's overrides."""
    return budget.load(self.config, self.overrides)

  def params(self, index: int) -> dict[str, Any]:
    """Settings of a trial."""
    return search_space.sample(self.space, self.seed, index)

  def trial_overrides(self, index: int, rung: int) -> list[str]:
    """KEY=VALUE of a trial's run; what comes first gives way."""
    out = self.out.absolute()
    values = {
      "eval.overlays": "0",
      "train.eval_every": "0",
      "train.compilation_cache": str(out / "compilation_cache"),
    }
    if not self.base.data.data_dir:
      values["data.data_dir"] = str(out / "data")
    values |= dict(text.split("=", 1) for text in self.overrides)
    if self.split == self.base.data.eval_split:  # no other set is asked for
      values = {k: v for k, v in values.items() if k[:7] != "eval.on"}
      values["eval.on"] = "()"
    else:
      for i, other in enumerate(self.base.eval.on):
        if other.builder and not other.data_dir:
          values[f"eval.on[{i}].data_dir"] = str(out / "data/on" / other.name)
    params = self.params(index)
    values |= {key: search_space.as_text(v) for key, v in params.items()}
    steps = budget.stage_steps(
      [stage.steps for stage in self.base.stages], self.rungs[rung], self.scale
    )
    values |= {f"stages[{i}].steps": str(n) for i, n in enumerate(steps)}
    # Trials of a rung are compared after the same number of steps.
    for i, stage in enumerate(self.base.stages):
      if stage.patience:
        values[f"stages[{i}].patience"] = "0"
    if rung:  # where it goes on from a checkpoint, steps are what has changed
      values["train.accept_changes"] = "True"
    # The pages of the test are for the run that is chosen in the end.
    values["data.test_split"] = ""
    return [f"{key}={value}" for key, value in values.items()]

  def settings(self, index: int, rung: int) -> config_lib.Settings:
    """The checked config of a trial.

    Raises:
      InputError: the config of this trial is wrong.
    """
    key = (index, rung)
    if key not in self._settings:
      config = budget.load(self.config, self.trial_overrides(index, rung))
      self._settings[key] = config_lib.validate(config)
    return self._settings[key]

  def start(self, index: int, rung: int) -> int:
    """The rung whose run a trial goes on from; `rung` itself: starts anew."""
    key = (index, rung)
    if key not in self._starts:
      goes_on = rung > 0 and budget.continues(
        self.settings(index, rung - 1), self.settings(index, rung)
      )
      self._starts[key] = self.start(index, rung - 1) if goes_on else rung
    return self._starts[key]

  def workdir(self, index: int, rung: int) -> pathlib.Path:
    """Folder of a trial's run."""
    folder = self.out / f"trial_{index:03d}"
    first = self.start(index, rung)
    return folder / f"rung_{first}" if first else folder

  def command(self, index: int, rung: int) -> list[str]:
    """Command line of a trial's run."""
    return [
      *(sys.executable, "-m", "dwd_jax.main", f"--config={self.config}"),
      f"--workdir={self.workdir(index, rung)}",
      *(f"--config.{text}" for text in self.trial_overrides(index, rung)),
    ]

  def group(self, index: int) -> str:
    """What a trial competes with to go on."""
    return str(self.params(index).get(self.by, "")) if self.by else ""

  def sizes(self) -> list[int]:
    """How many trials each rung has, if enough of them get a score."""
    groups: dict[str, int] = {}
    for index in range(self.trials):
      groups[self.group(index)] = groups.get(self.group(index), 0) + 1
    found = []
    for _ in self.rungs:
      found.append(sum(groups.values()))
      groups = {k: max(1, n // self.eta) for k, n in groups.items()}
    return found

  def check(self) -> None:
    """Finds what is wrong with any trial before the first one starts.

    Raises:
      InputError: it cannot work, or it would tune on the pages of the test.
    """
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
    if tests & set(judged.partition("[")[0].split("+")):
      raise InputError(
        f"--split={self.split}: these are the pages of the test, and nothing"
        " may be chosen on them; name others"
      )
    for index in range(self.trials):
      for rung in range(len(self.rungs)):
        try:
          self.settings(index, rung)
        except InputError as e:
          raise InputError(f"trial {index}: {e}") from None

  def keep(self) -> None:
    """Writes DIR/plan.json, or compares it with the one that is there.

    Raises:
      InputError: the results there are of another search.
    """
    path = self.out / "plan.json"
    wanted = json.loads(json.dumps(self.facts()))
    if path.is_file():
      try:
        had = json.loads(path.read_text())
        differing = [k for k in wanted if had[k] != wanted[k]]
      except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: damaged; use another --out") from None
      if differing:
        key = differing[0]
        raise InputError(
          f"{path}: the search there has {key} = {had[key]}, not {wanted[key]};"
          " use another --out, or the flags that it was started with"
        )
    files.make_dir(self.out)
    files.write_atomic(path, json.dumps(wanted, indent=2) + "\n")

  def facts(self) -> dict[str, Any]:
    """What results depend on; the number of trials is not among it."""
    keys = ("config", "overrides", "seed", "rungs", "scale", "split", "metric")
    if len(self.rungs) > 1:
      keys += ("eta", "by")
    return {key: getattr(self, key) for key in (*keys, "space")}
