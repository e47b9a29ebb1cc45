"""Rhythm -> the MEI of one layer: pitches, chords, grace notes, signs."""

import dataclasses
import random

from dwd_jax.engrave.mei_rhythm import Node, Slot
from dwd_jax.engrave.rarities import Rarities

_LETTERS = "cdefgab"
# Clef -> (MEI attributes, diatonic number of the lowest line; 28 = C4).
CLEFS: dict[str, tuple[str, int]] = {
  "gClef": ('shape="G" line="2"', 30),
  "gClef_8vb": ('shape="G" line="2" dis="8" dis.place="below"', 23),
  "gClef_8va": ('shape="G" line="2" dis="8" dis.place="above"', 37),
  "gClef_15ma": ('shape="G" line="2" dis="15" dis.place="above"', 44),
  "gClef_15mb": ('shape="G" line="2" dis="15" dis.place="below"', 16),
  "fClef": ('shape="F" line="4"', 18),
  "fClef_8vb": ('shape="F" line="4" dis="8" dis.place="below"', 11),
  "cClefAlto": ('shape="C" line="3"', 24),
  "cClefTenor": ('shape="C" line="4"', 22),
  "perc": ('shape="perc"', 30),
  "tab": ('shape="TAB"', 30),
}
_ACCIDENTALS = {
  "accidentalFlat": "f", "accidentalNatural": "n", "accidentalSharp": "s",
  "accidentalDoubleSharp": "x", "accidentalDoubleFlat": "ff",
}  # fmt: skip
_ARTICULATIONS = {
  "articStaccato": "stacc", "articAccent": "acc", "articTenuto": "ten",
  "articStaccatissimo": "stacciss", "articMarcato": "marc",
  "stringsDownBow": "dnbow", "stringsUpBow": "upbow",
}  # fmt: skip


@dataclasses.dataclass
class Staff:
  """One staff of the score and the state of its melody.

  Attributes:
    number: from 1.
    clef: current key of CLEFS.
    clefs: keys it may change to.
    kind: voice, strings, keyboard, wind, percussion or tablature.
    position: of the last note, in half spaces above the lowest line.
    scale: size of the staff, 1 = full.
    lines: 5, 1 for some percussion, 4 or 6 for tablature.
    voices: 2 = there are always two.
    durations: whether tablature shows stems above its digits.
  """

  number: int
  clef: str
  clefs: tuple[str, ...]
  kind: str
  position: int = 4
  scale: float = 1.0
  lines: int = 5
  voices: int = 1
  durations: bool = False


@dataclasses.dataclass(frozen=True)
class Event:
  """A note, chord or rest that marks can be attached to.

  Attributes:
    ident: its xml:id.
    kind: note, chord or rest.
    ticks: length.
    start: ticks from the beginning of the measure.
    position: of the (upper) note; 4 = middle line.
  """

  ident: str
  kind: str
  ticks: int
  start: int
  position: int


class LayerWriter:
  """Writes one layer of one measure; `events` lists what marks attach to."""

  def __init__(
    self,
    rng: random.Random,
    weights: Rarities,
    staff: Staff,
    prefix: str,
    stems: str = "",
    cue: bool = False,
    chords: bool = False,
  ):
    """Prepares a layer.

    Args:
      staff: read, and its melody continued.
      prefix: of the ids; unique in the score.
      stems: "up" or "down" where two layers share the staff.
      chords: every note is a chord, often of thirds and seconds.
    """
    self.rng = rng
    self.weights = weights
    self.staff = staff
    self.prefix = prefix
    self.stems = f' stem.dir="{stems}"' if stems else ""
    self.low, self.high = {"up": (4, 12), "down": (-4, 4)}.get(stems, (-3, 11))
    self.cue = ' cue="true"' if cue else ""
    self.chords = chords
    self.events: list[Event] = []
    self.out: list[str] = []
    self.at = 0.0

  def write(self, nodes: list[Node], clef: str = "") -> str:
    """The layer's MEI elements, with a change to `clef` on the way, if any."""
    change_at = self.rng.randrange(1, len(nodes)) if len(nodes) > 1 else -1
    for index, node in enumerate(nodes):
      if clef and index == change_at:
        self.out.append(f"<clef {CLEFS[clef][0]}/>")
        self.staff.clef = clef
      self._node(node, 1.0)
    return "".join(self.out)

  def _node(self, node: Node, factor: float) -> None:
    if isinstance(node, Slot):
      self._slot(node, factor)
      return
    if node.num:
      tag = f'tuplet num="{node.num}" numbase="{node.base}"'
      if self.rng.random() < 0.5:
        tag += ' bracket.visible="false"'
      factor *= node.base / node.num
    else:
      tag = "beam"
    self.out.append(f"<{tag}>")
    for child in node.nodes:
      self._node(child, factor)
    self.out.append(f"</{tag.split()[0]}>")

  def _slot(self, slot: Slot, factor: float) -> None:
    ticks = slot.ticks * factor
    ident = f"{self.prefix}{len(self.events)}"
    dots = ' dots="1"' if slot.dots else ""
    head = f'xml:id="{ident}" dur="{slot.dur}"{dots}'
    if slot.rest:
      kind, position = "rest", 4
      self.out.append(f"<rest {head}/>")
    else:
      kind, position = self._notes(slot, head)
    self.events.append(
      Event(ident, kind, round(ticks), round(self.at), position)
    )
    self.at += ticks

  def _notes(self, slot: Slot, head: str) -> tuple[str, int]:
    """Writes a note or a chord with its signs."""
    position = self._step()
    if not self.cue and not slot.beamed and self._happens("grace"):
      self._grace(position)
    chords = {"keyboard": "chord", "strings": "double_stop"}
    rate = chords.get(self.staff.kind)
    if self.chords or (rate and not self.cue and self._happens(rate)):
      return "chord", self._chord(slot, head, position)
    content = self._accidental(bool(self.cue)) + self._articulation()
    head += self._tremolo(slot)
    self.out.append(
      f"<note {head}{self._pitch(position)}{self.stems}{self.cue}>"
      f"{content}</note>"
    )
    return "note", position

  def _chord(self, slot: Slot, head: str, position: int) -> int:
    size = self.rng.choice((2, 2, 3, 3, 4))
    steps = (2, 2, 3, 3, 5, 1)
    if self.chords:
      size, steps = size + self.rng.randrange(2), (2, 2, 2, 3, 1)
    positions = [position]
    for _ in range(size - 1):
      positions.append(positions[-1] - self.rng.choice(steps))
    head += self._tremolo(slot)
    self.out.append(f"<chord {head}{self.stems}>{self._articulation()}")
    for p in positions:
      if p >= -6:
        sign = self._accidental() if self.rng.random() < 0.6 else ""
        self.out.append(f"<note{self._pitch(p)}>{sign}</note>")
    self.out.append("</chord>")
    return position

  def _grace(self, position: int) -> None:
    """One or several small notes before a note."""
    kind = self.weights.pick(self.rng, "grace")
    if kind == "grace_beam":
      self._grace_beam(position)
      return
    dur, slash = "8", ""
    if kind == "graceNoteAcciaccatura":
      slash = ' stem.mod="1slash"'
    elif kind == "grace_long":
      dur = self.rng.choice(
        ("4", "2", "2", "1", "1", "breve", "breve", "breve")
      )
    stems = self.stems or self.rng.choice(
      ("", ' stem.dir="down"', ' stem.dir="down"', ' stem.dir="up"')
    )
    near = position + self.rng.choice((-2, -1, 1, 2))
    self.out.append(
      f'<note grace="{"unacc" if slash else "acc"}" dur="{dur}"'
      f"{self._pitch(near)}{stems}{slash}>{self._accidental(True)}</note>"
    )

  def _grace_beam(self, position: int) -> None:
    """A run of small notes up or down to a note."""
    size = self.rng.choice((2, 2, 3, 4))
    step = self.rng.choice((-1, 1))
    self.out.append("<beam>")
    for away in range(size, 0, -1):
      self.out.append(
        f'<note grace="unacc" dur="16"{self._pitch(position - away * step)}'
        f"{self.stems}>{self._accidental(True)}</note>"
      )
    self.out.append("</beam>")

  def _tremolo(self, slot: Slot) -> str:
    """The attribute for strokes through the stem, or ""."""
    can = not (self.cue or slot.beamed) and slot.dur in ("2", "4", "8")
    if not (can and self.weights.adds(self.rng, "tremolo")):
      return ""
    strokes = self.weights.pick(self.rng, "tremolo").removeprefix("tremolo")
    return f' stem.mod="{strokes}slash"'

  def _happens(self, rate: str) -> bool:
    return self.weights.happens(self.rng, rate)

  def _step(self) -> int:
    """Moves the melody, mostly by steps, and back towards the staff."""
    if self.staff.kind == "percussion":
      return 4 if self.staff.lines > 1 else 0
    jump = self.rng.choice((-5, -4, -3, -2, -2, -1, -1, 0, 1, 1, 2, 2, 3, 4, 5))
    position = self.staff.position + jump
    if not self.low <= position <= self.high:
      position = self.staff.position - jump
    position = max(self.low, min(self.high, position))
    self.staff.position = position
    return position

  def _pitch(self, position: int) -> str:
    number = CLEFS[self.staff.clef][1] + position
    return f' pname="{_LETTERS[number % 7]}" oct="{number // 7}"'

  def _accidental(self, small: bool = False) -> str:
    rate = "small_accidental" if small else "accidental"
    if self.staff.kind == "percussion" or not self._happens(rate):
      return ""
    # Small double accidentals have no class.
    among = ("accidentalFlat", "accidentalNatural", "accidentalSharp")
    name = self.weights.pick(self.rng, "accidental", among if small else None)
    return f'<accid accid="{_ACCIDENTALS[name]}"/>'

  def _articulation(self) -> str:
    """Up to two signs above or below the note, and maybe a bowing."""
    signs = []
    if self._happens("articulation"):
      signs.append(self.weights.pick(self.rng, "articulation"))
      if signs[0] == "articStaccato" and self.rng.random() < 0.15:
        signs.append(self.rng.choice(("articTenuto", "articAccent")))
    place = self.rng.choice(("", "", ' place="above"', ' place="below"'))
    found = "".join(
      f'<artic artic="{_ARTICULATIONS[s]}"{place}/>' for s in signs
    )
    if self.staff.kind == "strings" and self._happens("bowing"):
      bow = _ARTICULATIONS[self.weights.pick(self.rng, "bowing")]
      found += f'<artic artic="{bow}" place="above"/>'
    return found
