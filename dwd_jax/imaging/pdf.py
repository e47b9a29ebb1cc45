"""Pages of PDF files as images, at the resolution that a network expects."""

import contextlib
import math
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium
from jaxtyping import UInt8

from dwd_jax.core.errors import InputError
from dwd_jax.imaging import grey, staff_space

SUFFIX = ".pdf"
FIRST_DPI = 150.0  # at which staves are measured
_MIN_DPI = 40.0
_MAX_PIXELS = 1 << 26  # of a rendered page
_COVERS = 0.5  # least share of a page that makes a picture its scan
_DEPTH = 5  # of objects in objects
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
  path: pathlib.Path,
  number: int,
  staff_space_px: float,
  dpi: float = 0.0,
  polarity: str = "",
) -> Drawn:
  """Renders one page; very large pages at less than the requested resolution.

  Args:
    number: of the page, from 1.
    staff_space_px: wanted distance of staff lines; 0 = any.
    dpi: resolution; 0 = for a scan its own, else that of the wanted staff
      space, measured on renderings of 150 dpi and, while no staff is found,
      finer ones; 150 if there is none, or any staff space will do.
    polarity: see `grey.to_ink`; unused where staves are measured.

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
    name = f"{path}: page {number}"
    try:
      if dpi or not staff_space_px:
        dpi = dpi or FIRST_DPI
        return _draw_smooth(page, dpi=dpi, name=name, polarity=polarity)
      if scan := _scan_dpi(page):
        return _draw(page, scan, name)
      return _draw_smooth(page, _music_dpi(page, staff_space_px, name), name)
    finally:
      page.close()


def _scan_dpi(page: pypdfium2.PdfPage) -> float:
  """Resolution of the picture that covers most of the page; 0 = none does."""
  width, height = page.get_size()
  for item in page.get_objects(max_depth=_DEPTH):
    if item.type == pdfium.FPDF_PAGEOBJ_IMAGE:
      picture: Any = item
      left, bottom, right, top = picture.get_bounds()
      if (right - left) * (top - bottom) > _COVERS * width * height:
        pixels, _ = picture.get_px_size()
        return _POINTS * pixels / (right - left)
  return 0.0


def _music_dpi(
  page: pypdfium2.PdfPage, staff_space_px: float, name: str
) -> float:
  """Resolution at which staff lines have the wanted distance; or 150."""
  dpi = FIRST_DPI
  while True:
    drawn = _draw(page, dpi, name)
    found = staff_space.estimate(drawn.ink)
    if found is not None:
      return max(drawn.dpi * staff_space_px / found.px, _MIN_DPI)
    if drawn.dpi < dpi or 4 * drawn.ink.size > _MAX_PIXELS:
      return FIRST_DPI
    dpi *= 2


def _draw_smooth(
  page: pypdfium2.PdfPage, dpi: float, name: str, polarity: str = ""
) -> Drawn:
  """Draws finer and averages: lines do not snap to whole pixels."""
  width, height = page.get_size()
  pixels = width * height * (dpi / _POINTS) ** 2
  finer = next((k for k in (3, 2) if k**2 * pixels <= _MAX_PIXELS), 1)
  drawn = _draw(page, dpi=finer * dpi, name=name, polarity=polarity)
  if finer == 1:
    return drawn
  height, width = drawn.ink.shape
  size = max(1, round(width / finer)), max(1, round(height / finer))
  ink = cv2.resize(drawn.ink, size, interpolation=cv2.INTER_AREA)
  return Drawn(ink.astype(np.uint8, copy=False), drawn.dpi / finer)


def _draw(
  page: pypdfium2.PdfPage, dpi: float, name: str, polarity: str = ""
) -> Drawn:
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
    pixels = grey.to_grey(bitmap.to_numpy())  # a copy
  finally:
    bitmap.close()
  return Drawn(grey.to_ink(pixels, polarity), dpi)
