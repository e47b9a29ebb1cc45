"""Prepared records (TFDS, array_record) -> pages with boxes."""

import importlib
import pathlib
from typing import Any, Literal

import numpy as np

from dwd_jax.core import box_index
from dwd_jax.core import vocabulary as vocabulary_lib
from dwd_jax.core.box_index import BoxIndex, filename_of
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import Record
from dwd_jax.imaging import masks, tiled_tiff
from tfds_builders import base, record_folders


def builder_by_name(
  name: str,
  data_dir: str | pathlib.Path,
  builder_config: str = "",
  **kwargs: Any,
) -> base.PageBuilder:
  """The TFDS builder in the folder `tfds_builders/<name>`.

  Args:
    name: folder name, e.g. "deepscores".
    data_dir: folder of the records, also before they are built.
    builder_config: "" = the builder's first.
    **kwargs: see `tfds_builders.base.PageBuilder`.

  Raises:
    InputError: unknown builder, config or option.
  """
  module = f"tfds_builders.{name}.{name}_dataset_builder"
  try:
    builder_cls = importlib.import_module(module).Builder
  except ModuleNotFoundError as e:
    if name.isidentifier() and e.name and not module.startswith(e.name):
      raise
    raise InputError(
      f"data.builder: no builder {name!r}; name a folder of tfds_builders/"
    ) from None
  known = [c.name for c in builder_cls.BUILDER_CONFIGS]
  if builder_config and builder_config not in known:
    raise InputError(
      f"data.builder_config: {name} has no config {builder_config!r};"
      f" known: {', '.join(known) or 'none'}"
    )
  try:
    return builder_cls(
      data_dir=str(data_dir), config=builder_config or known[0], **kwargs
    )
  except (InputError, OSError):
    raise
  except Exception as e:  # from TFDS, for damaged records
    raise record_folders.damaged(data_dir, f"{type(e).__name__}: {e}") from None


_FEATURES = {"oriented_yx": ((4, 2), np.float32), "positions": ((), np.int32)}


class PageSource:
  """Pages of one split by index.

  Only the boxes stay in memory: an image, or the part of it that a crop needs,
  is read from its record each time. Thread-safe.

  Attributes:
    name: full name of the records in TFDS.
    split: e.g. "train".
    folder: of the records; "" = unknown.
    vocabulary: of the class names in the records; "" = unknown.
    polarity: how pixels are read, see `dwd_jax.imaging.grey.POLARITIES`; "" =
      records of older versions, each page made dark on light by the tone of
      most of its pixels.
    channels: 1 = pixels are read as ink; 3 = as colours.
    kind: of the pictures, document or photo, as the records say.
    class_names: C names, mapped if `common_with` is given.
    unmapped_boxes: {name in the records: number of boxes} left out because the
      other vocabulary has no such class; set by `box_index`.
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
    polarity: str = "",
    channels: Literal[1, 3] = 1,
    kind: str = "document",
    leave_out: tuple[str, ...] = (),
    common_with: str = "",
  ):
    """See `open_records`; `records[i]` is a dict of features."""
    unknown = sorted(set(leave_out) - set(class_names))
    if unknown:
      raise InputError(
        f"data.leave_out: {name} has no class {unknown[0]!r};"
        " see class_names in its metadata.json"
      )
    self.name = name
    self.split = split
    self.vocabulary = vocabulary
    self.polarity = polarity
    self.channels: Literal[1, 3] = channels
    self.kind = kind
    kept = tuple(n for n in class_names if n not in leave_out)
    self.class_names, renamed = kept, dict(zip(kept, kept, strict=True))
    if common_with:
      self.class_names, renamed = vocabulary_lib.mapped_classes(
        class_names,
        leave_out,
        vocabulary,
        other=common_with,
        where=folder or name,
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
    self._mask_energies: dict[int, np.ndarray] = {}
    self.unmapped_boxes: dict[str, int] = {}

  def take_classes(self, class_names: tuple[str, ...], key: str) -> None:
    """Numbers the classes as another source does, by their names.

    Args:
      class_names: of the other source.
      key: of the config that asks for it, for the message.

    Raises:
      InputError: boxes of a class that the other source lacks.
    """
    labels = np.unique(self.box_index().labels)
    unknown = [
      name
      for i, name in enumerate(self.class_names)
      if i in labels and name not in class_names
    ]
    if unknown:
      raise InputError(
        f"{key}: {self.folder or self.name} has {len(unknown)} classes that the"
        f" training pages lack, such as {unknown[0]!r}; take records with the"
        " names of the same vocabulary"
      )
    ids = {name: i for i, name in enumerate(class_names)}
    own = np.array([ids.get(n, -1) for n in self.class_names] + [-1], np.int32)
    self._new_id = own[self._new_id]
    self.class_names = class_names
    self._index = None

  def __len__(self) -> int:
    return len(self._records)

  def __getitem__(self, i: int) -> Record:
    """Page `i`; 0 = paper, 255 = ink, or colours."""
    labels, boxes = self.labels_and_boxes(i)
    example = self.example(i)
    return Record(
      image=self.ink_of(example),
      boxes_yxyx=boxes,
      labels=labels,
      filename=self.box_index().filenames[i],
      oriented_yx=self.feature("oriented_yx", i, example),
      positions=self.feature("positions", i, example),
    )

  def image(self, i: int) -> np.ndarray:
    """Ink of page `i`, uint8 [H, W], or colours [H, W, 3]."""
    return self.ink_of(self.example(i))

  def image_window(
    self, i: int, top: int, left: int, height: int, width: int
  ) -> np.ndarray:
    """A part of page `i`, see `image`; px within the page."""
    return self.ink_of(self.example(i), (top, left, height, width))

  def ink_of(
    self, example: dict, area: tuple[int, int, int, int] | None = None
  ) -> np.ndarray:
    """Ink of an `example`, or of an area: top, left, height, width in px."""
    return tiled_tiff.read_page(
      example["image"],
      filename_of(example),
      area,
      polarity=self.polarity,
      channels=self.channels,
    )

  def feature(
    self, name: str, i: int, example: dict | None = None
  ) -> np.ndarray | None:
    """What the records say further of the boxes of page `i`, a row for each.

    It is read from the record, as only boxes stay in memory.

    Args:
      name: `oriented_yx` or `positions`.
      example: of this page, if it has been read.

    Returns:
      As in `Record`; None if the records lack it.
    """
    if example is None:
      example = self.example(i)
    if name not in example:
      return None
    shape, dtype = _FEATURES[name]
    labels, values = example["labels"], example[name]
    if values.shape != (len(labels), *shape) or not np.isfinite(values).all():
      raise record_folders.damaged(
        self.folder or self.name, f"{name} of page {i} that are of no use"
      )
    self.box_index()  # which refuses labels of unknown classes
    return values[self._new_id[labels] >= 0].astype(dtype)

  def mask_energies(self, i: int, example: dict) -> np.ndarray:
    """Energies on the masks of the boxes of page `i`, uint8 [n, p, p].

    See `imaging.masks.energy_patches`. They stay in memory.
    """
    if i not in self._mask_energies:
      boxes = example["boxes_yxyx"].reshape(-1, 4)
      try:
        found = masks.of_page(
          example["mask_runs"], example["mask_stops"], boxes
        )
      except ValueError as e:
        raise record_folders.damaged(self.folder or self.name, str(e)) from None
      kept = self._new_id[example["labels"]] >= 0
      self._mask_energies[i] = masks.energy_patches(found)[kept]
    return self._mask_energies[i]

  def require_masks(self) -> None:
    """Raises InputError if the records lack masks."""
    if len(self) and "mask_runs" not in self.example(0):
      raise InputError(
        f"{self.folder or self.name}: records without masks, which"
        " targets.energy_disc=mask needs; MUSCIMA++ has them with"
        " data.options.masks=True and a new data.data_dir"
      )

  def require(self, name: str, key: str) -> None:
    """Raises InputError if the records lack a feature that `key` asks for."""
    if len(self) and name not in self.example(0):
      raise InputError(
        f"{self.folder or self.name}: records without {name}, which {key}=True"
        " needs; deepscores_v2, generated pages (data.builder=deepscores,"
        " data.builder_config=engraved) and, for oriented boxes, boxes with"
        " data.builder_config=dota have it: remove older records to build them"
        f" again, or set {key}=False"
      )

  def example(self, i: int) -> dict:
    """All stored features of page `i`."""
    try:
      example = self._records[i]
    # From array_record, opening or reading, and from TFDS, decoding.
    except (RuntimeError, ValueError) as e:
      raise record_folders.damaged(self.folder or self.name, str(e)) from None
    if example["image"] is None:  # some truncated files
      raise record_folders.damaged(
        self.folder or self.name, f"record {i} is empty"
      )
    return example

  @property
  def new_ids(self) -> np.ndarray:
    """Class id of each class in the records, int32; -1 = left out."""
    return self._new_id

  def labels_and_boxes(self, i: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels int32 [n] and boxes_yxyx float32 [n, 4], without the pixels."""
    index = self.box_index()
    rows = index.of_page(i)
    labels, boxes = index.labels[rows], index.boxes_yxyx[rows]
    if not np.isfinite(boxes).all():
      raise record_folders.damaged(
        self.folder or self.name, f"boxes of page {i} that are no numbers"
      )
    return labels, boxes

  def box_index(self) -> BoxIndex:
    """All boxes of the split.

    Stored beside the records for whole splits; for others, e.g. "train[:10]",
    the first call reads every record.
    """
    if self._index is None:
      index = None
      if self.split.isidentifier() and self.folder:
        folder = pathlib.Path(self.folder) / box_index.FOLDER
        index = box_index.load(folder / self.split)
      if index is None or len(index.filenames) != len(self):
        index = box_index.build(map(self.example, range(len(self))))
      ends = index.labels.min(initial=0), index.labels.max(initial=0)
      if ends[0] < 0 or (len(index.labels) and ends[1] >= len(self._new_id)):
        raise record_folders.damaged(
          self.folder or self.name, "boxes of unknown classes"
        )
      counts = np.bincount(index.labels, minlength=len(self._new_id))
      self.unmapped_boxes = {
        n: int(counts[i]) for i, n in self._unmapped.items() if counts[i]
      }
      self._index = index.keep(self._new_id)
    return self._index


def open_records(
  folder: str | pathlib.Path,
  split: str,
  *,
  polarity: str = "auto",
  channels: str = "auto",
  leave_out: tuple[str, ...] = (),
  common_with: str = "",
) -> PageSource:
  """Opens one split of the records in `folder`.

  Args:
    folder: e.g. .../deepscores/dense_2017/2.0.0.
    split: in the syntax of TFDS, e.g. "train", "train[:10]" or "train+val".
    polarity: see `DataConfig`.
    channels: see `DataConfig`.
    leave_out: class names whose boxes are dropped, from training and truth
      alike; the other classes are renumbered.
    common_with: one of `vocabulary.VOCABULARIES`: keeps the remaining classes
      that it shares, under its names; "" = the classes of the records.

  Raises:
    InputError: no such records, split or class.
  """
  if not (pathlib.Path(folder) / record_folders.METADATA).is_file():
    raise InputError(
      f"{folder}: no prepared records; build them first with"
      " python -m dwd_jax.build (the training does) or name another"
      " data.data_dir"
    )
  facts = record_folders.facts_of(folder)
  made = record_folders.builder_of(folder)
  known = sorted(made.info.splits)
  for part in split.split("+"):
    name = part.split("[")[0].strip()
    if name not in known:
      raise InputError(
        f"{made.data_dir}: no split {name!r}; it has {', '.join(known)}"
      )
  num_channels = _channels(folder, facts["channels"], channels, polarity)
  if num_channels == 3:
    polarity = "keep"
  elif polarity == "auto":
    polarity = facts.get("polarity", "")
  elif "polarity" not in facts:
    raise InputError(
      f"{folder}: built by an older version, each page with a polarity of its"
      f" own; remove the folder for data.polarity={polarity}: they are built"
      " again"
    )
  return PageSource(
    record_folders.pages_of(made, split),
    name=made.info.full_name,
    split=split,
    class_names=facts["class_names"],
    vocabulary=facts["vocabulary"],
    folder=str(made.data_dir),
    polarity=polarity,
    channels=num_channels,
    kind=facts["kind"],
    leave_out=tuple(leave_out),
    common_with=common_with,
  )


def _channels(
  folder: str | pathlib.Path, has: int, wanted: str, polarity: str
) -> Literal[1, 3]:
  """Channels to read records with that have so many."""
  number = has if wanted == "auto" else int(wanted)
  if number > has:
    raise InputError(
      f"{folder}: records of grey pictures; remove the folder to build them"
      " again for data.channels=3"
    )
  if number == 3 and polarity in ("dark", "light"):
    raise InputError(
      f"{folder}: pictures in colour, which the network sees as they are;"
      f" data.polarity={polarity} is for grey ones: add data.channels=1"
    )
  return 3 if number == 3 else 1


def open_split(
  data_cfg, data_dir: str | pathlib.Path, split: str
) -> PageSource:
  """Opens a split of the records that `config.data` names.

  Args:
    data_cfg: `config.data`.
    data_dir: from `prepare`.
    split: see `open_records`.

  Raises:
    InputError: no such builder, records, split or class.
  """
  made = builder_by_name(data_cfg.builder, data_dir, data_cfg.builder_config)
  return open_records(
    made.data_dir,
    split,
    polarity=data_cfg.polarity,
    channels=data_cfg.channels,
    leave_out=tuple(data_cfg.leave_out),
    common_with=data_cfg.common_with,
  )


def open_mixed(data_cfg, source: PageSource) -> PageSource | None:
  """Opens the further records of `data.mix`; None if there are none.

  Args:
    data_cfg: `config.data`.
    source: the training pages; the further ones get their class ids.

  Raises:
    InputError: no such records, or boxes of other classes.
  """
  if not data_cfg.mix.path:
    return None
  folder = pathlib.Path(data_cfg.mix.path).expanduser().absolute()
  if not (folder / record_folders.METADATA).is_file():
    raise InputError(
      f"data.mix.path: {folder} has no prepared records; name the folder with"
      " their metadata.json, which python -m dwd_jax.build prints"
    )
  names = record_folders.facts_of(folder)["class_names"]
  mixed = open_records(
    folder,
    "train",
    channels=str(source.channels),
    leave_out=tuple(n for n in data_cfg.leave_out if n in names),
    common_with=data_cfg.common_with,
  )
  mixed.take_classes(source.class_names, "data.mix.path")
  return mixed
