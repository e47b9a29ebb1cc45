"""Checks of files that all builders share; no TFDS in here.

A page that cannot be used is an `InputError`; a single bad box is skipped or
cut, counted, and listed in the `BuildReport`.
"""

import codecs
import collections
import dataclasses
import math
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8
from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

from dwd_jax.core import safe_xml
from dwd_jax.core.errors import InputError
from dwd_jax.imaging import images

MAX_TEXT_BYTES = 16 << 20  # libxml2 takes up to 50 times as many
MAX_IMAGE_BYTES = 256 << 20
MAX_BOXES = 100_000  # on a page
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
_PIECE = 1 << 24  # bytes that are checked at a time
_LISTED = 20  # examples of each kind in the report
_MAX_DIGITS = 50  # of a number, with sign, point and exponent
_ABSURD = 1e9  # beyond it, products of coordinates overflow
_CUT_TOLERANCE_PX = 0.5  # rounding of annotations, not worth reporting


@dataclasses.dataclass(frozen=True)
class PageFiles:
  """A page before it is read.

  Attributes:
    name: unique in the data set; the key of its record.
    image: path of the image.
    annotation: path of the file with its boxes, which pages may share.
    rows: what else `read_page` needs, such as this page's part of a file with
      all boxes; small and picklable, since workers get it.
    filename: unique in the data set; "" = the image's own name.
    channels: of the pixels that `read_page` returns: 1 = grey, 3 = RGB.
  """

  name: str
  image: pathlib.Path
  annotation: pathlib.Path
  rows: Any = None
  filename: str = ""
  channels: int = 1


@dataclasses.dataclass(frozen=True)
class DataSet:
  """The contents of a folder.

  Attributes:
    class_names: C names; the index is the class id.
    splits: the pages of each split; a split without pages is absent.
    vocabulary: a column of dwd_jax/core/vocabularies.csv with all the names;
      "" = none.
    polarity: see `dwd_jax.imaging.grey.POLARITIES`; "" = the pages decide, see
      `tfds_builders.polarity`.
  """

  class_names: tuple[str, ...]
  splits: dict[str, list[PageFiles]]
  vocabulary: str = ""
  polarity: str = ""


def sample(data_set: DataSet, count: int) -> list[PageFiles]:
  """At most so many training pages, evenly spaced; else pages of any split."""
  splits = data_set.splits
  pages = splits.get("train") or [p for part in splits.values() for p in part]
  at = np.linspace(0, len(pages) - 1, min(count, len(pages))).astype(int)
  return [pages[i] for i in at.tolist()]


@dataclasses.dataclass(frozen=True)
class ParsedPage:
  """A page that passed all checks.

  Attributes:
    ink: 0 = white, 255 = black; the set's polarity says which is ink. Of
      pictures in colour [H, W, 3], 255 less red, green and blue.
    boxes_yxyx: inside the page, not empty, in pixels.
    labels: class ids.
    extras: the features that `extra_features` of the parsing module names.
  """

  ink: UInt8[np.ndarray, "H W *c"]
  boxes_yxyx: Float[np.ndarray, "n 4"]
  labels: np.ndarray
  extras: dict[str, Any] = dataclasses.field(default_factory=dict)


class BuildReport:
  """Counts of what was skipped or changed, with the first cases of each."""

  def __init__(self):
    self.counts: collections.Counter[str] = collections.Counter()
    self.examples: dict[str, list[str]] = {}

  def add(self, kind: str, where: str) -> None:
    """Counts one case of `kind`; `where` names the file and the object."""
    self.counts[kind] += 1
    listed = self.examples.setdefault(kind, [])
    if len(listed) < _LISTED:
      listed.append(where)

  def merge(self, other: dict) -> None:
    """Adds the `as_dict` of another report."""
    self.counts.update(other["counts"])
    for kind, listed in other["first_examples"].items():
      own = self.examples.setdefault(kind, [])
      own += listed[: _LISTED - len(own)]

  def as_dict(self) -> dict:
    """The content of build_report.json."""
    return {
      "counts": dict(sorted(self.counts.items())),
      "first_examples": dict(sorted(self.examples.items())),
    }

  def line(self) -> str:
    """One line for the terminal; "" if there is nothing to report."""
    return "; ".join(f"{n} {kind}" for kind, n in sorted(self.counts.items()))


def is_plain_name(name: str) -> bool:
  """Whether `name` is a file name that cannot lead out of its folder."""
  return (
    bool(name)
    and name.isprintable()
    and name not in (".", "..")
    and not set(name) & set("/\\\0:")
    and len(name) <= 200
  )


def require_dir(path: pathlib.Path, remedy: str) -> pathlib.Path:
  """Returns `path` if it is a folder that is not empty, else raises."""
  if not path.is_dir():
    raise InputError(f"{path}: no such folder; {remedy}")
  if next(path.iterdir(), None) is None:
    raise InputError(f"{path}: the folder is empty; {remedy}")
  return path


def read_bytes(path: pathlib.Path, max_bytes: int) -> bytes:
  """The content of a regular file of at most `max_bytes`."""
  if not path.is_file():
    raise InputError(
      f"{path}: no such file; add it or take its image out of the set"
    )
  size = path.stat().st_size
  if size > max_bytes:
    raise InputError(
      f"{path}: {size:,} bytes are more than the {max_bytes:,} allowed;"
      " replace the file"
    )
  if size == 0:
    raise InputError(f"{path}: the file is empty; copy it again")
  return path.read_bytes()


def read_text(path: pathlib.Path, max_bytes: int = MAX_TEXT_BYTES) -> str:
  """The content of a UTF-8 text file."""
  data = read_bytes(path, max_bytes)
  check_utf8(memoryview(data), path)
  return data.decode("utf-8-sig")


def check_utf8(data: memoryview, path: pathlib.Path) -> None:
  """Raises `InputError` where bytes are not UTF-8; names the first of them."""
  decoder = codecs.getincrementaldecoder("utf-8")()
  for start in range(0, len(data), _PIECE):
    piece = data[start : start + _PIECE]
    left = len(decoder.getstate()[0])  # of a character that began before
    try:
      decoder.decode(piece, final=start + len(piece) == len(data))
    except UnicodeDecodeError as e:
      raise InputError(
        f"{path}: not UTF-8 text (byte {start - left + e.start}); convert the"
        " file"
      ) from None


def read_xml(path: pathlib.Path, root_tag: str) -> etree._Element:
  """The root of an XML file, of which nothing is expanded or loaded.

  Raises:
    InputError: broken XML, a document type (which entities that expand or
      refer to files need), or another root than `root_tag`.
  """
  data = read_bytes(path, MAX_TEXT_BYTES)
  try:
    root = safe_xml.parse(data, collect_ids=False)  # an id may occur twice
  except (etree.XMLSyntaxError, ValueError) as e:
    reason = " ".join(str(e).split())
    raise InputError(
      f"{path}: broken XML ({reason}); repair the file"
    ) from None
  if root.getroottree().docinfo.doctype:
    raise InputError(
      f"{path}: the XML has a document type, which may expand entities or"
      " refer to files; remove the <!DOCTYPE ...>"
    )
  if root.tag != root_tag:
    raise InputError(
      f"{path}: the root is <{root.tag}>, not <{root_tag}>; put an annotation"
      " of this data set there"
    )
  return root


def read_image(
  path: pathlib.Path, channels: int = 1
) -> UInt8[np.ndarray, "H W *c"]:
  """Reads a page, dark as ink: 0 = white, 255 = black; see `ParsedPage.ink`.

  Raises:
    InputError: not a readable PNG, JPEG, TIFF or BMP, too many pixels, or a
      TIFF of several pages; smaller copies of the first do not count.
  """
  data = read_bytes(path, MAX_IMAGE_BYTES)
  number = images.num_pages(data)
  if number > 1:
    first, second = (images.header_hw(data, n) or (0, 0) for n in (1, 2))
    if 2 * second[0] > first[0] and 2 * second[1] > first[1]:
      raise InputError(
        f"{path}: has {number} pages, and boxes are of one; save that page"
        " alone"
      )
  page = images.read_page(data, str(path), polarity="dark", channels=channels)
  return page if channels == 1 else np.bitwise_not(page)


def list_images(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """Image files directly in a folder, by name without ending, sorted.

  Raises:
    InputError: two images differ only in their endings.
  """
  found: dict[str, pathlib.Path] = {}
  for path in sorted(folder.iterdir()):
    if path.suffix.lower() not in IMAGE_SUFFIXES:
      continue
    if path.stem in found:
      raise InputError(
        f"{path}: beside {found[path.stem].name}; keep one image of this name"
      )
    found[path.stem] = path
  return found


def read_page_names(
  path: pathlib.Path,
  seen: dict[str, pathlib.Path],
  page_of: Callable[[str], str] = str.strip,
) -> list[str]:
  """Reads the list of a split's page names, one per line; may be empty.

  Args:
    seen: name -> list that has it; gets the new names.
    page_of: a line -> the page that it names; "" = none.

  Raises:
    InputError: a name is not plain, or listed already.
  """
  names = []
  text = read_text(path) if path.stat().st_size else ""
  for line in text.splitlines():
    name = page_of(line)
    if not name:
      continue
    if not is_plain_name(name):
      raise InputError(
        f"{path}: {name[:200]!r} is not a plain page name; list names without"
        " folder and ending"
      )
    if name in seen:
      other = "twice" if seen[name] == path else f"also in {seen[name]}"
      raise InputError(f"{path}: page {name!r} is {other}; keep it once")
    seen[name] = path
    names.append(name)
  return names


def number(text: str | None) -> float:
  """A number in a text; nan if it is missing, absurd or no number."""
  try:
    value = float(text) if text and len(text) <= _MAX_DIGITS else math.nan
  except ValueError:
    return math.nan
  return value if abs(value) < _ABSURD else math.nan


def clean_boxes(
  boxes_yxyx: Float[np.ndarray, "n 4"],
  image_hw: tuple[int, int],
  path: pathlib.Path,
  report: BuildReport,
) -> tuple[Float[np.ndarray, "n 4"], Bool[np.ndarray, " n"]]:
  """Cuts boxes to the page and marks the unusable ones.

  Args:
    boxes_yxyx: pixels, as annotated.
    path: the annotation, named in the report.

  Returns:
    The boxes cut to the page, float32, and which of them to keep.

  Raises:
    InputError: too many boxes, or more than half are unusable: then the file
      is wrong (other units, another page), not a box.
  """
  if len(boxes_yxyx) > MAX_BOXES:
    raise InputError(
      f"{path}: {len(boxes_yxyx):,} boxes are more than the {MAX_BOXES:,}"
      " allowed on a page; replace the file"
    )
  boxes = np.asarray(boxes_yxyx, np.float64).reshape(-1, 4)
  height, width = image_hw
  finite = np.all(np.isfinite(boxes), axis=1)
  boxes = np.where(finite[:, None], boxes, 0)
  inverted = (boxes[:, 2] < boxes[:, 0]) | (boxes[:, 3] < boxes[:, 1])
  empty = (boxes[:, 2] == boxes[:, 0]) | (boxes[:, 3] == boxes[:, 1])
  inside = np.clip(boxes, 0, [height, width, height, width]).astype(np.float32)
  outside = (inside[:, 2] <= inside[:, 0]) | (inside[:, 3] <= inside[:, 1])
  cut = np.any(np.abs(inside - boxes) > _CUT_TOLERANCE_PX, axis=1)
  kept = np.zeros(len(boxes), bool)
  for i in range(len(boxes)):
    if not finite[i]:
      kind = "boxes skipped: not a usable number"
    elif inverted[i]:
      kind = "boxes skipped: inverted"
    elif empty[i]:
      kind = "boxes skipped: of zero area"
    elif outside[i]:
      kind = "boxes skipped: outside the image"
    else:
      kept[i] = True
      kind = "boxes cut: partly outside the image" if cut[i] else ""
    if kind:
      report.add(kind, f"{path.name}: object {i}")
  if 2 * kept.sum() < len(boxes):
    raise InputError(
      f"{path}: {len(boxes) - kept.sum()} of {len(boxes)} boxes are unusable"
      f" on an image of {width} x {height} px; check its units and its file"
    )
  return inside, kept
