"""MUSCIMA++ v2.0 folders -> pages, boxes, labels; no TFDS in here."""

import dataclasses
import pathlib
import re

import numpy as np

from dwd_jax.errors import InputError
from tfds_builders import checks

# Writers whose pages are kept out of `train`: 12 pages (10 %) of 12 different
# pieces each. Chosen so that 106 of the 115 classes occur in either part, and
# all of them in `train`.
VAL_WRITERS = frozenset({"17", "18", "26", "37"})
HELDOUT_WRITERS = frozenset({"11", "23", "38", "50"})
_PAGE_NAME = re.compile(r"CVC-MUSCIMA_W-(?P<writer>\d\d)_N-\d\d_D-\w+")
_LAYOUT = "see the README of tfds_builders/muscima_pp for the layout"


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
  """Lists the pages of a MUSCIMA++ v2.0 folder.

  Args:
    root: holds `data` and `specifications`, directly or in a folder `v2.0`.
    config: name of the builder config.
    options: see there.
    report: counts the official test pages that are absent.

  Returns:
    Class names in the order of the specification. Splits by writer: `test`
    (the official testset-independent, the pages of it that are there), `val`,
    `heldout` and `train`. A split without pages is absent.

  Raises:
    InputError: anything of the layout is missing, an image has no annotation
      or the reverse, a file is not named as MUSCIMA++ does.
  """
  del config, options
  checks.require_dir(root, _LAYOUT)
  if not (root / "specifications").is_dir() and (root / "v2.0").is_dir():
    root = root / "v2.0"
  specifications = checks.require_dir(root / "specifications", _LAYOUT)
  annotations = checks.require_dir(root / "data" / "annotations", _LAYOUT)
  images = checks.require_dir(root / "data" / "images", _LAYOUT)
  class_names = read_class_names(
    specifications / "mff-muscima-mlclasses-annot.xml"
  )
  test_list = specifications / "testset-independent.txt"
  official_test = set(checks.read_text(test_list).split())

  have_image = {p.stem for p in images.glob("*.png")}
  have_annotation = {p.stem for p in annotations.glob("*.xml")}
  splits: dict[str, list[checks.PageFiles]] = {}
  for name in sorted(have_image | have_annotation):
    page = checks.PageFiles(
      name, images / f"{name}.png", annotations / f"{name}.xml"
    )
    if name not in have_image:
      raise InputError(
        f"{page.image}: no such image, but {page.annotation} is there; add the"
        " image or take the annotation away"
      )
    if name not in have_annotation:
      raise InputError(
        f"{page.annotation}: no such annotation, but {page.image} is there; add"
        " the annotation or take the image away"
      )
    split = "test" if name in official_test else _split_of(page)
    splits.setdefault(split, []).append(page)
  for name in sorted(official_test - have_image - have_annotation):
    report.add("official test pages absent", name)
  if "train" not in splits:
    raise InputError(
      f"{annotations}: no page of a training writer; unpack all of MUSCIMA++"
    )
  return checks.DataSet(class_names, splits)


def _split_of(page: checks.PageFiles) -> str:
  match = _PAGE_NAME.fullmatch(page.name)
  if not match:
    raise InputError(
      f"{page.annotation}: the name is not CVC-MUSCIMA_W-xx_N-xx_D-...; rename"
      " the file or take it away"
    )
  if match["writer"] in VAL_WRITERS:
    return "val"
  return "heldout" if match["writer"] in HELDOUT_WRITERS else "train"


def read_class_names(path: pathlib.Path) -> tuple[str, ...]:
  """Names of all node classes, in the order of the specification.

  Classes that never occur are kept: ids must not depend on the pages.
  """
  root = checks.read_xml(path, "NodeClasses")
  names = [(n.findtext("Name") or "").strip() for n in root.iter("NodeClass")]
  if not names or "" in names or len(set(names)) < len(names):
    raise InputError(
      f"{path}: a class without a name, or a name twice; take the file of the"
      " MUSCIMA++ release"
    )
  return tuple(names)


def read_page(
  page: checks.PageFiles,
  class_names: tuple[str, ...],
  options: Options,
  report: checks.BuildReport,
) -> checks.ParsedPage:
  """Reads and checks one page; masks and links are not read.

  Args:
    page: its files.
    class_names: the data set's.
    options: see there.
    report: counts boxes that were cut or skipped.

  Raises:
    InputError: broken image or XML, an annotation of another page, an unknown
      class name, unusable boxes.
  """
  del options
  ink = checks.read_image(page.image)
  root = checks.read_xml(page.annotation, "Nodes")
  document = root.get("document") or page.name
  if document != page.name:
    raise InputError(
      f"{page.annotation}: says that it annotates {document!r}; name the file"
      " after its page"
    )
  ids = {name: i for i, name in enumerate(class_names)}
  labels, corners = [], []
  for n, node in enumerate(root.iterfind("Node")):
    name = (node.findtext("ClassName") or "").strip()
    if name not in ids:
      raise InputError(
        f"{page.annotation}: node {n} has the unknown class {name!r}; correct"
        " it, or add it to the specification"
      )
    top, left, height, width = (
      _number(node, tag) for tag in ("Top", "Left", "Height", "Width")
    )
    labels.append(ids[name])
    corners.append((top, left, top + height, left + width))
  boxes, kept = checks.clean_boxes(
    np.array(corners, np.float64).reshape(-1, 4),
    ink.shape,
    page.annotation,
    report,
  )
  return checks.ParsedPage(ink, boxes[kept], np.array(labels, np.int64)[kept])


def _number(node, tag: str) -> float:
  """A number of pixels; nan where it is missing or no number."""
  try:
    return float(node.findtext(tag) or "nan")
  except ValueError:
    return float("nan")
