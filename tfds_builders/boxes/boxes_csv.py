"""CSV: one table of all boxes, as torchvision, DeepForest and others read it.

A row is a box: a column for the image, four for its corners in pixels, one for
the class; the header names them. Without a header the columns are those of
keras-retinanet: `path,x1,y1,x2,y2,class`. A row without corners, or with zeros,
says that the image shows nothing. Commas, semicolons or tabs divide columns.
"""

import collections
import csv
import dataclasses
import io
import itertools
import pathlib
import re
from collections.abc import Iterator

import numpy as np

from dwd_jax.core.errors import InputError
from tfds_builders import checks
from tfds_builders.boxes import boxes_pages
from tfds_builders.boxes.boxes_pages import Found, Objects, Page

LOOKED_FOR = (
  "csv: no .csv with columns such as image, xmin, ymin, xmax, ymax, label"
)
_Source = tuple[str, pathlib.Path]  # split, file
_MAX_BYTES = 64 << 20
_MAX_LINE = 1 << 20  # characters
_MAX_UNKNOWN = 500_000  # paths beyond the images that are there
_HEAD_BYTES = 1 << 16  # that tell whether a file holds boxes
# Names of columns in lower case, without what is no letter and no digit.
_IMAGE = (
  "imagepath", "image", "filename", "imagename", "imgpath", "img", "path",
  "file",
)  # fmt: skip
_LABEL = ("label", "class", "classname", "labelname", "category")
_CORNERS = (
  ("xmin", "ymin", "xmax", "ymax"),
  ("x0", "y0", "x1", "y1"),
  ("x1", "y1", "x2", "y2"),
  ("left", "top", "right", "bottom"),
)
_FOUND_BY_A_MODEL = ("score", "confidence")
_NOTHING = ("", "nan", "na", "none", "null")


@dataclasses.dataclass(frozen=True)
class _Layout:
  """Where the columns are.

  Attributes:
    header: names of all columns, in lower case.
    corners: of xmin, ymin, xmax, ymax.
    labels: that name the class; there must be one only.
    sides: of the image's height and width, or None.
    split: None = no such column.
  """

  delimiter: str
  header: tuple[str, ...]
  image: int = 0
  corners: tuple[int, ...] = (1, 2, 3, 4)
  labels: tuple[int, ...] = (5,)
  sides: tuple[int, int] | None = None
  split: int | None = None


@dataclasses.dataclass(eq=False)
class _Rows:
  """The rows of one image; `line` is that of the first."""

  line: int
  labels: list[str] = dataclasses.field(default_factory=list)
  boxes_yxyx: list[list[float]] = dataclasses.field(default_factory=list)
  sides: set[tuple[float, ...]] = dataclasses.field(default_factory=set)


def find(root: pathlib.Path) -> list[_Source]:
  """Files with boxes and their splits; [] if there are none.

  Raises:
    InputError: a split has two files.
  """
  found = [
    (split, path)
    for split, path in boxes_pages.files_of_splits(
      root, ".csv", ("annotations", "labels")
    )
    if path.is_file() and _layout(_head(path))
  ]
  boxes_pages.one_for_each_split(found)
  return found


def read(
  root: pathlib.Path, sources: list[_Source], report: checks.BuildReport
) -> Found:
  """Reads all files.

  Args:
    root: holds the images, see `boxes_pages.image_folders`.
    report: counts paths that are no image, and images that no row names.

  Raises:
    InputError: a row without class, with corners that are no numbers or in
      another order; no path is an image.
  """
  images = boxes_pages.below(root, checks.IMAGE_SUFFIXES)
  pages = []
  for split, path in sources:
    pages += _read_file(root, split, path, images, report)
  used = {page.image for page in pages}
  for image in images:
    if image not in used:
      report.add("images skipped: without annotation", image.name)
  return Found(pages)


def _head(path: pathlib.Path) -> str:
  """The whole lines among the first bytes of a file."""
  with path.open("rb") as file:
    data = file.read(_HEAD_BYTES)
  if len(data) == _HEAD_BYTES:
    data = data[: data.rfind(b"\n") + 1]
  return data.decode("utf-8-sig", errors="replace")


def _layout(text: str) -> _Layout | None:
  """How the columns are divided and named; None: these are no boxes."""
  for delimiter in ",;\t":
    table = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
      rows = [row for row in itertools.islice(table, 100) if any(row)]
    except csv.Error:
      continue
    if rows:
      found = _named(delimiter, rows[0]) or _bare(delimiter, rows)
      if found:
        return found
  return None


def _named(delimiter: str, header: list[str]) -> _Layout | None:
  """The layout of a table whose first row names the columns."""
  names = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in header]
  at = {name: i for i, name in reversed(list(enumerate(names))) if name}
  image = [at[name] for name in _IMAGE if name in at]
  labels = [at[name] for name in _LABEL if name in at]
  corners = [c for c in _CORNERS if at.keys() >= set(c)]
  more = {n for n in at if re.fullmatch(r"[xy]\d", n)}.difference(*corners)
  if (
    not image
    or not labels
    or len(corners) != 1
    or more  # of polygons
    or any(name in at for name in _FOUND_BY_A_MODEL)
  ):
    return None
  return _Layout(
    delimiter,
    tuple(names[: max(at.values()) + 1]),
    image[0],
    tuple(at[name] for name in corners[0]),
    tuple(labels),
    (at["height"], at["width"]) if {"height", "width"} <= set(at) else None,
    at.get("split"),
  )


def _bare(delimiter: str, rows: list[list[str]]) -> _Layout | None:
  """The layout of a table without header, if its first box leaves no doubt."""
  names = ("path", "x1", "y1", "x2", "y2", "class")
  first = next((row for row in rows if any(row[1:])), rows[0])
  for row in (rows[0], first):
    suffix = pathlib.PurePath(row[0].strip()).suffix.lower()
    if len(row) != len(names) or suffix not in checks.IMAGE_SUFFIXES:
      return None
  numbers = np.isfinite([checks.number(cell) for cell in first[1:]])
  is_box = numbers[:4].all() and not numbers[4]
  return _Layout(delimiter, names) if is_box or not any(first[1:]) else None


def _read_file(
  root: pathlib.Path,
  split: str,
  path: pathlib.Path,
  images: list[pathlib.Path],
  report: checks.BuildReport,
) -> list[Page]:
  text = checks.read_text(path, _MAX_BYTES)
  layout = _layout(_head(path))
  if layout is None:
    raise InputError(f"{path}: broken CSV in its first rows; correct it")
  if len(layout.labels) > 1:
    doubtful = " and ".join(layout.header[i] for i in layout.labels)
    raise InputError(
      f"{path}: {doubtful} could both be the class; keep or rename one of them"
    )
  by_image = _rows(text, layout, split, path, len(images))
  folders = boxes_pages.image_folders(root, split, path)
  found = _match([key[1] for key in by_image], folders, images)
  pages = []
  for (part, written), rows in by_image.items():
    where = f"{path.name}: line {rows.line}: {written[:200]!r}"
    if written in found:
      image = found[written]
      folder = next(f for f in folders if image.is_relative_to(f))
      relative = image.relative_to(folder).as_posix()
      pages.append(Page(part, relative, image, path, _objects(rows)))
    else:
      report.add("annotations skipped: without image", where)
  if not pages:
    (_, written), rows = next(iter(by_image.items()))
    remedy = "add the images or correct the paths"
    known = {image.name for image in images}
    for other, what in boxes_pages.other_spellings(_parts(written)[-1]):
      if other in known:
        remedy = f"there is {other!r}: {what}"
    raise InputError(
      f"{path}: line {rows.line}: {written[:200]!r} is no image below {root},"
      f" nor is any other; {remedy}"
    )
  return pages


def _rows(
  text: str, layout: _Layout, split: str, path: pathlib.Path, num_images: int
) -> dict[tuple[str, str], _Rows]:
  """The rows of each image, by split and path as written."""
  found: dict[tuple[str, str], _Rows] = {}
  width = len(layout.header)
  largest = 0.0
  sized = True
  for line, row in _cells(text, layout, path):
    where = f"{path}: line {line}"
    if len(row) < width or any(row[width:]):
      raise InputError(
        f"{where} has {len(row)} columns, not {width}; put values with a"
        f" {layout.delimiter!r} in quotes"
      )
    if not row[layout.image]:
      raise InputError(f"{where} names no image; add it or remove the line")
    part = split or _split(layout, row, where)
    key = (part, "/".join(_parts(row[layout.image])))
    rows = found.setdefault(key, _Rows(line))
    if len(found) > num_images + _MAX_UNKNOWN:
      raise InputError(
        f"{where}: more than {_MAX_UNKNOWN:,} images are missing below the"
        " folder; remove their rows"
      )
    corners = _corners(layout, row, where)
    if layout.sides:
      sides = tuple(checks.number(row[i]) for i in layout.sides)
      rows.sides.add(sides)
      # Of boxes, not of images, if a box ends beyond.
      sized &= corners is None or (
        corners[3] <= sides[0] + 1 and corners[2] <= sides[1] + 1
      )
    if corners:
      if not row[layout.labels[0]]:
        raise InputError(f"{where} has a box without class; name its class")
      x0, y0, x1, y1 = corners
      if len(rows.labels) == checks.MAX_BOXES:
        raise InputError(
          f"{where} has one box more than the {checks.MAX_BOXES:,} allowed on"
          " an image; correct the file"
        )
      rows.labels.append(row[layout.labels[0]])
      rows.boxes_yxyx.append([y0, x0, y1, x1])
      largest = max(largest, *corners)
  if not found:
    raise InputError(f"{path}: has no rows; add the boxes")
  if 0 < largest <= 1:
    raise InputError(
      f"{path}: no corner is beyond 1: they are shares of the image, or not"
      " corners; write pixels"
    )
  if not sized:
    for rows in found.values():
      rows.sides.clear()
  return found


def _cells(
  text: str, layout: _Layout, path: pathlib.Path
) -> Iterator[tuple[int, list[str]]]:
  """Line number and cells of each row below the header that has any."""
  table = csv.reader(
    _lines(text, path), delimiter=layout.delimiter, strict=True
  )
  try:
    for i, row in enumerate(filter(any, table)):
      cells = [cell.strip() for cell in row]
      is_header = i == 0 and _named(layout.delimiter, row) is not None
      if any(cells) and not is_header:
        yield table.line_num, cells
  except csv.Error as e:
    raise InputError(
      f"{path}: line {table.line_num}: broken CSV ({e}); correct it"
    ) from None


def _lines(text: str, path: pathlib.Path) -> Iterator[str]:
  for i, line in enumerate(io.StringIO(text, newline=""), 1):
    if len(line) > _MAX_LINE:
      raise InputError(
        f"{path}: line {i} has {len(line):,} characters; correct it"
      )
    yield line


def _split(layout: _Layout, row: list[str], where: str) -> str:
  if layout.split is None:
    return ""
  split = boxes_pages.split_of(row[layout.split])
  if not split:
    raise InputError(
      f"{where}: the split {row[layout.split][:200]!r} is none of"
      f" {', '.join(boxes_pages.SPLITS)}; correct it"
    )
  return split


def _corners(layout: _Layout, row: list[str], where: str) -> list[float] | None:
  """xmin, ymin, xmax, ymax of a row; None: the image shows nothing."""
  texts = [row[i] for i in layout.corners]
  if all(text.lower() in _NOTHING for text in texts):
    return None
  values = [checks.number(text) for text in texts]
  names = [layout.header[i] for i in layout.corners]
  for name, text, value in zip(names, texts, values, strict=True):
    if not np.isfinite(value):
      remedy = "correct it"
      if re.fullmatch(r"-?\d+,\d+", text):
        remedy = "write a point for the decimal comma"
      raise InputError(f"{where}: {name} is {text[:50]!r}, no number; {remedy}")
  for low, high in ((0, 2), (1, 3)):
    if values[low] > values[high]:
      raise InputError(
        f"{where}: {names[low]} {values[low]:g} is beyond {names[high]}"
        f" {values[high]:g}; exchange them, or convert width and height to"
        " corners"
      )
  return values if any(values) else None


def _parts(written: str) -> tuple[str, ...]:
  parts = written.replace("\\", "/").split("/")
  kept = tuple(p for p in parts if p not in ("", ".")) or (written,)
  # What begins with a slash is below no folder of the data set.
  return ("..", *kept) if not parts[0] else kept


def _match(
  written: list[str],
  folders: list[pathlib.Path],
  images: list[pathlib.Path],
) -> dict[str, pathlib.Path]:
  """The image that each path means.

  The one that lies there below one of the folders; else the one of this name,
  with or without ending, whose path ends most alike: many tables have the paths
  of another machine, or names only.

  Raises:
    InputError: several images are meant equally, or one is meant twice.
  """
  there = set(images)
  found: dict[str, pathlib.Path] = {}
  by_name = collections.defaultdict(list)
  for image in images:
    by_name[image.name].append(image)
    by_name[image.stem].append(image)
  for text in written:
    places = (folder.joinpath(*text.split("/")) for folder in folders)
    image = next((place for place in places if place in there), None)
    if image:
      found[text] = image
  taken = {image: text for text, image in found.items()}
  exact = set(found.values())
  for text in dict.fromkeys(written):
    if text in found:
      continue
    parts = text.split("/")
    ends = [
      (_num_common(parts, image.parts), image)
      for image in by_name[parts[-1]]
      if image not in exact
    ]
    most = max((n for n, _ in ends), default=0)
    best = [image for n, image in ends if n == most]
    if len(best) > 1:
      raise InputError(
        f"{best[0]}: as likely as {best[1]} to be {text[:200]!r} of the CSV"
        " file; write the path below the folder there"
      )
    if best and best[0] in taken:
      raise InputError(
        f"{best[0]}: as likely to be {taken[best[0]][:200]!r} as"
        f" {text[:200]!r} of the CSV file; write the path below the folder"
        " there"
      )
    if best:
      found[text] = best[0]
      taken[best[0]] = text
  return found


def _num_common(a: list[str], b: tuple[str, ...]) -> int:
  """Parts that are equal, from the end."""
  pairs = zip(reversed(a), reversed(b), strict=False)
  return sum(1 for _ in itertools.takewhile(lambda x: x[0] == x[1], pairs))


def _objects(rows: _Rows) -> Objects:
  boxes = np.array(rows.boxes_yxyx, np.float64).reshape(-1, 4)
  hw = rows.sides.pop() if len(rows.sides) == 1 else (0.0, 0.0)
  known = all(side >= 1 and side.is_integer() for side in hw)
  return Objects(
    tuple(rows.labels),
    boxes_pages.as_float32(boxes),
    np.zeros(len(rows.labels), bool),
    image_hw=(int(hw[0]), int(hw[1])) if known else None,
  )
