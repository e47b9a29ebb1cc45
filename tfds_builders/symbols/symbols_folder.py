"""Folders of symbol images -> records; no TFDS in here."""

import pathlib

import numpy as np

from dwd_jax.core.errors import InputError
from tfds_builders import checks
from tfds_builders.deepscores import deepscores_parsing
from tfds_builders.symbols import symbols_crops

_LAYOUT = "see the README of tfds_builders/symbols for the layout"
_IMAGES = ("images", "images_png")
_ANNOTATIONS = ("xml_data_gt", "xml_annotations")
_PICKLES = (".pkl", ".pickle", ".p")


def read_data_set(
  root: pathlib.Path, report: checks.BuildReport
) -> checks.DataSet:
  """Lists the symbol images of a folder, all of them for training.

  Args:
    root: holds `images` and `xml_data_gt`, with files directly or in folders of
      one level.
    report: counts pickle files, which are never read, and a missing list of
      classes.

  Raises:
    InputError: part of the layout is missing, an image has no annotation or
      vice versa, or there is nothing but pickle files.
  """
  checks.require_dir(root, _LAYOUT)
  pickles = _pickles(root)
  images_dir, annotations_dir = _find(root, _IMAGES), _find(root, _ANNOTATIONS)
  if pickles and not (images_dir.is_dir() and annotations_dir.is_dir()):
    raise InputError(
      f"{pickles[0]}: pickle files are never opened, since reading one can run"
      " any code; give the images and xml_data_gt that they were made from, or"
      " crop symbols from prepared pages with data.builder_config=cropped"
    )
  for path in pickles:
    report.add("pickle files not read", path.name)
  checks.require_dir(images_dir, _LAYOUT)
  checks.require_dir(annotations_dir, _LAYOUT)
  images = _files(images_dir, checks.IMAGE_SUFFIXES)
  annotations = _files(annotations_dir, (".xml",))
  pages = []
  for key in sorted(images.keys() | annotations.keys()):
    if key not in annotations:
      raise InputError(
        f"{images[key]}: no {annotations_dir.name}/{key}.xml for it; add the"
        " annotation or remove the image"
      )
    if key not in images:
      raise InputError(
        f"{annotations[key]}: no image {images_dir.name}/{key} for it; add the"
        " image or remove the annotation"
      )
    name = key.replace("/", "--")
    pages.append(
      checks.PageFiles(
        name,
        images[key],
        annotations[key],
        symbols_crops.Wanted("folder", (), key.rpartition("/")[0]),
        f"{name}{images[key].suffix}",
      )
    )
  if not pages:
    raise InputError(f"{images_dir}: no image in there; {_LAYOUT}")
  if len({page.name for page in pages}) < len(pages):
    raise InputError(
      f"{images_dir}: two names differ only in -- and /; rename one of them"
    )
  # If the list is missing, the original takes it from the pages' folder.
  names = deepscores_parsing.class_names_of(root, report)
  vocabulary = deepscores_parsing.vocabulary_of(names)
  return checks.DataSet(names, {"train": pages}, vocabulary)


def read_page(
  page: checks.PageFiles,
  class_names: tuple[str, ...],
  report: checks.BuildReport,
) -> checks.ParsedPage | None:
  """One symbol image, its symbol first; None if it has no box.

  The symbol is the box nearest to the middle; in a folder named like a class,
  the nearest of this class.

  Raises:
    InputError: see `deepscores_parsing.read_page`; or a folder is named like a
      class that is not in the image.
  """
  folder = page.rows.rows
  plain = checks.PageFiles(page.name, page.image, page.annotation)
  parsed = deepscores_parsing.read_page(
    plain, class_names, deepscores_parsing.Options(), report
  )
  if not len(parsed.labels):
    report.add("symbol images skipped: no box", page.name)
    return None
  rows = np.arange(len(parsed.labels))
  if folder in class_names:
    rows = np.flatnonzero(parsed.labels == class_names.index(folder))
    if not len(rows):
      raise InputError(
        f"{page.annotation}: no box of {folder}, the name of its folder;"
        " correct it or move the file"
      )
  boxes = parsed.boxes_yxyx[rows]
  off = (boxes[:, :2] + boxes[:, 2:] - np.array(parsed.ink.shape)) / 2
  i = int(rows[np.argmin(np.hypot(off[:, 0], off[:, 1]))])
  return symbols_crops.symbol_first(parsed, i)


def _find(root: pathlib.Path, names: tuple[str, ...]) -> pathlib.Path:
  found = [root / name for name in names if (root / name).is_dir()]
  return found[0] if found else root / names[0]


def _files(
  folder: pathlib.Path, suffixes: tuple[str, ...]
) -> dict[str, pathlib.Path]:
  """Files by path below `folder`, without ending."""
  found: dict[str, pathlib.Path] = {}
  for child in sorted(folder.iterdir()):
    inner = sorted(child.iterdir()) if child.is_dir() else [child]
    for path in inner:
      if path.suffix.lower() not in suffixes:
        continue
      key = path.relative_to(folder).with_suffix("").as_posix()
      if not checks.is_plain_name(key.replace("/", "--")):
        raise InputError(f"{str(path)!r}: not a plain file name; rename it")
      if key in found:
        raise InputError(
          f"{path}: beside {found[key].name}; keep one file of this name"
        )
      found[key] = path
  return found


def _pickles(root: pathlib.Path) -> list[pathlib.Path]:
  """Pickle files in a folder and its subfolders, by name."""
  found = []
  for child in sorted(root.iterdir()):
    inner = sorted(child.iterdir()) if child.is_dir() else [child]
    found += [
      path
      for path in inner
      if path.suffix.lower() in _PICKLES or path.parent.name == "pickle_files"
    ]
  return found
