"""Marks of an engraved page -> labelled boxes.

The names follow DeepScores; what a vocabulary does not list gets no box.
"""

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from dwd_jax.core import compounds
from dwd_jax.core.compounds import Character
from dwd_jax.engrave import music_fonts, outlines, verovio_svg
from dwd_jax.engrave.corners import Corners, Outlines
from dwd_jax.engrave.outlines import Bounds
from dwd_jax.engrave.smufl_classes import Vocabulary
from dwd_jax.engrave.strokes import Strokes
from dwd_jax.engrave.verovio_svg import UNITS_PER_SPACE, Group, Mark, Page

# A glyph of full size has 4 staff spaces to the em. Grace and cue notes are
# at 0.75 of it, clef changes without a glyph of their own at 0.66.
_FULL_SCALE = UNITS_PER_SPACE * 4 / 1000
_SMALL_BELOW = 0.9
_NOT_SYMBOLS = {"multiRestNum", "ending", "tempo", "dir", "harm", "metaMark"}
_TWO_DIGITS: dict[tuple[int, ...], str] = {
  (0xE081, 0xE082): "timeSig12",
  (0xE081, 0xE086): "timeSig16",
}

_NAME_OF_WORD = {word: name for name, word in compounds.WHOLES.items()}
_LETTERS = {code: letter for letter, code in music_fonts.LETTERS.items()}
# What several letters draw without a class of its own.
_WORDS = {
  code: word
  for code, word in music_fonts.DYNAMICS.items()
  if word not in _NAME_OF_WORD
}
_C_CLEF, _C_CLEF_CHANGE = 0xE05C, 0xE07B
_NAMES_BY_LINE = {3: "cClefAlto", 4: "cClefTenor"}


class Found(NamedTuple):
  """A symbol.

  Attributes:
    name: of its class.
    bounds: in page units.
    marks: what draws it.
    corners: of its oriented box, (x, y) in page units.
    position: place of a notehead on its staff, in steps from the middle line
      upwards; None = not known, or no notehead.
    onset: begin of a note or a rest in quarter notes; None = not known.
  """

  name: str
  bounds: Bounds
  marks: tuple[Mark, ...]
  corners: Corners
  position: int | None = None
  onset: float | None = None


def page_objects(
  page: Page,
  vocabulary: Vocabulary,
  onsets: Mapping[str, float] | None = None,
  strokes: Strokes | None = None,
) -> list[Found]:
  """Finds the symbols of a page.

  Args:
    onsets: begin of notes and rests by their ids, in quarter notes.
    strokes: of the page, if known.

  Returns:
    Symbols in drawing order, compound symbols after those of their parts that
    are classes, staves at the end. What two voices share (a notehead, a dot)
    is drawn twice but is one symbol.

  Reference:
    Differs from DeepScores: flats are boxed whole, not their left half.
  """
  finder = _Finder(page, vocabulary, onsets or {}, strokes or Strokes(page))
  found = []
  for index, group in enumerate(page.groups):
    found += finder.objects(index, group)
  found += finder.staves()
  once: dict[tuple, Found] = {}
  for item in found:
    name = vocabulary.label(item.name)
    if name:
      key = (name, *(round(v, 3) for v in item.bounds))
      once.setdefault(key, item._replace(name=name))
  return list(once.values())


class _Finder:
  """Looks symbols up, group by group."""

  def __init__(
    self,
    page: Page,
    vocabulary: Vocabulary,
    onsets: Mapping[str, float],
    strokes: Strokes,
  ):
    self.page = page
    self.names = vocabulary.glyphs
    self.known = vocabulary.known
    self.has_strokes = "stem" in self.known
    self.has_places = "noteheadBlackOnLine" in self.known
    self.strokes = strokes
    self.outlines = Outlines(page)
    self.onsets = onsets
    self.children = page.children()

  def objects(self, index: int, group: Group) -> Iterator[Found]:
    """The symbols directly in one group; there are none in tablature."""
    if self.strokes.in_tablature(index):
      return
    if self.has_strokes:
      for name, parts in self.strokes.objects(group):
        if name in self.known:
          yield self._found(name, parts)
    marks = [self.page.marks[i] for i in group.marks]
    if group.cls == "grpSym":
      yield from self._brace(marks)
    elif group.cls == "meterSig":
      yield from self._meter(marks)
    elif group.cls == "multiRest":
      yield from self._multi_rest(marks)
    elif group.cls == "clef":
      for mark in marks:
        for name, bounds in _clef_objects(self.page, group, mark, self.names):
          yield self._found(name, [mark], bounds)
    elif group.cls == "dots":
      for mark in marks:
        yield self._found("augmentationDot", [mark])
    elif group.cls == "arpeg":
      if marks:
        yield self._found("arpeggiato", marks)
    elif group.cls == "fing":
      for mark in marks:
        yield self._found(f"fingering{mark.text.strip()}", [mark])
    elif group.cls == "tupletNum" and len(marks) != 1:
      if "tuplet1" in self.known:  # otherwise 12 is not a 1 and a 2
        for mark in marks:
          yield from self._glyph(group, mark)
    elif (
      group.cls == "dynam" and "dynamicPP" in self.known and self.has_strokes
    ):
      yield from self._dynamic(group, marks)
    elif group.cls == "trill":
      yield from self._trill(group, marks)
    elif group.cls not in _NOT_SYMBOLS:
      for mark in marks:
        yield from self._glyph(group, mark)
      if group.cls in ("note", "chord") and "grace" in group.data:
        yield from self._grace(index)

  def staves(self) -> Iterator[Found]:
    """The staves, where they are a class."""
    if "staff" in self.known:
      for name, lines in self.strokes.staves():
        yield self._found(name, lines)

  def _glyph(self, group: Group, mark: Mark) -> Iterator[Found]:
    """A glyph that is a symbol by itself."""
    name = self.names.get(mark.code)
    if name is None or name.startswith("timeSig"):
      return
    if name == "repeatDot" and self.strokes.on_tablature(mark):
      return
    position, onset = None, None
    if name.startswith("notehead"):
      position, is_on_line = self.strokes.place(mark)
      if self.has_places:
        name += "OnLine" if is_on_line else "InSpace"
    if name.startswith(("notehead", "rest")):
      onset = self._onset(mark)
    if group.cls == "keyAccid":
      name = name.replace("accidental", "key")
    elif name.startswith(("note", "flag", "accidental")) and self._small(mark):
      name += "Small"
    found = self._found(name, [mark])
    yield found._replace(position=position, onset=onset)

  def _small(self, mark: Mark) -> bool:
    """Whether a glyph is of grace or cue size for its staff.

    Notes on a staff that is printed smaller are normal notes.
    """
    return mark.scale < _SMALL_BELOW * _FULL_SCALE * self.strokes.size(mark)

  def _brace(self, marks: list[Mark]) -> Iterator[Found]:
    """A brace is a glyph or two curved shapes; brackets are straight."""
    curved = [m for m in marks if m.tag == "path" or m.code == 0xE000]
    if curved and len(curved) == len(marks):
      yield self._found("brace", curved)

  def _meter(self, marks: list[Mark]) -> Iterator[Found]:
    """Single digits, but 12 and 16 as one symbol where that is a class."""
    rows: dict[int, list[Mark]] = {}
    for mark in marks:
      rows.setdefault(round(mark.matrix[5]), []).append(mark)
    for row in rows.values():
      two = _TWO_DIGITS.get(tuple(mark.code for mark in row), "")
      if two in self.known:
        yield self._found(two, row)
        continue
      for mark in row:
        if mark.code in self.names:
          yield self._found(self.names[mark.code], [mark])

  def _dynamic(self, group: Group, marks: list[Mark]) -> Iterator[Found]:
    """Letters as one symbol where that is a class, drawn together or not."""
    # Words stand between the signs of `p, then f`.
    for is_sign, items in itertools.groupby(marks, lambda mark: mark.code > 0):
      signs = list(items)
      word = "".join(_LETTERS.get(mark.code, " ") for mark in signs)
      if word in _NAME_OF_WORD:
        yield self._found(_NAME_OF_WORD[word], signs)
      elif is_sign:
        for mark in signs:
          if mark.code in _WORDS:
            yield from self._letters(mark)
          else:
            yield from self._glyph(group, mark)

  def _letters(self, mark: Mark) -> Iterator[Found]:
    """The letters of a glyph."""
    x0, y0, x1, y1 = mark.bounds
    word, sizes = _WORDS[mark.code], self._letter_sizes()
    places = compounds.split(word, y1 - y0, x1 - x0, sizes)
    places += np.array([y0, x0, y0, x0])
    for letter, (top, left, bottom, right) in zip(
      word, places.tolist(), strict=True
    ):
      name = self.names[music_fonts.LETTERS[letter]]
      yield self._found(name, [mark], (left, top, right, bottom))

  def _trill(self, group: Group, marks: list[Mark]) -> Iterator[Found]:
    """The sign, and its wavy line of many glyphs."""
    line = [m for m in marks if self.names.get(m.code) == "wiggleTrill"]
    for mark in marks:
      if mark not in line:
        yield from self._glyph(group, mark)
    if line:
      yield self._found("wiggleTrill", line)

  def _multi_rest(self, marks: list[Mark]) -> Iterator[Found]:
    bars = [m for m in marks if m.tag == "rect"]
    if bars:
      yield self._found("restHBar", bars)
    for mark in marks:
      if mark.code in self.names:
        yield self._found(self.names[mark.code], [mark])

  def _onset(self, mark: Mark) -> float | None:
    """The begin of the note or rest around a mark, if it is known."""
    index = mark.group
    while index >= 0:
      if self.page.groups[index].id in self.onsets:
        return self.onsets[self.page.groups[index].id]
      index = self.page.groups[index].parent
    return None

  def _letter_sizes(self) -> dict[str, Character]:
    """Measures of the letters of dynamics in the font of the page."""
    found = {}
    for code, letter in _LETTERS.items():
      music = self.page.music
      if path := music.path(code):
        x0, y0, x1, y1 = outlines.union(outlines.contours(path))
        advance = 1000 * music.advance(code) / music.scale(code)[0]
        found[letter] = Character(advance, x0, x1, y0, y1)
    return {**compounds.CHARACTERS, **found}

  def _found(
    self, name: str, marks: Sequence[Mark], bounds: Bounds | None = None
  ) -> Found:
    bounds = bounds or outlines.union(m.bounds for m in marks)
    corners = self.outlines.corners(marks, bounds)
    return Found(name, bounds, tuple(marks), corners)

  def _grace(self, index: int) -> Iterator[Found]:
    """One grace note with a flag: head, stem, flag and slash together."""
    parts: list[Mark] = []
    flags = []
    slash = False
    todo = [index]
    while todo:
      at = todo.pop()
      inside = self.page.groups[at]
      marks = [self.page.marks[i] for i in inside.marks]
      if inside.cls == "flag":
        flags += [m.code for m in marks]
      if inside.cls == "stem":
        slash = slash or len(marks) > 1
      if inside.cls in ("flag", "stem", "notehead"):
        parts += marks
      todo += self.children[at]
    if len(flags) == 1 and flags[0] in (0xE240, 0xE241):
      kind = "Acciaccatura" if slash else "Appoggiatura"
      direction = "Up" if flags[0] == 0xE240 else "Down"
      yield self._found(f"graceNote{kind}Stem{direction}", parts)


def _clef_objects(
  page: Page, group: Group, mark: Mark, names: Mapping[int, str]
) -> Iterator[tuple[str, Bounds]]:
  """The symbols of one clef glyph: the clef and its octave number.

  C clefs on other lines than 3 and 4 have no class.

  Args:
    page: the page, with the outlines of its glyphs.
    group: the clef's group, inside the group of its staff.

  Yields:
    (class name, bounds in page units).
  """
  code, number, _ = music_fonts.OCTAVES.get(mark.code, (mark.code, "", False))
  bounds = mark.bounds
  if number:
    clef = page.music.clef_of(mark.code)
    if clef:
      bounds = _place(outlines.union(outlines.contours(clef)), mark)
      octaves = _difference(page.glyphs[mark.code], clef)
      yield f"clef{number}", _place(octaves, mark)
  change = page.groups[group.parent].cls == "layer"
  if code in (_C_CLEF, _C_CLEF_CHANGE):
    name = _NAMES_BY_LINE.get(_line(page, group, mark), "")
    change = change or code == _C_CLEF_CHANGE
  else:
    name = names.get(code, "")
  if name and change and not name.endswith("Change"):
    name += "Change"
  if name:
    yield name, bounds


def _place(bounds: Bounds, mark: Mark) -> Bounds:
  """Font units, y up -> page."""
  x0, y0, x1, y1 = bounds
  return outlines.transform_bounds((x0, -y1, x1, -y0), mark.matrix)


def _line(page: Page, group: Group, mark: Mark) -> int:
  """The staff line a clef sits on, 1 = lowest; 0 if there is no staff."""
  while group.cls != "staff":
    if group.parent < 0:
      return 0
    group = page.groups[group.parent]
  lines = [page.marks[i] for i in group.marks]
  ys = sorted((m.bounds[1] + m.bounds[3]) / 2 for m in lines if m.code == 0)
  if not ys:
    return 0
  nearest = np.argmin([abs(y - mark.matrix[5]) for y in ys])
  return len(ys) - int(nearest)


@functools.lru_cache(maxsize=64)
def _difference(whole: str, part: str) -> Bounds:
  """Bounds of what one outline has and another has not, in font units.

  The fonts merge the number into the clef's outline, so contours do not tell
  them apart; pixels do.
  """
  x0, y0, x1, y1 = outlines.union(outlines.contours(whole))
  width, height = round(x1 - x0) + 1, round(y1 - y0) + 1

  def draw(d: str) -> np.ndarray:
    image = verovio_svg.render(
      '<svg xmlns="http://www.w3.org/2000/svg" '
      f'width="{width}" height="{height}">'
      f'<path transform="translate({-x0},{y1}) scale(1,-1)" d="{d}"/></svg>'
    )
    return verovio_svg.to_array(image)

  rest = ((draw(whole) < 128) & (draw(part) >= 128)).astype(np.uint8)
  # The clef itself may differ by a few units, less than any stroke.
  rest = cv2.morphologyEx(rest, cv2.MORPH_OPEN, np.ones((9, 9), np.uint8))
  rows, columns = np.nonzero(rest.any(1))[0], np.nonzero(rest.any(0))[0]
  if not len(rows):
    return x0, y0, x1, y1
  return (
    x0 + columns[0],
    y1 - rows[-1] - 1,
    x0 + columns[-1] + 1,
    y1 - rows[0],
  )
