"""What readers of all formats return, and how they find files."""

import collections
import dataclasses
import pathlib
import re
import unicodedata
import urllib.parse
from collections.abc import Iterator

import numpy as np

from dwd_jax.core.errors import InputError
from tfds_builders import checks

SPLITS = ("train", "val", "test")
_MAX_DEPTH = 8  # of folders in folders
IMAGE_DIRS = ("images", "jpegimages", "imgs", "data")
_WORDS = {
  "train": "train", "training": "train", "trainval": "train", "val": "val",
  "valid": "val", "validation": "val", "dev": "val", "test": "test",
  "testing": "test",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Objects:
  """The boxes of one page as annotated, unchecked.

  Attributes:
    names: class of each object.
    boxes_yxyx: float32 [n, 4], pixels or shares of the page, half-open; nan for
      values that are no numbers.
    difficult: bool [n], marked as such.
    outlines_yx: float32 [n, 4, 2], corners in pixels, or None.
    in_shares: boxes are shares of the page's height and width, 0..1.
    image_hw: size of the page according to the annotation, or None.
  """

  names: tuple[str, ...]
  boxes_yxyx: np.ndarray
  difficult: np.ndarray
  outlines_yx: np.ndarray | None = None
  in_shares: bool = False
  image_hw: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Page:
  """A page before its split and its class ids are known.

  Attributes:
    split: train, val, test; "" = unknown.
    relative: path of the image below the folder of images, with slashes.
  """

  split: str
  relative: str
  image: pathlib.Path
  annotation: pathlib.Path
  objects: Objects


@dataclasses.dataclass(frozen=True)
class Found:
  """What a format's reader returns.

  Attributes:
    class_names: by id, if the files list them, else ().
  """

  pages: list[Page]
  class_names: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Pair:
  """A folder of annotations, one per page, and folders that may hold images.

  Attributes:
    others: folders of other pairs, which may lie in this one.
    listed: the images, if a list names them: path below the data set, with
      slashes, image, annotation, which may be absent.
  """

  split: str
  annotations: pathlib.Path
  images: tuple[pathlib.Path, ...]
  others: frozenset[pathlib.Path] = frozenset()
  listed: tuple[tuple[str, pathlib.Path, pathlib.Path], ...] | None = None

  def found(self, suffix: str) -> list[pathlib.Path]:
    """Annotations in the folder and below, sorted."""
    return below(self.annotations, (suffix,), self.others)


def split_of(word: str) -> str:
  """train, val or test for a word such as "Validation" or "train2017"."""
  return _WORDS.get(word.lower().rstrip("0123456789"), "")


def split_in(stem: str) -> str:
  """The first word of a file's stem that names a split, as split, or ""."""
  words = re.split(r"[^A-Za-z0-9]+", stem)
  return next(filter(None, map(split_of, words)), "")


def folders(parent: pathlib.Path) -> list[pathlib.Path]:
  """Folders in a folder, sorted, without hidden ones."""
  if not parent.is_dir():
    return []
  return sorted(
    p for p in parent.iterdir() if not p.name.startswith(".") and p.is_dir()
  )


def files(folder: pathlib.Path, suffix: str) -> list[pathlib.Path]:
  """Files with an ending directly in a folder, sorted, without hidden ones."""
  if not folder.is_dir():
    return []
  return sorted(
    p
    for p in folder.iterdir()
    if p.suffix.lower() == suffix and not p.name.startswith(".")
  )


def files_of_splits(
  root: pathlib.Path, suffix: str, names: tuple[str, ...]
) -> list[tuple[str, pathlib.Path]]:
  """Files with an ending and their splits, in a folder and some folders of it.

  Args:
    root: holds them, SPLIT/, or folders of these names.
    suffix: in lower case.
    names: in lower case.
  """
  found = [("", path) for path in files(root, suffix)]
  for folder in folders(root):
    split = split_of(folder.name)
    if split or folder.name.lower() in names:
      found += [(split, path) for path in files(folder, suffix)]
  return [(split or split_in(path.stem), path) for split, path in found]


def below(
  folder: pathlib.Path,
  suffixes: tuple[str, ...],
  without: frozenset[pathlib.Path] = frozenset(),
  depth: int = _MAX_DEPTH,
) -> list[pathlib.Path]:
  """Files with an ending in a folder and the folders below, sorted.

  Args:
    suffixes: in lower case.
    without: folders that are left out, as hidden ones and links are.
    depth: number of levels that are read; 1 = the folder itself.
  """
  if not folder.is_dir():
    return []
  found = []
  for path in sorted(folder.iterdir()):
    if path.name.startswith("."):
      continue
    if path.suffix.lower() in suffixes and path.is_file():
      found.append(path)
    elif depth > 1 and path not in without and _is_own_dir(path):
      found += below(path, suffixes, without, depth - 1)
  return found


def _is_own_dir(path: pathlib.Path) -> bool:
  return path.is_dir() and not path.is_symlink()


def find_pairs(
  root: pathlib.Path, names: tuple[str, ...], suffix: str, beside: bool
) -> list[Pair]:
  """Folders of annotations: NAME/, NAME/SPLIT/, SPLIT/NAME/.

  Args:
    names: beginnings of the folders' names, lower case.
    beside: annotations may also be directly in `root` or SPLIT/.

  Raises:
    InputError: a split has two folders.
  """

  def like(folder: pathlib.Path) -> bool:
    return folder.name.lower().startswith(names)

  def images(parent: pathlib.Path, word: str = "") -> Iterator[pathlib.Path]:
    for folder in folders(parent):
      if folder.name.lower() in IMAGE_DIRS:
        yield folder / word

  pairs = []
  for folder in folders(root):
    split = split_of(folder.name)
    if like(folder):
      pairs.append(Pair("", folder, (*images(root), root, folder)))
      pairs += [
        Pair(split_of(f.name), f, (*images(root, f.name), f))
        for f in folders(folder)
        if split_of(f.name)
      ]
    elif split:
      pairs += [
        Pair(split, f, (*images(folder), folder, f))
        for f in folders(folder)
        if like(f)
      ]
      if beside and not any(map(like, folders(folder))):
        pairs.append(Pair(split, folder, (folder, *images(folder))))
  used = {pair.annotations for pair in pairs}
  pairs = [
    dataclasses.replace(pair, others=frozenset(used - {pair.annotations}))
    for pair in pairs
  ]
  pairs = [pair for pair in pairs if pair.found(suffix)]
  if beside and not pairs and files(root, suffix):
    pairs.append(Pair("", root, (root, *images(root))))
  one_for_each_split([(p.split, p.annotations) for p in pairs])
  return pairs


def one_for_each_split(found: list[tuple[str, pathlib.Path]]) -> None:
  """Raises if a split has two sources, or one of several has no split ("")."""
  seen: dict[str, pathlib.Path] = {}
  for split, path in found:
    clash = seen if not split else seen.keys() & {split, ""}
    if clash:
      raise InputError(
        f"{path}: annotations, and also {seen[min(clash)]}; keep one for each"
        " split, or one without splits"
      )
    seen[split] = path


def pair_up(
  pair: Pair,
  suffix: str,
  report: checks.BuildReport,
  ignored: frozenset[str] = frozenset(),
) -> list[tuple[str, pathlib.Path, pathlib.Path]]:
  """Relative path, image and annotation of each page of a folder.

  They belong together by their paths below their folders without ending, or
  where only one image has it, by their name. What has no partner is counted and
  left out; an annotation without objects is the way to say that an image shows
  nothing.

  Raises:
    InputError: no annotation has an image, or an image has two.
  """
  if pair.listed is not None:
    for _, image, path in pair.listed:
      if not path.is_file():
        report.add("images skipped: without annotation", image.name)
    return [page for page in pair.listed if page[2].is_file()]
  folder, images = _images(pair)
  by_stem = collections.defaultdict(list)
  for key in images:
    by_stem[key.name].append(key)
  pages, taken, alone = [], {}, []
  for path in pair.found(suffix):
    if path.name in ignored:
      continue
    if not checks.is_plain_name(path.name):
      raise InputError(
        f"{path.parent}: the file name {path.name[:200]!r} has a colon, a"
        " backslash, or what cannot be printed; rename the file"
      )
    key = path.relative_to(pair.annotations).with_suffix("")
    if key not in images and len(by_stem[key.name]) == 1:
      (key,) = by_stem[key.name]
    if key not in images:
      alone.append(path)
      continue
    if key in taken:
      raise InputError(
        f"{path}: its image {images[key]} has the annotation {taken[key]}, too;"
        " keep one of them"
      )
    taken[key] = path
    relative = images[key].relative_to(folder).as_posix()
    pages.append((relative, images[key], path))
  if alone and not pages:
    raise InputError(
      f"{alone[0]}: no image of this name in"
      f" {' or '.join(str(f) for f in pair.images)}; add it"
      f" ({', '.join(checks.IMAGE_SUFFIXES)}) or remove the annotation"
    )
  for path in alone:
    report.add("annotations skipped: without image", path.name)
  for key, image in images.items():
    if key not in taken:
      report.add("images skipped: without annotation", image.name)
  return pages


def _images(
  pair: Pair,
) -> tuple[pathlib.Path, dict[pathlib.PurePath, pathlib.Path]]:
  """The first folder that has images, and these by their path without ending.

  The folder of the data set itself is not searched below, where other images
  may lie.
  """
  for folder in pair.images:
    whole = folder.name.lower() in IMAGE_DIRS or folder == pair.annotations
    whole |= bool(pair.split)
    images: dict[pathlib.PurePath, pathlib.Path] = {}
    for path in below(
      folder,
      checks.IMAGE_SUFFIXES,
      pair.others,
      _MAX_DEPTH if whole else 1,
    ):
      key = path.relative_to(folder).with_suffix("")
      if key in images:
        raise InputError(
          f"{path}: {images[key].name} lies beside it; images that differ only"
          " in their endings share one annotation: rename one"
        )
      images[key] = path
    if images:
      return folder, images
  return pair.images[0], {}


def image_folders(
  root: pathlib.Path, split: str, path: pathlib.Path
) -> list[pathlib.Path]:
  """Folders that may hold the images of a file with boxes of many pages.

  Those of the split first, `root` last.
  """
  general = [f for f in folders(root) if f.name.lower() in IMAGE_DIRS]
  own = []
  for parent in (*general, root):
    for folder in folders(parent):
      if split and split_of(folder.name) == split:
        own.append(folder)
        own += [f for f in folders(folder) if f.name.lower() in IMAGE_DIRS]
  subset = path.stem.removeprefix("instances_")  # CVAT: images/default
  own += [f / subset for f in general if (f / subset).is_dir()]
  beside = [path.parent] if path.parent != root else []
  return list(dict.fromkeys([*beside, *own, *general, root]))


def plain_parts(file_name: str, where: str) -> tuple[str, ...]:
  """The parts of a path below a folder, as "sub/page.png"; "\\" is a slash.

  Raises:
    InputError: it is absolute, leads out of the folder, or is no image.
  """
  parts = tuple(file_name.replace("\\", "/").split("/"))
  while len(parts) > 1 and parts[0] == ".":
    parts = parts[1:]
  if len(parts) > 8 or not all(map(checks.is_plain_name, parts)):
    raise InputError(
      f"{where} {file_name[:200]!r} is not a path below the folder of images;"
      " give names such as page.png or part1/page.png"
    )
  if pathlib.PurePath(*parts).suffix.lower() not in checks.IMAGE_SUFFIXES:
    raise InputError(
      f"{where} {file_name[:200]!r} is none of"
      f" {', '.join(checks.IMAGE_SUFFIXES)}; convert the image"
    )
  return parts


def other_spellings(name: str) -> Iterator[tuple[str, str]]:
  """Names that may be meant by a file name, and what differs."""
  for form in ("NFC", "NFD"):
    yield (
      unicodedata.normalize(form, name),
      f"accents are stored in another way there (Unicode {form}); rename the"
      " file or correct the entry",
    )
  yield urllib.parse.unquote(name), "write it in the entry without % codes"


def as_float32(values: np.ndarray) -> np.ndarray:
  """Single precision; values beyond its range become infinite."""
  with np.errstate(over="ignore", invalid="ignore"):
    return values.astype(np.float32)


def text_of_page(path: pathlib.Path) -> str:
  """The content of a text file of boxes, which may be empty."""
  if path.is_file() and path.stat().st_size == 0:
    return ""
  return checks.read_text(path)
