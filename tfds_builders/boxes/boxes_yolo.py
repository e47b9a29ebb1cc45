"""YOLO: a text file of boxes in shares of the page for each image.

A line is `class cx cy w h`, all but the class in 0..1; a line with three or
more corners (`class x1 y1 x2 y2 ...`) stands for the box around them. Names of
classes are `names` in data.yaml, or in classes.txt.
"""

import pathlib
import re

import numpy as np
import yaml

from dwd_jax.core.errors import InputError
from tfds_builders import checks
from tfds_builders.boxes import boxes_classes, boxes_pages
from tfds_builders.boxes.boxes_pages import Found, Objects, Page, Pair

LOOKED_FOR = "yolo: no .txt in labels/ or train/labels/ or beside its image"
_NAMES_TXT = (boxes_classes.CLASSES_TXT, "obj.names")  # the latter: CVAT
_YAML = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_MAX_YAML_BYTES = 1 << 20
_MAX_YAML_DEPTH = 20


def find(root: pathlib.Path) -> list[Pair]:
  """Folders with label files; [] if there are none."""
  pairs = boxes_pages.find_pairs(root, ("labels",), ".txt", beside=False)
  return pairs or _beside_images(root)


def _beside_images(root: pathlib.Path) -> list[Pair]:
  """As written by LabelImg (root, or SPLIT/) and CVAT (obj_SPLIT_data/)."""
  folders = {root: ""}
  for folder in boxes_pages.folders(root):
    word = re.sub(r"^obj_(.+)_data$", r"\1", folder.name)
    if word != folder.name or boxes_pages.split_of(word):
      folders[folder] = boxes_pages.split_of(word)
  pairs = []
  for folder, split in folders.items():
    stems = {path.stem for path in boxes_pages.files(folder, ".txt")}
    # Other text files, such as a README, have no image of the same name.
    if stems and any(
      path.stem in stems and path.suffix.lower() in checks.IMAGE_SUFFIXES
      for path in folder.iterdir()
    ):
      pairs.append(Pair(split, folder, (folder,)))
  boxes_pages.one_for_each_split([(p.split, p.annotations) for p in pairs])
  return pairs


def read(
  root: pathlib.Path,
  pairs: list[Pair],
  class_names: tuple[str, ...],
  report: checks.BuildReport,
) -> Found:
  """Reads all annotations.

  Args:
    root: has data.yaml or classes.txt.
    class_names: names by id if neither file is there.
    report: counts images without annotation.

  Raises:
    InputError: no names, a malformed line, not UTF-8, or no image.
  """
  names = _class_names(root, pairs) or class_names
  if not names:
    raise InputError(
      f"{root}: the names of the classes are missing; add data.yaml with names,"
      " classes.txt with one name per line, or set data.options.class_names"
    )
  ignored = frozenset({boxes_classes.CLASSES_TXT})
  pages = []
  for pair in pairs:
    for image, path in boxes_pages.pair_up(pair, ".txt", report, ignored):
      objects = read_objects(path, names)
      pages.append(Page(pair.split, image.name, image, path, objects))
  return Found(pages, names)


def _class_names(root: pathlib.Path, pairs: list[Pair]) -> tuple[str, ...]:
  for name in _YAML:
    if (root / name).is_file():
      return read_yaml_names(root / name)
  for folder in (root, *(pair.annotations for pair in pairs)):
    for name in _NAMES_TXT:
      if (folder / name).is_file():
        return boxes_classes.read_classes_txt(folder / name)
  return ()


def read_yaml_names(path: pathlib.Path) -> tuple[str, ...]:
  """`names` of a YAML file, a list or a mapping from 0, 1, 2, ...

  Only the text of the names is read: no objects are made from the file, and
  references are not expanded.
  """
  text = checks.read_text(path, _MAX_YAML_BYTES)
  try:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
      depth += isinstance(event, yaml.events.CollectionStartEvent)
      depth -= isinstance(event, yaml.events.CollectionEndEvent)
      if depth > _MAX_YAML_DEPTH:
        raise InputError(f"{path}: nested too deeply; replace the file")
    root = yaml.compose(text, Loader=yaml.SafeLoader)
  except (yaml.YAMLError, ValueError, OverflowError) as e:
    if isinstance(e, InputError):
      raise
    reason = " ".join(str(e).split())[:200]
    raise InputError(f"{path}: broken YAML ({reason}); repair it") from None
  top = root.value if isinstance(root, yaml.MappingNode) else []
  node = next((value for key, value in top if key.value == "names"), None)
  if isinstance(node, yaml.SequenceNode):
    return boxes_classes.checked([_text(n) for n in node.value], path)
  if not isinstance(node, yaml.MappingNode):
    raise InputError(f"{path}: no list of names; add names: [first, second]")
  by_id = {_text(key): _text(value) for key, value in node.value}
  ids = [str(i) for i in range(len(by_id))]
  if by_id.keys() != set(ids) or len(node.value) != len(ids):
    raise InputError(
      f"{path}: the ids of names must be 0, 1, 2, ...; renumber them"
    )
  return boxes_classes.checked([by_id[i] for i in ids], path)


def _text(node) -> str:
  return node.value.strip() if isinstance(node, yaml.ScalarNode) else ""


def read_objects(path: pathlib.Path, class_names: tuple[str, ...]) -> Objects:
  """The objects of a file, with boxes in shares of the page."""
  names, boxes = [], []
  for n, line in enumerate(boxes_pages.text_of_page(path).splitlines(), 1):
    words = line.split()
    if not words:
      continue
    if len(words) != 5 and (len(words) < 7 or len(words) % 2 == 0):
      raise InputError(
        f"{path}: line {n} has {len(words)} columns; give class cx cy w h, or"
        " class and three corners or more"
      )
    known = words[0].isascii() and words[0].isdecimal() and len(words[0]) < 9
    if not known or int(words[0]) >= len(class_names):
      raise InputError(
        f"{path}: line {n} has the class {words[0][:200]!r}; classes are 0 to"
        f" {len(class_names) - 1}, see data.yaml or classes.txt"
      )
    names.append(class_names[int(words[0])])
    boxes.append(_box([checks.number(word) for word in words[1:]]))
  return Objects(
    tuple(names),
    boxes_pages.as_float32(np.array(boxes, np.float64).reshape(-1, 4)),
    np.zeros(len(names), bool),
    in_shares=True,
  )


def _box(values: list[float]) -> list[float]:
  """The box (y, x, y, x) of (cx, cy, w, h) or of corners (x, y), ..."""
  if len(values) == 4:
    x, y, w, h = values
    return [y - h / 2, x - w / 2, y + h / 2, x + w / 2]
  x, y = np.array(values[0::2]), np.array(values[1::2])
  return [y.min(), x.min(), y.max(), x.max()]
