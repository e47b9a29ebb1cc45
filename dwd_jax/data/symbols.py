"""Single symbols: of pages, of symbol records, of folders of images."""

import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int, UInt8

from dwd_jax.core import vocabulary
from dwd_jax.core.errors import InputError
from dwd_jax.data import sources
from dwd_jax.imaging import grey, images
from tfds_builders import checks, polarity
from tfds_builders.symbols import symbols_crops


@dataclasses.dataclass(frozen=True)
class Symbol:
  """A symbol and its image.

  Attributes:
    image_hw: px.
    box_yxyx: of the symbol, px of the image.
    read: reads the ink of a part: top, left, height, width.
    boxes_yxyx: of all objects in the image, the symbol among them.
    labels: class ids of all objects; -1 = no class.
    oriented_yx: reads the oriented boxes of all objects, [n, 4, 2]; None = not
      known.
  """

  image_hw: tuple[int, int]
  box_yxyx: Float[np.ndarray, " 4"]
  read: Callable[[int, int, int, int], UInt8[np.ndarray, "h w"]]
  boxes_yxyx: Float[np.ndarray, "n 4"]
  labels: Int[np.ndarray, " n"]
  oriented_yx: Callable[[], np.ndarray | None] = lambda: None


class SymbolSet(Protocol):
  """Symbols by index; `labels` are their class ids."""

  class_names: tuple[str, ...]
  labels: Int[np.ndarray, " n"]

  def __getitem__(self, i: int) -> Symbol: ...


class SymbolsOfPages:
  """All objects of the pages of a source."""

  def __init__(self, source: sources.PageSource):
    self._source = source
    self._index = source.box_index()
    self.class_names = source.class_names
    self.labels = self._index.labels

  def __getitem__(self, i: int) -> Symbol:
    """Symbol `i`."""
    page = int(self._index.page[i])
    height, width = self._index.page_hw[page].tolist()
    rows = self._index.of_page(page)
    return Symbol(
      image_hw=(height, width),
      box_yxyx=self._index.boxes_yxyx[i],
      read=functools.partial(self._source.image_window, page),
      boxes_yxyx=self._index.boxes_yxyx[rows],
      labels=self._index.labels[rows],
      oriented_yx=functools.partial(self._source.feature, "oriented_yx", page),
    )


class SymbolsOfRecords:
  """Symbol records (tfds_builders/symbols), with the class ids of a data set.

  Attributes:
    class_names: of the data set.
    labels: class id of each symbol; -1 = no class of the data set.
  """

  def __init__(
    self,
    source: sources.PageSource,
    class_names: Sequence[str] = (),
    renamed: Mapping[str, str] | None = None,
  ):
    """All symbols of a source.

    Args:
      source: symbol records, opened without `leave_out` and `common_with`.
      class_names: of the data set; () = those of the records.
      renamed: {name in the records: name in the data set}; names that are
        absent have no class. None = equal names.

    Raises:
      InputError: a record without a symbol, or no symbol of these classes.
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
    if not np.any(self.labels >= 0):
      raise InputError(
        f"{source.name}: no symbol of a class such as {self.class_names[0]!r};"
        " name symbols of the same data set"
      )

  def __getitem__(self, i: int) -> Symbol:
    """Symbol `i` with its neighbours."""
    height, width = self._source.box_index().page_hw[i].tolist()
    labels, boxes = self._source.labels_and_boxes(i)
    return Symbol(
      image_hw=(height, width),
      box_yxyx=boxes[0],
      read=functools.partial(self._source.image_window, i),
      boxes_yxyx=boxes,
      labels=self._new_id[labels],
    )


class SymbolsOfFolder:
  """Images FOLDER/CLASS/IMAGE, the layout of DeepScores_classification.

  The box of the symbol is the whole image: DeepScores (2017) has the symbol in
  the middle of a part of its page. With a config.txt in the folder the images
  are sheets of such parts, tiles of one size.

  Attributes:
    polarity: of all images; decided by a sample.
  """

  def __init__(self, folder: pathlib.Path):
    """Lists the images.

    Raises:
      InputError: fewer than two classes, a config.txt without a size, or a
        sheet that is not divided evenly by it.
    """
    found = [
      path
      for child in sorted(checks.require_dir(folder, _LAYOUT).iterdir())
      if child.is_dir()
      for path in sorted(child.iterdir())
      if path.suffix.lower() in checks.IMAGE_SUFFIXES
    ]
    self.class_names = tuple(dict.fromkeys(path.parent.name for path in found))
    if len(self.class_names) < 2:
      raise InputError(
        f"{folder}: images of {len(self.class_names)} classes; {_LAYOUT}"
      )
    ids = {name: i for i, name in enumerate(self.class_names)}
    self._tile_hw = _tile_hw(folder / "config.txt")
    # Image, and the number of the tile in it.
    self._symbols = [
      (path, number)
      for path in found
      for number in range(_num_tiles(path, self._tile_hw))
    ]
    self.labels = np.array(
      [ids[path.parent.name] for path, _ in self._symbols], np.int32
    )
    files = [checks.PageFiles(p.name, p, p) for p in found]
    self.polarity = polarity.of_data_set(
      checks.DataSet(self.class_names, {"train": files}), _without_boxes
    ).polarity

  def __getitem__(self, i: int) -> Symbol:
    """Reads symbol `i`."""
    path, number = self._symbols[i]
    ink = grey.to_ink(255 - checks.read_image(path), self.polarity)
    height, width = self._tile_hw or ink.shape
    column, row = divmod(number, ink.shape[0] // height)
    ink = ink[row * height :, column * width :][:height, :width]

    def read(top: int, left: int, height: int, width: int) -> np.ndarray:
      return ink[top : top + height, left : left + width]

    whole = np.array([0, 0, height, width], np.float32)
    return Symbol(
      image_hw=(height, width),
      box_yxyx=whole,
      read=read,
      boxes_yxyx=whole[None],
      labels=self.labels[i : i + 1],
    )


def _tile_hw(path: pathlib.Path) -> tuple[int, int] | None:
  """Height and width of the tiles of all sheets; None = there are no sheets.

  config.txt of DeepScores_classification has two pairs in parentheses, of which
  the original takes the second.
  """
  if not path.is_file():
    return None
  pairs = re.findall(
    r"\(\s*(\d{1,5})\s*,\s*(\d{1,5})\s*\)", checks.read_text(path, 1 << 16)
  )
  if not pairs or "0" in (pair := pairs[:2][-1]):
    raise InputError(
      f"{path}: no size of the tiles as (HEIGHT,WIDTH); correct it, or remove"
      " it if every image is one symbol"
    )
  return int(pair[0]), int(pair[1])


def _num_tiles(path: pathlib.Path, tile_hw: tuple[int, int] | None) -> int:
  """The number of tiles of a sheet; 1 if there are no sheets."""
  if tile_hw is None:
    return 1
  hw = images.header_hw(checks.read_bytes(path, checks.MAX_IMAGE_BYTES))
  if hw is None:  # says what is wrong with it
    hw = checks.read_image(path).shape
  if any(
    side % tile or not side for side, tile in zip(hw, tile_hw, strict=True)
  ):
    raise InputError(
      f"{path}: {hw[0]} x {hw[1]} px are not divided evenly by tiles of"
      f" {tile_hw[0]} x {tile_hw[1]} px (height x width), as config.txt in"
      f" {path.parent.parent} has it; correct one of them"
    )
  return (hw[0] // tile_hw[0]) * (hw[1] // tile_hw[1])


def _without_boxes(page: checks.PageFiles) -> checks.ParsedPage:
  ink = checks.read_image(page.image)
  return checks.ParsedPage(ink, np.zeros((0, 4)), np.zeros(0, np.int64))


def open_symbol_records(
  folder: str | pathlib.Path,
  class_names: Sequence[str] = (),
  *,
  leave_out: Sequence[str] = (),
  common_with: str = "",
) -> SymbolsOfRecords:
  """Opens symbol records for use with the pages of a data set.

  Args:
    folder: holds dataset_info.json.
    class_names: of the pages' source; () = those of the records.
    leave_out: as for the pages' source, see `sources.open_records`.
    common_with: as for the pages' source.

  Raises:
    InputError: see `SymbolsOfRecords` and `sources.open_records`.
  """
  source = sources.open_records(folder, symbols_crops.SPLIT)
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
      other=common_with,
      where=str(folder),
    )
    class_names = class_names or made
  return SymbolsOfRecords(source, class_names, renamed)


_LAYOUT = (
  "pretraining.path wants symbol records (a folder with dataset_info.json), or"
  " a folder of images for each class"
)


def open_symbols(path: str, source: sources.PageSource) -> SymbolSet:
  """Opens the symbols of `config.pretraining.path`.

  Args:
    path: folder of records or images; "" = the objects of the source's pages.
    source: training pages of the run.

  Raises:
    InputError: neither records nor images, or no symbol.
  """
  folder = pathlib.Path(path)
  if not path:
    found: SymbolSet = SymbolsOfPages(source)
  elif (folder / "dataset_info.json").is_file():
    found = open_symbol_records(folder)
  else:
    found = SymbolsOfFolder(folder)
  if not len(found.labels):
    raise InputError(f"{path or source.name}: no symbol to classify")
  return found
