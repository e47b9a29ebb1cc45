"""One's own boxes (COCO, VOC, DOTA, YOLO, CSV) -> pages; no TFDS in here."""

import dataclasses
import itertools
import pathlib
from collections.abc import Iterator

import numpy as np

from dwd_jax.core.errors import InputError
from tfds_builders import checks, corners
from tfds_builders.boxes import (
  boxes_classes,
  boxes_coco,
  boxes_csv,
  boxes_dota,
  boxes_pages,
  boxes_splits,
  boxes_voc,
  boxes_yolo,
)

FORMATS = {
  "coco": boxes_coco,
  "voc": boxes_voc,
  "dota": boxes_dota,
  "yolo": boxes_yolo,
  "csv": boxes_csv,
}
_SEARCHED = 100  # folders searched for a hint
_DEEPSCORES_XML = "xml_annotations"


@dataclasses.dataclass(frozen=True)
class Options:
  """What `data.options` can change.

  Attributes:
    class_names: all classes, by id; () = classes.txt, or those of the files.
    skip_difficult: leave out objects marked as difficult.
    keep_splits: do not take missing splits (val, test) from training pages.
    voc_pixels: "devkit" (from 1, last pixel included), "edges" (from 0), or
      "" = by XML file, see `boxes_voc`.
  """

  class_names: tuple[str, ...] = ()
  skip_difficult: bool = False
  keep_splits: bool = False
  voc_pixels: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
  """`PageFiles.rows` of this builder; see `boxes_pages.Objects`."""

  labels: np.ndarray
  boxes_yxyx: np.ndarray
  outlines_yx: np.ndarray | None
  in_shares: bool
  image_hw: tuple[int, int] | None


def extra_features(config: str, options: Options) -> tuple[str, ...]:
  """See `base.Parser`."""
  del options
  # `auto` does not know yet what it will find.
  return ("oriented_yx",) if config == "dota" else ()


def read_data_set(
  root: pathlib.Path, config: str, options: Options, report: checks.BuildReport
) -> checks.DataSet:
  """Finds pages, boxes and classes, and reads all annotations.

  See `base.Parser`; `config` is a key of `FORMATS`, or "auto" = the one format
  that is found.

  Returns:
    Splits according to the files; missing val and test are taken from the
    training pages (`boxes_splits`).

  Raises:
    InputError: nothing is found, or an annotation is bad.
  """
  checks.require_dir(
    root, "put images and annotations there, see tfds_builders/boxes/README.md"
  )
  name, sources = _choose(root, config)
  if name == "coco":
    found = boxes_coco.read(root, sources, report)
  elif name == "voc":
    found = boxes_voc.read(root, sources, options.voc_pixels, report)
  elif name == "dota":
    found = boxes_dota.read(sources, report)
  elif name == "csv":
    found = boxes_csv.read(root, sources, report)
  else:
    found = boxes_yolo.read(root, sources, options.class_names, report)
  splits = boxes_splits.assign(root, found.pages, options.keep_splits, report)
  class_names = boxes_classes.resolve(root, options.class_names, found, report)
  ids = {n: i for i, n in enumerate(class_names)}
  names = boxes_splits.unique_names(splits)
  return checks.DataSet(
    class_names,
    {
      split: [_files(p, names[p], ids, options, report) for p in pages]
      for split, pages in splits.items()
    },
  )


def _choose(root: pathlib.Path, config: str) -> tuple[str, list]:
  """The format and where its annotations are."""
  if root.name == _DEEPSCORES_XML and (found := _deepscores(root.parent)):
    raise _is_deepscores(root, found)
  wanted = FORMATS if config == "auto" else {config: FORMATS[config]}
  found = {name: module.find(root) for name, module in wanted.items()}
  found = {name: sources for name, sources in found.items() if sources}
  if len(found) > 1:
    raise InputError(
      f"{root}: looks like {' and '.join(found)}; choose with"
      " data.builder_config"
    )
  if not found:
    for folder in (root, *_folders_below(root)):
      if deepscores := _deepscores(folder):
        raise _is_deepscores(root, deepscores)
    there = sorted(p.name for p in root.iterdir())
    more = ", ..." if len(there) > 8 else ""
    below = _below(root, list(wanted.values()))
    hint = f"{below} looks right: name that; or see" if below else "see"
    raise InputError(
      f"{root}: no annotations found"
      f" ({'; '.join(m.LOOKED_FOR for m in wanted.values())}); it holds"
      f" {', '.join(repr(n[:60]) for n in there[:8])}{more}; {hint}"
      " tfds_builders/boxes/README.md for the layouts"
    )
  return next(iter(found.items()))


def _deepscores(folder: pathlib.Path) -> pathlib.Path | None:
  """The data set in the layout of DeepScores whose pages a folder holds."""
  parts = (_DEEPSCORES_XML, "images_png")
  if not all((folder / name).is_dir() for name in parts):
    return None
  inner = folder.name == "segmentation_detection"
  return folder.parent if inner else folder


def _is_deepscores(root: pathlib.Path, folder: pathlib.Path) -> InputError:
  return InputError(
    f"{root}: {folder} has the layout of DeepScores, with classes of your own"
    " or not; take --config=configs/deepscores.py, or the builder deepscores,"
    " and name that folder"
  )


def _folders_below(root: pathlib.Path) -> Iterator[pathlib.Path]:
  """Folders in `root` and in these, as archives often hold one."""
  children = boxes_pages.folders(root)
  grandchildren = itertools.chain.from_iterable(
    map(boxes_pages.folders, children[:_SEARCHED])
  )
  return itertools.islice(itertools.chain(children, grandchildren), _SEARCHED)


def _below(root: pathlib.Path, modules: list) -> pathlib.Path | None:
  """A folder in `root` that has annotations."""
  for folder in _folders_below(root):
    try:
      if any(module.find(folder) for module in modules):
        return folder
    except (InputError, OSError):
      continue
  return None


def _files(
  page: boxes_pages.Page,
  name: str,
  ids: dict[str, int],
  options: Options,
  report: checks.BuildReport,
) -> checks.PageFiles:
  objects = page.objects
  kept = np.ones(len(objects.names), bool)
  if options.skip_difficult:
    kept = ~objects.difficult
  for i in np.flatnonzero(objects.difficult):
    kind = "skipped" if options.skip_difficult else "kept"
    report.add(f"difficult objects {kind}", f"{page.image.name}: object {i}")
  labels = np.array([ids[n] for n in objects.names], np.int32)
  outlines = objects.outlines_yx
  rows = Rows(
    labels[kept],
    objects.boxes_yxyx[kept],
    None if outlines is None else outlines[kept],
    objects.in_shares,
    objects.image_hw,
  )
  filename = "" if name == page.image.stem else name + page.image.suffix
  return checks.PageFiles(name, page.image, page.annotation, rows, filename)


def read_page(
  page: checks.PageFiles,
  class_names: tuple[str, ...],
  options: Options,
  report: checks.BuildReport,
) -> checks.ParsedPage:
  """Reads the image of a page and checks its boxes; see `base.Parser`.

  Raises:
    InputError: broken image, of another size than the annotation says, or
      unusable boxes.
  """
  del class_names, options
  rows = page.rows
  ink = checks.read_image(page.image, page.channels)
  image_hw = ink.shape[:2]
  if rows.image_hw not in (None, image_hw):
    remedy = "put the original image there"
    if rows.image_hw == image_hw[::-1]:
      remedy += (
        "; it is turned by 90 degrees: if the boxes were made without its"
        " orientation tag (EXIF), remove the tag"
      )
    raise InputError(
      f"{page.image}: {ink.shape[1]} x {ink.shape[0]} px, but"
      f" {page.annotation} was made for {rows.image_hw[1]} x"
      f" {rows.image_hw[0]}; {remedy}"
    )
  boxes = rows.boxes_yxyx.astype(np.float64)
  if rows.in_shares:
    boxes = boxes * np.array(image_hw * 2)
  # Where many pages share a JSON file, the image says more.
  alone = page.annotation.stem == page.image.stem
  path = page.annotation if alone else page.image
  boxes, kept = checks.clean_boxes(boxes, image_hw, path, report)
  extras = {}
  if rows.outlines_yx is not None:
    outlines = rows.outlines_yx.astype(np.float64)
    extras["oriented_yx"] = corners.clean(
      outlines, boxes, kept, image_hw, path, report
    )[kept]
  return checks.ParsedPage(
    ink, boxes[kept], rows.labels[kept].astype(np.int64), extras
  )
