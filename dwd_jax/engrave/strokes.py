"""Classes that are no glyphs: strokes, spans, brackets and barlines."""

import math
from collections.abc import Iterator

from dwd_jax.engrave.verovio_svg import (
  BEAMS,
  UNITS_PER_SPACE,
  Group,
  Mark,
  Page,
)

# Groups whose marks are one symbol together.
_WHOLE = {
  "slur": "slur",
  "tie": "tie",
  "lv": "tie",  # a tie to nowhere
  "octave": "ottavaBracket",
  "tupletBracket": "tupletBracket",
  "multiRestNum": "restHNr",
}
_JOIN_SPACES = 0.2  # between the ends of bars that form one beam
_STEM_WIDTH = 0.4  # staff spaces; the slash of a grace note is wider
_TAB_CLEFS = {0xE06D, 0xE06E}
# By the form that the score gives them; others have no class.
_BARLINES = {
  "single": "barlineSingle",
  "dbl": "barlineDouble",
  "end": "barlineFinal",
  "rptstart": "repeatLeft",
  "rptend": "repeatRight",
  "rptboth": "repeatRightLeft",
}


class Strokes:
  """Finds the strokes of one page; `tablature` has the groups of its staves."""

  def __init__(self, page: Page):
    self.page = page
    self._known_lines: dict[int, list[Mark]] = {}
    self.tablature = self._find_tablature()

  def objects(self, group: Group) -> Iterator[tuple[str, list[Mark]]]:
    """The symbols directly in one group, as (class name, marks); no staves."""
    marks = [self.page.marks[i] for i in group.marks]
    if not marks:
      return
    if group.cls in _WHOLE:
      yield _WHOLE[group.cls], marks
    elif group.cls == "ledgerLines":
      yield from (("legerLine", [m]) for m in marks if m.tag == "path")
    elif group.cls in BEAMS:
      bars = [m for m in marks if m.tag == "polygon"]
      yield from (("beam", bar) for bar in self._joined(bars))
    elif group.cls in ("barLine", "system"):
      yield from self._barlines(group, marks)
    elif group.cls == "pedal":
      line = [m for m in marks if m.tag == "rect"]
      if line:
        yield "keyboardPedalLine", line
    elif group.cls == "hairpin":
      yield self._hairpin(marks), marks
    elif group.cls == "stem":
      for mark in marks:
        width = (mark.bounds[2] - mark.bounds[0]) / UNITS_PER_SPACE
        if mark.tag == "path" and width < _STEM_WIDTH:
          yield "stem", [mark]

  def staves(self) -> Iterator[tuple[str, list[Mark]]]:
    """One symbol per staff of a system, as ("staff", lines).

    Verovio draws the lines measure by measure. An ossia ends where its lines
    end; tablature is no staff.
    """
    found: dict[tuple[int, int], list[list[Mark]]] = {}
    for index, group in enumerate(self.page.groups):
      lines = self._lines(index) if group.cls == "staff" else []
      if lines and index not in self.tablature:
        found.setdefault(self._row(index), []).append(lines)
    for pieces in found.values():
      whole: list[Mark] = []
      for lines in sorted(pieces, key=lambda lines: lines[0].bounds[0]):
        end = max((m.bounds[2] for m in whole), default=math.inf)
        if lines[0].bounds[0] > end + UNITS_PER_SPACE:
          yield "staff", whole
          whole = []
        whole = whole + lines
      yield "staff", whole

  def has_spaces(self) -> bool:
    """Whether a staff has more than one line, as all but some percussion.

    Tablature, whose lines are farther apart, does not count.
    """
    return any(
      group.cls == "staff"
      and index not in self.tablature
      and len(self._lines(index)) > 1
      for index, group in enumerate(self.page.groups)
    )

  def size(self, mark: Mark) -> float:
    """Size of the staff that a mark is drawn on, 1 = full."""
    lines = self._lines(self._staff(mark))
    if len(lines) < 2:
      return 1.0
    height = _middle(lines[-1]) - _middle(lines[0])
    return height / (len(lines) - 1) / UNITS_PER_SPACE

  def in_tablature(self, index: int) -> bool:
    """Whether a group is part of a tablature staff."""
    while index >= 0 and self.tablature:
      if index in self.tablature:
        return True
      index = self.page.groups[index].parent
    return False

  def on_tablature(self, mark: Mark) -> bool:
    """Whether a mark of a barline, such as a repeat dot, is on tablature."""
    parent = self.page.groups[mark.group].parent
    for index in self.tablature:
      if self.page.groups[index].parent == parent:
        lines = self._lines(index)
        if _middle(lines[0]) < _middle(mark) < _middle(lines[-1]):
          return True
    return False

  def place(self, mark: Mark) -> tuple[int | None, bool]:
    """Where a notehead is on its staff.

    A note may be written in one staff and drawn in the one that its note or
    chord names.

    Returns:
      Steps of half a staff space from the middle line upwards, and whether it
      is on a staff or ledger line, not between two. (None, True) if the staff
      has no lines.
    """
    lines = self._lines(self._staff(mark))
    if not lines:
      return None, True
    top, bottom = _middle(lines[0]), _middle(lines[-1])
    space = (bottom - top) / (len(lines) - 1) if len(lines) > 1 else 0.0
    step = round((mark.matrix[5] - top) / ((space or UNITS_PER_SPACE) / 2))
    return len(lines) - 1 - step, step % 2 == 0

  def _find_tablature(self) -> frozenset[int]:
    """The groups of the staves of tablature, in all their measures.

    They have a clef of their own at the beginning of a system, and digits in
    groups of their own.
    """
    rows = set()
    for group in self.page.groups:
      codes = (self.page.marks[i].code for i in group.marks)
      if group.cls == "tabGrp" or (
        group.cls == "clef" and any(code in _TAB_CLEFS for code in codes)
      ):
        rows.add(self._row(self._above(group, "staff")))
    return frozenset(
      index
      for index, group in enumerate(self.page.groups)
      if rows and group.cls == "staff" and self._row(index) in rows
    )

  def _row(self, index: int) -> tuple[int, int]:
    """What the pieces of one staff of a system share; index -1 = no staff."""
    lines = self._lines(index) if index >= 0 else []
    system = self._above(self.page.groups[max(index, 0)], "system")
    return system, round(_middle(lines[0])) if lines else -1

  def _staff(self, mark: Mark) -> int:
    """The group of the staff, in its measure, in which a mark is drawn."""
    index = mark.group
    group = self.page.groups[mark.group]
    number = ""
    while group.cls != "staff" and group.parent >= 0:
      number = number or group.data.get("staff", "")
      index, group = group.parent, self.page.groups[group.parent]
    if number and group.cls == "staff":
      index = self._neighbour(index, number)
    return index

  def _neighbour(self, index: int, number: str) -> int:
    """The staff of that number beside another; the other if there is none."""
    parent = self.page.groups[index].parent
    found = (
      other
      for other, group in enumerate(self.page.groups)
      if group.cls == "staff"
      and group.parent == parent
      and group.data.get("n") == number
    )
    return next(found, index)

  def _lines(self, index: int) -> list[Mark]:
    """The lines of one measure of a staff, from top to bottom."""
    if index not in self._known_lines:
      marks = [self.page.marks[i] for i in self.page.groups[index].marks]
      lines = sorted((m for m in marks if m.tag == "path"), key=_middle)
      self._known_lines[index] = lines
    return self._known_lines[index]

  def _above(self, group: Group, cls: str) -> int:
    """The index of the nearest group of a class around a group, or -1."""
    index = group.parent
    while index >= 0 and self.page.groups[index].cls != cls:
      index = self.page.groups[index].parent
    return index

  def _joined(self, bars: list[Mark]) -> list[list[Mark]]:
    """Joins bars that continue where another ends into one beam.

    Verovio draws all but the first beam of a group from note to note.
    """
    beams: list[tuple[list[Mark], list[tuple[float, float]]]] = []
    corners = [(sorted(self.page.points(bar)), bar) for bar in bars]
    for points, bar in sorted(corners, key=lambda item: item[0]):
      left, right = sorted(points[:2], key=_y), sorted(points[-2:], key=_y)
      for beam, end in beams:
        if max(map(math.dist, left, end)) < _JOIN_SPACES * UNITS_PER_SPACE:
          beam.append(bar)
          end[:] = right
          break
      else:
        beams.append(([bar], right))
    return [beam for beam, _ in beams]

  def _barlines(
    self, group: Group, marks: list[Mark]
  ) -> Iterator[tuple[str, list[Mark]]]:
    """Barlines of one place, of a staff each or through several.

    A system begins with a line, too.
    """
    name = _BARLINES.get(group.data.get("form", "single"), "")
    # Verovio draws a line from staff to staff.
    parts: list[list[Mark]] = []
    bottom = -math.inf
    for line in sorted(marks, key=lambda m: m.bounds[1]):
      if not name or line.tag != "path":
        continue
      if line.bounds[1] > bottom + 1:
        parts.append([])
      parts[-1].append(line)
      bottom = max(bottom, line.bounds[3])
    yield from ((name, part) for part in parts)

  def _hairpin(self, marks: list[Mark]) -> str:
    """Class by direction; parts of a hairpin have two lines and no corner."""
    points = [p for m in marks for p in self.page.points(m)]
    left = min(x for x, _ in points)
    right = max(x for x, _ in points)
    spread = [0.0, 0.0]
    for side, end in enumerate((left, right)):
      ys = [y for x, y in points if abs(x - end) < 1]
      spread[side] = max(ys) - min(ys)
    opening = spread[0] < spread[1]
    return f"dynamic{'Crescendo' if opening else 'Diminuendo'}Hairpin"


def _y(point: tuple[float, float]) -> float:
  return point[1]


def _middle(mark: Mark) -> float:
  """The height of a line."""
  return (mark.bounds[1] + mark.bounds[3]) / 2
