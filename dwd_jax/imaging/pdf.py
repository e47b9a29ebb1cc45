"""Pages of PDF files as images, at the resolution that a network expects."""

import contextlib
import math
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium
from jaxtyping import UInt8

from dwd_jax.core.errors import InputError
from dwd_jax.imaging import grey, staff_space

SUFFIX = ".pdf"
FIRST_DPI = 150.0  # at which staves are measured
_MIN_DPI, _MAX_DPI = 40.0, 600.0
_MAX_PIXELS = 1 << 26  # of a rendered page
_NEAR = 1.03  # factor within which a rendering is accepted
_POINTS = 72.0  # per inch


class Drawn(NamedTuple):
  """A rendered page.

  Attributes:
    ink: 0 = paper, 255 = ink.
  """

  ink: UInt8[np.ndarray, "H W"]
  dpi: float


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[pypdfium2.PdfDocument]:
  try:
    document = pypdfium2.PdfDocument(path)
  except pypdfium2.PdfiumError:
    if pdfium.FPDF_GetLastError() == pdfium.FPDF_ERR_PASSWORD:
      raise InputError(
        f"{path}: is encrypted; save it without a password"
      ) from None
    raise InputError(
      f"{path}: not a readable PDF; print it to a new one"
    ) from None
  except FileNotFoundError:
    raise InputError(f"{path}: no such file; check the name") from None
  except OSError as e:
    raise InputError(
      f"{path}: cannot be read ({e.strerror}); check its permissions"
    ) from None
  try:
    yield document
  finally:
    document.close()


def count(path: pathlib.Path) -> int:
  """Number of pages.

  Raises:
    InputError: the file cannot be read, is encrypted, or has no pages.
  """
  with _opened(path) as document:
    pages = len(document)
  if not pages:
    raise InputError(f"{path}: a PDF without pages; leave it out")
  return pages


def draw(
  path: pathlib.Path, number: int, staff_space_px: float, dpi: float = 0.0
) -> Drawn:
  """Renders one page; very large pages at less than the requested resolution.

  Args:
    number: of the page, from 1.
    staff_space_px: wanted distance of staff lines; 0 = any.
    dpi: resolution; 0 = that of the wanted staff space, measured on a first
      rendering, or 150 if no staff is found.

  Raises:
    InputError: the file or the page cannot be read.
  """
  with _opened(path) as document:
    try:
      page = document[number - 1]
    except (pypdfium2.PdfiumError, IndexError):
      raise InputError(
        f"{path}: page {number} cannot be read; print the file to a new one"
      ) from None
    try:
      first = _draw(page, dpi or FIRST_DPI, f"{path}: page {number}")
      if dpi or not staff_space_px:
        return first
      found = staff_space.estimate(first.ink)
      if found is None:
        return first
      wanted = first.dpi * staff_space_px / found.px
      wanted = min(max(wanted, _MIN_DPI), _MAX_DPI)
      if 1 / _NEAR <= wanted / first.dpi <= _NEAR:
        return first
      return _draw(page, wanted, f"{path}: page {number}")
    finally:
      page.close()


def _draw(page: pypdfium2.PdfPage, dpi: float, name: str) -> Drawn:
  width, height = (max(side, 1e-3) for side in page.get_size())
  most = _POINTS * math.sqrt(_MAX_PIXELS / (width * height))
  dpi = min(dpi, most)
  try:
    scale: Any = dpi / _POINTS  # the package's hint says int
    bitmap = page.render(scale=scale, grayscale=True)
  except (pypdfium2.PdfiumError, ValueError, RuntimeError, MemoryError):
    raise InputError(
      f"{name} cannot be drawn; print the file to a new one"
    ) from None
  try:
    pixels = bitmap.to_numpy()
    pixels = np.ascontiguousarray(pixels.reshape(pixels.shape[:2]))
  finally:
    bitmap.close()
  return Drawn(grey.to_ink(pixels), dpi)
