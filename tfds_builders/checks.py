"""What all builders check in the files they are given; no TFDS in here.

Whatever makes a page unusable is an `InputError`; a single bad box is skipped
or cut, counted, and listed in the `BuildReport`.
"""

import collections
import dataclasses
import math
import pathlib
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8
from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

from dwd_jax.core.errors import InputError
from dwd_jax.imaging import images

MAX_XML_BYTES = 64 << 20
MAX_IMAGE_BYTES = 256 << 20
MAX_BOXES = 100_000  # of a page
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
_LISTED = 20  # examples of each kind in the report
_MAX_DIGITS = 50  # of a number, with sign, point and exponent
_ABSURD = 1e9  # beyond it, products of coordinates overflow
_CUT_TOLERANCE_PX = 0.5  # rounding of the annotations, not worth a line


@dataclasses.dataclass(frozen=True)
class PageFiles:
  """A page before it is read.

  Attributes:
    name: unique in the data set; the key of its record.
    image: path of the image.
    annotation: path of the file with its boxes; many pages may share one.
    rows: what `read_page` needs besides, such as this page's part of a file
      with all boxes; small and picklable, since it travels to workers.
    filename: unique in the data set; "" = the image's own name.
  """

  name: str
  image: pathlib.Path
  annotation: pathlib.Path
  rows: Any = None
  filename: str = ""


@dataclasses.dataclass(frozen=True)
class DataSet:
  """What a folder holds.

  Attributes:
    class_names: C names; the index is the class id.
    splits: the pages of each split; a split without pages is absent.
    vocabulary: a column of dwd_jax/core/vocabularies.csv that has all the
      names; "" = names of one's own.
  """

  class_names: tuple[str, ...]
  splits: dict[str, list[PageFiles]]
  vocabulary: str = ""


@dataclasses.dataclass(frozen=True)
class ParsedPage:
  """A page that passed all checks.

  Attributes:
    ink: 0 = paper, 255 = ink.
    boxes_yxyx: inside the page, not empty, in pixels.
    labels: class ids.
    extras: features that only some data sets have, by name; those that
      `extra_features` of the parsing module lists (see base.EXTRA_FEATURES).
  """

  ink: UInt8[np.ndarray, "H W"]
  boxes_yxyx: Float[np.ndarray, "n 4"]
  labels: np.ndarray
  extras: dict[str, Any] = dataclasses.field(default_factory=dict)


class BuildReport:
  """Counts of what was skipped or changed, with the first examples of each."""

  def __init__(self):
    self.counts: collections.Counter[str] = collections.Counter()
    self.examples: dict[str, list[str]] = {}

  def add(self, kind: str, where: str) -> None:
    """Counts one case of `kind`; `where` names the file (and the object)."""
    self.counts[kind] += 1
    listed = self.examples.setdefault(kind, [])
    if len(listed) < _LISTED:
      listed.append(where)

  def merge(self, other: dict) -> None:
    """Adds what `as_dict` of another report gave."""
    self.counts.update(other["counts"])
    for kind, listed in other["first_examples"].items():
      own = self.examples.setdefault(kind, [])
      own += listed[: _LISTED - len(own)]

  def as_dict(self) -> dict:
    """For build_report.json."""
    return {
      "counts": dict(sorted(self.counts.items())),
      "first_examples": dict(sorted(self.examples.items())),
    }

  def line(self) -> str:
    """One line for the terminal; "" if there is nothing to tell."""
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
  """`path` if it is a folder with something in it, else an `InputError`."""
  if not path.is_dir():
    raise InputError(f"{path}: no such folder; {remedy}")
  if next(path.iterdir(), None) is None:
    raise InputError(f"{path}: the folder is empty; {remedy}")
  return path


def read_bytes(path: pathlib.Path, max_bytes: int) -> bytes:
  """The content of a regular file of at most `max_bytes`."""
  if not path.is_file():
    raise InputError(f"{path}: no such file; add it or take its page out")
  size = path.stat().st_size
  if size > max_bytes:
    raise InputError(
      f"{path}: {size:,} bytes are more than the {max_bytes:,} allowed;"
      " replace the file"
    )
  if size == 0:
    raise InputError(f"{path}: the file is empty; copy it again")
  return path.read_bytes()


def read_text(path: pathlib.Path, max_bytes: int = MAX_XML_BYTES) -> str:
  """The content of a UTF-8 text file."""
  try:
    return read_bytes(path, max_bytes).decode("utf-8-sig")
  except UnicodeDecodeError:
    raise InputError(f"{path}: not UTF-8 text; convert the file") from None


def read_xml(path: pathlib.Path, root_tag: str) -> etree._Element:
  """The root of an XML file that declares and loads nothing.

  Raises:
    InputError: broken XML, a document type (entities that expand or refer to
      files need one), or another root than `root_tag`.
  """
  data = read_bytes(path, MAX_XML_BYTES)
  parser = etree.XMLParser(
    resolve_entities=False,
    no_network=True,
    load_dtd=False,
    huge_tree=False,
    collect_ids=False,  # an id that occurs twice is no error to us
  )
  try:
    root = etree.fromstring(data, parser)
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


def read_image(path: pathlib.Path) -> UInt8[np.ndarray, "H W"]:
  """The page of an image file as ink: 0 = paper, 255 = ink.

  Raises:
    InputError: not a readable PNG, JPEG, TIFF or BMP, or too many pixels.
  """
  data = read_bytes(path, MAX_IMAGE_BYTES)
  return images.decode_page(data, str(path))


def list_images(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """Image files right in a folder by name without ending, sorted.

  Raises:
    InputError: two images differ in their endings only.
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


def number(text: str | None) -> float:
  """A number in a text file; nan where it is missing, absurd or none."""
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
    image_hw: height and width of the page in pixels.
    path: the annotation, named in the report.
    report: counts what is cut or skipped.

  Returns:
    The boxes cut to the page, float32, and which of them to keep.

  Raises:
    InputError: more than half of the boxes are unusable, so that not a box
      but the file is wrong (other units, another page); or too many boxes.
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
      kind = "boxes skipped: outside the page"
    else:
      kept[i] = True
      kind = "boxes cut: partly outside the page" if cut[i] else ""
    if kind:
      report.add(kind, f"{path.name}: object {i}")
  if 2 * kept.sum() < len(boxes):
    raise InputError(
      f"{path}: {len(boxes) - kept.sum()} of {len(boxes)} boxes are unusable"
      f" on a page of {width} x {height} px; check its units and its image"
    )
  return inside, kept
