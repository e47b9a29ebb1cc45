"""The folder layout of DeepScores (2017), written in one go.

```
images and boxes   segmentation_detection/{images_png,xml_annotations}/
classes by pixel   segmentation_detection/pix_annotations_png/, if asked for
splits             train_val_test/{train,val,test}.txt
classes            DeepScores_classification/class_names.csv
```
"""

import json
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from dwd_jax.core.errors import InputError
from dwd_jax.engrave.smufl_classes import Vocabulary

IMAGES = pathlib.PurePath("segmentation_detection", "images_png")
ANNOTATIONS = pathlib.PurePath("segmentation_detection", "xml_annotations")
PIXELS = pathlib.PurePath("segmentation_detection", "pix_annotations_png")
SPLITS = pathlib.PurePath("train_val_test")
CLASSES = pathlib.PurePath("DeepScores_classification", "class_names.csv")
SUMMARY = pathlib.PurePath("engraved.json")
NAMES = ("train", "val", "test")
DEFAULT_SHARES = {"train": 0.80, "val": 0.08, "test": 0.12}


@contextmanager
def new_folder(out: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a folder that appears at `out` complete, or not at all.

  Raises:
    InputError: `out` is not empty or cannot be written.
  """
  try:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
      raise InputError(f"{out} exists and is not empty; choose another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = pathlib.Path(
      tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent)
    )
  except OSError as e:
    raise InputError(f"{out} cannot be written ({e.strerror})") from e
  try:
    for folder in (IMAGES, ANNOTATIONS, SPLITS, CLASSES.parent):
      (temporary / folder).mkdir(parents=True)
    yield temporary
    temporary.chmod(0o755)  # mkdtemp makes it private
    if out.exists():
      out.rmdir()
    temporary.rename(out)
  except BaseException:
    shutil.rmtree(temporary, ignore_errors=True)
    raise


def write_page(
  folder: pathlib.Path, name: str, png: bytes, xml: bytes, labels: bytes = b""
) -> None:
  """Writes image, annotation and, if given, pixel labels of a page."""
  (folder / IMAGES / f"{name}.png").write_bytes(png)
  (folder / ANNOTATIONS / f"{name}.xml").write_bytes(xml)
  if labels:
    (folder / PIXELS).mkdir(exist_ok=True)
    (folder / PIXELS / f"{name}.png").write_bytes(labels)


def write_lists(
  folder: pathlib.Path,
  splits: dict[str, list[str]],
  vocabulary: Vocabulary,
  summary: dict,
) -> None:
  """Writes the splits, the class names and a summary as JSON."""
  for split, names in splits.items():
    lines = "".join(f"{name}\n" for name in names)
    (folder / SPLITS / f"{split}.txt").write_text(lines)
  rows = "".join(f"{i},{name}\n" for i, name in enumerate(vocabulary.names))
  (folder / CLASSES).write_text(rows)
  (folder / SUMMARY).write_text(json.dumps(summary, indent=1) + "\n")


class Annotated(NamedTuple):
  """A symbol of a page.

  Attributes:
    name: of its class; needs no escaping.
    box_yxyx: px, cut to the page.
    corners_yx: of the oriented box, px, not cut.
    position: on the staff, see `labels.Found`.
    onset: in quarter notes, see `labels.Found`.
  """

  name: str
  box_yxyx: tuple[float, float, float, float]
  corners_yx: Float[np.ndarray, "4 2"]
  position: int | None = None
  onset: float | None = None


def annotation_xml(
  filename: str,
  image_hw: tuple[int, int],
  objects: Sequence[Annotated],
  depth: int = 1,
) -> bytes:
  """The annotation file of one page, in the tag order of DeepScores.

  Boxes and corners are relative to the page. What DeepScores has not follows
  the box: `corners`, x and y of each in turn, `position` and `onset`.
  """
  height, width = image_hw
  written = "".join(_object_xml(item, height, width) for item in objects)
  return (
    f"<annotation><folder>Annotations</folder><filename>{filename}</filename>"
    f"<size><width>{width}</width><height>{height}</height><depth>"
    f"{depth}</depth></size><segmented>0</segmented>{written}</annotation>"
  ).encode()


def _object_xml(item: Annotated, height: int, width: int) -> str:
  y0, x0, y1, x1 = item.box_yxyx
  corners = " ".join(
    f"{x / width:.7f} {y / height:.7f}" for y, x in item.corners_yx.tolist()
  )
  more = f"<corners>{corners}</corners>"
  if item.position is not None:
    more += f"<position>{item.position}</position>"
  if item.onset is not None:
    more += f"<onset>{item.onset:.6g}</onset>"
  return (
    f"<object><name>{item.name}</name><bndbox><xmin>{x0 / width:.8f}</xmin>"
    f"<xmax>{x1 / width:.8f}</xmax><ymin>{y0 / height:.8f}</ymin>"
    f"<ymax>{y1 / height:.8f}</ymax></bndbox>{more}</object>"
  )


class Splitter:
  """Assigns scores to splits by share of pages; depends on their order."""

  def __init__(self, shares: Mapping[str, float] | None = None):
    """Takes shares by split, on any scale.

    Raises:
      InputError: a share is negative, a name unknown, or all are 0.
    """
    shares = dict(DEFAULT_SHARES if shares is None else shares)
    total = sum(shares.values())
    if set(shares) - set(NAMES) or min(shares.values()) < 0 or not total > 0:
      raise InputError(
        f"split shares {shares}: give train, val and test numbers >= 0"
      )
    self.shares = {name: shares.get(name, 0.0) / total for name in NAMES}
    self.pages: dict[str, list[str]] = {name: [] for name in NAMES}
    self._of: dict[str, str] = {}

  def add(self, score: str, pages: list[str]) -> str:
    """Adds the pages of a score, and returns their split.

    Pages of a score seen before go where that went.
    """
    if score not in self._of:
      self._of[score] = self._next(len(pages))
    split = self._of[score]
    self.pages[split] += pages
    return split

  def _next(self, size: int) -> str:
    # Every split that is asked for gets a score before any gets two.
    for name in NAMES:
      if self.shares[name] and not self.pages[name]:
        return name
    total = sum(len(p) for p in self.pages.values()) + size
    return max(NAMES, key=lambda n: self.shares[n] * total - len(self.pages[n]))
