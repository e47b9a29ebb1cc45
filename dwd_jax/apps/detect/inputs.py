"""Finds the pages of files and folders, and reads them one by one."""

import contextlib
import functools
import os
import pathlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import UInt8

from dwd_jax.apps.detect import manifest
from dwd_jax.core import files
from dwd_jax.core.errors import InputError, TransientError
from dwd_jax.imaging import images, pdf

T = TypeVar("T")
_IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
SUFFIXES = (*_IMAGES, pdf.SUFFIX)
_MAX_BYTES = 2 << 30
_MAX_NAME = 120  # bytes of a page's name, as file systems count
_MAX_PAGES = 100_000  # of one file
_PAUSE_S = 0.5  # before the first retry, and twice as long before each further
_LONGEST = 6  # doublings


class Source(NamedTuple):
  """One page, not read yet.

  Attributes:
    name: of its results, unique in a run.
    file: its path; a `pathlib.Path` takes four times the memory, and a library
      has a million.
    number: of the page in the file, from 1.
    of: pages in the file.
  """

  name: str
  file: str
  number: int
  of: int

  @property
  def path(self) -> pathlib.Path:
    """The path of the file."""
    return pathlib.Path(self.file)

  def describe(self) -> str:
    """The file, and the page number if there are several."""
    page = f", page {self.number}" if self.of > 1 else ""
    return f"{self.file}{page}"


class Failure(NamedTuple):
  """A file or page without results, and a line that says why."""

  what: str
  reason: str


class Page(NamedTuple):
  """A page as the network sees it, and its resolution; 0 = an image file."""

  ink: UInt8[np.ndarray, "H W *c"]
  dpi: float


def find(
  inputs: Sequence[pathlib.Path], taken: Iterable[str] = (), retries: int = 0
) -> tuple[list[Source], list[Failure]]:
  """Finds the pages of files and folders.

  Args:
    inputs: images, PDFs, folders (recursively, without hidden files and other
      kinds). Pictures of an earlier detection are left out.
    taken: names that no page may have.
    retries: see `retried`.

  Returns:
    The pages in the order of the inputs, files of a folder by name; and the
    files that could not be opened.
  """
  sources: list[Source] = []
  failures: list[Failure] = []
  names = {name.casefold(): 1 for name in taken}
  seen: set[str] = set()
  pictures = manifest.Pictures()
  for path in inputs:
    try:
      found = retried(functools.partial(_files, path), retries)
    except InputError as e:
      failures.append(Failure(str(path), str(e)))
      continue
    for file in found:
      real = os.path.realpath(file)
      if real in seen or pathlib.Path(real) in pictures:
        continue
      seen.add(real)
      try:
        with _in_memory(file):
          count = functools.partial(_count, pathlib.Path(file))
          pages = retried(count, retries)
      except InputError as e:
        failures.append(Failure(file, str(e)))
        continue
      for number in range(1, pages + 1):
        name = _new_name(pathlib.Path(file), number, pages, names)
        sources.append(Source(name, file, number, pages))
  if not sources and not failures:
    what = ", ".join(map(str, inputs))
    reason = f"{what}: only pictures of an earlier detection; name other pages"
    failures.append(Failure(what, reason))
  return sources, failures


def read(
  source: Source,
  staff_space_px: float,
  dpi: float = 0.0,
  polarity: str = "",
  channels: int = 1,
) -> Page:
  """Reads a page; see `pdf.draw`. Raises InputError if that fails."""
  with _in_memory(source.describe()):
    if source.path.suffix.lower() == pdf.SUFFIX:
      drawn = pdf.draw(
        source.path,
        source.number,
        staff_space_px=staff_space_px,
        dpi=dpi,
        polarity=polarity,
        channels=channels,
      )
      return Page(*drawn)
    ink = images.read_page(
      _bytes(source.path),
      source.describe(),
      number=source.number,
      polarity=polarity,
      channels=channels,
    )
    return Page(ink, 0.0)


def retried(work: Callable[[], T], retries: int) -> T:
  """The result of `work`, which is tried again where storage fails.

  Args:
    retries: how often, after pauses that grow.
  """
  for attempt in range(retries):
    try:
      return work()
    except TransientError:
      pass
    except OSError as e:
      if e.errno not in files.TRANSIENT:
        raise
    time.sleep(_PAUSE_S * 2 ** min(attempt, _LONGEST))
  return work()


@contextlib.contextmanager
def reading(path: pathlib.Path) -> Iterator[None]:
  """Raises InputError if a file or folder cannot be read; see `retried`."""
  try:
    yield
  except FileNotFoundError as e:
    what = e.filename or path
    raise InputError(f"{what}: no such file; check the name") from None
  except OSError as e:
    kind = TransientError if e.errno in files.TRANSIENT else InputError
    raise kind(
      f"{e.filename or path}: cannot be read ({e.strerror}); check its"
      " permissions"
    ) from None


@contextlib.contextmanager
def _in_memory(what: str) -> Iterator[None]:
  """Raises InputError for what does not fit into memory."""
  try:
    yield
  except (MemoryError, OverflowError):
    raise InputError(
      f"{what}: does not fit into memory; scale the image down"
    ) from None


def _files(path: pathlib.Path) -> list[str]:
  """The path itself, or those of the images and PDFs in a folder."""
  with reading(path):
    if not path.is_dir():
      if not path.exists():
        raise InputError(f"{path}: no such file or folder; check the name")
      return [str(path)]
    found = list(_walk(path))
  if not found:
    raise InputError(
      f"{path}: no image or PDF in this folder; there should be"
      f" {', '.join(SUFFIXES)}"
    )
  return found


def _walk(folder: pathlib.Path) -> Iterator[str]:
  # Not rglob, which silently skips unreadable folders.
  with os.scandir(folder) as entries:
    found = sorted(entries, key=lambda entry: entry.name)
  for entry in found:
    path = folder / entry.name
    if entry.name.startswith("."):
      continue
    if entry.is_dir(follow_symlinks=False):
      yield from _walk(path)
    elif path.suffix.lower() in SUFFIXES and path.is_file():
      yield str(path)


def _count(path: pathlib.Path) -> int:
  """Number of pages; image files other than TIFF are not opened."""
  suffix = path.suffix.lower()
  if suffix == pdf.SUFFIX:
    count = pdf.count(path)
  elif suffix in (".tif", ".tiff"):
    count = images.num_pages(_bytes(path))
  else:
    count = 1
  if count > _MAX_PAGES:
    raise InputError(
      f"{path}: {count} pages are more than the {_MAX_PAGES:,} allowed; split"
      " the file"
    )
  return count


def _bytes(path: pathlib.Path) -> bytes:
  with reading(path):
    if path.stat().st_size > _MAX_BYTES:
      raise InputError(f"{path}: larger than 2 GiB; split or shrink it")
    return path.read_bytes()


def _new_name(
  path: pathlib.Path, number: int, of: int, taken: dict[str, int]
) -> str:
  """Makes a page name that `taken` does not have, casefolded, and adds it.

  Args:
    taken: the last number added to each name, so that many equal names, such as
      0001.png in the folder of each volume, do not count from the start.
  """
  stem = path.stem.encode("utf8", "replace").decode()
  stem = re.sub(r"[\x00-\x1f\x7f/\\:*?\"<>|]", "_", stem).strip(" .")
  stem = stem.encode()[:_MAX_NAME].decode(errors="ignore") or "page"
  if of > 1:
    stem += f"-p{number:0{max(3, len(str(of)))}d}"
  name, key = stem, stem.casefold()
  while name.casefold() in taken:
    taken[key] += 1
    name = f"{stem}-{taken[key]}"
  taken[name.casefold()] = 1
  return name
