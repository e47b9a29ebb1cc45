"""How long a trial trains, and whether a longer one can go on from it."""

import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import ml_collections
import numpy as np
from absl import flags
from ml_collections import config_flags

from dwd_jax.core.errors import InputError
from dwd_jax.train import optim, stages
from dwd_jax.train import settings as config_lib


def load(file: str, overrides: Iterable[str] = ()) -> Any:
  """A config as `python -m dwd_jax.main` reads it.

  Args:
    file: as after --config=, with ":argument" where the config takes one.
    overrides: KEY=VALUE, as after --config. there.

  Returns:
    The config, not validated.

  Raises:
    InputError: no such file, an unknown key, a value of another type.
  """
  overrides = list(overrides)
  if not pathlib.Path(file.partition(":")[0]).is_file():
    raise InputError(
      f"--config={file}: no such file; see configs/ for those there are"
    )
  argv = ["sweep", f"--config={file}", *(f"--config.{o}" for o in overrides)]
  values = flags.FlagValues()
  config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
  try:
    values(argv)
    config = values["config"].value
  except Exception as e:  # configs are programs: anything may happen
    for text in overrides:
      problem = config_lib.unknown_key(text.partition("=")[0])
      if problem:
        raise InputError(problem) from None
    reason = (str(e).strip() or type(e).__name__).splitlines()[-1]
    raise InputError(f"{' '.join(argv[1:])}: {reason}") from None
  if not isinstance(config, ml_collections.ConfigDict):
    raise InputError(f"--config={file}: get_config() returns no ConfigDict")
  return config


def stage_steps(
  steps: Sequence[int], total: int, scale: str = "all"
) -> list[int]:
  """Steps of every stage for a training of `total` steps.

  Args:
    steps: of the stages of the config; some may be 0.
    total: steps of all stages together.
    scale: "all": every stage keeps its share, and at least one step where it
      had any; "last": the last stage takes what the others leave.

  Returns:
    As many numbers as `steps`, of the sum `total`.

  Raises:
    InputError: fewer steps than stages, or none left for the last one.
  """
  active = [i for i, count in enumerate(steps) if count]
  if not active:
    raise InputError("config.stages: no stage has steps")
  found = list(steps)
  if scale == "last":
    found[active[-1]] += total - sum(steps)
    if found[active[-1]] < 1:
      raise InputError(
        f"--scale=last: {total} steps leave none for the last stage, the others"
        f" have {sum(steps) - steps[active[-1]]}; give more, or --scale=all"
      )
    return found
  if total < len(active):
    raise InputError(
      f"{total} steps for {len(active)} stages; give at least one each"
    )
  for i in active:
    found[i] = max(1, steps[i] * total // sum(steps))
  while sum(found) > total:  # single steps of short stages add up
    found[int(np.argmax(found))] -= 1
  found[int(np.argmax(found))] += total - sum(found)
  return found


def rungs(largest: int, count: int, eta: int) -> tuple[int, ...]:
  """Steps of the trials in each round of successive halving.

  Args:
    largest: steps of the last round.
    count: how many rounds; 1 = plain random search.
    eta: each round has so many times the steps of the one before.

  Returns:
    Smallest first.

  Raises:
    InputError: the first round would have no steps.
  """
  found = [largest // eta**i for i in reversed(range(count))]
  if found[0] < 1:
    raise InputError(
      f"{largest} steps are too few for {count} rungs with --eta={eta}; give"
      " more steps or fewer rungs"
    )
  return tuple(found)


def _rates(settings: config_lib.Settings, count: int) -> list[tuple]:
  """(stage's name and losses, learning rates) of the first `count` steps."""
  found = []
  for stage in settings.stages:
    steps = min(stage.steps, count)
    rates = optim.learning_rate(settings.optimizer, stage)(np.arange(steps))
    rates = np.broadcast_to(np.asarray(rates, np.float64), steps)
    found.append((stage.name, stage.losses, rates))
    count -= steps
    if not count:
      break
  return found


def continues(short: config_lib.Settings, long: config_lib.Settings) -> bool:
  """Whether a long training begins exactly as a short one.

  Only then is the checkpoint at the end of the short one what the long one
  would have come past, and can be gone on from. That holds at a constant
  learning rate, as long as only the last stage gets longer. It does not hold
  with a cosine: the short training has already come down to rate 0, and a
  longer one is still near the top after as many steps. To go on from there
  would mean to warm up once more (another training, and a worse one); to stop
  trials of the long schedule early instead would compare them at rates they do
  not end with, which favours small rates. Such trials start anew.

  Args:
    short: of the shorter run.
    long: of the longer run.
  """
  count = stages.total_steps(short.stages)
  if count > stages.total_steps(long.stages):
    return False
  pairs = list(zip(_rates(short, count), _rates(long, count), strict=False))
  same = all(a[:2] == b[:2] and np.array_equal(a[2], b[2]) for a, b in pairs)
  return same and sum(len(b[2]) for _, b in pairs) == count
