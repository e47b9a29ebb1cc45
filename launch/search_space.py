"""What a search tries: ranges and choices for keys of the config.

A space maps keys to what they may be:

  choices(a, b, ...)       one of the values
  uniform(low, high)       a number
  log_uniform(low, high)   a number, uniform in its logarithm
  int(low, high)           a whole number, both ends included
  anything else            always that value

A file may also have {"log_uniform": [low, high]}, and a map of choices that
gives each value keys of its own; see launch/optimizers.yaml.
"""

import ast
import math
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import yaml

from dwd_jax.core import files
from dwd_jax.core.errors import InputError
from dwd_jax.train import settings as config_lib

DEFAULT = pathlib.Path(__file__).with_name("optimizers.yaml")
_MAX_BYTES = 2**16
_RANGES = ("uniform", "log_uniform", "int")
_KINDS = ("choices", *_RANGES)
_CALL = re.compile(rf"({'|'.join(_KINDS)})\((.*)\)", re.DOTALL)


def read(path: pathlib.Path) -> dict[str, Any]:
  """Reads a space from a file in YAML or JSON and checks it."""
  try:
    if path.stat().st_size > _MAX_BYTES:
      raise InputError(f"{path}: larger than {_MAX_BYTES} bytes; not a space")
    if path.suffix == ".json":
      return check(files.read_json(path), str(path))
    text = path.read_text(encoding="utf8")
    # Small files could unfold to huge spaces.
    if any(isinstance(t, yaml.AliasToken) for t in yaml.scan(text)):
      raise InputError(f"{path}: aliases (*name) are not read; write them out")
    return check(yaml.safe_load(text), str(path))
  except InputError:
    raise
  except OSError as e:
    raise InputError(f"{path}: {e.strerror}; correct --space") from None
  except (ValueError, RecursionError, yaml.YAMLError) as e:
    raise InputError(f"{path}: not readable ({_short(e)})") from None


def parse(text: str) -> dict[str, Any]:
  """Reads KEY=SPEC of --set: a space of one key, checked."""
  key, _, spec = text.partition("=")
  where = f"--set={_short(text)}"
  if not spec:
    raise InputError(f"{where}: give KEY=SPEC, see --help")
  return check({key: spec}, where)


def check(space: Any, where: str) -> dict[str, Any]:
  """Converts a space to {key: {kind: values}} or {key: {"value": text}}.

  Args:
    space: as read.
    where: where it comes from, for errors.

  Raises:
    InputError: an unknown key of the config, or a bad range.
  """
  if not isinstance(space, Mapping):
    raise InputError(f"{where}: a space maps keys of the config to ranges")
  checked = {}
  for key, spec in space.items():
    problem = config_lib.unknown_key(str(key))
    if problem:
      raise InputError(f"{where}: {problem}")
    checked[key] = _check_spec(spec, f"{where}: {key}")
  seen = set(checked)
  for spec in checked.values():
    below = _below(spec)
    if seen & below:
      raise InputError(
        f"{where}: '{min(seen & below)}' is given twice; remove one"
      )
    seen |= below
  return checked


def _below(spec: Mapping[str, Any]) -> set[str]:
  """The keys that the choices of a key add."""
  found = set()
  if isinstance(spec.get("choices"), Mapping):
    for space in spec["choices"].values():
      found |= set(space).union(*map(_below, space.values()))
  return found


def _check_spec(spec: Any, where: str) -> dict[str, Any]:
  call = _CALL.fullmatch(spec.strip()) if isinstance(spec, str) else None
  if call:
    spec = {call[1]: _values(call[2])}
  if not isinstance(spec, Mapping):
    return {"value": _text(spec)}
  kind, values = next(iter(spec.items()), ("", None))
  if len(spec) != 1 or kind not in (*_KINDS, "value"):
    raise InputError(f"{where}: {list(spec)}: give one of {_KINDS}")
  if kind == "value":
    return {kind: _text(values)}
  if kind == "choices":
    if not isinstance(values, Mapping | list | tuple) or not all(
      str(value) for value in values or [""]
    ):
      raise InputError(f"{where}: choices need one or more values")
    if isinstance(values, Mapping):
      return {
        kind: {_text(v): check(s or {}, where) for v, s in values.items()}
      }
    return {kind: [_text(value) for value in values]}
  return {kind: _ends(kind, values, where)}


def _values(text: str) -> list[Any]:
  try:
    return list(ast.literal_eval(f"({text},)"))
  except (ValueError, SyntaxError, RecursionError, MemoryError):
    return [part.strip() for part in text.split(",")]  # words


def _ends(kind: str, values: Any, where: str) -> list[float]:
  try:
    low, high = map(float, values)  # YAML 1.1 takes 1e-3 for text
  except (TypeError, ValueError):
    low = high = math.nan
  if not (math.isfinite(low) and math.isfinite(high) and low <= high):
    raise InputError(
      f"{where}: a range is (low, high), two finite numbers, not"
      f" {_short(values)}"
    )
  if kind == "log_uniform" and low <= 0:
    raise InputError(f"{where}: log_uniform needs numbers above 0")
  if kind == "int":
    if low != int(low) or high != int(high):
      raise InputError(f"{where}: int needs whole numbers")
    low, high = int(low), int(high)
  return [low, high]


def suggest(trial: Any, space: Mapping[str, Any], name: str = "") -> dict:
  """Settings of a trial.

  Args:
    trial: Optuna's; chooses the value of every key that varies.
    space: checked.
    name: prefix of Optuna's names for keys that belong to a choice.

  Returns:
    {key of the config: value, as text for the command line}.
  """
  found = {}
  for key, spec in space.items():
    ((kind, values),) = spec.items()
    if kind == "value":
      found[key] = values
    elif kind == "choices":
      found[key] = trial.suggest_categorical(name + key, list(values))
      if isinstance(values, Mapping):
        option = found[key]
        found |= suggest(trial, values[option], f"{name}{option}/")
    elif kind == "int":
      found[key] = _text(trial.suggest_int(name + key, *values))
    else:
      log = kind == "log_uniform"
      value = trial.suggest_float(name + key, *values, log=log)
      found[key] = f"{value:.4g}"
  return found


def corners(space: Mapping[str, Any]) -> list[dict[str, str]]:
  """Settings that cover every choice and both ends of every range."""
  found: list[dict[str, str]] = [{}]
  for key, spec in space.items():
    ((kind, values),) = spec.items()
    options: list[dict[str, str]] = []
    for value in [values] if kind == "value" else values:
      below = values[value] if isinstance(values, Mapping) else {}
      options += [{key: _text(value)} | more for more in corners(below)]
    first = found[0]
    found = [settings | options[0] for settings in found]
    found += [first | option for option in options[1:]]
  return found


def _text(value: Any) -> str:
  """A value as text for the command line of a run."""
  if isinstance(value, list):
    value = tuple(value)
  return value.strip() if isinstance(value, str) else repr(value)


def _short(value: Any) -> str:
  return " ".join(str(value).split())[:100]
