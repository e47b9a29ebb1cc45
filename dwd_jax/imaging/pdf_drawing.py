"""Draws pages of PDFs: the program that `imaging.pdf` starts.

Its arguments are the memory that it may take, bytes, and the time for a
request, s. It reads a line of JSON for each request: cwd, path, and the other
arguments of `pdf.draw` unless pages are to be counted. It answers with one:
`count`; or `hw` and `dpi`, and then the pixels; or `error`. Beyond its
limits it ends without an answer.
"""

import contextlib
import json
import math
import os
import pathlib
import resource
import signal
import sys
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium

from dwd_jax.core.errors import InputError
from dwd_jax.imaging import grey, staff_space
from dwd_jax.imaging.pdf import FIRST_DPI, Drawn

_MIN_DPI = 40.0
_MAX_PIXELS = 1 << 26  # of a rendered page
_MAX_SIDE = 1 << 16
_MAX_PICTURE = 1 << 28  # pixels of a picture on a page
_COVERS = 0.5  # least share of a page that makes a picture its scan
_DEPTH = 5  # of objects in objects
_POINTS = 72.0  # per inch


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
  """See `pdf.count`."""
  with _opened(path) as document:
    pages = len(document)
  if not pages:
    raise InputError(f"{path}: a PDF without pages; leave it out")
  return pages


def draw(
  path: pathlib.Path,
  number: int,
  staff_space_px: float,
  dpi: float,
  polarity: str,
  channels: int = 1,
) -> Drawn:
  """See `pdf.draw`."""
  with _opened(path) as document:
    try:
      page = document[number - 1]
    except (pypdfium2.PdfiumError, IndexError):
      raise InputError(
        f"{path}: page {number} cannot be read; print the file to a new one"
      ) from None
    name = f"{path}: page {number}"
    try:
      scan = _scan_dpi(page, name)
      if dpi or not staff_space_px:
        dpi = dpi or FIRST_DPI
        return _draw_smooth(page, dpi, name, polarity, channels)
      if scan:
        return _draw(page, scan, name)
      return _draw_smooth(page, _music_dpi(page, staff_space_px, name), name)
    finally:
      page.close()


def _scan_dpi(page: pypdfium2.PdfPage, name: str) -> float:
  """Resolution of the picture that covers most of the page; 0 = none does.

  Raises:
    InputError: a picture is too large, for which nothing would be drawn.
  """
  width, height = page.get_size()
  found = 0.0
  for item in page.get_objects(max_depth=_DEPTH):
    if item.type == pdfium.FPDF_PAGEOBJ_IMAGE:
      picture: Any = item
      size = picture.get_px_size()
      if size[0] * size[1] > _MAX_PICTURE:
        raise InputError(
          f"{name}: holds a picture of {size[0]} x {size[1]} pixels, more than"
          f" the {_MAX_PICTURE:,} allowed; print the file to a new one"
        )
      left, bottom, right, top = picture.get_bounds()
      if (right - left) * (top - bottom) > _COVERS * width * height:
        found = found or _POINTS * size[0] / (right - left)
  return found


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
  page: pypdfium2.PdfPage,
  dpi: float,
  name: str,
  polarity: str = "",
  channels: int = 1,
) -> Drawn:
  """Draws finer and averages: lines do not snap to whole pixels."""
  width, height = page.get_size()
  pixels = width * height * (dpi / _POINTS) ** 2
  finer = next((k for k in (3, 2) if k**2 * pixels <= _MAX_PIXELS), 1)
  drawn = _draw(page, finer * dpi, name, polarity, channels)
  if finer == 1:
    return drawn
  height, width = drawn.ink.shape[:2]
  size = max(1, round(width / finer)), max(1, round(height / finer))
  ink = cv2.resize(drawn.ink, size, interpolation=cv2.INTER_AREA)
  return Drawn(ink.astype(np.uint8, copy=False), drawn.dpi / finer)


def _draw(
  page: pypdfium2.PdfPage,
  dpi: float,
  name: str,
  polarity: str = "",
  channels: int = 1,
) -> Drawn:
  width, height = (max(side, 1e-3) for side in page.get_size())
  most = math.sqrt(_MAX_PIXELS / (width * height))
  most = min(most, _MAX_SIDE / max(width, height))
  dpi = min(dpi, _POINTS * most)
  try:
    scale: Any = dpi / _POINTS  # the package's hint says int
    grayscale = channels == 1
    bitmap = page.render(
      scale=scale, grayscale=grayscale, rev_byteorder=not grayscale
    )
  except (pypdfium2.PdfiumError, ValueError, RuntimeError, MemoryError):
    raise InputError(
      f"{name} cannot be drawn; print the file to a new one"
    ) from None
  try:
    pixels = grey.to_tones(bitmap.to_numpy(), channels)  # a copy
  finally:
    bitmap.close()
  return Drawn(grey.to_ink(pixels, polarity), dpi)


def _answer(request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
  os.chdir(request.pop("cwd"))
  path = pathlib.Path(request.pop("path"))
  try:
    if not request:
      return {"count": count(path)}, b""
    drawn = draw(path, **request)
    return {"hw": drawn.ink.shape, "dpi": drawn.dpi}, drawn.ink.tobytes()
  except InputError as e:
    return {"error": str(e)}, b""


def _limit_memory(more: int) -> None:
  """Lets this process grow by so many bytes, where the system can tell."""
  with contextlib.suppress(OSError, ValueError):
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + more
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or most < hard:
      resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def main() -> None:
  """Answers until the other side ends."""
  answers = os.fdopen(os.dup(1), "wb")
  os.dup2(2, 1)  # whatever else is printed
  _limit_memory(int(sys.argv[1]))
  signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process
  for line in sys.stdin.buffer:
    signal.setitimer(signal.ITIMER_REAL, float(sys.argv[2]))
    facts, pixels = _answer(json.loads(line))
    signal.setitimer(signal.ITIMER_REAL, 0)
    answers.write(json.dumps(facts).encode() + b"\n")
    answers.write(pixels)
    answers.flush()


if __name__ == "__main__":
  main()
