"""YOLO: a text file of boxes in shares of the page for each image.

A line is `class cx cy w h`, all but the class in 0..1; a line with three or
more corners (`class x1 y1 x2 y2 ...`) stands for the box around them; where
data.yaml has `kpt_shape`, key points follow the box and are left out. Names of
classes are `names` in data.yaml, or in classes.txt.
"""

import dataclasses
import os
import pathlib
import re

import numpy as np
import yaml

from dwd_jax.core.errors import InputError
from tfds_builders import checks
from tfds_builders.boxes import boxes_classes, boxes_pages
from tfds_builders.boxes.boxes_pages import Found, Objects, Page, Pair

LOOKED_FOR = "yolo: no .txt in labels/ or train/labels/ or beside its image"
_YAML = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_MAX_YAML_BYTES = 1 << 20
_MAX_YAML_DEPTH = 20


def find(root: pathlib.Path) -> list[Pair]:
  """Folders with label files; [] if there are none.

  What data.yaml names as train, val and test counts first, unless the folders
  say the same and more.
  """
  named = _named(root, path) if (path := _yaml_file(root)) else []
  if not named:
    return _by_layout(root)
  try:
    pairs = _by_layout(root)
  except InputError:
    return named
  more = {(pair.split, pair.annotations) for pair in pairs}
  if all(p.listed is None and (p.split, p.annotations) in more for p in named):
    return pairs
  return named


def _by_layout(root: pathlib.Path) -> list[Pair]:
  pairs = boxes_pages.find_pairs(root, ("labels",), ".txt", beside=False)
  return pairs or _beside_images(root)


def _named(root: pathlib.Path, path: pathlib.Path) -> list[Pair]:
  """The splits that data.yaml names: folders or lists of images.

  What is not below the folder is no split: exported files often name splits
  that they do not have. One place for several splits is none of them.
  """
  top = _read_yaml(path)
  base = _text(top["path"]) if "path" in top else ""
  places: dict[str, list[pathlib.Path]] = {}
  for split in boxes_pages.SPLITS:
    node = top.get(split)
    entries = node.value if isinstance(node, yaml.SequenceNode) else [node]
    texts = [_text(entry) for entry in entries]
    found = [_place(root, base, text) for text in filter(None, texts)]
    places[split] = [place for place in found if place]
  all_of_them = [place for found in places.values() for place in found]
  if len(set(all_of_them)) < len(all_of_them) or not places["train"]:
    return []
  pairs = []
  for split, found in places.items():
    for place in found:
      if place.is_dir():
        labels = _labels_of(root, place)
        pairs.append(Pair(split, labels, (place,)))
      else:
        pairs.append(Pair(split, root, (), listed=_listed_pages(root, place)))
  used = frozenset(pair.annotations for pair in pairs)
  pairs = [
    dataclasses.replace(pair, others=used - {pair.annotations})
    for pair in pairs
  ]
  return [p for p in pairs if p.listed is not None or p.found(".txt")]


def _place(root: pathlib.Path, base: str, text: str) -> pathlib.Path | None:
  """The folder or list that an entry means; None if it is not below `root`.

  Roboflow's entries begin with ../ although they lie beside data.yaml.
  """
  stripped = re.sub(r"^(\.\./)+", "", text)
  for name in (f"{base}/{text}", text, stripped):
    relative = os.path.relpath(root / name, root)
    inside = relative.split("/")[0] not in (".", "..")
    # `exists` of pathlib raises where a name is too long.
    if inside and os.path.exists(root / relative):  # noqa: PTH110
      return root / relative
  return None


def _labels_of(root: pathlib.Path, images: pathlib.Path) -> pathlib.Path:
  """The folder of labels of a folder of images: "images" becomes "labels"."""
  parts = list(images.relative_to(root).parts)
  for i in reversed(range(len(parts))):
    if parts[i].lower() == "images":
      parts[i] = "labels"
      break
  else:
    labels = images / "labels"
    return labels if labels.is_dir() else images
  return root.joinpath(*parts)


def _listed_pages(
  root: pathlib.Path, path: pathlib.Path
) -> tuple[tuple[str, pathlib.Path, pathlib.Path], ...]:
  """The images of a list and where their labels are, if they have any.

  Raises:
    InputError: an image is not below `root`.
  """
  pages = []
  for n, line in enumerate(checks.read_text(path).splitlines(), 1):
    if not line.strip():
      continue
    image = _place(root, str(path.parent.relative_to(root)), line.strip())
    if image is None or image.suffix.lower() not in checks.IMAGE_SUFFIXES:
      raise InputError(
        f"{path}: line {n}: {line.strip()[:200]!r} is no image below {root};"
        " add it or remove the line"
      )
    labels = _labels_of(root, image.parent) / f"{image.stem}.txt"
    pages.append((image.relative_to(root).as_posix(), image, labels))
  return tuple(pages)


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
    report: counts images without annotation, and those that no list names.

  Raises:
    InputError: no names, a malformed line, not UTF-8, or no image.
  """
  listed = _listed(root, pairs)
  names = _merged(listed) or class_names
  if not names:
    raise InputError(
      f"{root}: the names of the classes are missing; add data.yaml with names,"
      " classes.txt with one name per line, or set data.options.class_names"
    )
  ignored = frozenset({boxes_classes.CLASSES_TXT})
  key_values = _num_key_values(root)
  pages = []
  for pair in pairs:
    own = listed.get(pair.annotations) or names
    for name, image, path in boxes_pages.pair_up(pair, ".txt", report, ignored):
      objects = read_objects(path, own, key_values)
      pages.append(Page(pair.split, name, image, path, objects))
  if all(pair.listed is not None for pair in pairs):
    listed_images = {x[1] for pair in pairs for x in pair.listed or ()}
    for image in boxes_pages.below(root, checks.IMAGE_SUFFIXES):
      if image not in listed_images:
        report.add("images skipped: in no split list", image.name)
  return Found(pages, names)


def _yaml_file(root: pathlib.Path) -> pathlib.Path | None:
  return next((root / name for name in _YAML if (root / name).is_file()), None)


def _names_file(folder: pathlib.Path) -> pathlib.Path | None:
  """classes.txt, or the only file of the names of darknet or CVAT."""
  path = folder / boxes_classes.CLASSES_TXT
  if path.is_file():
    return path
  others = boxes_pages.files(folder, ".names")
  if len(others) > 1:
    raise InputError(
      f"{others[1]}: a list of classes, as {others[0].name}; keep one of them"
    )
  return others[0] if others else None


def _listed(
  root: pathlib.Path, pairs: list[Pair]
) -> dict[pathlib.Path, tuple[str, ...]]:
  """Names by id for each folder of labels, where a file lists them.

  LabelImg writes a list into each folder, in the order in which classes came
  up there.

  Raises:
    InputError: two files that both apply to a folder differ.
  """
  above = []
  if path := _yaml_file(root):
    above.append((path, read_yaml_names(path)))
  if path := _names_file(root):
    above.append((path, boxes_classes.read_classes_txt(path)))
  listed = {}
  for folder in dict.fromkeys(pair.annotations for pair in pairs):
    applying = list(above)
    if folder != root and (path := _names_file(folder)):
      applying.append((path, boxes_classes.read_classes_txt(path)))
    for path, names in applying[1:]:
      if names != applying[0][1]:
        raise InputError(
          f"{path}: other classes, or another order, than in {applying[0][0]};"
          " keep the one that the labels are numbered by"
        )
    if applying:
      listed[folder] = applying[0][1]
  return listed


def _merged(
  listed: dict[pathlib.Path, tuple[str, ...]],
) -> tuple[str, ...]:
  """All names, those of the first folder first."""
  return tuple(dict.fromkeys(n for names in listed.values() for n in names))


def _num_key_values(root: pathlib.Path) -> int:
  """Numbers of a line after the box: `kpt_shape` of data.yaml; 0 = no pose."""
  path = _yaml_file(root)
  node = _read_yaml(path).get("kpt_shape") if path else None
  if node is None:
    return 0
  sides = []
  if isinstance(node, yaml.SequenceNode):
    sides = [_text(n) for n in node.value]
  if len(sides) != 2 or not all(s.isdecimal() and len(s) < 6 for s in sides):
    raise InputError(
      f"{path}: kpt_shape is no list such as [17, 3], key points and numbers of"
      " each; correct it"
    )
  return int(sides[0]) * int(sides[1])


def read_yaml_names(path: pathlib.Path) -> tuple[str, ...]:
  """`names` of a YAML file, a list or a mapping from 0, 1, 2, ..."""
  node = _read_yaml(path).get("names")
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


def _read_yaml(path: pathlib.Path) -> dict[str, yaml.Node]:
  """The top level of a YAML file.

  No objects are made from the file, and references are not expanded.
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
  return {_text(key): value for key, value in reversed(top)}


def _text(node) -> str:
  return node.value.strip() if isinstance(node, yaml.ScalarNode) else ""


def read_objects(
  path: pathlib.Path, class_names: tuple[str, ...], key_values: int = 0
) -> Objects:
  """The objects of a file, with boxes in shares of the page.

  Args:
    key_values: numbers of each line after the box (pose labels), left out.
  """
  names, boxes = [], []
  for n, line in enumerate(boxes_pages.text_of_page(path).splitlines(), 1):
    words = line.split()
    if not words:
      continue
    if key_values:
      if len(words) != 5 + key_values:
        raise InputError(
          f"{path}: line {n} has {len(words)} columns; with kpt_shape of"
          f" data.yaml there are {5 + key_values}"
        )
      words = words[:5]
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
