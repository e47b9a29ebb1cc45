"""Pascal VOC: an XML file for each image.

Two conventions share the same tags. The devkit counts pixels from 1 and
includes the last one: a box over the first pixel is (1, 1, 1, 1). LabelImg,
CVAT and most later tools write edges counted from 0: (0, 0, 1, 1). Files whose
`<source><database>` names VOC follow the former, all others the latter, unless
`Options.voc_pixels` decides for all files.
"""

import pathlib
import re

import numpy as np

from dwd_jax.core.errors import InputError
from tfds_builders import checks
from tfds_builders.boxes import boxes_pages
from tfds_builders.boxes.boxes_pages import Found, Objects, Page, Pair

LOOKED_FOR = "voc: no .xml in Annotations/, train/ or the folder itself"
DEVKIT, EDGES = "devkit", "edges"
_LISTS = pathlib.Path("ImageSets", "Main")


def find(root: pathlib.Path) -> list[Pair]:
  """Folders with XML files; [] if there are none.

  Raises:
    InputError: a split has two folders, or one file covers all images.
  """
  pairs = boxes_pages.find_pairs(
    root, ("annotations", "xmls", "labels"), ".xml", beside=True
  )
  for pair in pairs:
    found = pair.found(".xml")
    if [path.name for path in found] == ["annotations.xml"]:
      raise InputError(
        f"{found[0]}: one XML file for all images (CVAT's own format) is not"
        " read; export as COCO, Pascal VOC or YOLO"
      )
  return pairs


def read(
  root: pathlib.Path,
  pairs: list[Pair],
  voc_pixels: str,
  report: checks.BuildReport,
) -> Found:
  """Reads all annotations.

  Args:
    root: may have ImageSets/Main.
    voc_pixels: "devkit", "edges", or "" = by file.
    report: counts pages that no list names, and pages counted from 1.

  Raises:
    InputError: broken XML, an annotation or list entry without image, ...
  """
  if voc_pixels not in ("", DEVKIT, EDGES):
    raise InputError(
      f"data.options.voc_pixels: {voc_pixels!r} is unknown; it is {DEVKIT!r}"
      f" (from 1, the last pixel included) or {EDGES!r} (from 0)"
    )
  paths, names = {}, {}
  for pair in pairs:
    for name, image, annotation in boxes_pages.pair_up(pair, ".xml", report):
      paths[annotation] = (pair.split, image)
      names[annotation] = name
  lists = [] if any(pair.split for pair in pairs) else _lists(root)
  if lists:
    by_name = {
      str(pathlib.PurePosixPath(names[a]).with_suffix("")): (a, image)
      for a, (_, image) in paths.items()
    }
    paths = _as_listed(lists, by_name, report)
  pages = []
  for annotation, (split, image) in paths.items():
    objects, one_based = read_objects(annotation, voc_pixels)
    if one_based:
      report.add("images counted from pixel 1 (VOC devkit)", annotation.name)
    pages.append(Page(split, names[annotation], image, annotation, objects))
  return Found(pages)


def _lists(root: pathlib.Path) -> list[tuple[str, pathlib.Path]]:
  """Lists of page names; `trainval` only if there is no `train`."""
  found = {path.stem: path for path in boxes_pages.files(root / _LISTS, ".txt")}
  if "train" not in found and "trainval" in found:
    found["train"] = found["trainval"]
  words = [w for w in found if w != "trainval" and boxes_pages.split_of(w)]
  lists = [(boxes_pages.split_of(w), found[w]) for w in words]
  boxes_pages.one_for_each_split(lists)
  return lists


def _as_listed(
  lists: list[tuple[str, pathlib.Path]],
  by_name: dict[str, tuple[pathlib.Path, pathlib.Path]],
  report: checks.BuildReport,
) -> dict[pathlib.Path, tuple[str, pathlib.Path]]:
  paths = {}
  for split, path in lists:
    text = checks.read_text(path) if path.stat().st_size else ""
    for line in filter(None, map(str.strip, text.splitlines())):
      # Lists of one class have a second column.
      name = line if line in by_name else re.sub(r"\s+-?[01]$", "", line)
      if name not in by_name:
        raise InputError(
          f"{path}: {name[:200]!r} has no annotation with an image; add them or"
          " take the name out of the list"
        )
      annotation, image = by_name[name]
      if annotation in paths:
        raise InputError(
          f"{path}: page {name!r} is listed twice, also in"
          f" {paths[annotation][0]}; keep it once"
        )
      paths[annotation] = (split, image)
  for annotation, _ in by_name.values():
    if annotation not in paths:
      report.add("images skipped: in no split list", annotation.name)
  return paths


def read_objects(path: pathlib.Path, voc_pixels: str) -> tuple[Objects, bool]:
  """The objects of an XML file, and whether its pixels count from 1.

  `part`, `truncated`, `filename` and `path` are ignored: the image has the name
  of the XML file.
  """
  root = checks.read_xml(path, "annotation")
  database = root.findtext("source/database") or ""
  one_based = (voc_pixels or _convention(database)) == DEVKIT
  names, boxes, difficult = [], [], []
  for item in root.iterfind("object"):
    names.append((item.findtext("name") or "").strip())
    boxes.append([checks.number(item.findtext(tag)) for tag in _TAGS])
    difficult.append((item.findtext("difficult") or "").strip() == "1")
  if root.find("object/robndbox") is not None and (
    root.find("object/bndbox") is None
  ):
    raise InputError(
      f"{path}: its boxes are turned (robndbox, as roLabelImg writes them),"
      " which are not read; export as DOTA, or with bndbox"
    )
  boxes_yxyx = np.array(boxes, np.float64).reshape(-1, 4)
  if one_based:
    boxes_yxyx[:, :2] -= 1
  size = [
    checks.number(root.findtext(f"size/{side}")) for side in ("height", "width")
  ]
  known = all(1 <= side < 1e9 for side in size)  # many tools write 0
  objects = Objects(
    tuple(names),
    boxes_pages.as_float32(boxes_yxyx),
    np.array(difficult, bool),
    image_hw=(int(size[0]), int(size[1])) if known else None,
  )
  return objects, one_based


def _convention(database: str) -> str:
  return DEVKIT if re.search(r"VOC ?(19|20)\d\d", database) else EDGES


_TAGS = tuple(f"bndbox/{tag}" for tag in ("ymin", "xmin", "ymax", "xmax"))
