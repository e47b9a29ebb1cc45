"""proposals.json, which DeepScoresV2's own evaluation (obb_anns) reads.

It knows pages and classes by the numbers of its annotations, so these are read
first. Differs from the text of its README, which its code contradicts: numbers
are no strings, and every proposal has a score.

Reference: github.com/yvan674/obb_anns at 01ccaae, OBBAnns.load_proposals. Its
calculate_metrics of that commit takes upright proposals; of oriented ones it
fails where a page has two true boxes of a class (a bracket in
`[detection['bbox'] * len(same_cat_gt)]`).
"""

import contextlib
import json
import pathlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from dwd_jax.apps.detect.tables import RunPage
from dwd_jax.core import files
from dwd_jax.core.errors import InputError
from tfds_builders import checks
from tfds_builders.deepscores_v2 import deepscores_v2_index
from tfds_builders.deepscores_v2.deepscores_v2_parsing import CONFIGS

FILE = "proposals.json"


class Numbers(NamedTuple):
  """Numbers of pages and classes in a file of annotations.

  Attributes:
    annotation_set: the one that has the classes of the detections.
    categories: number of each of these classes.
    images: number of each page, by the name of its file.
  """

  path: pathlib.Path
  annotation_set: str
  categories: Sequence[int]
  images: Mapping[str, int]


def read_numbers(path: pathlib.Path, class_names: Sequence[str]) -> Numbers:
  """Reads the numbers.

  Args:
    path: a JSON file of DeepScoresV2.
    class_names: of the detections.

  Raises:
    InputError: it is no such file, or none of its annotation sets has all
      classes.
  """
  for annotation_set in dict.fromkeys(name for _, name, _ in CONFIGS.values()):
    index = deepscores_v2_index.read(path, annotation_set, checks.BuildReport())
    if set(class_names) <= set(index.class_names):
      break
  else:
    raise InputError(
      f"{path}: none of its annotation sets has all classes of the detector;"
      " give --names=deepscores_v2, or a detector that was trained on"
      " DeepScoresV2 (--checkpoint)"
    )
  pages = index.pages.items()
  ids = {label: i for _, page in pages for i, label in page.class_ids.items()}
  names = {name: ids.get(i, 0) for i, name in enumerate(index.class_names)}
  return Numbers(
    path=path,
    annotation_set=annotation_set,
    categories=[names[name] for name in class_names],
    images={
      file: int(page.image_id)
      for file, page in pages
      if str(page.image_id).isdecimal()
    },
  )


@contextlib.contextmanager
def proposals_file(
  path: pathlib.Path, numbers: Numbers
) -> Iterator[Callable[[RunPage], None]]:
  """Yields a function that adds a page.

  Pages that the annotations do not have are left out, with a warning.
  """
  unknown, before = [], ""

  def add(page: RunPage) -> None:
    nonlocal before
    name = pathlib.PurePath(page.source.file).name
    image = numbers.images.get(name)
    if image is None:
      unknown.append(name)
      return
    for symbol in page.coco:
      x, y, width, height = symbol["bbox"]
      upright = [x, y, round(x + width, 2), round(y + height, 2)]
      proposal = {
        "bbox": symbol.get("segmentation", [upright])[0],
        "cat_id": numbers.categories[symbol["category_id"] - 1],
        "img_id": image,
        "score": symbol["score"],
      }
      file.write(before + json.dumps(proposal))
      before = ",\n"

  with files.atomic(path) as file:
    start = json.dumps({"annotation_set": numbers.annotation_set})[:-1]
    file.write(start + ', "proposals": [\n')
    yield add
    file.write("\n]}\n")
  if unknown:
    warnings.warn(
      f"{path}: {len(unknown)} pages are not in {numbers.path} and left out,"
      f" the first is {unknown[0]}",
      stacklevel=4,
    )
