"""DeepScoresV2 folders -> pages, boxes, labels; no TFDS in here."""

import dataclasses
import hashlib
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from dwd_jax.core import vocabulary
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import NO_POSITION
from tfds_builders import checks, corners, json_files, pixel_labels
from tfds_builders.deepscores_v2 import deepscores_v2_comments as comments
from tfds_builders.deepscores_v2 import deepscores_v2_index as obb

# Config -> (folder of the archive, annotation set, vocabulary).
CONFIGS = {
  "dense": ("ds2_dense", "deepscores", "deepscores_v2"),
  "dense_muscima": ("ds2_dense", "muscima++", "deepscores_v2_muscima"),
  "complete": ("ds2_complete", "deepscores", "deepscores_v2"),
  "complete_muscima": ("ds2_complete", "muscima++", "deepscores_v2_muscima"),
}
VAL_SHARE = 10  # one in this many pieces of music goes to val
_SHARD = re.compile(r"deepscores-complete-(\d{1,6})_(train|test)\.json")
_LAYOUT = "see the README of tfds_builders/deepscores_v2 for the layout"


@dataclasses.dataclass(frozen=True)
class Options:
  """What `data.options` can change: nothing."""


def extra_features(config: str, options: Options) -> tuple[str, ...]:
  """See `base.Parser`."""
  del config, options
  return ("oriented_yx", "pixel_labels", "positions", "onsets")


def read_data_set(
  root: pathlib.Path, config: str, options: Options, report: checks.BuildReport
) -> checks.DataSet:
  """Lists the pages of DeepScoresV2; see `base.Parser`.

  Returns:
    Class names in the order of the category ids; splits `train`, `val` (every
    tenth piece of music of the train files, see `is_val`) and `test`, if they
    have pages.

  Raises:
    InputError: a file is missing or bad, or most images are missing.
  """
  del options
  folder, annotation_set, vocabulary_name = CONFIGS[config]
  checks.require_dir(root, _LAYOUT)
  root = root / folder if (root / folder).is_dir() else root
  images_dir = checks.require_dir(root / "images", _LAYOUT)
  images = {entry.name for entry in os.scandir(images_dir)}
  class_names: tuple[str, ...] = ()
  pages: dict[str, checks.PageFiles] = {}
  splits: dict[str, list[checks.PageFiles]] = {}
  used = set()
  for split, path in annotation_files(root, folder):
    index = obb.read(path, annotation_set, report)
    class_names = class_names or index.class_names
    if index.class_names != class_names:
      raise InputError(
        f"{path}: other categories than in the other files; take all files"
        " from one release"
      )
    for page in _pages(index, path, images_dir):
      used.add(page.image.name)
      if page.image.name not in images:
        report.add("pages skipped: no image", f"{path.name}: {page.name}")
      elif page.name in pages:
        report.add("pages skipped: in two files", f"{path.name}: {page.name}")
      else:
        pages[page.name] = page
        splits.setdefault(split, []).append(page)
  if "train" not in splits or 2 * len(used & images) < len(used):
    raise InputError(
      f"{images_dir}: {len(used & images)} of {len(used)} images that the"
      " annotation files name are there, and"
      f" {len(splits.get('train', []))} of train; put the images of this data"
      " set there"
    )
  for name in sorted(images - used):
    report.add("images skipped: in no annotation file", name)
  known = set(vocabulary.names_of(vocabulary_name)).issuperset(class_names)
  return checks.DataSet(
    class_names, _with_val(splits), vocabulary_name if known else ""
  )


def annotation_files(
  root: pathlib.Path, folder: str
) -> list[tuple[str, pathlib.Path]]:
  """Pairs of split and file, `test` first, so that its pages stay in test.

  Raises:
    InputError: there is no file for train.
  """
  if folder == "ds2_dense":
    name = "deepscores_train.json"
    found = [
      (split, root / f"deepscores_{split}.json")
      for split in ("test", "train")
      if (root / f"deepscores_{split}.json").exists()
    ]
  else:
    name = "deepscores-complete-N_train.json"
    numbered = []
    for path in root.iterdir():
      match = _SHARD.fullmatch(path.name)
      if match:
        numbered.append((match[2], int(match[1]), path.name, path))
    found = [(split, path) for split, _, _, path in sorted(numbered)]
  if not any(split == "train" for split, _ in found):
    raise InputError(f"{root / name}: no such file; {_LAYOUT}")
  return found


def _pages(
  index: obb.Index, path: pathlib.Path, images_dir: pathlib.Path
) -> Iterator[checks.PageFiles]:
  for filename, rows in index.pages.items():
    stem = pathlib.PurePath(filename).stem
    yield checks.PageFiles(stem, images_dir / filename, path, rows)


def piece_of(name: str) -> str:
  """The piece of music of a page: lg-12-aug-beethoven--page-3 -> lg-12.

  Its pages in all fonts have it in common.
  """
  return name.split("-aug-")[0].split("--page-")[0] or name


def is_val(name: str) -> bool:
  """Whether a page of the train files goes to val.

  Depends on the name of its piece alone: pages of a piece stay together, and no
  page moves when others are added.
  """
  digest = hashlib.sha256(piece_of(name).encode()).digest()
  return int.from_bytes(digest[:4]) % VAL_SHARE == 0


def _with_val(
  splits: dict[str, list[checks.PageFiles]],
) -> dict[str, list[checks.PageFiles]]:
  pages = splits["train"]
  val = [page for page in pages if is_val(page.name)]
  if not val or len(val) == len(pages):
    return splits
  train = [page for page in pages if not is_val(page.name)]
  return splits | {"train": train, "val": val}


class _Annotation(msgspec.Struct):
  a_bbox: Any = None
  o_bbox: Any = None
  cat_id: Any = None
  img_id: Any = None
  comments: Any = None


def read_page(
  page: checks.PageFiles,
  class_names: tuple[str, ...],
  options: Options,
  report: checks.BuildReport,
) -> checks.ParsedPage:
  """Reads and checks one page; see `base.Parser`.

  Returns:
    The page; extras: `oriented_yx` as annotated, not cut to the page,
    `pixel_labels`, b"" without a segmentation, `positions` and `onsets`.

  Raises:
    InputError: broken image or JSON, an unknown category, an image of another
      size than the annotations.
  """
  del options
  rows: obb.PageRows = page.rows
  ink = checks.read_image(page.image)
  if ink.shape != rows.image_hw:
    raise InputError(
      f"{page.image}: {ink.shape[1]} x {ink.shape[0]} px, but"
      f" {page.annotation.name} is for {rows.image_hw[1]} x"
      f" {rows.image_hw[0]}; put the image of this data set there"
    )
  where = pathlib.Path(f"{page.annotation}: {page.name}")
  aligned, oriented, labels, noted = _decode(page, where, report)
  boxes, kept = checks.clean_boxes(aligned, ink.shape, where, report)
  oriented = corners.clean(oriented, boxes, kept, ink.shape, where, report)
  positions, onsets = comments.columns(noted)
  staff = class_names.index("staff") if "staff" in class_names else -1
  is_staff = kept & (labels == staff)
  if comments.count_downwards(positions, boxes, is_staff):
    report.add("pages whose positions count downwards: turned over", page.name)
    positions = np.where(positions == NO_POSITION, NO_POSITION, -positions)
  segmentation = page.image.parent.parent / "segmentation"
  labelled = pixel_labels.read(segmentation / f"{page.name}_seg.png", ink.shape)
  return checks.ParsedPage(
    ink,
    boxes[kept],
    labels[kept],
    {
      "oriented_yx": oriented[kept],
      "pixel_labels": labelled,
      "positions": positions[kept],
      "onsets": onsets[kept],
    },
  )


def _decode(
  page: checks.PageFiles, where: pathlib.Path, report: checks.BuildReport
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[comments.Noted]]:
  """Aligned (y, x, y, x) and oriented (y, x, ...) boxes, class ids, notes."""
  rows: obb.PageRows = page.rows
  aligned, oriented, labels, noted = [], [], [], []
  for first, start, stop in rows.runs:
    part = json_files.read_part(page.annotation, start, stop)
    found = json_files.decode(
      b'{"%d":%b}' % (first, part), dict[str, _Annotation], where
    )
    for i, annotation in found.items():
      label = _label(annotation.cat_id, rows, f"{where}: annotation {i}")
      if label is None:
        report.add("annotations left out: no class in this set", f"{i}")
        continue
      if str(annotation.img_id) != str(rows.image_id):
        report.add("annotations whose img_id is not their page's", f"{i}")
      labels.append(label)
      aligned.append(json_files.numbers(annotation.a_bbox, 4))
      oriented.append(_polygon(annotation.o_bbox, f"{i}", report))
      noted.append(comments.read(annotation.comments))
      if noted[-1].bad:
        report.add("positions or onsets left out: not readable", f"{i}")
  return (
    np.array(aligned, np.float64).reshape(-1, 4)[:, [1, 0, 3, 2]],
    np.array(oriented, np.float64).reshape(-1, 4, 2),
    np.array(labels, np.int64),
    noted,
  )


def _polygon(value: Any, where: str, report: checks.BuildReport) -> np.ndarray:
  """Corners (y, x) of an oriented box."""
  known = isinstance(value, list) and len(value) <= 2 * corners.MAX_POINTS
  xy = json_files.numbers(value, len(value) if known else 8)
  return corners.of_polygon(xy, where, report)


def _label(cat_id: Any, rows: obb.PageRows, where: str) -> int | None:
  """The class id; None without a class in the annotation set."""
  if not isinstance(cat_id, list):
    raise InputError(f"{where}: cat_id is not a list; correct it")
  chosen = cat_id[rows.set_index] if rows.set_index < len(cat_id) else None
  if chosen is None:
    return None
  text = str(chosen)[:20]
  label = rows.class_ids.get(int(text)) if text.isdecimal() else None
  if label is None:
    raise InputError(
      f"{where}: {text!r} is no category of its annotation set; correct it"
    )
  return label
