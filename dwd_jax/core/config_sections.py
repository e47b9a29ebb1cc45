"""A section of a config is a frozen dataclass: the one place of its keys.

A field is a key, with its type and default; `typing.Literal` lists choices, a
dataclass is a section below, a tuple of them a list of sections. "Attributes:"
of the docstring says unit and meaning; `__post_init__` checks ranges. Made from
these: the `ConfigDict` of the defaults, the check of a config, the tables of
docs/configuration.md.
"""

import dataclasses
import difflib
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TypeVar

import ml_collections

from dwd_jax.core.errors import InputError

T = TypeVar("T")
_MAPPING = Mapping | ml_collections.ConfigDict
# Metadata of a field that is no key of its section: filled in from elsewhere.
NOT_A_KEY = {"key": False}
_WORDS = {
  bool: "True or False",
  int: "a whole number",
  float: "a number",
  str: "a string",
  types.EllipsisType: "...",
}


def keys(section: type) -> dict[str, Any]:
  """{key: type} of a section."""
  hints = typing.get_type_hints(section)
  return {
    field.name: hints[field.name]
    for field in dataclasses.fields(section)
    if field.metadata != NOT_A_KEY
  }


def config_dict(section: Any) -> ml_collections.ConfigDict:
  """The keys and values of an instance of a section, for a program to change.

  Typed by the values: another one must be of the same type.
  """
  return ml_collections.ConfigDict(
    {key: _plain(getattr(section, key)) for key in keys(type(section))}
  )


def _plain(value: Any) -> Any:
  if isinstance(value, tuple):
    return tuple(map(_plain, value))
  return config_dict(value) if dataclasses.is_dataclass(value) else value


def nearest(key: str, known: Iterable[str]) -> str:
  """A hint: the known key that looks most like `key`, or all of them."""
  known = sorted(known)
  close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
  return f"did you mean '{close[0]}'?" if close else f"known: {known}"


def check(values: Any, section: type, path: str = "") -> None:
  """Checks keys, types and choices of a section and those below.

  A section with the class attribute `MORE_KEYS` may have others besides. An
  entry of a list may lack keys that have a default.

  Args:
    values: ConfigDict or mapping; lists are taken for tuples.
    section: what it should be.
    path: of the section in the config, "" = the top.

  Raises:
    InputError: the first thing that is wrong.
  """
  known = keys(section)
  may_lack = _with_defaults(section) if path.endswith("]") else ()
  below = f"{path}." if path else ""
  for key in known:
    if key not in values and key not in may_lack:
      raise InputError(
        f"config: '{below}{key}' is missing; start from the defaults, as"
        " configs/engraved.py does"
      )
  for key, value in values.items():
    if key in known:
      _check_value(value, known[key], f"{below}{key}")
    elif not getattr(section, "MORE_KEYS", False):
      raise InputError(
        f"config: unknown key '{below}{key}'; {nearest(key, known)}"
      )


def check_choices(section: Any, path: str) -> None:
  """Refuses a value that is none of its field's choices.

  Args:
    section: instance of a section.

  Raises:
    InputError: names the key and the choices.
  """
  for key, hint in keys(type(section)).items():
    if typing.get_origin(hint) is Literal:
      _check_value(getattr(section, key), hint, f"{path}.{key}")


def _with_defaults(section: type) -> set[str]:
  return {
    field.name
    for field in dataclasses.fields(section)
    if field.default is not field.default_factory  # both MISSING
  }


def _check_value(value: Any, hint: Any, path: str) -> None:
  listed = _listed(hint)
  if dataclasses.is_dataclass(hint):
    if not isinstance(value, _MAPPING):
      raise InputError(f"config: '{path}' is a section; set keys inside it")
    check(value, typing.cast(type, hint), path)
  elif listed:
    if not isinstance(value, list | tuple) or not all(
      isinstance(entry, _MAPPING) for entry in value
    ):
      raise InputError(
        f"config: '{path}' is a list of sections; give a tuple of them, with"
        f" the keys of '{path}[0]' in docs/configuration.md"
      )
    for i, entry in enumerate(value):
      check(entry, listed, f"{path}[{i}]")
  elif not _fits(value, hint):
    raise InputError(f"config: {path} is {value!r}; use {_words(hint)}")


def _listed(hint: Any) -> Any:
  """The section that a type is a list of."""
  entry: Any = (*typing.get_args(hint), None)[0]
  return entry if dataclasses.is_dataclass(entry) else None


def _fits(value: Any, hint: Any) -> bool:
  args = typing.get_args(hint)
  if typing.get_origin(hint) is Literal:
    return value in args
  if typing.get_origin(hint) is tuple:
    if not isinstance(value, list | tuple):
      return False
    if args[-1] is Ellipsis:
      return all(_fits(part, args[0]) for part in value)
    return len(value) == len(args) and all(map(_fits, value, args))
  if isinstance(value, bool):
    return hint is bool
  return isinstance(value, int | float if hint is float else hint)


def _words(hint: Any) -> str:
  args = typing.get_args(hint)
  if typing.get_origin(hint) is Literal:
    return f"one of {args}"
  if args:
    return f"({', '.join(map(_words, args))})"
  if dataclasses.is_dataclass(hint):
    return "a section"
  return _WORDS[type(hint) if hint is Ellipsis else hint]


def make(section: type[T], values: Any, **more: Any) -> T:
  """A section from values that `check` has let through.

  Args:
    section: dataclass.
    values: ConfigDict or mapping.
    **more: fields that are no keys, and sections that are made already.

  Raises:
    InputError: a value is out of range.
  """
  made = {
    key: _made(values[key], hint)
    for key, hint in keys(section).items()
    if key in values and key not in more
  }
  return section(**made, **more)


def read(section: type[T], values: Any, path: str, **more: Any) -> T:
  """A section of a file; what an older version did not know is the default.

  Args:
    section: dataclass.
    **more: fields that are no keys.

  Raises:
    InputError: it is no such section.
  """
  given = {key: value for key, value in values.items() if key not in more}
  values = {**config_dict(section()), **given}
  check(values, section, path)
  return make(section, values, **more)


def _made(value: Any, hint: Any) -> Any:
  listed = _listed(hint)
  if dataclasses.is_dataclass(hint):
    return make(typing.cast(type, hint), value)
  if listed:
    return tuple(make(listed, entry) for entry in value)
  if isinstance(value, list | tuple):
    return tuple(_made(part, None) for part in value)
  return float(value) if hint is float else value


def meanings(section: type) -> dict[str, str]:
  """{key: unit and meaning}, of the docstrings of a section and its bases."""
  found: dict[str, str] = {}
  for cls in reversed(section.__mro__[:-1]):
    text = (inspect.cleandoc(cls.__doc__ or "")).partition("Attributes:\n")[2]
    for key, meaning in re.findall(r"(?m)^  (\w+): (.*(?:\n    .*)*)", text):
      found[key] = " ".join(meaning.split())
  return found


def table(section: type, path: str) -> Iterator[str]:
  """Lines of Markdown: what a section is for, its keys, the sections below.

  A section below whose key has a meaning of its own is told elsewhere.

  Args:
    section: dataclass.
  """
  text = inspect.cleandoc(section.__doc__ or "").partition("Attributes:")[0]
  text = " ".join(text.split())
  yield from textwrap.wrap(text, 80, break_on_hyphens=False)
  yield from ("", "| key | default | values | meaning |")
  yield "| --- | --- | --- | --- |"
  known, told, below = keys(section), meanings(section), {}
  for field in dataclasses.fields(section):
    if field.name not in known:
      continue
    hint, key = known[field.name], f"{path}.{field.name}".lstrip(".")
    if field.name not in told:
      below[key] = hint
      continue
    default, values = f"`{field.default!r}`", _words(hint)
    if field.default is dataclasses.MISSING or _listed(hint):
      default = ""
    if typing.get_origin(hint) is Literal:
      values = ", ".join(f"`{value!r}`" for value in typing.get_args(hint))
    cells = (f"`{key}`", default, values, told[field.name].removesuffix("."))
    row = " | ".join(cell.replace("|", "\\|") for cell in cells)
    yield f"| {row} |"
    if _listed(hint):
      below[f"{key}[0]"] = _listed(hint)
  for key, hint in below.items():
    yield from ("", f"{'###' if '.' in key else '##'} {key}", "")
    yield from table(hint, key)
