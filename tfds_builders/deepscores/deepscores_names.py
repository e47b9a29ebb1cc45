"""Class names of a folder in the layout of DeepScores (2017)."""

import csv
import importlib.resources
import pathlib

from dwd_jax.core import vocabulary
from dwd_jax.core.errors import InputError
from tfds_builders import checks

_MAX_NAMES = 10_000
# What a list of names can be; `dwd_jax.engrave` writes both. The first one is
# taken where there is no list.
_VOCABULARIES = ("deepscores_v1", "deepscores_v2")


def of_folder(
  root: pathlib.Path, report: checks.BuildReport
) -> tuple[str, ...]:
  """The class names of a data set, in the order of their ids.

  Args:
    root: its folder; class_names.csv lies in `DeepScores_classification/` or
      in the folder itself.
    report: counts that there is none, and the 124 known names were taken.

  Raises:
    InputError: see `read`.
  """
  nested = root / "DeepScores_classification" / "class_names.csv"
  for path in (nested, root / "class_names.csv"):
    if path.exists():
      return read(path)
  report.add("class_names.csv missing: the 124 known names taken", root.name)
  known = importlib.resources.files("dwd_jax") / "engrave/deepscores_v1.csv"
  with importlib.resources.as_file(known) as path:
    return read(path)


def vocabulary_of(class_names: tuple[str, ...]) -> str:
  """The vocabulary that has all these names, the older one first, or ""."""
  return vocabulary.first_with(class_names, _VOCABULARIES)


def read(path: pathlib.Path) -> tuple[str, ...]:
  """Names by id from lines `id,name` with ids 0, 1, 2, ... in any order."""
  names: dict[int, str] = {}
  seen: set[str] = set()
  try:
    rows = list(csv.reader(checks.read_text(path).splitlines()))
  except csv.Error as e:
    raise InputError(f"{path}: not a CSV file ({e}); correct it") from None
  for n, row in enumerate(rows, 1):
    row = [cell.strip() for cell in row]
    if not any(row):
      continue
    # A short number: turning many digits into one takes long, or fails.
    if len(row) != 2 or not (row[0].isdecimal() and len(row[0]) < 10):
      raise InputError(f"{path}: line {n} is not `id,name`; correct it")
    if not row[1] or not row[1].isprintable() or len(row[1]) > 200:
      raise InputError(f"{path}: line {n} has no usable name; correct it")
    if int(row[0]) in names or row[1] in seen:
      raise InputError(f"{path}: line {n} repeats an id or a name; correct it")
    names[int(row[0])] = row[1]
    seen.add(row[1])
  if len(names) > _MAX_NAMES:
    raise InputError(
      f"{path}: {len(names):,} classes are more than the {_MAX_NAMES:,}"
      " allowed; replace the file"
    )
  if not names or sorted(names) != list(range(len(names))):
    raise InputError(f"{path}: the ids must be 0, 1, 2, ...; number them so")
  return tuple(names[i] for i in range(len(names)))
