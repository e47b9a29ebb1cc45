"""The file of --config: where it lies, and what is wrong where it fails."""

import pathlib
import re
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import ml_collections
from absl import flags
from ml_collections import config_flags

from dwd_jax.core.errors import InputError

_PACKAGE = pathlib.Path(__file__).parents[1]


def installed() -> pathlib.Path:
  """The folder of the configs that come with dwd_jax."""
  inside = _PACKAGE / "configs"  # of a wheel; else of a clone
  return inside if inside.is_dir() else _PACKAGE.parent / "configs"


def find(file: str) -> str:
  """What to open for --config=FILE or --config=FILE:ARGUMENT.

  Args:
    file: as given; configs/NAME.py is one of the configs that come with dwd_jax
      where the current folder has no such file.

  Raises:
    InputError: there is no such file.
  """
  path, colon, argument = file.partition(":")
  if pathlib.Path(path).is_file():
    return file
  given = pathlib.PurePath(path)
  if given == pathlib.PurePath("configs", given.name):
    own = installed() / given.name
    if own.is_file():
      return f"{own}{colon}{argument}"
  known = sorted(f"configs/{p.name}" for p in installed().glob("[!_]*.py"))
  raise InputError(
    f"--config={path}: no such file; dwd_jax comes with {', '.join(known)}"
  )


def found(argv: Sequence[str]) -> list[str]:
  """A command line with the file of --config as `find` gives it."""
  words = list(argv)
  for i, word in enumerate(words):
    name, equals, file = word.partition("=")
    if name in ("--config", "-config"):
      if equals:
        words[i] = f"{name}={find(file)}"
      elif i + 1 < len(words):
        words[i + 1] = find(words[i + 1])
  return words


def load(file: str, overrides: Iterable[str] = ()) -> Any:
  """A config as `python -m dwd_jax.main` reads it, not validated.

  Args:
    file: of --config, with ":ARGUMENT" if the config takes one.
    overrides: KEY=VALUE.

  Raises:
    InputError: no such file, an unknown key, a value of another type.
  """
  argv = ["", f"--config={find(file)}"]
  argv += [f"--config.{text}" for text in overrides]
  values = flags.FlagValues()
  config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
  try:
    with warnings.catch_warnings():
      # ml_collections opens files in an old way of Python.
      warnings.filterwarnings("ignore", r"the load_module\(\) method")
      values(argv)
    config = values["config"].value
    if not isinstance(config, ml_collections.ConfigDict):
      raise TypeError("get_config() does not return a ConfigDict")
    return config
  except Exception as e:  # configs are programs: anything may happen
    raise InputError(why(e, argv)) from None


def why(error: Exception, argv: Sequence[str]) -> str:
  """Names the flag or the key that is wrong, and the remedy.

  Args:
    argv: the command line.
  """
  # Late: only needed where something fails.
  from dwd_jax.train import settings

  text = " ".join(argv[1:])
  for key in re.findall(r"(?<!\S)--?config\.([^= ]+)", text):
    problem = settings.unknown_key(key)
    if problem:
      return problem
  if isinstance(error, IndexError):
    return f"config: {text}: a list has fewer entries than that"
  file = re.search(r"(?<!\S)--?config[= ]([^ :]*)", text)
  name = f"--config={file[1] if file else ''}"
  # ml_collections puts a whole traceback into some messages.
  said = str(error).strip().splitlines()[-1] if str(error).strip() else ""
  said = said.rpartition(f"{InputError.__module__}.InputError: ")[2]
  if re.search(
    r"(No module named|cannot import name .* from) 'configs\b", said
  ):
    return (
      f"{name}: {said}; defaults and recipes are no longer in `configs`: write"
      " `from dwd_jax.train import recipes, settings` and `settings.default()`"
      " instead of `default.get_config()`"
    )
  if "Traceback" in str(error):
    return f"{name}: {said}"
  if isinstance(error, flags.Error):
    return str(error)
  return f"{name}: {type(error).__name__}: {error}"
