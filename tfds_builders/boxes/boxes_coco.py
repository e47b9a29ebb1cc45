"""COCO: JSON files with images, annotations and categories.

Boxes are (x, y, width, height) in pixels, edges counted from 0. Segmentations
are ignored.
"""

import array
import collections
import pathlib
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from dwd_jax.core.errors import InputError
from tfds_builders import checks, json_files
from tfds_builders.boxes import boxes_classes, boxes_pages
from tfds_builders.boxes.boxes_pages import Found, Objects, Page

LOOKED_FOR = "coco: no .json in annotations/, train/ or the folder itself"
_Source = tuple[str, pathlib.Path]  # split, file
_MOST_OUTSIDE = 0.2  # share of boxes that leave their image
_MOST_OF_CORNERS = 0.8  # share of boxes whose area is that of corners
# Values of iscrowd, in lower case.
_NO, _YES = ("0", "0.0", "false", "none", ""), ("1", "1.0", "true")
_OTHER = "notes.json"  # written by Label Studio beside YOLO files


class _File(msgspec.Struct):
  images: list[msgspec.Raw] | None = None
  annotations: list[msgspec.Raw] | None = None
  categories: list[msgspec.Raw] | None = None


class _Parts(msgspec.Struct):
  images: list[json_files.Part] | None = None
  annotations: list[json_files.Part] | None = None
  categories: list[json_files.Part] | None = None


class _Category(msgspec.Struct):
  id: int
  name: str


class _Image(msgspec.Struct):
  id: int | str
  file_name: str
  height: Any = None
  width: Any = None


class _Annotation(msgspec.Struct):
  image_id: int | str
  category_id: int
  bbox: Any = None
  area: Any = None
  iscrowd: Any = 0


def find(root: pathlib.Path) -> list[_Source]:
  """Annotation files with their splits; [] if there are none.

  Of several files, those named instances_... count, or else those that name a
  split.

  Raises:
    InputError: it is not clear which files are meant.
  """
  found = boxes_pages.files_of_splits(root, ".json", ("annotations",))
  found = [x for x in found if x[1].name != _OTHER]
  instances = [x for x in found if x[1].name.startswith("instances_")]
  found = instances or [x for x in found if x[0]] or found
  if any("trainval" not in p.stem for split, p in found if split == "train"):
    found = [x for x in found if "trainval" not in x[1].stem]
  if len(found) > 1 and not any(split for split, _ in found):
    raise InputError(
      f"{found[0][1]}: one of {len(found)} JSON files, none named after a"
      " split; COCO has one file for a split, such as train.json: remove"
      " the others, or convert the files of another format (labelme)"
    )
  boxes_pages.one_for_each_split(found)
  return found


def read(
  root: pathlib.Path, sources: list[_Source], report: checks.BuildReport
) -> Found:
  """Reads all annotation files, one after the other.

  Args:
    root: holds the images, see `boxes_pages.image_folders`.
    report: counts crowds (left out) and classes that not all files list.

  Returns:
    Pages, and classes in the order of the training file's ids.

  Raises:
    InputError: broken or incomplete JSON, an annotation of an unlisted image or
      category, an image listed twice or missing.
  """
  pages: list[Page] = []
  listed: list[tuple[str, ...]] = []
  order = ("", *boxes_pages.SPLITS)
  for split, path in sorted(sources, key=lambda x: order.index(x[0])):
    names, found = _read_file(root, split, path, report)
    listed.append(names)
    pages += found
  class_names = tuple(dict.fromkeys(n for names in listed for n in names))
  for name in class_names:
    if not all(name in names for names in listed):
      report.add("classes listed in some annotation files only", name)
  return Found(pages, class_names)


def _read_file(
  root: pathlib.Path, split: str, path: pathlib.Path, report: checks.BuildReport
) -> tuple[tuple[str, ...], list[Page]]:
  data = json_files.read(path)
  json_files.check_parts(data, _Parts, path)
  whole = json_files.decode(data, _File, path, max_bytes=json_files.MAX_BYTES)
  for part, what in (
    (whole.images, "images"),
    (whole.annotations, "annotations"),
    (whole.categories, "categories (the list of classes)"),
  ):
    if part is None or (not part and part is not whole.annotations):
      raise InputError(
        f"{path}: no {what}; a COCO file has images, annotations and categories"
      )
  images = _decode(whole.images, _Image, f"{path}: image")
  numbers: dict[int | str, int] = {}
  for i, image in enumerate(images):
    if numbers.setdefault(image.id, i) != i:
      raise InputError(f"{path}: image id {image.id!r} occurs twice; renumber")
  table = _Table(path, numbers)
  # Consumed one by one, since parts refer to the bytes of the file.
  for annotation in _each(whole.annotations, _Annotation, path):
    table.add(annotation, report)
  if len(whole.categories or ()) > 2 * boxes_classes.MAX_CLASSES:
    raise InputError(f"{path}: too many categories; replace the file")
  categories = _decode(whole.categories, _Category, f"{path}: category")
  names = _names_by_id(path, categories, set(table.categories))
  objects = table.objects(images, names)
  folders = boxes_pages.image_folders(root, split, path)
  pages = [
    _page(split, path, folders, image, found)
    for image, found in zip(images, objects, strict=True)
  ]
  return tuple(names[i] for i in sorted(names)), pages


def _decode(parts: Any, kind: Any, where: str) -> list[Any]:
  return [
    json_files.decode(part, kind, f"{where} {i}")
    for i, part in enumerate(parts)
  ]


def _each(parts: Any, kind: Any, path: pathlib.Path) -> Iterator[Any]:
  for i, part in enumerate(parts):
    yield json_files.decode(part, kind, f"{path}: annotation {i}")


class _Table:
  """The annotations of a file as columns, which take little memory."""

  def __init__(self, path: pathlib.Path, numbers: dict[int | str, int]):
    self._path = path
    self._numbers = numbers  # image id -> its index in the list
    self._images = array.array("i")
    self.categories = array.array("q")
    self._boxes = array.array("d")
    self._areas = array.array("d")
    self._seen = 0
    self._strange: Any = None  # the first bbox, to be shown if none is good

  def add(self, annotation: Any, report: checks.BuildReport) -> None:
    """Adds one, unless it is a crowd, a region of many objects."""
    i, self._seen = self._seen, self._seen + 1
    image = self._numbers.get(annotation.image_id)
    if image is None:
      remedy = "add the image or remove the entry"
      if str(annotation.image_id) in map(str, self._numbers):
        kind = "number" if isinstance(annotation.image_id, str) else "text"
        remedy = f"its id is a {kind} there: write both alike"
      raise InputError(
        f"{self._path}: annotation {i} is of image {annotation.image_id!r},"
        f" which is not among images; {remedy}"
      )
    if not 0 <= annotation.category_id < 2**62:
      raise InputError(
        f"{self._path}: annotation {i} has the category"
        f" {annotation.category_id}; ids are 0 or more"
      )
    if self._is_crowd(annotation.iscrowd, i):
      report.add("crowd regions skipped", f"{self._path.name}: annotation {i}")
      return
    self._images.append(image)
    self.categories.append(annotation.category_id)
    self._boxes.extend(json_files.numbers(annotation.bbox, 4))
    self._areas.extend(json_files.numbers([annotation.area], 1))
    if self._strange is None and annotation.bbox is not None:
      self._strange = annotation.bbox

  def _is_crowd(self, flag: Any, i: int) -> bool:
    for value, texts in ((False, _NO), (True, _YES)):
      if str(flag).strip().lower() in texts:
        return value
    raise InputError(
      f"{self._path}: annotation {i} has iscrowd {str(flag)[:50]!r}; give 0 or"
      " 1"
    )

  def objects(self, images: list, names: dict[int, str]) -> list[Objects]:
    """The objects of each image, in the order of the file."""
    unknown = set(self.categories) - names.keys()
    if unknown:
      raise InputError(
        f"{self._path}: annotations of category {min(unknown)}, which is not"
        " among categories; add it there"
      )
    x, y, w, h = np.array(self._boxes, np.float64).reshape(-1, 4).T
    if len(x) and np.isnan([x, y, w, h]).all():
      if self._strange is not None:
        raise InputError(
          f"{self._path}: the bbox of annotations is like"
          f" {str(self._strange)[:80]!r}; give lists of four numbers: x, y,"
          " width, height"
        )
      raise InputError(
        f"{self._path}: no annotation has a bbox (x, y, width, height); take"
        " the file with the boxes (instances_...)"
      )
    of_image = np.array(self._images, np.int64)
    self._refuse_corners(np.stack([x, y, w, h]), of_image, images)
    boxes = boxes_pages.as_float32(np.stack([y, x, y + h, x + w], axis=1))
    rows = np.argsort(of_image, kind="stable")
    ends = np.searchsorted(of_image[rows], np.arange(len(images) + 1))
    found = []
    for i, image in enumerate(images):
      own = rows[ends[i] : ends[i + 1]]
      found.append(
        Objects(
          tuple(names[self.categories[row]] for row in own),
          boxes[own],
          np.zeros(len(own), bool),
          image_hw=_hw(image),
        )
      )
    return found

  def _refuse_corners(
    self, xywh: np.ndarray, of_image: np.ndarray, images: list
  ) -> None:
    """Raises if the boxes are (x1, y1, x2, y2).

    Then they fit into their images as such, and many of them leave the image,
    or most contradict `area`, if they are taken for (x, y, width, height).
    """
    sides = np.array([_hw(image) or (0, 0) for image in images], np.float64)
    height, width = sides[of_image].T + 1  # tools round
    x, y, w, h = xywh
    known = height > 1
    leaves = known & ((x + w > width) | (y + h > height))
    corners = (w > x) & (h > y) & (w <= width) & (h <= height)
    reason = ""
    if leaves.sum() > _MOST_OUTSIDE * known.sum() and corners[known].all():
      reason = (
        f"{leaves.sum():,} of {known.sum():,} boxes leave their image, and all"
        " fit as"
      )
    areas = np.array(self._areas, np.float64)
    of_corners = (w > x) & (h > y)
    of_corners &= _is_about(areas, (w - x) * (h - y), (w - x + 1) * (h - y + 1))
    of_corners &= ~_is_about(areas, w * h, w * h)
    if not reason and of_corners.sum() > _MOST_OF_CORNERS * len(x):
      reason = (
        f"the area of {of_corners.sum():,} of {len(x):,} boxes is not width x"
        " height, but that of"
      )
    if reason:
      raise InputError(
        f"{self._path}: {reason} corners x1, y1, x2, y2; COCO has x, y, width,"
        " height: convert them"
      )


def _is_about(
  areas: np.ndarray, least: np.ndarray, most: np.ndarray
) -> np.ndarray:
  """Whether areas are in a range, but for rounding of sides."""
  return (areas >= 0.99 * least - 1) & (areas <= 1.01 * most + 1)


def _names_by_id(
  path: pathlib.Path, categories: list[Any], used: set[int]
) -> dict[int, str]:
  """Names by category id.

  Roboflow lists the name of the data set as a category without objects, which
  may equal the name of a class: then the unused one is left out.
  """
  ids = [c.id for c in categories]
  if len(set(ids)) < len(ids):
    raise InputError(f"{path}: a category id occurs twice; renumber them")
  names = [c.name.strip() for c in categories]
  times = collections.Counter(names)
  kept = {
    c.id: name
    for c, name in zip(categories, names, strict=True)
    if c.id in used or times[name] == 1
  }
  ordered = [kept[i] for i in sorted(kept)]
  boxes_classes.checked(ordered, f"{path}: categories")
  return kept


def _hw(image: Any) -> tuple[int, int] | None:
  sides = (image.height, image.width)
  if all(type(side) is int and side > 0 for side in sides):
    return sides
  return None


def _page(
  split: str,
  path: pathlib.Path,
  folders: list[pathlib.Path],
  image: Any,
  objects: Objects,
) -> Page:
  where = f"{path}: the file_name"
  parts = boxes_pages.plain_parts(image.file_name, where)
  for folder in folders:
    file = folder.joinpath(*parts)
    if file.is_file():
      return Page(split, "/".join(parts), file, path, objects)
  remedy = "add the image or remove the entry"
  for other, what in boxes_pages.other_spellings(image.file_name):
    if any((folder / other).is_file() for folder in folders):
      remedy = f"there is {other!r}: {what}"
  raise InputError(
    f"{path}: {image.file_name[:200]!r} is in none of"
    f" {', '.join(map(str, folders))}; {remedy}"
  )
