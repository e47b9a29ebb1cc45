"""Music fonts in files: OpenType fonts laid out by SMuFL, and LilyPond's.

Files come from elsewhere: their size is bounded before and after unpacking, and
what fontTools cannot read is one line.
"""

import contextlib
import csv
import functools
import io
import pathlib
import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import brotli
from fontTools.pens.boundsPen import BoundsPen
from fontTools.pens.recordingPen import DecomposingRecordingPen
from fontTools.ttLib import TTFont, woff2

from dwd_jax.core.errors import InputError
from dwd_jax.engrave import outlines, verovio_fonts
from dwd_jax.engrave.outlines import Bounds, Matrix
from dwd_jax.engrave.verovio_fonts import Metrics

SUFFIXES = (".otf", ".ttf", ".woff", ".woff2")
_PACKED = (b"wOFF", b"wOF2")  # first bytes
_MAX_BYTES = 16 << 20
_MAX_UNPACKED = 64 << 20
_MAX_FILES = 1000  # of a folder
_MAX_PATH = 200_000  # characters of one outline
# What any music needs: the G clef and the black notehead, and how high they are
# in staff spaces.
_SHAPES = ((0xE050, 4.0, 10.0), (0xE0A4, 0.6, 2.0))
_FLAGS_16TH = (0xE242, 0xE243)
_HEADS = range(0xE0A0, 0xE100)
_NEAR = 10  # units from the end of a notehead
_STEM = 32  # units: the width of a stem in a flag
_LILYPOND = pathlib.Path(__file__).parent / "lilypond_glyphs.csv"
# Glyph names of LilyPond's fonts, which use SMuFL's code points for others.
_OF_LILYPOND = {"clefs.G", "noteheads.s2"}


class _Placed(NamedTuple):
  """A glyph of a file, and where SMuFL wants it: see lilypond_glyphs.csv.

  Places: `origin`, as it is; with the left end at 0 and `left`, the origin's
  height; `bottom`, `top` or `middle` at height 0; `flag`, as far below the end
  of the stem as that of a 16th; `turned`, clockwise by 90 degrees.
  """

  name: str
  place: str = "origin"


class _Outline(NamedTuple):
  """Pen commands in the file's units, how they move, and what comes of it."""

  values: list[tuple[str, tuple]]
  move: Matrix
  metrics: Metrics


def find(folder: pathlib.Path) -> list[str]:
  """The music fonts in a folder and below, in a fixed order.

  Fonts without musical symbols, such as text fonts, are passed over.

  Raises:
    InputError: there are none, or a file is no font, damaged or huge.
  """
  files = []
  for path in folder.rglob("*"):
    if path.suffix.lower() in SUFFIXES and path.is_file():
      files.append(path)
      if len(files) > _MAX_FILES:
        raise InputError(
          f"{folder}: more than {_MAX_FILES} fonts; name a folder with fewer"
        )
  found = [str(path) for path in sorted(files) if read(str(path)).is_music]
  if not found:
    raise InputError(
      f"{folder}: none of its {len(files)} fonts ({' '.join(SUFFIXES)}) has the"
      " code points of SMuFL or the glyph names of LilyPond; name a folder with"
      " a music font, such as Bravura.otf"
    )
  return found


def design(font: str) -> str:
  """What the files of one design have in common, whatever optical size."""
  path = pathlib.Path(font)
  return str(path.parent / re.sub(r"[-_ ]?\d+$", "", path.stem))


def page_name(font: str) -> str:
  """A font as part of the names of pages."""
  stem = pathlib.Path(font).stem.lower()
  return re.sub(r"[^a-z0-9]+", "_", stem).strip("_")[:30] or "font"


@functools.lru_cache(maxsize=64)
def read(path: str) -> "FontFile":
  """Opens a font; outlines are read when they are needed.

  Raises:
    InputError: it is no font, damaged or huge.
  """
  return FontFile(path)


class FontFile:
  """One font, in the units of `verovio_fonts`.

  Attributes:
    is_music: whether it has the symbols that any music needs.
  """

  def __init__(self, path: str):
    self._file = path
    self._glyphs: dict[int, _Outline | None] = {}
    data = _bounded(pathlib.Path(path))
    with _readable(path):
      font = TTFont(io.BytesIO(data), lazy=True)
      self._shapes = font.getGlyphSet()
      self._units = font["head"].unitsPerEm  # pyright: ignore
      names = set(font.getGlyphOrder())
      if names >= _OF_LILYPOND:
        self._codes = {
          code: placed
          for code, placed in _lilypond().items()
          if placed.name in names
        }
      else:
        cmap = font.getBestCmap() or {}
        self._codes = {
          code: _Placed(name)
          for code, name in cmap.items()
          if code in verovio_fonts.CODES
        }
    # Fonts of icons have other shapes at these code points.
    self.is_music = all(
      self._looks_like(code, low, high) for code, low, high in _SHAPES
    )

  def _looks_like(self, code: int, low: float, high: float) -> bool:
    """Whether a symbol is around its origin, and as high as it should be."""
    found = self.metrics(code)
    if found is None:
      return False
    _, y0, _, y1 = found.bounds
    spaces = (y1 - y0) / verovio_fonts.UNITS_PER_SPACE
    return y0 < 0 < y1 and low <= spaces <= high

  def metrics(self, code: int) -> Metrics | None:
    """The metrics of a symbol; None if the font has none, or an empty one.

    Raises:
      InputError: its outline is damaged.
    """
    found = self._glyph(code)
    return found.metrics if found else None

  def path(self, code: int) -> str:
    """Path data of a symbol that has metrics.

    Raises:
      InputError: it is too long.
    """
    found = self._glyph(code)
    d = outlines.path_data(found.values, found.move) if found else ""
    if len(d) > _MAX_PATH:
      raise InputError(
        f"{self._file}: the outline of U+{code:04X} is too long; use another"
        " font"
      )
    return d

  def _glyph(self, code: int) -> _Outline | None:
    if code not in self._glyphs:
      placed = self._codes.get(code)
      self._glyphs[code] = self._read(code, placed) if placed else None
    return self._glyphs[code]

  def _read(self, code: int, placed: _Placed) -> _Outline | None:
    pen = DecomposingRecordingPen(self._shapes)
    bounds_pen = BoundsPen(None, ignoreSinglePoints=True)
    with _readable(self._file):
      scale = 1000 / self._units
      shape = self._shapes[placed.name]
      shape.draw(pen)
      pen.replay(bounds_pen)
    bounds = bounds_pen.bounds
    if bounds is None:
      return None
    turn: Matrix = (scale, 0, 0, scale, 0, 0)
    if placed.place == "turned":
      turn = (0, -scale, scale, 0, 0, 0)
    x0, y0, x1, y1 = outlines.transform_bounds(bounds, turn)
    dx, dy = self._shift(code, placed.place, (x0, y0, x1, y1))
    if placed.place == "flag":
      _add_stem(pen, bounds[0], -dy / scale, _STEM / scale)
    move: Matrix = (turn[0], turn[1], turn[2], turn[3], dx, dy)
    advance = shape.width * scale if placed.place == "origin" else x1 - x0
    anchors = _stem_anchors(pen.value, move) if code in _HEADS else {}
    moved = (x0 + dx, y0 + dy, x1 + dx, y1 + dy)
    return _Outline(pen.value, move, Metrics(moved, advance, anchors))

  def _shift(
    self, code: int, place: str, bounds: Bounds
  ) -> tuple[float, float]:
    """From where LilyPond has a glyph to where SMuFL wants it."""
    x0, y0, _, y1 = bounds
    heights = {
      "bottom": -y0,
      "turned": -y0,
      "top": -y1,
      "middle": -(y0 + y1) / 2,
    }
    pair = self.metrics(_FLAGS_16TH[code % 2]) if place == "flag" else None
    if pair is not None:
      heights["flag"] = pair.bounds[3] - y1 if code % 2 else pair.bounds[1] - y0
    return (0.0 if place == "origin" else -x0), heights.get(place, 0.0)


def _add_stem(
  pen: DecomposingRecordingPen, left: float, to: float, width: float
) -> None:
  """Adds the piece of the stem from which a flag hangs, from height 0."""
  y0, y1 = min(to, 0.0), max(to, 0.0)
  right = left + width
  pen.moveTo((left, y0))
  for point in ((right, y0), (right, y1), (left, y1)):
    pen.lineTo(point)
  pen.closePath()


def _stem_anchors(
  values: list[tuple[str, tuple]], m: Matrix
) -> dict[str, tuple[float, float]]:
  """Where stems begin: the ends of a notehead, on the side of the stem."""
  ends = [args[-1] for _, args in values if args]
  if None in ends:  # closed curves of TrueType without points on them
    values = outlines.commands(outlines.path_data(values, outlines.IDENTITY))
    ends = [args[-1] for _, args in values if args]
  points = [(m[0] * x + m[4], m[3] * y + m[5]) for x, y in ends]
  x0, x1 = min(x for x, _ in points), max(x for x, _ in points)
  return {
    "stemUpSE": (x1, max(y for x, y in points if x > x1 - _NEAR)),
    "stemDownNW": (x0, min(y for x, y in points if x < x0 + _NEAR)),
  }


@functools.cache
def _lilypond() -> dict[int, _Placed]:
  """Where LilyPond has the symbols of SMuFL."""
  codes = {name: code for code, name in verovio_fonts.smufl_names().items()}
  rows = csv.DictReader(_LILYPOND.read_text().splitlines())
  return {
    codes[row["smufl"]]: _Placed(row["lilypond"], row["place"]) for row in rows
  }


@contextlib.contextmanager
def _readable(path: str) -> Iterator[None]:
  """Makes one line of whatever fontTools trips over."""
  try:
    yield
  except InputError:
    raise
  except Exception as e:  # struct.error, KeyError, TTLibError, ...
    raise InputError(
      f"{path}: no font, or a damaged one ({type(e).__name__}); replace or"
      " remove it"
    ) from e


def _bounded(path: pathlib.Path) -> bytes:
  """The bytes of a font that is not too large, unpacked neither."""
  try:
    with path.open("rb") as file:
      data = file.read(_MAX_BYTES + 1)
  except OSError as e:
    raise InputError(f"{path}: cannot be read: {e.strerror}") from None
  with _readable(str(path)):
    packed = data[:4] in _PACKED
    if len(data) > _MAX_BYTES or (packed and not _unpacks(data)):
      raise InputError(
        f"{path}: larger than {_MAX_BYTES >> 20} MiB, or"
        f" {_MAX_UNPACKED >> 20} MiB unpacked; remove it"
      )
  return data


def _unpacks(data: bytes) -> bool:
  """Whether a WOFF or WOFF2 font has at most `_MAX_UNPACKED` bytes."""
  file = io.BytesIO(data)
  if data[:4] == b"wOFF":
    total = 0
    for i in range(struct.unpack(">H", data[12:14])[0]):
      _, start, size, whole, _ = struct.unpack_from(">5L", data, 44 + 20 * i)
      table = data[start : start + size]
      if size < whole:  # others are as they are
        table = zlib.decompressobj().decompress(table, _MAX_UNPACKED + 1)
      total += len(table)
      if total > _MAX_UNPACKED:
        return False
    return True
  header = woff2.sstruct.unpack(
    woff2.woff2DirectoryFormat, file.read(woff2.woff2DirectorySize)
  )
  for _ in range(header["numTables"]):
    woff2.WOFF2DirectoryEntry().fromFile(file)
  unpacked = brotli.Decompressor().process(
    file.read(header["totalCompressedSize"]),
    output_buffer_limit=_MAX_UNPACKED + 1,
  )
  return len(unpacked) <= _MAX_UNPACKED
