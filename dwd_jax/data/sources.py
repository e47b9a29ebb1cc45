"""Prepared records (TFDS, array_record) -> pages with boxes."""

import json
import pathlib

import numpy as np
import tensorflow_datasets as tfds

from dwd_jax.core import box_index
from dwd_jax.core import vocabulary as vocabulary_lib
from dwd_jax.core.box_index import BoxIndex, filename_of
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import Record
from dwd_jax.data import builders
from dwd_jax.imaging import tiled_tiff


class PageSource:
  """Pages of one split by index.

  Nothing is kept in memory but the boxes: an image, or the part of it that a
  crop needs, is read from its record each time. Thread-safe.

  Attributes:
    name: of the records, as TFDS has it.
    split: of the records.
    folder: of the records; "" = unknown.
    vocabulary: of the records' own class names, "" = unknown.
    class_names: C names, mapped if `common_with` asks for it.
    unmapped_boxes: boxes left out because the other vocabulary has no class for
      them, {own name: number}; known once `box_index` was called.
  """

  def __init__(
    self,
    records,
    *,
    name: str,
    split: str,
    class_names: tuple[str, ...],
    vocabulary: str = "",
    folder: str = "",
    leave_out: tuple[str, ...] = (),
    common_with: str = "",
  ):
    """Args: see `open_source`; `records[i]` is the dict of features."""
    unknown = sorted(set(leave_out) - set(class_names))
    if unknown:
      raise InputError(
        f"data.leave_out: {name} has no class {unknown[0]!r};"
        " see class_names in its metadata.json"
      )
    self.name = name
    self.split = split
    self.vocabulary = vocabulary
    kept = tuple(n for n in class_names if n not in leave_out)
    self.class_names, renamed = kept, dict(zip(kept, kept, strict=True))
    if common_with:
      self.class_names, renamed = vocabulary_lib.mapped_classes(
        class_names, leave_out, vocabulary, common_with, folder or name
      )
    self.folder = folder
    self._records = records
    ids = {n: i for i, n in enumerate(self.class_names)}
    self._new_id = np.array(
      [ids.get(renamed.get(n, ""), -1) for n in class_names], np.int32
    )
    self._unmapped = {
      i: n for i, n in enumerate(class_names) if n in kept and n not in renamed
    }
    self._index: BoxIndex | None = None
    self.unmapped_boxes: dict[str, int] = {}

  def __len__(self) -> int:
    return len(self._records)

  def __getitem__(self, i: int) -> Record:
    """Page `i`: ink = 255 on paper = 0."""
    index = self.box_index()
    rows = index.of_page(i)
    return Record(
      image=self.image(i),
      boxes_yxyx=index.boxes_yxyx[rows],
      labels=index.labels[rows],
      filename=index.filenames[i],
    )

  def image(self, i: int) -> np.ndarray:
    """Ink of page `i`, uint8 [H, W]."""
    example = self.example(i)
    return tiled_tiff.read_page(example["image"], filename_of(example))

  def image_window(
    self, i: int, top: int, left: int, height: int, width: int
  ) -> np.ndarray:
    """Ink of a part of page `i`, uint8 [height, width]; inside the page."""
    example = self.example(i)
    return tiled_tiff.read_window(
      example["image"], filename_of(example), top, left, height, width
    )

  def example(self, i: int) -> dict:
    """The record of page `i` as it is stored, all features."""
    try:
      example = self._records[i]
    except RuntimeError as e:  # what array_record raises, opening or reading
      raise builders.damaged(self.folder or self.name, str(e)) from None
    if example["image"] is None:  # what it gives for some truncated files
      raise builders.damaged(self.folder or self.name, f"record {i} is empty")
    return example

  @property
  def new_ids(self) -> np.ndarray:
    """Class id of each of the records' own classes, int32; -1 = left out."""
    return self._new_id

  def labels_and_boxes(self, i: int) -> tuple[np.ndarray, np.ndarray]:
    """(labels int32 [n], boxes_yxyx float32 [n, 4]) without decoding pixels."""
    index = self.box_index()
    rows = index.of_page(i)
    return index.labels[rows], index.boxes_yxyx[rows]

  def box_index(self) -> BoxIndex:
    """All boxes of the split.

    Kept beside the records for whole splits; for anything else, as
    "train[:10]", the first call reads every record.
    """
    if self._index is None:
      index = None
      if self.split.isidentifier() and self.folder:
        folder = pathlib.Path(self.folder) / box_index.FOLDER
        index = box_index.load(folder / self.split)
      if index is None or len(index.filenames) != len(self):
        index = box_index.build(map(self.example, range(len(self))))
      counts = np.bincount(index.labels, minlength=len(self._new_id))
      self.unmapped_boxes = {
        n: int(counts[i]) for i, n in self._unmapped.items() if counts[i]
      }
      self._index = index.keep(self._new_id)
    return self._index


def open_source(
  builder: str,
  split: str,
  data_dir: str | pathlib.Path,
  builder_config: str = "",
  *,
  leave_out: tuple[str, ...] = (),
  common_with: str = "",
) -> PageSource:
  """Opens one split of prepared records.

  Args:
    builder: folder name in `tfds_builders/`.
    split: e.g. "train"; what TFDS allows, "train[:10]" or "train+val", too.
    data_dir: folder that `prepare` filled.
    builder_config: "" = the builder's first.
    leave_out: class names whose boxes are dropped everywhere, from training
      and from the truth alike; the remaining classes are numbered anew.
    common_with: one of `vocabulary.VOCABULARIES`: after that, the classes are
      those that the records have in common with it. "" = the records' own.

  Raises:
    InputError: the records or the split are not there.
  """
  made = builders.by_name(builder, data_dir, builder_config)
  return open_records(
    made.data_dir, split, leave_out=leave_out, common_with=common_with
  )


def open_records(
  folder: str | pathlib.Path,
  split: str,
  *,
  leave_out: tuple[str, ...] = (),
  common_with: str = "",
) -> PageSource:
  """Opens one split of the records in `folder`.

  Args:
    folder: holds dataset_info.json, as .../deepscores/dense_2017/2.0.0.
    split: see `open_source`.
    leave_out: see `open_source`.
    common_with: see `open_source`.

  Raises:
    InputError: the records or the split are not there.
  """
  metadata = pathlib.Path(folder) / "metadata.json"
  if not metadata.is_file():
    raise InputError(
      f"{folder}: no prepared records; build them first with"
      " python -m dwd_jax.build (the training does) or name another"
      " data.data_dir"
    )
  facts = json.loads(metadata.read_text())
  made = builders.of_folder(folder)
  known = sorted(made.info.splits)
  for part in split.split("+"):
    name = part.split("[")[0].strip()
    if name not in known:
      raise InputError(
        f"{made.data_dir}: no split {name!r}; it has {', '.join(known)}"
      )
  records = made.as_data_source(
    split,  # pyright: ignore[reportCallIssue]: hidden by a decorator
    decoders={"image": tfds.decode.SkipDecoding()},
  )
  return PageSource(
    records,
    name=made.info.full_name,
    split=split,
    class_names=tuple(facts["class_names"]),
    vocabulary=facts.get("vocabulary", ""),
    folder=str(made.data_dir),
    leave_out=tuple(leave_out),
    common_with=common_with,
  )


def open_split(
  data_cfg, data_dir: str | pathlib.Path, split: str
) -> PageSource:
  """`open_source` with what `config.data` says about it.

  Args:
    data_cfg: `config.data`.
    data_dir: what `prepare` returned.
    split: e.g. data_cfg.train_split.
  """
  return open_source(
    data_cfg.builder,
    split,
    data_dir,
    data_cfg.builder_config,
    leave_out=tuple(data_cfg.leave_out),
    common_with=data_cfg.common_with,
  )
