"""The folder MUSICMA++_2017 of the original -> class names and pages.

MUSICMA++_2017/MUSICMA++_2017/images_png, xml_annotations
MUSICMA++_2017/MUSICMA_classification/class_names.csv
MUSICMA++_2017/train_val_test/train.txt, val.txt, test.txt
"""

import csv
import pathlib

from dwd_jax.core import vocabulary
from dwd_jax.core.errors import InputError
from tfds_builders import checks
from tfds_builders.muscima_pp import muscima_pp_annotations as annotations

SPLITS = ("train", "val", "test")
_FOLDER = "MUSICMA++_2017"
_LAYOUT = "see the README of tfds_builders/muscima_pp for the layout"


def read(
  root: pathlib.Path, report: checks.BuildReport
) -> tuple[tuple[str, ...], dict[str, list[checks.PageFiles]]]:
  """The class names, and the pages of the splits in the order of the lists.

  Differs from the original: a listed page without its files is an error instead
  of being dropped, and a page may be in one list only.

  Args:
    root: the manual folder, the outer or the inner MUSICMA++_2017 or above.
    report: counts pages that no list names.

  Raises:
    InputError: part of the layout is missing.
  """
  base = root if (root / "train_val_test").is_dir() else root / _FOLDER
  lists = checks.require_dir(base / "train_val_test", _LAYOUT)
  data = base if (base / "images_png").is_dir() else base / _FOLDER
  images = checks.list_images(checks.require_dir(data / "images_png", _LAYOUT))
  folder = checks.require_dir(data / "xml_annotations", _LAYOUT)
  nested = base / "MUSICMA_classification" / "class_names.csv"
  flat = base / "class_names.csv"
  class_names, marked = read_class_names(
    flat if flat.is_file() and not nested.is_file() else nested
  )
  rows = annotations.Rows(annotations.CROP_OBJECTS, marked)
  splits: dict[str, list[checks.PageFiles]] = {}
  seen: dict[str, pathlib.Path] = {}
  for split in SPLITS:
    path = lists / f"{split}.txt"
    names = checks.read_page_names(path, seen) if path.exists() else ()
    for name in names:
      page = checks.PageFiles(
        name,
        images.get(name, data / "images_png" / f"{name}.png"),
        folder / f"{name}.xml",
        rows,
      )
      for file in (page.image, page.annotation):
        if not file.is_file():
          raise InputError(
            f"{file}: no such file, but {path} names its page; add it or take"
            " the name out of the list"
          )
      splits.setdefault(split, []).append(page)
  if "train" not in splits:
    raise InputError(
      f"{lists / 'train.txt'}: missing or empty; list one page name per line"
    )
  for name in sorted(set(images) - set(seen)):
    report.add("pages skipped: in no split list", name)
  return class_names, splits


def read_class_names(
  path: pathlib.Path,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
  """Names from lines `number,name` or `number,name,x`, in their order.

  Numbers are ignored, as in the original. If all names are those of v1.0 up to
  spelling (see `annotations.plain`), they get the spelling of the release.

  Returns:
    All names; those marked with x, which the original leaves out.
  """
  names, marked = [], []
  try:
    lines = list(csv.reader(checks.read_text(path).splitlines()))
  except csv.Error as e:
    raise InputError(f"{path}: not a table ({e}); correct it") from None
  for n, row in enumerate(lines, 1):
    row = [cell.strip() for cell in row]
    if not any(row):
      continue
    if len(row) not in (2, 3) or not row[1] or len(row[1]) > 100:
      raise InputError(
        f"{path}: line {n} is not `number,name` or `number,name,x`; correct it"
      )
    if row[1].strip("_") == "background":
      continue
    names.append(row[1])
    if row[2:] == ["x"]:
      marked.append(row[1])
  official = {
    annotations.plain(name): name for name in vocabulary.names_of("muscima_v1")
  }
  spelled = {name: official.get(annotations.plain(name)) for name in names}
  if all(spelled.values()):
    names = [spelled[name] or name for name in names]
    marked = [spelled[name] or name for name in marked]
  if not names or len(set(names)) < len(names):
    raise InputError(f"{path}: no names, or a name twice; correct it")
  return tuple(names), tuple(marked)
