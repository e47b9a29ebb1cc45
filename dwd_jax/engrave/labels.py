"""Marks of an engraved page -> labelled boxes.

The names follow DeepScores; what a vocabulary does not list gets no box.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dwd_jax.engrave import clefs, outlines
from dwd_jax.engrave.outlines import Bounds
from dwd_jax.engrave.smufl_classes import Vocabulary
from dwd_jax.engrave.strokes import Strokes
from dwd_jax.engrave.verovio_svg import UNITS_PER_SPACE, Group, Mark, Page


class Found(NamedTuple):
  """A symbol: class name, bounds in page units, what it is drawn with."""

  name: str
  bounds: Bounds
  marks: tuple[Mark, ...]


# A glyph of full size has 4 staff spaces to the em. Grace and cue notes are
# at 0.75, clef changes without a glyph of their own at 0.66 of that.
_FULL_SCALE = UNITS_PER_SPACE * 4 / 1000
_SMALL_BELOW = 0.9
_NOT_SYMBOLS = {"multiRestNum", "ending", "tempo", "dir", "harm", "metaMark"}
_TWO_DIGITS: dict[tuple[int, ...], str] = {
  (0xE081, 0xE082): "timeSig12",
  (0xE081, 0xE086): "timeSig16",
}


def page_objects(page: Page, vocabulary: Vocabulary) -> list[Found]:
  """Finds the symbols of a page.

  Args:
    page: the measured page.
    vocabulary: the classes to look for.

  Returns:
    Symbols in drawing order, compound symbols after the parts that are classes
    of their own, staves at the end. What two voices share (a notehead, a dot)
    is drawn twice, and is one symbol.

  Reference:
    Differs from DeepScores: flats are boxed whole, not their left half.
  """
  finder = _Finder(page, vocabulary)
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

  def __init__(self, page: Page, vocabulary: Vocabulary):
    self.page = page
    self.names = vocabulary.glyphs
    self.known = vocabulary.known
    self.strokes = Strokes(page) if "stem" in self.known else None
    self.children: list[list[int]] = [[] for _ in page.groups]
    for index, group in enumerate(page.groups[1:], 1):
      self.children[group.parent].append(index)

  def objects(self, index: int, group: Group) -> Iterator[Found]:
    """The symbols directly in one group."""
    if self.strokes is not None:
      for name, parts in self.strokes.objects(group):
        yield _found(name, parts)
    marks = [self.page.marks[i] for i in group.marks]
    if group.cls == "grpSym":
      yield from self._brace(marks)
    elif group.cls == "meterSig":
      yield from self._meter(marks)
    elif group.cls == "multiRest":
      yield from self._multi_rest(marks)
    elif group.cls == "clef":
      for mark in marks:
        for name, bounds in clefs.objects(self.page, group, mark, self.names):
          yield Found(name, bounds, (mark,))
    elif group.cls == "dots":
      for mark in marks:
        yield _found("augmentationDot", [mark])
    elif group.cls == "arpeg":
      if marks:
        yield _found("arpeggiato", marks)
    elif group.cls == "fing":
      for mark in marks:
        yield _found(f"fingering{mark.text.strip()}", [mark])
    elif group.cls == "tupletNum" and len(marks) != 1:
      if "tuplet1" in self.known:  # else, 12 is not a 1 and a 2
        for mark in marks:
          yield from self._glyph(group, mark)
    elif group.cls not in _NOT_SYMBOLS:
      for mark in marks:
        yield from self._glyph(group, mark)
      if group.cls in ("note", "chord") and "grace" in group.data:
        yield from self._grace(index, group)

  def staves(self) -> Iterator[Found]:
    """The staves, where they are a class."""
    if self.strokes is not None:
      for name, lines in self.strokes.staves():
        yield _found(name, lines)

  def _glyph(self, group: Group, mark: Mark) -> Iterator[Found]:
    """A glyph that is a symbol by itself."""
    name = self.names.get(mark.code)
    if name is None or name.startswith("timeSig"):
      return
    if name.startswith("notehead") and self.strokes is not None:
      name += "OnLine" if self.strokes.is_on_line(mark) else "InSpace"
    if group.cls == "keyAccid":
      name = name.replace("accidental", "key")
    elif is_small(mark) and name.startswith(("note", "flag", "accidental")):
      name += "Small"
    yield _found(name, [mark])

  def _brace(self, marks: list[Mark]) -> Iterator[Found]:
    """A brace is a glyph or two curved shapes; brackets are straight."""
    curved = [m for m in marks if m.tag == "path" or m.code == 0xE000]
    if curved and len(curved) == len(marks):
      yield _found("brace", curved)

  def _meter(self, marks: list[Mark]) -> Iterator[Found]:
    """Digits one by one, but 12 and 16 as one symbol where it is a class."""
    rows: dict[int, list[Mark]] = {}
    for mark in marks:
      rows.setdefault(round(mark.matrix[5]), []).append(mark)
    for row in rows.values():
      two = _TWO_DIGITS.get(tuple(mark.code for mark in row), "")
      if two in self.known:
        yield _found(two, row)
        continue
      for mark in row:
        if mark.code in self.names:
          yield _found(self.names[mark.code], [mark])

  def _multi_rest(self, marks: list[Mark]) -> Iterator[Found]:
    bars = [m for m in marks if m.tag == "rect"]
    if bars:
      yield _found("restHBar", bars)
    for mark in marks:
      if mark.code in self.names:
        yield _found(self.names[mark.code], [mark])

  def _grace(self, index: int, group: Group) -> Iterator[Found]:
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
      yield _found(f"graceNote{kind}Stem{direction}", parts)


def is_small(mark: Mark) -> bool:
  """Whether a glyph is of grace or cue size."""
  return mark.scale < _SMALL_BELOW * _FULL_SCALE


def _found(name: str, marks: Sequence[Mark]) -> Found:
  return Found(name, outlines.union(m.bounds for m in marks), tuple(marks))
