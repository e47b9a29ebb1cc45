"""Symbols cut from pages of handwriting, in one file, by writer and class.

`tfds_builders.muscima_pp.muscima_pp_hands` makes the file, an npz archive of
plain arrays. A row is an object of a page. What an object such as
`dynamicsText` consists of are rows with that object as their parent.
"""

import collections
import dataclasses
import functools
import pathlib
import zipfile
import zlib

import numpy as np
from jaxtyping import Bool, Int

from dwd_jax.core.errors import InputError
from dwd_jax.imaging import masks

_MAX_BYTES = 1 << 30  # of all arrays, unpacked
_MAX_ROWS = 1_000_000
_MAX_SIDE_PX = 20_000
_MAX_AREA_PX = 1 << 24
_MAX_NAMES = 1000
_SPACES_PX = (2.0, 200.0)
_SIZE_OF_HAND = ("stem", "noteheadFull", "noteheadHalf", "slur", "restQuarter")
_CANDIDATES = 6  # symbols of about the wanted size to draw from
_KINDS = {
  "class_names": ("U", 1), "source": ("U", 0), "labels": ("iu", 1),
  "writers": ("iu", 1), "pages": ("iu", 1), "boxes_yxyx": ("iu", 2),
  "middle_y": ("f", 1), "staff_spaces": ("f", 1), "line_px": ("f", 1),
  "parents": ("i", 1), "mask_runs": ("iu", 1), "mask_stops": ("iu", 1),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Table:
  """The arrays of the file; n objects of p pages.

  Attributes:
    class_names: names [C].
    source: the data set and its licence.
    labels: class id [n].
    writers: [n].
    pages: [n], 0 .. p-1.
    boxes_yxyx: [n, 4], px of the page.
    middle_y: middle line of the staff of each object, px of the page [n].
    staff_spaces: distance of two staff lines, px [n].
    line_px: thickness of the staff lines [n].
    parents: row of the object that it is a part of [n]; -1 = none.
    mask_runs: see `imaging.masks`.
    mask_stops: [n].
  """

  class_names: np.ndarray
  source: np.ndarray
  labels: np.ndarray
  writers: np.ndarray
  pages: np.ndarray
  boxes_yxyx: np.ndarray
  middle_y: np.ndarray
  staff_spaces: np.ndarray
  line_px: np.ndarray
  parents: np.ndarray
  mask_runs: np.ndarray
  mask_stops: np.ndarray


@dataclasses.dataclass(frozen=True)
class Part:
  """A class with its ink, in the frame of a symbol."""

  name: str
  mask: Bool[np.ndarray, "h w"]
  top: int
  left: int


@dataclasses.dataclass(frozen=True)
class Symbol:
  """A cut symbol.

  Attributes:
    mask: its ink.
    parts: its own classes inside, itself first.
    staff_space: of its page, px.
    middle_y: middle line of its staff, px from its upper edge.
  """

  mask: Bool[np.ndarray, "h w"]
  parts: tuple[Part, ...]
  staff_space: float
  middle_y: float

  @property
  def name(self) -> str:
    """Its class."""
    return self.parts[0].name


def write(path: pathlib.Path, table: Table) -> None:
  """Writes the file.

  Raises:
    InputError: it cannot be written.
  """
  arrays = {f.name: getattr(table, f.name) for f in dataclasses.fields(table)}
  try:
    with path.open("wb") as file:
      np.savez_compressed(file, **arrays)  # pyright: ignore
  except OSError as e:
    raise InputError(f"{path}: cannot be written ({e.strerror})") from None


def read(path: pathlib.Path) -> Table:
  """Reads and checks the file.

  Raises:
    InputError: no such file, or not what `write` wrote.
  """
  remedy = "make it again with tfds_builders.muscima_pp.muscima_pp_hands"
  try:
    with zipfile.ZipFile(path) as archive:
      size = sum(item.file_size for item in archive.infolist())
    if size > _MAX_BYTES:
      raise InputError(f"{path}: {size >> 20} MiB unpacked are too many")
    with np.load(path, allow_pickle=False) as loaded:
      arrays = {name: loaded[name] for name in _KINDS}
  except OSError as e:
    raise InputError(
      f"{path}: cannot be read ({e.strerror or e}); {remedy}"
    ) from None
  except (
    ValueError, KeyError, EOFError, TypeError, SyntaxError, MemoryError,
    NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error,
  ) as e:  # fmt: skip
    raise InputError(
      f"{path}: no file of hands, or damaged ({type(e).__name__}); {remedy}"
    ) from None
  problem = _problem(arrays)
  if problem:
    raise InputError(f"{path}: damaged ({problem}); {remedy}")
  return Table(**arrays)


def _problem(arrays: dict[str, np.ndarray]) -> str:
  """What is wrong with the arrays, "" if nothing."""
  for name, (kinds, ndim) in _KINDS.items():
    if arrays[name].dtype.kind not in kinds or arrays[name].ndim != ndim:
      return f"{name} is of another kind"
  n, names = len(arrays["labels"]), arrays["class_names"]
  if not 0 < n <= _MAX_ROWS or not 0 < len(names) <= _MAX_NAMES:
    return f"{n} objects of {len(names)} classes"
  for name in _KINDS.keys() - {"class_names", "source", "mask_runs"}:
    if len(arrays[name]) != n:
      return f"{name} has another length"
  boxes = arrays["boxes_yxyx"].astype(np.int64)
  if boxes.shape != (n, 4) or np.abs(boxes).max() > 2 * _MAX_SIDE_PX:
    return "boxes out of range"
  high, wide = (boxes[:, 2:] - boxes[:, :2]).T
  if min(high.min(), wide.min()) < 1 or (high * wide).max() > _MAX_AREA_PX:
    return "sizes out of range"
  spaces = arrays["staff_spaces"]
  if not np.all((spaces >= _SPACES_PX[0]) & (spaces <= _SPACES_PX[1])):
    return "staff spaces out of range"
  if not np.all(np.abs(arrays["middle_y"]) <= 2 * _MAX_SIDE_PX):
    return "staves out of range"
  if not np.all((arrays["line_px"] > 0) & (arrays["line_px"] <= spaces)):
    return "lines out of range"
  if not _within(arrays["labels"], 0, len(names)):
    return "unknown classes"
  parents = arrays["parents"]
  if not _within(parents, -1, n) or np.any(parents[parents[parents >= 0]] >= 0):
    return "parents out of range"
  return _mask_problem(arrays, high * wide)


def _mask_problem(arrays: dict[str, np.ndarray], areas: np.ndarray) -> str:
  """What is wrong with the masks, "" if nothing."""
  stops = arrays["mask_stops"].astype(np.int64)
  runs = arrays["mask_runs"]
  starts = np.concatenate([[0], stops[:-1]])
  if stops[-1] != len(runs) or np.any(stops <= starts) or np.any(runs < 0):
    return "masks without ink"
  filled = np.add.reduceat(runs.astype(np.int64), starts)
  return "" if np.array_equal(filled, areas) else "masks of other sizes"


def _within(values: np.ndarray, low: int, high: int) -> bool:
  return bool(np.all((values >= low) & (values < high)))


class Hands:
  """The symbols of a file, ready to draw from.

  Attributes:
    writers: numbers of the writers.
    names: classes that occur.
    rates: objects of each class on a page, on average.
    rates_alone: the same without parts of others.
    source: the data set and its licence.
  """

  def __init__(self, table: Table):
    self._table = table
    self.source = str(table.source)
    self.writers = [int(w) for w in np.unique(table.writers)]
    labels = np.asarray(table.labels, np.int64)
    counts = np.bincount(labels, minlength=len(table.class_names))
    self.names = [
      str(n) for n, c in zip(table.class_names, counts, strict=True) if c
    ]
    pages = len(np.unique(table.pages))
    self.rates = {
      str(n): c / pages
      for n, c in zip(table.class_names, counts.tolist(), strict=True)
      if c
    }
    alone = np.bincount(
      labels[np.asarray(table.parents) < 0], minlength=len(counts)
    )
    self.rates_alone = {
      str(n): c / pages
      for n, c in zip(table.class_names, alone.tolist(), strict=True)
      if c
    }
    self._names = [str(table.class_names[i]) for i in labels]
    self._starts = np.concatenate([[0], table.mask_stops]).astype(np.int64)
    self._rows: dict[tuple[str, int], list[int]] = {}
    self._children = collections.defaultdict(list)
    # The parts of compounds are symbols, too.
    for row, (name, writer, parent) in enumerate(
      zip(
        self._names,
        table.writers.tolist(),
        table.parents.tolist(),
        strict=True,
      )
    ):
      self._rows.setdefault((name, writer), []).append(row)
      if parent >= 0:
        self._children[parent].append(row)
    boxes = np.asarray(table.boxes_yxyx, np.float64)
    self._sizes = (boxes[:, 2:] - boxes[:, :2]) / np.asarray(
      table.staff_spaces
    )[:, None]
    self._nearest = self._similar_writers()
    self._rarity = 1 / np.sqrt(counts[labels])

  def _similar_writers(self) -> dict[int, list[int]]:
    """All writers by likeness to each: sizes and thickness of strokes."""
    rows = []
    for writer in self.writers:
      row = []
      for name in _SIZE_OF_HAND:
        own = self._rows.get((name, writer))
        row += [*np.median(self._sizes[own], 0)] if own else [np.nan, np.nan]
      rows.append(row)
    features = np.log(np.array(rows))
    with np.errstate(invalid="ignore"):
      middle = np.nan_to_num(_nan_median(features))
    features = np.where(np.isnan(features), middle, features)
    features = (features - middle) / (features.std(0) + 1e-6)
    away = np.abs(features[:, None] - features[None]).sum(-1)
    order = np.argsort(away, 1, kind="stable")
    return {
      writer: [self.writers[i] for i in order[at]]
      for at, writer in enumerate(self.writers)
    }

  def rows_of(self, name: str, writer: int) -> list[int]:
    """Symbols of a class by a writer, or else by the most similar one."""
    for other in self._nearest[writer]:
      if found := self._rows.get((name, other)):
        return found
    return []

  def any_rows(self, name: str) -> list[int]:
    """Symbols of a class by all writers."""
    found = (self._rows.get((name, writer), []) for writer in self.writers)
    return [row for rows in found for row in rows]

  def alone(self, rows: list[int]) -> list[int]:
    """Those of some symbols that are no part of others."""
    return [row for row in rows if self._table.parents[row] < 0]

  def pick(
    self,
    name: str,
    writer: int,
    rng: np.random.Generator,
    size_hw: tuple[float, float] | None = None,
  ) -> Symbol | None:
    """Draws a symbol of a class; None if no writer has one.

    Args:
      size_hw: in staff spaces; only symbols of about this size are drawn.
    """
    rows = self.rows_of(name, writer)
    if not rows:
      return None
    if size_hw is not None and len(rows) > _CANDIDATES:
      wanted = np.log(np.maximum(size_hw, 0.2))
      sizes = np.log(np.maximum(self._sizes[rows], 0.2))
      away = np.abs(sizes - wanted).sum(1)
      near = np.argsort(away, kind="stable")[:_CANDIDATES]
      rows = [rows[i] for i in near]
    return self.symbol(rows[int(rng.integers(len(rows)))])

  def pick_rare(self, rows: list[int], rng: np.random.Generator) -> Symbol:
    """Draws one of some symbols, those with rare parts more often."""
    weights = np.array(
      [self._rarity[[row, *self._children.get(row, [])]].max() for row in rows]
    )
    return self.symbol(rows[rng.choice(len(rows), p=weights / weights.sum())])

  @functools.lru_cache(maxsize=4096)  # noqa: B019 (lives as long as its worker)
  def symbol(self, row: int) -> Symbol:
    """The symbol of a row."""
    table = self._table
    top, left = (int(v) for v in table.boxes_yxyx[row, :2])
    parts = [
      Part(
        self._names[i],
        self._mask(i),
        int(table.boxes_yxyx[i, 0]) - top,
        int(table.boxes_yxyx[i, 1]) - left,
      )
      for i in (row, *self._children.get(row, []))
    ]
    return Symbol(
      parts[0].mask,
      tuple(parts),
      float(table.staff_spaces[row]),
      float(table.middle_y[row]) - top,
    )

  def _mask(self, row: int) -> np.ndarray:
    y0, x0, y1, x1 = (int(v) for v in self._table.boxes_yxyx[row])
    runs = self._table.mask_runs[self._starts[row] : self._starts[row + 1]]
    return masks.decode_runs(runs, (y1 - y0, x1 - x0))

  @functools.cached_property
  def words(self) -> dict[str, dict[int, list[int]]]:
    """Rows of `dynamicsText` by their letters, then by writer."""
    found: dict[str, dict[int, list[int]]] = {}
    for (name, writer), rows in self._rows.items():
      if name != "dynamicsText":
        continue
      for row in rows:
        letters = sorted(
          (int(self._table.boxes_yxyx[i, 1]), self._names[i][-1].lower())
          for i in self._children.get(row, [])
          if self._names[i].startswith("dynamicLetter")
        )
        word = "".join(letter for _, letter in letters)
        found.setdefault(word, {}).setdefault(writer, []).append(row)
    return found

  def dynamics(
    self, word: str, writer: int, rng: np.random.Generator
  ) -> Symbol | None:
    """A dynamic such as `mf`, by the writer or else by a similar one."""
    by_writer = self.words.get(word, {})
    for other in self._nearest[writer]:
      if rows := by_writer.get(other):
        return self.symbol(rows[int(rng.integers(len(rows)))])
    return None

  def line_width(self, writer: int) -> float:
    """Thickness of staff lines on the pages of a writer, in staff spaces."""
    own: Int[np.ndarray, " k"] = np.flatnonzero(self._table.writers == writer)
    share = self._table.line_px[own] / self._table.staff_spaces[own]
    return float(np.median(share))


def _nan_median(features: np.ndarray) -> np.ndarray:
  """Median of each column; nan where a column has no number."""
  return np.array(
    [
      np.median(c[~np.isnan(c)]) if np.any(~np.isnan(c)) else np.nan
      for c in features.T
    ]
  )


@functools.lru_cache(maxsize=2)
def load(path: str) -> Hands:
  """The hands of a file; see `read` for errors."""
  return Hands(read(pathlib.Path(path)))
