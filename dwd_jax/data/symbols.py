"""Symbol records by class, for pasting and for classification."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8

from dwd_jax.data import sources, vocabulary
from dwd_jax.errors import InputError
from dwd_jax.structs import Record
from tfds_builders.symbols import symbols_parsing


class SymbolBank:
  """Symbols by class, in the class ids of the set they are used with.

  Attributes:
    class_names: of that set.
    labels: class id of each symbol; -1 = that set has no such class.
    boxes_yxyx: of each symbol, in pixels of its image.
    image_hw: height and width of its image in pixels.
  """

  def __init__(
    self,
    source: sources.PageSource,
    class_names: Sequence[str] = (),
    renamed: Mapping[str, str] | None = None,
  ):
    """A bank of all symbols of a source.

    Args:
      source: symbol records, opened without `leave_out` and `common_with`.
      class_names: of the set to use them with; () = the symbols' own.
      renamed: {name in the records: name of the class}; what is absent is of no
        class. None = the names are the same.

    Raises:
      InputError: records that are not symbols, or no symbol of these classes.
    """
    index = source.box_index()
    first = np.searchsorted(index.page, np.arange(len(source)))
    boxed = np.append(index.page, -1)[first] == np.arange(len(source))
    if not np.all(boxed):
      raise InputError(
        f"{source.name}: a record without its symbol; open symbol records"
        " without data.leave_out"
      )
    self.class_names = tuple(class_names) or source.class_names
    if renamed is None:
      renamed = {name: name for name in source.class_names}
    ids = {name: i for i, name in enumerate(self.class_names)}
    self._new_id = np.array(
      [ids.get(renamed.get(name, ""), -1) for name in source.class_names],
      np.int32,
    )
    self._source = source
    self.labels: Int[np.ndarray, " n"] = self._new_id[index.labels[first]]
    self.boxes_yxyx: Float[np.ndarray, "n 4"] = index.boxes_yxyx[first]
    self.image_hw: Int[np.ndarray, "n 2"] = index.page_hw
    if not np.any(self.labels >= 0):
      raise InputError(
        f"{source.name}: no symbol of a class such as {self.class_names[0]!r};"
        " name symbols of the same data set"
      )

  def __len__(self) -> int:
    return len(self._source)

  def of_class(self, label: int) -> Int[np.ndarray, " k"]:
    """Which symbols are of a class; may be none."""
    return np.flatnonzero(self.labels == label)

  def counts(self) -> Int[np.ndarray, " C"]:
    """Number of symbols of each class."""
    known = self.labels[self.labels >= 0]
    return np.bincount(known, minlength=len(self.class_names))

  def image_window(
    self, i: int, top: int, left: int, height: int, width: int
  ) -> UInt8[np.ndarray, "height width"]:
    """Ink of a part of the image of symbol `i`; inside the image."""
    return self._source.image_window(i, top, left, height, width)

  def labels_and_boxes(
    self, i: int
  ) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n 4"]]:
    """The symbol and its neighbours; label -1 = of no known class."""
    labels, boxes = self._source.labels_and_boxes(i)
    return self._new_id[labels], boxes

  def __getitem__(self, i: int) -> Record:
    """Symbol `i`, whose class must be known: the first box is the symbol.

    Neighbours of classes that `class_names` lacks are dropped.
    """
    if self.labels[i] < 0:
      raise ValueError(f"symbol {i} is of no known class")
    record = self._source[i]
    labels = self._new_id[record.labels]
    kept = labels >= 0
    return Record(
      record.image, record.boxes_yxyx[kept], labels[kept], record.filename
    )


def open_bank(
  folder: str | pathlib.Path,
  class_names: Sequence[str] = (),
  *,
  leave_out: Sequence[str] = (),
  common_with: str = "",
) -> SymbolBank:
  """The symbols of the records in `folder`, to use with a set of pages.

  Args:
    folder: holds dataset_info.json.
    class_names: of the pages' source; () = the symbols' own.
    leave_out: names that the pages' source was opened without.
    common_with: see `sources.open_source`; as the pages' source was opened.

  Raises:
    InputError: see `SymbolBank` and `sources.open_records`.
  """
  source = sources.open_records(folder, symbols_parsing.SPLIT)
  if not source.name.startswith("symbols/"):
    raise InputError(
      f"{folder}: records of {source.name}, not of symbols; build symbols from"
      " them first (tfds_builders/symbols)"
    )
  renamed = {n: n for n in source.class_names if n not in leave_out}
  if common_with:
    made, renamed = vocabulary.mapped_classes(
      source.class_names,
      leave_out,
      source.vocabulary,
      common_with,
      str(folder),
    )
    class_names = class_names or made
  return SymbolBank(source, class_names, renamed)
