"""DeepScores (2017) folders -> pages, boxes, labels; no TFDS in here."""

import csv
import dataclasses
import pathlib

import numpy as np

from dwd_jax.errors import InputError
from tfds_builders import checks

SPLITS = ("train", "val", "test")
_LAYOUT = "see the README of tfds_builders/deepscores for the layout"


@dataclasses.dataclass(frozen=True)
class Options:
  """What `data.options` can change."""


def extra_features(config: str, options: Options) -> tuple[str, ...]:
  """Names of `base.EXTRA_FEATURES` that the records have."""
  del config, options
  return ()


def read_data_set(
  root: pathlib.Path,
  config: str,
  options: Options,
  report: checks.BuildReport,
) -> checks.DataSet:
  """Lists the pages of a folder in the layout of DeepScores (2017).

  `images_png` and `xml_annotations` lie in `segmentation_detection/` or right
  under `root`.

  Args:
    root: the manual folder.
    config: name of the builder config.
    options: see there.
    report: counts pages that no split names.

  Returns:
    Class names in the order of class_names.csv; pages in the order of the
    split lists. A split without a list, or with an empty one, is absent.

  Raises:
    InputError: anything of the layout is missing, a page is in two splits,
      an image has no annotation or the reverse.
  """
  del config, options
  checks.require_dir(root, _LAYOUT)
  images = checks.require_dir(_find(root, "images_png"), _LAYOUT)
  annotations = checks.require_dir(_find(root, "xml_annotations"), _LAYOUT)
  lists = checks.require_dir(_find(root, "train_val_test"), _LAYOUT)
  class_names = read_class_names(_class_names_path(root))
  have_image = {p.stem for p in images.glob("*.png")}
  have_annotation = {p.stem for p in annotations.glob("*.xml")}

  splits: dict[str, list[checks.PageFiles]] = {}
  seen: dict[str, pathlib.Path] = {}
  for split in SPLITS:
    path = lists / f"{split}.txt"
    if not path.exists():
      continue
    names = _read_list(path, seen)
    if not names:
      report.add("split lists empty", path.name)
    for name in names:
      page = checks.PageFiles(
        name, images / f"{name}.png", annotations / f"{name}.xml"
      )
      if name not in have_image:
        raise InputError(
          f"{page.image}: no such image, but {path} names it; add the image"
          " or take the name out of the list"
        )
      if name not in have_annotation:
        raise InputError(
          f"{page.annotation}: no such annotation, but {path} names the page;"
          " add the file or take the name out of the list"
        )
      splits.setdefault(split, []).append(page)
  if "train" not in splits:
    raise InputError(
      f"{lists / 'train.txt'}: missing or empty; list one page name a line"
    )
  for name in sorted((have_image | have_annotation) - set(seen)):
    report.add("pages skipped: in no split list", name)
  return checks.DataSet(class_names, splits)


def _find(root: pathlib.Path, name: str) -> pathlib.Path:
  nested = root / "segmentation_detection" / name
  return nested if nested.is_dir() else root / name


def _class_names_path(root: pathlib.Path) -> pathlib.Path:
  nested = root / "DeepScores_classification" / "class_names.csv"
  flat = root / "class_names.csv"
  return flat if flat.is_file() and not nested.is_file() else nested


def read_class_names(path: pathlib.Path) -> tuple[str, ...]:
  """Names by id from lines `id,name` with ids 0, 1, 2, ... in any order."""
  names: dict[int, str] = {}
  for n, row in enumerate(csv.reader(checks.read_text(path).splitlines()), 1):
    row = [cell.strip() for cell in row]
    if not any(row):
      continue
    if len(row) != 2 or not row[0].isdecimal() or not row[1]:
      raise InputError(f"{path}: line {n} is not `id,name`; correct it")
    if int(row[0]) in names or row[1] in names.values():
      raise InputError(f"{path}: line {n} repeats an id or a name; correct it")
    names[int(row[0])] = row[1]
  if not names or sorted(names) != list(range(len(names))):
    raise InputError(f"{path}: the ids must be 0, 1, 2, ...; number them so")
  return tuple(names[i] for i in range(len(names)))


def _read_list(path: pathlib.Path, seen: dict[str, pathlib.Path]) -> list[str]:
  """Page names of one split; adds them to `seen` (name -> list)."""
  names = []
  text = checks.read_text(path) if path.stat().st_size else ""
  for line in text.splitlines():
    name = line.strip()
    if not name:
      continue
    if not checks.is_plain_name(name):
      raise InputError(
        f"{path}: {name!r} is not a plain page name; list names without folder"
        " and ending"
      )
    if name in seen:
      other = "twice" if seen[name] == path else f"also in {seen[name]}"
      raise InputError(f"{path}: page {name!r} is {other}; keep it once")
    seen[name] = path
    names.append(name)
  return names


def read_page(
  page: checks.PageFiles,
  class_names: tuple[str, ...],
  options: Options,
  report: checks.BuildReport,
) -> checks.ParsedPage:
  """Reads and checks one page.

  Args:
    page: its files.
    class_names: the data set's.
    options: see there.
    report: counts boxes that were cut or skipped.

  Raises:
    InputError: broken image or XML, unknown class name, absolute boxes.
  """
  del options
  ink = checks.read_image(page.image)
  root = checks.read_xml(page.annotation, "annotation")
  ids = {name: i for i, name in enumerate(class_names)}
  labels, relative = [], []
  for n, item in enumerate(root.iterfind("object")):
    name = (item.findtext("name") or "").strip()
    if name not in ids:
      raise InputError(
        f"{page.annotation}: object {n} has the unknown class {name!r}; add it"
        " to class_names.csv or correct it"
      )
    labels.append(ids[name])
    relative.append([_number(item, tag) for tag in _TAGS])
  boxes_rel = np.array(relative, np.float64).reshape(-1, 4)
  scale = np.array(ink.shape * 2)
  boxes, kept = checks.clean_boxes(
    boxes_rel * scale, ink.shape, page.annotation, report
  )
  return checks.ParsedPage(ink, boxes[kept], np.array(labels, np.int64)[kept])


_TAGS = ("ymin", "xmin", "ymax", "xmax")


def _number(item, tag: str) -> float:
  """A coordinate in 0..1; nan where it is missing or no number."""
  try:
    return float(item.findtext(f"bndbox/{tag}") or "nan")
  except ValueError:
    return float("nan")
