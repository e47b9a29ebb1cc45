"""Small fonts, made of those in verovio's wheel."""

import base64
import csv
import io
import pathlib

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.recordingPen import replayRecording
from fontTools.pens.t2CharStringPen import T2CharStringPen
from fontTools.pens.transformPen import TransformPen
from fontTools.ttLib import TTFont

from dwd_jax.engrave import font_files, outlines, text_fonts, verovio_fonts

_OUTLINES = "Leland"
UNITS = 2000  # per em, twice those of verovio's fonts
CODES = {name: code for code, name in verovio_fonts.smufl_names().items()}


def write_text_font(path: pathlib.Path) -> pathlib.Path:
  """Writes a bold text font."""
  source = io.BytesIO(base64.b64decode(text_fonts._built_in()[1]))
  font = TTFont(source)
  font.flavor = None  # not compressed
  font.save(path)
  return path


def lilypond_rows() -> list[dict[str, str]]:
  """Rows of the table of LilyPond's names."""
  path = pathlib.Path(font_files.__file__).parent / "lilypond_glyphs.csv"
  return list(csv.DictReader(path.read_text().splitlines()))


def write(
  path: pathlib.Path,
  codes,
  *,
  lilypond: bool = False,
  scale: tuple[float, float] = (1.0, 1.0),
  flavor: str | None = None,
) -> pathlib.Path:
  """Writes an OpenType font of some symbols.

  Args:
    lilypond: with the names and places of LilyPond, whose code points mean
      other symbols.
    scale: width and height of all symbols.
    flavor: "woff" or "woff2".
  """
  font = verovio_fonts.read(_OUTLINES)
  names = {code: f"uni{code:04X}" for code in codes}
  moves = dict.fromkeys(codes, (0.0, 0.0))
  if lilypond:
    rows = {CODES[row["smufl"]]: row for row in lilypond_rows()}
    names = {code: rows[code]["lilypond"] for code in codes if code in rows}
    moves = {code: _move(font, code, rows[code]["place"]) for code in names}
  charstrings, widths = {}, {}
  for code, name in names.items():
    metrics = font.metrics(code)
    if metrics is None:
      continue
    widths[name] = (round(2 * scale[0] * metrics.advance), 0)
    pen = T2CharStringPen(widths[name][0], None)
    wide, high = (2 * s for s in scale)
    dx, dy = moves[code]
    move = TransformPen(pen, (wide, 0, 0, high, wide * dx, high * dy))
    replayRecording(outlines.commands(font.path(code)), move)
    charstrings[name] = pen.getCharString()
  order = [".notdef", *charstrings]
  charstrings[".notdef"], widths[".notdef"] = (
    T2CharStringPen(0, None).getCharString(),
    (0, 0),
  )
  cmap = {code: name for code, name in names.items() if name in charstrings}
  if lilypond:
    first, *others = cmap.values()
    cmap = dict(zip(cmap, [*others, first], strict=True))
  build = FontBuilder(UNITS, isTTF=False)
  build.setupGlyphOrder(order)
  build.setupCharacterMap(cmap)
  build.setupCFF("Test", {}, charstrings, {})
  build.setupHorizontalMetrics(widths)
  build.setupHorizontalHeader()
  build.setupNameTable({"familyName": "Test"})
  build.setupOS2()
  build.setupPost()
  build.font.flavor = flavor
  build.save(path)
  return path


def _move(font, code: int, place: str) -> tuple[float, float]:
  """To where LilyPond has a symbol."""
  metrics = font.metrics(code)
  if metrics is None or place == "origin":
    return 0.0, 0.0
  x0, y0, x1, y1 = metrics.bounds
  dy = {"bottom": -(y0 + y1) / 2, "top": -(y0 + y1) / 2, "middle": -y0}
  return -(x0 + x1) / 2, dy.get(place, 0.0)
