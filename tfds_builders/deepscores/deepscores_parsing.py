"""DeepScores (2017) folders -> pages, boxes, labels; no TFDS in here.

Pages of `dwd_jax.engrave` have the same layout. The config `engraved` reads
what only they have: oriented boxes, positions on the staff, onsets.
"""

import csv
import dataclasses
import functools
import importlib.resources
import pathlib
from collections.abc import Container
from typing import Any

import numpy as np

from dwd_jax.core import vocabulary
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import NO_POSITION
from tfds_builders import checks, corners, pixel_labels

SPLITS = ("train", "val", "test")
ENGRAVED = "engraved"
FOLDERS = {
  "dense_2017": "DeepScores_2017",
  "300dpi_2017": "DeepScores_300dpi_2017",
  "ipad_2017": "DeepScores_ipad_2017",
  ENGRAVED: "engraved",
}
_SCANS = ("300dpi_2017", "ipad_2017")
_LAYOUT = "see the README of tfds_builders/deepscores for the layout"
_TAGS = ("ymin", "xmin", "ymax", "xmax")
_MAX_NAMES = 10_000
_MAX_LISTS = 100
# What a list of names may be; `dwd_jax.engrave` writes all. The first is the
# default.
_VOCABULARIES = ("deepscores_v1", "deepscores_v2", "printed", "muscima_v2")


@dataclasses.dataclass(frozen=True)
class Options:
  """What `data.options` can change.

  Attributes:
    merge_val_test: merge the pages of val into `test`, as the original does;
      there is no `val` then.
  """

  merge_val_test: bool = False


def extra_features(config: str, options: Options) -> tuple[str, ...]:
  """See `base.Parser`."""
  del options
  further = ("oriented_yx", "positions", "onsets") if config == ENGRAVED else ()
  return ("pixel_labels", *further)


def read_data_set(
  root: pathlib.Path, config: str, options: Options, report: checks.BuildReport
) -> checks.DataSet:
  """Lists the pages of a folder in the layout of DeepScores (2017).

  `images_png` and `xml_annotations` are in `segmentation_detection/` or beside
  it. See `base.Parser`.

  Returns:
    Class names in the order of class_names.csv; pages in the order of the
    split lists. A split without a list, or with an empty one, is absent. Lists
    besides train, val and test (debug, train100 ...) are splits, too, see
    `_further_splits`.

  Raises:
    InputError: part of the layout is missing, a page is in two splits, an image
      has no annotation or vice versa.
  """
  root = _data_set_folder(root, config)
  images_dir = checks.require_dir(_find(root, "images_png"), _LAYOUT)
  annotations = checks.require_dir(_find(root, "xml_annotations"), _LAYOUT)
  lists = checks.require_dir(root / "train_val_test", _LAYOUT)
  class_names = class_names_of(root, report)
  images = checks.list_images(images_dir)
  have_annotation = {p.stem for p in annotations.glob("*.xml")}

  page_of = functools.partial(_page_of, known=images)
  splits: dict[str, list[checks.PageFiles]] = {}
  seen: dict[str, pathlib.Path] = {}
  for split in SPLITS:
    path = lists / f"{split}.txt"
    if not path.exists():
      continue
    names = checks.read_page_names(path, seen, page_of)
    if not names:
      report.add("split lists empty", path.name)
    elif config in _SCANS:
      names = _in_folder(names, images, path, report)
    for name in names:
      page = checks.PageFiles(
        name,
        images.get(name, images_dir / f"{name}.png"),
        annotations / f"{name}.xml",
        rows=config,
      )
      if name not in images:
        raise _missing("image", page.image, path)
      if name not in have_annotation:
        raise _missing("annotation", page.annotation, path)
      splits.setdefault(split, []).append(page)
  if "train" not in splits:
    raise InputError(
      f"{lists / 'train.txt'}: missing or empty; list one page name per line"
    )
  if options.merge_val_test:
    merged = splits.pop("val", []) + splits.pop("test", [])
    splits |= {"test": merged} if merged else {}
  pages = {
    name: checks.PageFiles(name, path, annotations / f"{name}.xml", rows=config)
    for name, path in images.items()
    if name in have_annotation
  }
  splits |= _further_splits(lists, pages, splits, report)
  seen.update({p.name: lists for listed in splits.values() for p in listed})
  for name in sorted((set(images) | have_annotation) - set(seen)):
    report.add("pages skipped: in no split list", name)
  return checks.DataSet(class_names, splits, vocabulary_of(class_names))


def _page_of(line: str, known: Container[str]) -> str:
  """The page of a line of a list: `name`, or `number,name`.

  Reference: the original's `deep_scores.py@5c314f1` takes the latter.
  """
  line = line.strip()
  number, comma, name = line.partition(",")
  numbered = comma and number.isdecimal() and line not in known
  return name.strip() if numbered else line


def _further_splits(
  lists: pathlib.Path,
  pages: dict[str, checks.PageFiles],
  splits: dict[str, list[checks.PageFiles]],
  report: checks.BuildReport,
) -> dict[str, list[checks.PageFiles]]:
  """Splits of the lists of other names, which may share pages with all.

  Like the original, takes what a list and the folder have in common. Files that
  are no such list (a README.txt) are skipped.

  Args:
    pages: all usable pages, by name.
    splits: those of train, val and test.
  """
  paths = [p for p in sorted(lists.glob("*.txt")) if p.stem not in SPLITS]
  if len(paths) > _MAX_LISTS:
    raise InputError(
      f"{lists}: {len(paths):,} lists are more than the {_MAX_LISTS} allowed;"
      " remove some"
    )
  found: dict[str, list[checks.PageFiles]] = {}
  for path in paths:
    try:
      lines = checks.read_text(path).splitlines()
    except InputError:
      lines = []
    names = [_page_of(line, pages) for line in lines]
    names = list(dict.fromkeys(filter(None, names)))
    listed = [pages[name] for name in names if name in pages]
    # TFDS knows only words, and "all" is every split.
    if not listed or not path.stem.isidentifier() or path.stem == "all":
      report.add("lists skipped: no pages, or the name is no word", path.name)
      continue
    found[path.stem] = listed
    if len(listed) < len(names):
      report.add("lists of which pages are missing", path.name)
    own = {page.name for page in listed}
    for judged in ("val", "test"):
      if own & {page.name for page in splits.get(judged, [])}:
        report.add(f"lists that share pages with {judged}", path.name)
  return found


def _data_set_folder(root: pathlib.Path, config: str) -> pathlib.Path:
  """`root`, or the folder with the original's name in it."""
  checks.require_dir(root, _LAYOUT)
  nested = root / FOLDERS[config]
  if not nested.is_dir():
    return root
  return checks.require_dir(nested, _LAYOUT)


def _in_folder(
  names: list[str],
  images: dict[str, pathlib.Path],
  split_list: pathlib.Path,
  report: checks.BuildReport,
) -> list[str]:
  """The names with an image: not every page was printed and scanned.

  The original, too, takes what lists and folders have in common.
  """
  found = [name for name in names if name in images]
  if not found:
    raise InputError(
      f"{split_list}: none of its {len(names)} pages has an image; put the"
      " lists of this data set there"
    )
  for name in sorted(set(names) - set(found)):
    report.add("pages skipped: listed, but without image", name)
  return found


def _missing(
  kind: str, path: pathlib.Path, split_list: pathlib.Path
) -> InputError:
  return InputError(
    f"{path}: no such {kind}, but {split_list} names the page; add the file or"
    " take the name out of the list"
  )


def _find(root: pathlib.Path, name: str) -> pathlib.Path:
  nested = root / "segmentation_detection" / name
  return nested if nested.is_dir() else root / name


def read_page(
  page: checks.PageFiles,
  class_names: tuple[str, ...],
  options: Options,
  report: checks.BuildReport,
) -> checks.ParsedPage:
  """Reads and checks one page; see `base.Parser`.

  Returns:
    The page; extras: `pixel_labels`, b"" where the data set has none, and
    those of the config `engraved`.

  Raises:
    InputError: broken image or XML, unknown class name, absolute boxes; the
      config `engraved` for pages that lack its features.
  """
  del options
  ink = checks.read_image(page.image)
  root = checks.read_xml(page.annotation, "annotation")
  _compare_size(root, ink.shape, page, report)
  ids = {name: i for i, name in enumerate(class_names)}
  labels, relative, items = [], [], list(root.iterfind("object"))
  for n, item in enumerate(items):
    name = (item.findtext("name") or "").strip()
    if name not in ids:
      raise InputError(
        f"{page.annotation}: object {n} has the unknown class {name[:200]!r};"
        " add it to class_names.csv or correct it"
      )
    labels.append(ids[name])
    relative.append(
      [checks.number(item.findtext(f"bndbox/{tag}")) for tag in _TAGS]
    )
  boxes_rel = np.array(relative, np.float64).reshape(-1, 4)
  scale = np.array(ink.shape * 2)
  boxes, kept = checks.clean_boxes(
    boxes_rel * scale, ink.shape, page.annotation, report
  )
  pixels = page.image.parent.parent / "pix_annotations_png"
  labelled = pixel_labels.read(pixels / f"{page.name}.png", ink.shape)
  extras: dict[str, Any] = {"pixel_labels": labelled}
  if page.rows == ENGRAVED:
    corners_yx = _corners(items, page, report) * np.array(ink.shape)
    cleaned = corners.clean(
      corners_yx, boxes, kept, ink.shape, page.annotation, report
    )
    extras["oriented_yx"] = cleaned[kept]
    extras["positions"] = _positions(items, page, report)[kept]
    onsets = [checks.number(item.findtext("onset")) for item in items]
    extras["onsets"] = np.array(onsets, np.float32)[kept]
  return checks.ParsedPage(
    ink, boxes[kept], np.array(labels, np.int64)[kept], extras
  )


def _corners(
  items: list[Any], page: checks.PageFiles, report: checks.BuildReport
) -> np.ndarray:
  """Corners (y, x) of oriented boxes, relative to the page, [n, 4, 2]."""
  found = []
  for n, item in enumerate(items):
    text = item.findtext("corners")
    if text is None:
      raise InputError(
        f"{page.annotation}: object {n} has no <corners>; generate the pages"
        " anew with python -m dwd_jax.engrave, or set"
        " data.builder_config=dense_2017"
      )
    words = text.split(maxsplit=2 * corners.MAX_POINTS)
    where = f"{page.annotation.name}: object {n}"
    xy = [checks.number(word) for word in words]
    found.append(corners.of_polygon(xy, where, report))
  return np.array(found, np.float64).reshape(-1, 4, 2)


def _positions(
  items: list[Any], page: checks.PageFiles, report: checks.BuildReport
) -> np.ndarray:
  """Positions on the staff, int32; `NO_POSITION` if there is none."""
  found = np.full(len(items), NO_POSITION, np.int32)
  for n, item in enumerate(items):
    text = item.findtext("position")
    value = checks.number(text)
    if value.is_integer() and abs(value) < -NO_POSITION:
      found[n] = int(value)
    elif text is not None:
      where = f"{page.annotation.name}: object {n}"
      report.add("positions left out: no whole number of -127 to 127", where)
  return found


def _compare_size(
  root: Any,
  image_hw: tuple[int, ...],
  page: checks.PageFiles,
  report: checks.BuildReport,
) -> None:
  """Counts pages whose annotation is for an image of other proportions.

  Boxes are relative, so that the number of pixels may differ.
  """
  height, width = (
    checks.number(root.findtext(f"size/{tag}")) for tag in ("height", "width")
  )
  if not (0 < height < np.inf and 0 < width < np.inf):
    return
  if abs(height / width / (image_hw[0] / image_hw[1]) - 1) > 0.02:
    report.add(
      "pages of other proportions than their annotation says",
      f"{page.annotation.name}: {width:g} x {height:g}, not"
      f" {image_hw[1]} x {image_hw[0]}",
    )


def class_names_of(
  root: pathlib.Path, report: checks.BuildReport
) -> tuple[str, ...]:
  """The class names of a data set, in the order of their ids.

  Read from class_names.csv in `DeepScores_classification/` or in `root`; where
  it is missing, the report says so and the 124 known names are used.
  """
  nested = root / "DeepScores_classification" / "class_names.csv"
  for path in (nested, root / "class_names.csv"):
    if path.exists():
      return read_class_names(path)
  report.add("class_names.csv missing: the 124 known names taken", root.name)
  known = importlib.resources.files("dwd_jax") / "engrave/deepscores_v1.csv"
  with importlib.resources.as_file(known) as path:
    return read_class_names(path)


def vocabulary_of(class_names: tuple[str, ...]) -> str:
  """The vocabulary that has all these names, the older one first, or ""."""
  return vocabulary.first_with(class_names, _VOCABULARIES)


def read_class_names(path: pathlib.Path) -> tuple[str, ...]:
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
    # Converting a number of many digits takes long, or fails.
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
    raise InputError(f"{path}: the ids must be 0, 1, 2, ...; renumber them")
  return tuple(names[i] for i in range(len(names)))
