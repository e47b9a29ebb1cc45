"""Chooses the builder that reads a folder of original files."""

import dataclasses
import importlib
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from dwd_jax.core.errors import InputError
from tfds_builders import base, checks

# Not tried unless named: it cuts symbols out of the pages of other builders,
# which takes long.
_ONLY_IF_NAMED = ("symbols",)
_MAX_FOLDERS = 60  # tried at each level


@dataclasses.dataclass(frozen=True)
class Reading:
  """A builder that reads the folder, and what it found.

  Attributes:
    builder: folder name in tfds_builders/.
    config: name of the builder's config.
    parser: its parsing module.
    data_set: class names and pages.
    report: counts from reading the lists of pages.
    others: names of further builders that read the folder.
    in_colour: its records keep colours that matter.
  """

  builder: str
  config: str
  parser: Any
  options: Any
  data_set: checks.DataSet
  report: checks.BuildReport
  others: tuple[str, ...] = ()
  in_colour: bool = False

  def flags(self) -> str:
    """Command line flags that choose this reading."""
    text = f"--builder={self.builder} --builder-config={self.config}"
    if self.others:
      text += f" (possible too: {', '.join(self.others)})"
    return text


def names() -> list[str]:
  """Names of the builders in tfds_builders/."""
  folder = pathlib.Path(str(base.__file__)).parent
  return sorted(p.parent.name for p in folder.glob("*/*_dataset_builder.py"))


def choose(
  root: pathlib.Path, builder: str, config: str, options: Mapping[str, Any]
) -> Reading:
  """Reads the lists of pages with the builder that fits best.

  Args:
    root: folder of original files.
    builder: "" = try all.
    config: "" = try all.
    options: see `base.make_options`.

  Raises:
    InputError: the named builder does not fit or does not exist; none was
      named and none fits, with what each of them misses as details.
  """
  if builder:
    return _read(root, builder, config, options)
  fits: list[Reading] = []
  reasons = []
  for name in names():
    if name in _ONLY_IF_NAMED:
      reasons.append(
        f"{name}: not tried, as it reads whole pages; --builder={name}"
      )
      continue
    try:
      fits.append(_read(root, name, config, options))
    except InputError as e:
      reasons.append(f"{name}: {e}")
  if not fits:
    raise InputError(
      f"{root}: no builder reads this folder; {_hint(root)}", reasons
    )
  # A layout may fit several builders; the annotations fit one.
  fits = [f for f in fits if len(fits) == 1 or _reads_a_page(f)] or fits
  # Builders with a fixed vocabulary first, then those with the most pages.
  fits.sort(key=lambda f: (not f.data_set.vocabulary, -_num_pages(f)))
  others = tuple(f.builder for f in fits[1:])
  return dataclasses.replace(fits[0], others=others)


def _reads_a_page(reading: Reading) -> bool:
  """Whether one of the first three pages can be read."""
  pages = [page for split in reading.data_set.splits.values() for page in split]
  for page in pages[:3]:
    try:
      names, report = reading.data_set.class_names, checks.BuildReport()
      made = reading.parser.read_page(page, names, reading.options, report)
      if not isinstance(made, checks.ParsedPage):
        next(iter(made), None)
    except InputError:
      continue
    return True
  return False


def _num_pages(reading: Reading) -> int:
  return sum(map(len, reading.data_set.splits.values()))


def _read(
  root: pathlib.Path, name: str, config: str, options: Mapping[str, Any]
) -> Reading:
  """Reads with the first config that fits; else raises the first error."""
  if name not in names():
    raise InputError(
      f"--builder: no builder {name!r}; there are {', '.join(names())}"
    )
  module = importlib.import_module(
    f"tfds_builders.{name}.{name}_dataset_builder"
  )
  parser = module.Builder.PARSER
  known = [c.name for c in module.Builder.BUILDER_CONFIGS]
  if config and config not in known:
    raise InputError(
      f"--builder-config: {name} has no config {config!r}; it has"
      f" {', '.join(known)}"
    )
  made = base.make_options(parser, options, name)
  errors = []
  for tried in [config] if config else known:
    report = checks.BuildReport()
    try:
      data_set = parser.read_data_set(root, tried, made, report)
    except InputError as e:
      errors.append(e)
      continue
    return Reading(
      builder=name,
      config=tried,
      parser=parser,
      options=made,
      data_set=data_set,
      report=report,
      in_colour=module.Builder.IN_COLOUR,
    )
  raise errors[0]


def _hint(root: pathlib.Path) -> str:
  """Names a data set in a folder above or below."""
  for folder in _near(root.absolute()):
    for name in names():
      if name in _ONLY_IF_NAMED:
        continue
      try:
        _read(folder, name, "", {})
      except InputError:
        continue
      return f"but {name} reads {folder}: name that folder"
  return "what each of them misses:"


def _near(root: pathlib.Path) -> Iterator[pathlib.Path]:
  yield root.parent
  yield root.parent.parent
  below = folders_in(root)
  yield from below
  for path in below:
    yield from folders_in(path)


def folders_in(path: pathlib.Path) -> list[pathlib.Path]:
  """The first 60 folders in a folder, sorted, without hidden ones."""
  try:
    with os.scandir(path) as entries:
      found = [
        pathlib.Path(e.path)
        for e in entries
        if e.is_dir() and not e.name.startswith(".")
      ]
  except OSError:  # not readable
    return []
  return sorted(found)[:_MAX_FOLDERS]
