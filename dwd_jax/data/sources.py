"""Prepared records (TFDS, array_record) -> pages with boxes."""

import collections
import dataclasses
import importlib
import json
import pathlib
import threading

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Float, Int

from dwd_jax.data import images
from dwd_jax.errors import InputError
from dwd_jax.structs import Record


@dataclasses.dataclass(frozen=True)
class BoxIndex:
  """All boxes of a split in one table, in the order of the pages.

  Attributes:
    boxes_yxyx: pixels of the page's image.
    labels: class ids 0 .. C-1.
    page: index of the page that the box is on.
    page_hw: (height, width) of each page in pixels.
    filenames: of each page.
  """

  boxes_yxyx: Float[np.ndarray, "n 4"]
  labels: Int[np.ndarray, " n"]
  page: Int[np.ndarray, " n"]
  page_hw: Int[np.ndarray, "p 2"]
  filenames: tuple[str, ...]

  def of_page(self, i: int) -> slice:
    """The rows of page `i`."""
    start, stop = np.searchsorted(self.page, (i, i + 1))
    return slice(int(start), int(stop))


class PageSource:
  """Pages of one split by index; decoded pages are kept in a bounded cache.

  Reading is thread-safe. Copies sent to worker processes start with an empty
  cache.
  """

  def __init__(
    self,
    records,
    *,
    name: str,
    split: str,
    class_names: tuple[str, ...],
    folder: str = "",
    leave_out: tuple[str, ...] = (),
    cache_mb: int = 1024,
  ):
    """Args: see `open_source`; `records[i]` is the dict of features."""
    unknown = sorted(set(leave_out) - set(class_names))
    if unknown:
      raise InputError(
        f"data.leave_out: {name} has no class {unknown[0]!r};"
        " see class_names in its metadata.json"
      )
    self.name = name
    self._folder = folder
    self.split = split
    self.class_names = tuple(n for n in class_names if n not in leave_out)
    ids = {n: i for i, n in enumerate(self.class_names)}
    self._new_id = np.array([ids.get(n, -1) for n in class_names], np.int32)
    self._records = records
    self._cache_bytes = cache_mb << 20
    self._index: BoxIndex | None = None
    self._start_empty()

  def _start_empty(self):
    self._lock = threading.Lock()
    self._pages: collections.OrderedDict[int, np.ndarray] = (
      collections.OrderedDict()
    )
    self._bytes = 0

  def __getstate__(self):
    state = dict(self.__dict__)
    for key in ("_lock", "_pages", "_bytes"):
      del state[key]
    return state

  def __setstate__(self, state):
    self.__dict__.update(state)
    self._start_empty()

  def __len__(self) -> int:
    return len(self._records)

  def __getitem__(self, i: int) -> Record:
    """Page `i`, decoded: ink = 255 on paper = 0."""
    index = self.box_index()
    rows = index.of_page(i)
    return Record(
      image=self.image(i),
      boxes_yxyx=index.boxes_yxyx[rows],
      labels=index.labels[rows],
      filename=index.filenames[i],
    )

  def image(self, i: int) -> np.ndarray:
    """Pixels of page `i`, uint8 [H, W], read-only: they may be in the cache."""
    with self._lock:
      if i in self._pages:
        self._pages.move_to_end(i)
        return self._pages[i]
    example = self._read(i)
    page = images.decode_page(example["image"], _filename(example))
    page.flags.writeable = False
    with self._lock:
      if i not in self._pages and page.nbytes <= self._cache_bytes:
        self._pages[i] = page
        self._bytes += page.nbytes
        while self._bytes > self._cache_bytes:
          self._bytes -= self._pages.popitem(last=False)[1].nbytes
    return page

  def _read(self, i: int) -> dict:
    try:
      example = self._records[i]
    except RuntimeError as e:  # what array_record raises, opening or reading
      raise _damaged(self._folder or self.name, str(e)) from None
    if example["image"] is None:  # what it gives for some truncated files
      raise _damaged(self._folder or self.name, f"record {i} is empty")
    return example

  def labels_and_boxes(self, i: int) -> tuple[np.ndarray, np.ndarray]:
    """(labels int32 [n], boxes_yxyx float32 [n, 4]) without decoding pixels."""
    index = self.box_index()
    rows = index.of_page(i)
    return index.labels[rows], index.boxes_yxyx[rows]

  def box_index(self) -> BoxIndex:
    """All boxes of the split; reads every record once, on the first call."""
    if self._index is None:
      self._index = self._build_index()
    return self._index

  def _build_index(self) -> BoxIndex:
    boxes, labels, pages, hw, names = [], [], [], [], []
    for i in range(len(self)):
      example = self._read(i)
      ids = self._new_id[example["labels"]]
      kept = ids >= 0
      boxes.append(example["boxes_yxyx"].reshape(-1, 4)[kept])
      labels.append(ids[kept])
      pages.append(np.full(kept.sum(), i, np.int32))
      hw.append((int(example["image/height"]), int(example["image/width"])))
      names.append(_filename(example))
    return BoxIndex(
      np.concatenate([*boxes, np.zeros((0, 4), np.float32)]),
      np.concatenate([*labels, np.zeros(0, np.int32)]),
      np.concatenate([*pages, np.zeros(0, np.int32)]),
      np.array(hw, np.int32).reshape(-1, 2),
      tuple(names),
    )


def _damaged(folder: str, reason: str) -> InputError:
  reason = " ".join(reason.split())[:300]
  return InputError(
    f"{folder}: damaged or missing records ({reason}); remove the folder and"
    " prepare them again"
  )


def _filename(example) -> str:
  name = example["image/filename"]
  return name.decode() if isinstance(name, bytes) else str(name)


def builder_for(
  name: str, data_dir: str | pathlib.Path, builder_config: str = ""
) -> tfds.core.DatasetBuilder:
  """The TFDS builder of the folder `tfds_builders/<name>`.

  Args:
    name: folder name, e.g. "deepscores".
    data_dir: where prepared records are or will be.
    builder_config: "" = the builder's first.

  Raises:
    InputError: unknown builder or config.
  """
  module = f"tfds_builders.{name}.{name}_dataset_builder"
  try:
    builder_cls = importlib.import_module(module).Builder
  except ModuleNotFoundError as e:
    if name.isidentifier() and e.name and not module.startswith(e.name):
      raise
    raise InputError(
      f"data.builder: no builder {name!r}; the folders of tfds_builders/ are"
      " the known ones"
    ) from None
  known = [c.name for c in builder_cls.BUILDER_CONFIGS]
  if builder_config and builder_config not in known:
    raise InputError(
      f"data.builder_config: {name} has no config {builder_config!r};"
      f" known: {', '.join(known) or 'none'}"
    )
  return builder_cls(data_dir=str(data_dir), config=builder_config or None)


def open_source(
  builder: str,
  split: str,
  data_dir: str | pathlib.Path,
  builder_config: str = "",
  *,
  leave_out: tuple[str, ...] = (),
  cache_mb: int = 1024,
) -> PageSource:
  """Opens one split of prepared records.

  Args:
    builder: folder name in `tfds_builders/`.
    split: e.g. "train"; what TFDS allows, "train[:10]" or "train+val", too.
    data_dir: folder that `prepare` filled.
    builder_config: "" = the builder's first.
    leave_out: class names whose boxes are dropped everywhere, from training
      and from the truth alike; the remaining classes are numbered anew.
    cache_mb: most MiB of decoded pages kept in memory.

  Raises:
    InputError: the records or the split are not there.
  """
  made = builder_for(builder, data_dir, builder_config)
  metadata = pathlib.Path(made.data_dir) / "metadata.json"
  if not metadata.is_file():
    raise InputError(
      f"{made.data_dir}: no prepared records; build them first with"
      " dwd_jax.data.prepare (the training does) or name another data.data_dir"
    )
  class_names = tuple(json.loads(metadata.read_text())["class_names"])
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
    class_names=class_names,
    folder=str(made.data_dir),
    leave_out=tuple(leave_out),
    cache_mb=cache_mb,
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
    cache_mb=int(data_cfg.cache_mb),
  )
