"""Symbols to classify: of pages, of symbol records, of folders of images."""

import pathlib
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int, UInt8

from dwd_jax.data import images, symbols
from dwd_jax.data.sources import PageSource
from dwd_jax.errors import InputError
from tfds_builders import checks


class SymbolSet(Protocol):
  """Symbols in images.

  Attributes:
    class_names: of the labels.
    labels: class id of each symbol.
  """

  class_names: tuple[str, ...]
  labels: Int[np.ndarray, " n"]

  def place(self, i: int) -> tuple[tuple[int, int], Float[np.ndarray, " 4"]]:
    """(height, width) of the image of symbol `i`, and its box in there."""
    ...

  def region(
    self, i: int, top: int, left: int, height: int, width: int
  ) -> UInt8[np.ndarray, "height width"]:
    """Ink of a part of that image, inside of it."""
    ...


class SymbolsOfPages:
  """Every object of the pages is a symbol."""

  def __init__(self, source: PageSource):
    """Args: `source` has the pages."""
    self._source = source
    self._index = source.box_index()
    self.class_names = source.class_names
    self.labels = self._index.labels

  def place(self, i: int):
    """See `SymbolSet`."""
    hw = self._index.page_hw[self._index.page[i]]
    return (int(hw[0]), int(hw[1])), self._index.boxes_yxyx[i]

  def region(self, i: int, top: int, left: int, height: int, width: int):
    """See `SymbolSet`."""
    page = int(self._index.page[i])
    return self._source.image_window(page, top, left, height, width)


class SymbolsOfRecords:
  """Prepared symbols, see tfds_builders/symbols."""

  def __init__(self, folder: pathlib.Path):
    """Args: `folder` holds dataset_info.json."""
    self._bank = symbols.open_bank(folder)
    self.class_names = self._bank.class_names
    self.labels = self._bank.labels

  def place(self, i: int):
    """See `SymbolSet`."""
    height, width = self._bank.image_hw[i].tolist()
    return (height, width), self._bank.boxes_yxyx[i]

  def region(self, i: int, top: int, left: int, height: int, width: int):
    """See `SymbolSet`."""
    return self._bank.image_window(i, top, left, height, width)


class SymbolsOfFolder:
  """FOLDER/CLASS/IMAGE, as DeepScores_classification has them.

  The whole image is the symbol: DeepScores (2017) has it in the middle of a
  part of its page.
  """

  def __init__(self, folder: pathlib.Path):
    """Args: `folder` has a folder for each class; files beside them are left.

    Raises:
      InputError: fewer than two classes.
    """
    found = []
    for child in sorted(checks.require_dir(folder, _LAYOUT).iterdir()):
      if child.is_dir():
        files = sorted(
          path
          for path in child.iterdir()
          if path.suffix.lower() in checks.IMAGE_SUFFIXES
        )
        found += [(child.name, path) for path in files]
    self.class_names = tuple(dict.fromkeys(name for name, _ in found))
    if len(self.class_names) < 2:
      raise InputError(
        f"{folder}: images of {len(self.class_names)} classes; {_LAYOUT}"
      )
    ids = {name: i for i, name in enumerate(self.class_names)}
    self.labels = np.array([ids[name] for name, _ in found], np.int32)
    self._paths = [path for _, path in found]

  def _image(self, i: int) -> UInt8[np.ndarray, "h w"]:
    path = self._paths[i]
    data = checks.read_bytes(path, checks.MAX_IMAGE_BYTES)
    return images.decode_page(data, str(path))

  def place(self, i: int):
    """See `SymbolSet`."""
    height, width = self._image(i).shape
    return (height, width), np.array([0, 0, height, width], np.float32)

  def region(self, i: int, top: int, left: int, height: int, width: int):
    """See `SymbolSet`."""
    return self._image(i)[top : top + height, left : left + width]


_LAYOUT = (
  "pretraining.path wants symbol records (a folder with dataset_info.json), or"
  " a folder of images for each class"
)


def open_symbols(path: str, source: PageSource) -> SymbolSet:
  """The symbols that `config.pretraining.path` names.

  Args:
    path: a folder; "" = the objects of the source's pages.
    source: training pages of the run.

  Raises:
    InputError: nothing of the kind there, or no symbol.
  """
  folder = pathlib.Path(path)
  if not path:
    found: SymbolSet = SymbolsOfPages(source)
  elif (folder / "dataset_info.json").is_file():
    found = SymbolsOfRecords(folder)
  else:
    found = SymbolsOfFolder(folder)
  if not len(found.labels):
    raise InputError(f"{path or source.name}: no symbol to classify")
  return found
