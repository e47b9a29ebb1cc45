"""What a search tries: a file of ranges and choices -> settings of a trial.

A space maps keys of the config to what they may be:

  {"choices": [a, b, ...]}      each value as often as the others
  {"choices": {"a": {...}, ...}}  the same, each with a space of its own below
  {"uniform": [low, high]}      a number
  {"log_uniform": [low, high]}  a number, every factor of ten alike
  {"int": [low, high]}          a whole number, both ends included
  anything else                 that value, always

The settings of a trial follow from the seed and the trial's number alone, so
that a search can be stopped, continued, made longer and spread over machines.
Independent draws would leave gaps in a range and prefer one choice by chance
where trials are few. So choices are dealt: n of them come once each in every n
trials, in random order. Numbers step through their range by a golden ratio from
a random start, which covers it evenly however many trials there are (Roberts
2018, "The unreasonable effectiveness of quasirandom sequences").
"""

import ast
import json
import math
import pathlib
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import yaml

from dwd_jax.core.errors import InputError
from dwd_jax.train import settings as config_lib

_MAX_BYTES = 2**20
_MAX_ENTRIES = 1000
_RANGES = ("uniform", "log_uniform", "int")
_KINDS = ("choices", *_RANGES)

# Rates an order of magnitude or more around where each optimizer learns in
# short runs with batch norm. Few values for the decays: they are constants of
# the compiled step, so trials with the same ones need not compile again.
DEFAULT: dict[str, Any] = {
  "optimizer.name": {
    "choices": {
      "rmsprop": {
        "optimizer.learning_rate": {"log_uniform": [3e-5, 3e-2]},
        "optimizer.l2": {"choices": [0.0, 5e-7]},
        "optimizer.weight_decay": 0.0,
      },
      "adam": {
        "optimizer.learning_rate": {"log_uniform": [1e-4, 3e-2]},
        "optimizer.l2": 0.0,
        "optimizer.weight_decay": {"choices": [0.0, 1e-4]},
      },
      "sgd": {
        "optimizer.learning_rate": {"log_uniform": [1e-3, 1.0]},
        "optimizer.l2": {"choices": [0.0, 1e-5]},
        "optimizer.weight_decay": 0.0,
      },
    }
  }
}


def read(path: pathlib.Path) -> dict[str, Any]:
  """A space from a file.

  Args:
    path: .json, .yaml or .yml; any other file holds a Python literal.

  Returns:
    The space, checked.

  Raises:
    InputError: no such file, not readable, or not a space.
  """
  try:
    if path.stat().st_size > _MAX_BYTES:
      raise InputError(f"{path}: larger than {_MAX_BYTES} bytes; not a space")
    text = path.read_text(encoding="utf8")
    if path.suffix == ".json":
      space = json.loads(text)
    elif path.suffix in (".yaml", ".yml"):
      space = yaml.safe_load(text)
    else:
      space = ast.literal_eval(text.strip())
  except OSError as e:
    raise InputError(f"{path}: {e.strerror}; correct --space") from None
  except (ValueError, SyntaxError, RecursionError, yaml.YAMLError) as e:
    raise InputError(f"{path}: not readable ({_short(e)})") from None
  return check(space, str(path))


def parse(text: str) -> dict[str, Any]:
  """A space of one key, from --set.

  Args:
    text: KEY=SPEC. SPEC is log_uniform(1e-5,1e-2), uniform(0,1), int(1,4),
      choices(adam,sgd), a value, or as in a file.

  Raises:
    InputError: it is not of that form.
  """
  key, equals, spec = text.partition("=")
  call = re.fullmatch(r"(\w+)\((.*)\)", spec.strip())
  if not equals or not spec:
    raise InputError(f"--set={text}: give KEY=SPEC, see --help")
  if call and call[1] in _KINDS:
    values = [_value(part) for part in call[2].split(",")]
    return check({key: {call[1]: values}}, f"--set={text}")
  return check({key: _value(spec)}, f"--set={text}")


def _value(text: str) -> Any:
  try:
    return ast.literal_eval(text.strip())
  except (ValueError, SyntaxError, RecursionError):
    return text.strip()


def check(space: Any, where: str) -> dict[str, Any]:
  """Checks a space; numbers that YAML takes for text become numbers.

  Args:
    space: as read.
    where: it comes from, for the messages.

  Raises:
    InputError: an unknown key of the config, a range that is none.
  """
  return _check(space, where, [_MAX_ENTRIES], ())


def _check(space: Any, where: str, left: list[int], above: tuple) -> dict:
  if not isinstance(space, Mapping) or not all(
    isinstance(key, str) for key in space
  ):
    raise InputError(f"{where}: a space maps keys of the config to ranges")
  checked = {}
  for key, spec in space.items():
    left[0] -= 1
    if left[0] < 0:
      raise InputError(f"{where}: more than {_MAX_ENTRIES} entries")
    problem = config_lib.unknown_key(key)
    if problem:
      raise InputError(f"{where}: {problem}")
    if key in above:
      raise InputError(f"{where}: '{key}' is given on two levels; remove one")
    checked[key] = _check_spec(spec, where, key, left, (*above, *space))
  return checked


def _check_spec(spec: Any, where: str, key: str, left: list[int], above) -> Any:
  kind, values = _kind(spec)
  if kind == "value":
    if isinstance(spec, Mapping):
      raise InputError(
        f"{where}: {key}: {sorted(map(str, spec))}: give one of {_KINDS}"
      )
    return spec
  if kind == "choices":
    if not isinstance(values, Mapping | list | tuple) or not values:
      raise InputError(f"{where}: {key}: choices need one or more values")
    if isinstance(values, Mapping):
      names = [str(name) for name in values]
      below = [
        _check(sub or {}, f"{where}: {key}={name}", left, above)
        for name, sub in zip(names, values.values(), strict=True)
      ]
      return {kind: dict(zip(names, below, strict=True))}
    return {kind: list(values)}
  low, high = _ends(values, where, key)
  if kind == "log_uniform" and low <= 0:
    raise InputError(f"{where}: {key}: log_uniform needs numbers above 0")
  if kind == "int":
    if low != int(low) or high != int(high):
      raise InputError(f"{where}: {key}: int needs whole numbers")
    low, high = int(low), int(high)
  return {kind: [low, high]}


def _ends(values: Any, where: str, key: str) -> tuple[float, float]:
  try:
    low, high = map(float, values)  # YAML 1.1 takes 1e-3 for text
  except (TypeError, ValueError):
    low = high = math.nan
  if not (math.isfinite(low) and math.isfinite(high) and low <= high):
    raise InputError(
      f"{where}: {key}: a range is [low, high], two finite numbers, not"
      f" {_short(values)}"
    )
  return low, high


def _kind(spec: Any) -> tuple[str, Any]:
  if isinstance(spec, Mapping) and len(spec) == 1:
    ((kind, values),) = spec.items()
    if kind in _KINDS:
      return kind, values
  return "value", spec


def sample(space: Mapping[str, Any], seed: int, index: int) -> dict[str, Any]:
  """Settings of a trial.

  Args:
    space: checked.
    seed: of the search.
    index: number of the trial, from 0.

  Returns:
    {key of the config: value}; the same for the same arguments.
  """
  params: dict[str, Any] = {}
  _sample(space, seed, index, "", params)
  return params


def _sample(
  space: Mapping[str, Any], seed: int, index: int, path: str, params: dict
) -> None:
  steps = _steps(sum(_kind(spec)[0] in _RANGES for spec in space.values()))
  for key, spec in space.items():
    kind, values = _kind(spec)
    here = f"{path}/{key}"
    if kind == "value":
      params[key] = values
    elif kind == "choices":
      options = list(values)
      # Which hand of the deal it is, and which card of it.
      hand, card = divmod(index, len(options))
      order = _random(seed, here, hand).permutation(len(options))
      params[key] = option = options[order[card]]
      if isinstance(values, Mapping):
        _sample(values[option], seed, hand, f"{here}={option}", params)
    else:
      start = _random(seed, here, 0).random()
      share = (start + index * steps.pop()) % 1
      params[key] = _in_range(kind, values[0], values[1], share)


def _random(seed: int, path: str, hand: int) -> np.random.Generator:
  return np.random.default_rng([seed, zlib.crc32(path.encode()), hand])


def _steps(dimensions: int) -> list[float]:
  """One irrational step for each dimension: powers of a golden ratio."""
  ratio = 2.0
  for _ in range(60):  # x ** (d + 1) = x + 1
    ratio = (1 + ratio) ** (1 / (dimensions + 1))
  return [ratio ** -(i + 1) for i in range(dimensions)]


def _in_range(kind: str, low: float, high: float, share: float) -> Any:
  if kind == "int":
    return int(low + math.floor(share * (high - low + 1)))
  if kind == "log_uniform":
    value = low * (high / low) ** share
  else:
    value = low + (high - low) * share
  return min(max(float(f"{value:.4g}"), low), high)


def as_text(value: Any) -> str:
  """A value as the command line of a run takes it."""
  if isinstance(value, list):
    value = tuple(value)
  return value if isinstance(value, str) else repr(value)


def varied(space: Mapping[str, Any]) -> Sequence[str]:
  """Keys of a space that are not the same in every trial."""
  found: dict[str, None] = {}
  for key, spec in space.items():
    kind, values = _kind(spec)
    if kind != "value":
      found[key] = None
    if kind == "choices" and isinstance(values, Mapping):
      for below in values.values():
        found |= dict.fromkeys(below)
  return list(found)


def _short(value: Any) -> str:
  return " ".join(str(value).split())[:100]
