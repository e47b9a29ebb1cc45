"""MUSCIMA++ annotation files -> classes, boxes and masks; no TFDS in here.

Links between objects and their identifiers are ignored.
"""

import dataclasses
import itertools
import pathlib

import numpy as np
from jaxtyping import Float, Int
from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

from dwd_jax.core.errors import InputError
from dwd_jax.imaging import masks
from tfds_builders import checks

MUNG = "Nodes"  # root of v2.0
CROP_OBJECTS = "CropObjectList"  # root of v1.0


@dataclasses.dataclass(frozen=True)
class Rows:
  """What reading a page needs besides its files (`checks.PageFiles.rows`).

  Attributes:
    root_tag: MUNG or CROP_OBJECTS.
    marked_classes: left out with the option legacy_exclusions.
  """

  root_tag: str
  marked_classes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Objects:
  """The objects of a file, of which only class names are checked.

  Attributes:
    labels: class ids.
    boxes_yxyx: as annotated, in pixels; nan = no number.
    mask_texts: "" = no mask.
  """

  labels: Int[np.ndarray, " n"]
  boxes_yxyx: Float[np.ndarray, "n 4"]
  mask_texts: list[str]


def read_objects(
  path: pathlib.Path,
  page_name: str,
  root_tag: str,
  class_names: tuple[str, ...],
) -> Objects:
  """The objects of one annotation file.

  Args:
    page_name: the page that the file must name, if it names one.
    root_tag: MUNG or CROP_OBJECTS.
    class_names: the data set's; see `_class_ids`.

  Raises:
    InputError: broken XML, another format, an annotation of another page, an
      unknown class name.
  """
  root = checks.read_xml(path, root_tag)
  document = root.get("document") or page_name
  if document != page_name:
    raise InputError(
      f"{path}: says that it annotates {document[:100]!r}; name the file after"
      " its page"
    )
  tag = "Node" if root_tag == MUNG else "CropObjects/CropObject"
  ids = _class_ids(class_names)
  labels, corners, texts = [], [], []
  # With one more than allowed, `clean_boxes` raises.
  items = itertools.islice(root.iterfind(tag), checks.MAX_BOXES + 1)
  for n, item in enumerate(items):
    name = class_name_of(item)
    label = ids.get(name, ids.get(plain(name)))
    if label is None:
      raise InputError(
        f"{path}: object {n} has the unknown class {name[:100]!r}; correct it,"
        " or add it to the list of classes"
      )
    top, left, height, width = (
      checks.number(item.findtext(key))
      for key in ("Top", "Left", "Height", "Width")
    )
    labels.append(label)
    corners.append((top, left, top + height, left + width))
    texts.append(item.findtext("Mask") or "")
  return Objects(
    np.array(labels, np.int64),
    np.array(corners, np.float64).reshape(-1, 4),
    texts,
  )


def class_name_of(item: etree._Element) -> str:
  """The class of an object, whose tag v1.0 spells in two ways."""
  name = item.findtext("ClassName") or item.findtext("MLClassName") or ""
  return name.strip()


def _class_ids(class_names: tuple[str, ...]) -> dict[str, int]:
  """Ids by name, and by `plain` name where that is unique."""
  plain_ids: dict[str, int] = {}
  for i, name in enumerate(class_names):
    key = plain(name)
    plain_ids[key] = -1 if key in plain_ids else i
  ids = {key: i for key, i in plain_ids.items() if i >= 0}
  return ids | {name: i for i, name in enumerate(class_names)}


def plain(name: str) -> str:
  """A name in the original's spelling: lower case except letters.

  Its lists have tuple_bracket_line and trill_wobble where the release has
  tuple_bracket/line and trill_"wobble".
  """
  name = name.strip().replace("/", "_").replace('"', "")
  return name if name.startswith("letter_") else name.lower()


def read_masks(
  objects: Objects,
  rows: Int[np.ndarray, " m"],
  boxes_yxyx: Float[np.ndarray, "m 4"],
  path: pathlib.Path,
  report: checks.BuildReport,
) -> dict[str, np.ndarray]:
  """The features `mask_runs` and `mask_stops`.

  A mask fills the box as annotated, and is cut with it at the page's edge.

  Args:
    objects: all of the file.
    rows: indices of the objects that the page keeps.
    boxes_yxyx: of the kept objects, inside the page.
    report: counts dropped masks, whose objects stay.

  Raises:
    InputError: most masks are unusable.
  """
  runs, dropped = [], 0
  for row, box in zip(rows, boxes_yxyx, strict=True):
    try:
      runs.append(_runs(objects.mask_texts[row], objects.boxes_yxyx[row], box))
    except ValueError as e:
      dropped += 1
      report.add("masks dropped", f"{path.name}: object {row}: {e}")
      runs.append(np.zeros(0, np.int32))
  if 2 * dropped > len(runs):
    raise InputError(
      f"{path}: {dropped} of {len(runs)} masks are unusable; replace the file"
    )
  mask_runs, mask_stops = masks.join(runs)
  return {"mask_runs": mask_runs, "mask_stops": mask_stops}


def _runs(text: str, whole_yxyx, box_yxyx) -> np.ndarray:
  if not text.strip():
    return np.zeros(0, np.int32)
  if np.any(whole_yxyx != np.round(whole_yxyx)):
    raise ValueError("the edges of its box are no whole pixels")
  top, left, bottom, right = (int(v) for v in whole_yxyx)
  y0, x0, y1, x1 = (int(v) for v in box_yxyx)
  hw = bottom - top, right - left
  runs = masks.parse_runs(text, hw)
  if (y1 - y0, x1 - x0) == hw:
    return runs
  return masks.crop(runs, hw, y0 - top, x0 - left, (y1 - y0, x1 - x0))
