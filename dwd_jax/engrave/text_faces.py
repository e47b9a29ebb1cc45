"""Which face each kind of text on a page is set in.

A printer has a few families of type, and uses them condensed, spaced, slanted
and fat. `Faces` draws them for a score: one family for most of its texts,
others for some kinds, and maybe digits of a text face for tuplets and meters.
"""

import dataclasses
import random
import re
from collections.abc import Sequence
from typing import NamedTuple

from fontTools.pens.boundsPen import BoundsPen
from fontTools.pens.svgPathPen import SVGPathPen
from fontTools.pens.transformPen import TransformPen

from dwd_jax.engrave import outlines, text_fonts
from dwd_jax.engrave.text_fonts import BUILT_IN, TextFont

# Kinds of text by the class of verovio's group, and their chance to have a
# family, weight and slope that differ from the others.
_KINDS = {
  "pgHead": 0.5,
  "tempo": 0.2,
  "dir": 0.1,
  "dynam": 0.1,
  "harm": 0.6,
  "verse": 0.2,
  "reh": 0.4,
  "fing": 0.7,
  "mNum": 0.4,
  "label": 0.2,
  "ending": 0.2,
  "margin": 0.3,  # what verovio does not lay out
}
_DIGITS = {"fing", "mNum", "ending"}  # of which a face needs no punctuation
_ACCENTED = {"pgHead", "verse", "margin"}
# As verovio's style sheet has them.
_BOLD = {"ending", "fing", "reh", "tempo"}
_ITALIC = {"dir", "dynam", "mNum"}
_UPRIGHT_BOLD, _PLAIN, _SLANTED = (True, False), (False, False), (False, True)
_STYLES = {
  "fing": (_UPRIGHT_BOLD, _UPRIGHT_BOLD, _PLAIN, _PLAIN, _SLANTED,
           (True, True)),
  "mNum": (_PLAIN, _UPRIGHT_BOLD, _SLANTED),
  "tempo": (_PLAIN, _SLANTED, _UPRIGHT_BOLD),
  "dir": (_PLAIN, _SLANTED),
  "reh": (_PLAIN, _UPRIGHT_BOLD),
  "verse": (_PLAIN, _SLANTED),
  "harm": (_PLAIN, _UPRIGHT_BOLD, _SLANTED),
}  # fmt: skip
_FREE_WIDTH = {"pgHead", "margin"}  # nothing stands beside them
_SANS = re.compile("sans|cmss|gothic|helvet|arial", re.IGNORECASE)
_MONO = re.compile("mono|cmtt|typewriter|courier", re.IGNORECASE)
_SLANT = 0.21  # of a face whose family has no italic
_FAT = 0.035  # stroke around one whose family has no bold, in em
_TUPLETS, _METERS = range(0xE880, 0xE88A), range(0xE080, 0xE08A)


class Face(NamedTuple):
  """How characters of a font are drawn.

  Attributes:
    file: see `TextFont`.
    slant: shift to the right per height.
    fat: width of a stroke around the outlines, in em.
    width: of the characters, as a share of the font's.
    tracking: space between characters, in em.
    size: factor of the size that verovio asks for.
  """

  file: str
  slant: float = 0.0
  fat: float = 0.0
  width: float = 1.0
  tracking: float = 0.0
  size: float = 1.0


def plain(bold: bool, italic: bool) -> Face:
  """The face that verovio lays texts out with."""
  return Face(BUILT_IN[bold + 2 * italic].file)


@dataclasses.dataclass(frozen=True)
class _Type:
  """A family as one kind of text uses it."""

  family: tuple[TextFont, ...]
  style: tuple[bool, bool] | None  # bold, italic; None = as verovio has it
  fat: float = 0.0
  width: float = 1.0
  tracking: float = 0.0
  size: float = 1.0

  def face(self, bold: bool, italic: bool) -> Face:
    """The face of a weight and slope, made from another one if need be."""

    def misses(font: TextFont) -> int:
      return 2 * (font.italic != italic) + (font.bold != bold)

    font = min(self.family, key=misses)
    return Face(
      font.file,
      slant=_SLANT if italic and not font.italic else 0.0,
      fat=self.fat + (_FAT if bold and not font.bold else 0.0),
      width=self.width,
      tracking=self.tracking,
      size=self.size,
    )


class Faces:
  """The faces of one score; without fonts, those of verovio's layout."""

  def __init__(
    self,
    rng: random.Random | None = None,
    fonts: Sequence[TextFont] = (),
  ):
    """Draws the faces.

    Args:
      fonts: to choose from; none, and no `rng`, leave all as it is.
    """
    self._types: dict[str, _Type] = {}
    # By the first code: font, width, size.
    self._digits: dict[int, tuple[TextFont, float, float]] = {}
    if rng is None or not fonts:
      return
    families = text_fonts.families(fonts)
    texts = [f for f in families if all(font.has_text for font in f)]
    accented = [f for f in texts if all(font.has_accents for font in f)]
    common, letters = _draw_type(rng, texts), _draw_type(rng, accented)
    for kind, chance in _KINDS.items():
      new = letters if kind in _ACCENTED else common
      if rng.random() < chance:
        among = families if kind in _DIGITS else texts
        new = _draw_type(rng, accented if kind in _ACCENTED else among)
      size = rng.uniform(0.85, 1.15)
      style = rng.choice(_STYLES[kind]) if kind in _STYLES else None
      if kind != "fing" and rng.random() < 0.6:
        style = None
      tracking = new.tracking if kind in _FREE_WIDTH else new.tracking / 3
      self._types[kind] = dataclasses.replace(
        new, size=size, style=style, tracking=tracking
      )
    for codes, chance in ((_TUPLETS, 0.45), (_METERS, 0.25)):
      if rng.random() < chance:
        font = rng.choice(rng.choice(families))
        # The lines of a meter meet, tuplets have room.
        size = rng.uniform(0.8, 1.2) if codes is _TUPLETS else 1.0
        self._digits[codes[0]] = font, rng.uniform(0.72, 1.0), size

  def style(self, classes: set[str]) -> tuple[bool, bool]:
    """Whether a text is bold and italic, if its own attributes do not say.

    Args:
      classes: of verovio's groups around it.
    """
    kind = _kind(classes)
    drawn = self._types[kind].style if kind in self._types else None
    if drawn is not None:
      return drawn
    bold = bool(classes & _BOLD) and "label" not in classes
    return bold, bool(classes & _ITALIC)

  def face(self, classes: set[str], bold: bool, italic: bool) -> Face:
    """The face of a text; `classes` as of `style`."""
    kind = _kind(classes)
    if kind not in self._types:
      return plain(bold, italic)
    return self._types[kind].face(bold, italic)

  def may_widen(self, classes: set[str]) -> bool:
    """Whether a text may be wider than verovio laid it out."""
    return bool(_FREE_WIDTH & classes)

  def digit(self, code: int, d: str) -> str:
    """The outline of a digit of a tuplet or meter in a text face.

    Args:
      code: of SMuFL.
      d: the music font's outline, 1000 units per em, y up.

    Returns:
      An outline in the place of the music font's, as high if it is of a meter
      and not wider; `d` if digits are the music font's, or it is of none.
    """
    for codes in (_TUPLETS, _METERS):
      if code in codes and codes[0] in self._digits and d:
        return _fitted(str(code - codes[0]), d, *self._digits[codes[0]])
    return d


def _kind(classes: set[str]) -> str:
  return next((kind for kind in _KINDS if kind in classes), "")


def _draw_type(
  rng: random.Random, families: Sequence[tuple[TextFont, ...]]
) -> _Type:
  """A family, and what a printer may do with it."""
  weights = [_weight(family[0].family) for family in families]
  family = rng.choices(families, weights)[0]
  width, tracking, fat = 1.0, 0.0, 0.0
  if rng.random() < 0.35:
    width = rng.uniform(0.72, 1.12)
  if rng.random() < 0.3:
    tracking = rng.uniform(-0.02, 0.2)
  if rng.random() < 0.2:
    fat = rng.uniform(0.01, 0.05)
  return _Type(family, None, fat=fat, width=width, tracking=tracking)


def _weight(family: str) -> float:
  if _MONO.search(family):
    return 0.3
  return 1.0 if _SANS.search(family) else 2.0


def _fitted(
  char: str, d: str, font: TextFont, width: float, size: float
) -> str:
  """A digit put where the outline `d` is; see `Faces.digit`."""
  loaded = text_fonts.load(font.file)
  glyph = loaded.glyphs[loaded.names[ord(char)]]
  pen = BoundsPen(loaded.glyphs)
  glyph.draw(pen)
  x0, y0, x1, y1 = pen.bounds or (0, 0, 1, 1)
  a0, b0, a1, b1 = outlines.union(outlines.contours(d))
  high = size * (b1 - b0) / (y1 - y0)
  # A one is narrow already, so that its height tells how wide digits are.
  widest = size * (a1 - a0) / (x1 - x0)
  wide = min(high * width, widest) if char != "1" else high
  svg = SVGPathPen(loaded.glyphs, ntos=lambda value: f"{value:.4g}")
  shift = (
    ((a0 + a1) - wide * (x0 + x1)) / 2,
    ((b0 + b1) - high * (y0 + y1)) / 2,
  )
  glyph.draw(TransformPen(svg, (wide, 0, 0, high, *shift)))
  return svg.getCommands()
