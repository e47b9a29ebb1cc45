"""Words, and the symbols that a layout lacks, drawn with cut ones.

Verovio writes no glissandos, signs of single instruments or scribbles. They are
placed where there is room, as far from their staff as they were cut, about as
often as on the pages that they come from, rare ones more often.
"""

from typing import NamedTuple

import numpy as np

from dwd_jax.engrave import hand_canvas
from dwd_jax.engrave.hand_canvas import Canvas
from dwd_jax.engrave.hands import Hands, Symbol

# Parts of notes, staves and systems; without these around them they are none.
_OF_LAYOUT = frozenset({
  "stem", "beam", "legerLine", "noteheadFull", "noteheadHalf",
  "noteheadFullSmall", "noteheadWhole", "augmentationDot", "accidentalFlat",
  "accidentalNatural", "accidentalSharp", "accidentalDoubleSharp",
  "flag8thUp", "flag8thDown", "flag16thUp", "flag16thDown", "barline",
  "barlineHeavy", "measureSeparator", "keySignature", "timeSignature",
  "timeSigCommon", "brace", "bracket", "slur", "tie", "repeatDot",
  "graceNoteAcciaccatura", "tupleBracket",
})  # fmt: skip
# Classes below this number a page are drawn more often: the square root of
# their share of it.
_RARE = 0.3
_MOST = 6  # of a class on a page
_FROM_ALL = 0.3  # of them from any writer, for the rarest symbols
_PLACES = 10  # that are tried for a symbol
_ROOM = 0.02  # share of ink where there is room
_WORDS_FROM_LETTERS = 0.4
_CHARACTERS = {".": "characterDot"} | {
  c: f"character{'Capital' if c.isupper() else 'Small'}{c.upper()}"
  for c in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
}
_LETTERS = ("character", "dynamicLetter")  # how names of letters begin
_DESCENDING = frozenset("gjpqy")
_BASELINE = {"f": 0.75, **dict.fromkeys(_DESCENDING, 0.65)}  # share of height
_GAP = 0.12  # staff spaces between letters


class StaffRow(NamedTuple):
  """A staff of a system: its middle line and its ends, px."""

  middle_y: float
  x0: float
  x1: float


def add(
  canvas: Canvas,
  hands: Hands,
  writer: int,
  rng: np.random.Generator,
  space: float,
  rows: list[StaffRow],
) -> None:
  """Adds what a page lacks of its classes.

  Args:
    writer: of the page.
    space: of its staves, px.
  """
  if not rows:
    return
  counts: dict[str, int] = {}
  for item in canvas.drawn:
    counts[item.name] = counts.get(item.name, 0) + 1
  for name in hands.names:
    if name in _OF_LAYOUT:
      continue
    # Letters are parts of words, but for some.
    is_letter = name.startswith(_LETTERS)
    rates = hands.rates_alone if is_letter else hands.rates
    rate = rates.get(name, 0.0)
    wanted = np.sqrt(rate * _RARE) if rate < _RARE else rate
    missing = rng.poisson(wanted)
    if not is_letter:
      missing -= counts.get(name, 0)
    for _ in range(min(missing, _MOST)):
      found = hands.any_rows(name)
      if rng.random() >= _FROM_ALL:
        found = hands.rows_of(name, writer)
      found = hands.alone(found) if is_letter else found
      if not found:
        continue
      symbol = hands.pick_rare(found, rng)
      _place(canvas, symbol, rng, space, rows)


def _place(
  canvas: Canvas,
  symbol: Symbol,
  rng: np.random.Generator,
  space: float,
  rows: list[StaffRow],
) -> None:
  """Draws a symbol where there is room, or nowhere."""
  scale = space / symbol.staff_space
  high, wide = np.array(symbol.mask.shape) * scale
  for _ in range(_PLACES):
    row = rows[int(rng.integers(len(rows)))]
    x = rng.uniform(row.x0, max(row.x1 - wide, row.x0 + 1))
    y = row.middle_y - symbol.middle_y * scale
    if canvas.crowded(y, x, y + high, x + wide) <= _ROOM:
      matrix = hand_canvas.scaled((scale, scale), (0, 0), (x, y))
      canvas.paste(symbol, matrix)
      return


def write(
  canvas: Canvas,
  hands: Hands,
  writer: int,
  rng: np.random.Generator,
  space: float,
  name: str,
  text: str,
  at: tuple[float, float],
) -> None:
  """Writes words.

  Args:
    name: class of the whole.
    text: the words; where the hands lack one of their letters, or by chance,
      other words are taken as they were written.
    at: left end and middle of the line (x, y), px.
  """
  # One or two words, as on the pages; longer ones run into the music.
  text = " ".join(text.split()[:2])
  letters = _letters(hands, writer, rng, text)
  if letters and rng.random() < _WORDS_FROM_LETTERS:
    _spell(canvas, letters, space, name, at)
    return
  if rows := hands.rows_of(name, writer):
    symbol = hands.pick_rare(rows, rng)
    scale = space / symbol.staff_space
    middle = symbol.mask.shape[0] / 2
    canvas.paste(symbol, hand_canvas.scaled((scale, scale), (0, middle), at))


def _letters(
  hands: Hands, writer: int, rng: np.random.Generator, text: str
) -> list[tuple[str, Symbol | None]]:
  """A symbol for each character, None for spaces; [] if one is missing."""
  found: list[tuple[str, Symbol | None]] = []
  for character in text:
    symbol = None
    if character != " ":
      name = _CHARACTERS.get(character, "")
      symbol = hands.pick(name, writer, rng)
      if symbol is None:
        return []
    found.append((character, symbol))
  return found


def _spell(
  canvas: Canvas,
  letters: list[tuple[str, Symbol | None]],
  space: float,
  name: str,
  at: tuple[float, float],
) -> None:
  """Sets letters on a line."""
  x, y = at[0], at[1] + 0.5 * space
  boxes = []
  for character, symbol in letters:
    if symbol is None:
      x += 0.7 * space
      continue
    scale = space / symbol.staff_space
    base = _BASELINE.get(character, 1.0) * symbol.mask.shape[0]
    box = canvas.paste(
      symbol, hand_canvas.scaled((scale, scale), (0, base), (x, y))
    )
    if box is not None:
      boxes.append(box)
      x = box[3] + _GAP * space
  canvas.box(name, boxes)
