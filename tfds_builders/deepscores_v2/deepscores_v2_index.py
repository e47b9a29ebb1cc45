"""The OBB JSON of DeepScoresV2: where the annotations of each page are.

A file may have several hundred MB. It is read once, to learn which bytes belong
to which page; the numbers in them are decoded when a page is read.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import numpy as np
from jaxtyping import Int64

from dwd_jax.core.errors import InputError
from tfds_builders import checks, json_files

_MAX_ID_DIGITS = 15
_MAX_ID_BYTES = 4 << 20  # of the list of a page
_Id = Annotated[int, msgspec.Meta(ge=0, lt=10**_MAX_ID_DIGITS)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Size = Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]


@dataclasses.dataclass(frozen=True)
class PageRows:
  """The annotations of a page in its file.

  Attributes:
    image_hw: height and width in pixels to which annotations refer.
    runs: (annotation id, first byte, byte after) of annotations that are
      adjacent in the file, from the value of the first to that of the last.
    set_index: index of the annotation set in each `cat_id`.
    class_ids: category id -> class id in the annotation set.
  """

  image_id: int | str
  image_hw: tuple[int, int]
  runs: tuple[tuple[int, int, int], ...]
  set_index: int
  class_ids: Mapping[int, int]


@dataclasses.dataclass(frozen=True)
class Index:
  """The contents of a file.

  Attributes:
    class_names: of the annotation set, in the order of the category ids.
    pages: file name of the image -> its annotations.
  """

  class_names: tuple[str, ...]
  pages: dict[str, PageRows]


class _Category(msgspec.Struct):
  name: _Name
  annotation_set: str


class _Image(msgspec.Struct):
  id: int | str
  filename: str
  width: _Size
  height: _Size
  ann_ids: msgspec.Raw


class _AnnotationId(int):
  """A key of `annotations`; its own type, so that all keys are counted."""

  __slots__ = ()


class _File(msgspec.Struct):
  annotation_sets: list[str]
  categories: dict[_Id, _Category]
  images: list[_Image]
  annotations: dict[_AnnotationId, msgspec.Raw]


class _Parts(msgspec.Struct):
  images: list[json_files.Part]
  annotations: dict[str, json_files.Part]


def read(
  path: pathlib.Path, annotation_set: str, report: checks.BuildReport
) -> Index:
  """Reads which annotations belong to which page.

  As in the reference reader, `ann_ids` of the image decides.

  Args:
    annotation_set: "deepscores" or "muscima++".
    report: counts ids in `ann_ids` without an annotation or listed before, and
      annotations that no page lists.

  Raises:
    InputError: not such a file; repeated annotations, images or class names;
      an image name that is no plain file name.
  """
  data = json_files.read(path)
  keys = 0

  def make_id(_, key: Any) -> _AnnotationId:
    nonlocal keys
    if not key.isdecimal() or len(key) > _MAX_ID_DIGITS:
      raise ValueError("an annotation id is not a whole number")
    keys += 1
    return _AnnotationId(key)

  json_files.check_parts(data, _Parts, path)
  file = json_files.decode(
    data, _File, path, custom=make_id, max_bytes=json_files.MAX_BYTES
  )
  if keys > len(file.annotations):
    raise InputError(
      f"{path}: {keys - len(file.annotations)} annotation ids are used twice;"
      " number the annotations anew"
    )
  class_ids, class_names = _classes(file, annotation_set, path)
  ids = np.fromiter(file.annotations, np.int64, len(file.annotations))
  places = json_files.spans(file.annotations.values(), data)
  file.annotations = {}  # the largest part, no longer needed
  finder = _Finder(ids, places, path, report)
  pages: dict[str, PageRows] = {}
  seen_ids = set()
  for image in file.images:
    _check_image(image, pages, seen_ids, path)
    pages[image.filename] = PageRows(
      image_id=image.id,
      image_hw=(image.height, image.width),
      runs=finder.runs(image),
      set_index=file.annotation_sets.index(annotation_set),
      class_ids=class_ids,
    )
  finder.report_unlisted()
  return Index(class_names, pages)


def _classes(
  file: _File, annotation_set: str, path: pathlib.Path
) -> tuple[dict[int, int], tuple[str, ...]]:
  if annotation_set not in file.annotation_sets:
    raise InputError(
      f"{path}: annotation_sets has no {annotation_set!r}; choose another"
      " config"
    )
  names = {
    i: category.name
    for i, category in sorted(file.categories.items())
    if category.annotation_set == annotation_set
  }
  if not names:
    raise InputError(
      f"{path}: no categories of the set {annotation_set!r}; take the file"
      " from the data set"
    )
  if len(set(names.values())) < len(names):
    raise InputError(
      f"{path}: two categories of the set {annotation_set!r} have the same"
      " name; correct them"
    )
  return {i: n for n, i in enumerate(names)}, tuple(names.values())


def _check_image(
  image: _Image, pages: dict[str, Any], seen_ids: set, path: pathlib.Path
) -> None:
  if not checks.is_plain_name(image.filename):
    raise InputError(
      f"{path}: image {image.filename[:200]!r} is not a plain file name;"
      " images lie in the folder images"
    )
  if image.filename in pages or image.id in seen_ids:
    raise InputError(
      f"{path}: image {image.filename!r} or its id {image.id} occurs twice;"
      " keep it once"
    )
  seen_ids.add(image.id)


class _Finder:
  """Finds annotations in the file by id, each one once."""

  def __init__(
    self,
    ids: Int64[np.ndarray, " n"],
    places: Int64[np.ndarray, "n 2"],
    path: pathlib.Path,
    report: checks.BuildReport,
  ):
    self._ids = ids
    self._places = places
    self._order = np.argsort(ids)
    self._sorted = ids[self._order]
    self._free = np.ones(len(ids), bool)
    self._path = path
    self._report = report

  def runs(self, image: _Image) -> tuple[tuple[int, int, int], ...]:
    """`PageRows.runs` of an image, in the order of the file."""
    where = f"{self._path}: ann_ids of {image.filename}"
    listed = json_files.decode(
      *(image.ann_ids, list[_Id], where), strict=False, max_bytes=_MAX_ID_BYTES
    )
    wanted = np.array(listed, np.int64)
    at = np.searchsorted(self._sorted, wanted)
    known = at < len(self._sorted)
    known[known] = self._sorted[at[known]] == wanted[known]
    rows = np.unique(self._order[at[known]])
    rows = rows[self._free[rows]]
    self._free[rows] = False
    for _ in range(len(wanted) - len(rows)):
      self._report.add(
        "ann_ids skipped: no such annotation, or listed before",
        f"{self._path.name}: {image.filename}",
      )
    if not len(rows):
      return ()
    breaks = np.flatnonzero(np.diff(rows) != 1)
    firsts = rows[np.concatenate([[0], breaks + 1])]
    lasts = rows[np.concatenate([breaks, [len(rows) - 1]])]
    return tuple(
      zip(
        self._ids[firsts].tolist(),
        self._places[firsts, 0].tolist(),
        self._places[lasts, 1].tolist(),
        strict=True,
      )
    )

  def report_unlisted(self) -> None:
    """Counts annotations that no page has asked for."""
    for i in self._ids[self._free].tolist():
      self._report.add(
        "annotations skipped: no page lists them", f"{self._path.name}: {i}"
      )
