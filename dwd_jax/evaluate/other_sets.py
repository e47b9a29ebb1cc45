"""The data sets besides its own that a run is judged on: `config.eval.on`."""

import json
import re
from typing import Any

import ml_collections

from configs import default
from dwd_jax.core.errors import InputError


def of_config(config: Any) -> dict[str, tuple[str, Any]]:
  """The entries of `config.eval.on` that name a data set.

  Args:
    config: of the run, its keys checked.

  Returns:
    {name of the results: (where, such as "eval.on[0]", the entry)}.

  Raises:
    InputError: an entry without a builder, a name that two entries or an own
      split would share, or one that is not fit for a file.
  """
  found: dict[str, tuple[str, Any]] = {}
  empty = json.loads(default.other_set().to_json())
  own = (config.data.eval_split, config.data.test_split)
  for i, entry in enumerate(map(ml_collections.ConfigDict, config.eval.on)):
    where = f"eval.on[{i}]"
    if not entry.builder:
      # As JSON: tuples are lists where the config comes from a file.
      values = json.loads(entry.to_json())
      given = [key for key in values if values[key] != empty[key]]
      if given:
        raise InputError(
          f"config: {where}.{given[0]} is given, but no {where}.builder; name a"
          " folder of tfds_builders/"
        )
      continue
    name = entry.name or f"{entry.builder}-{entry.split}"
    if not re.fullmatch(r"\w[\w.+-]{0,99}", name, re.ASCII):
      raise InputError(
        f"config: {where}: {name!r} can not name a file; set {where}.name to"
        " letters, digits, and any of _ . + -"
      )
    if name in found or name in own:
      other = found[name][0] if name in found else "a split of config.data"
      raise InputError(
        f"config: {where}: its results would have the name '{name}', as those"
        f" of {other}; set {where}.name"
      )
    found[name] = (where, entry)
  return found
