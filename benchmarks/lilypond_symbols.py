"""Which symbol a grob of LilyPond is, in the words of DeepScores.

Conventions are those of docs/generated_pages.md, so that what a detector
learned on pages of verovio is asked for in the same words.
"""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from benchmarks.lilypond_svg import Grob, Part
from dwd_jax.core import compounds
from dwd_jax.engrave import outlines
from dwd_jax.engrave.outlines import Bounds
from dwd_jax.engrave.smufl_classes import Vocabulary

_SMALL_BELOW = 0.9  # of full size: grace and cue notes
_DIGITS = {
  "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5",
  "six": "6", "seven": "7", "eight": "8", "nine": "9",
}  # fmt: skip
_LENGTHS = ("8th", "16th", "32nd", "64th", "128th")
_ACCIDENTALS = {
  "flat": "Flat",
  "natural": "Natural",
  "sharp": "Sharp",
  "doublesharp": "DoubleSharp",
  "flatflat": "DoubleFlat",
}
_NOTEHEADS = {
  "noteheads.s2": "Black",
  "noteheads.s1": "Half",
  "noteheads.s0": "Whole",
  "noteheads.sM1": "DoubleWhole",
  "noteheads.sM1double": "DoubleWhole",
}
_RESTS = {
  "rests.M3": "restMaxima",
  "rests.M2": "restLonga",
  **dict.fromkeys(("rests.M1", "rests.M1o"), "restDoubleWhole"),
  **dict.fromkeys(("rests.0", "rests.0o"), "restWhole"),
  **dict.fromkeys(("rests.1", "rests.1o"), "restHalf"),
  "rests.2": "restQuarter",
  **{f"rests.{3 + i}": f"rest{name}" for i, name in enumerate(_LENGTHS)},
}
_CLEFS = {
  "clefs.G": "gClef",
  "clefs.F": "fClef",
  "clefs.percussion": "unpitchedPercussionClef1",
}
_C_CLEFS = {0: "cClefAlto", 2: "cClefTenor"}  # by steps from the middle line
# Above or below, by the direction of the grob where the glyph does not say.
_SCRIPTS = {
  "sforzato": "articAccent",
  "staccato": "articStaccato",
  "tenuto": "articTenuto",
  "staccatissimo": "articStaccatissimo",
  "marcato": "articMarcato",
  "fermata": "fermata",
}
# These mean the same wherever they are.
_SIGNS = {
  "scripts.segno": "segno",
  "scripts.coda": "coda",
  "scripts.upbow": "stringsUpBow",
  "scripts.downbow": "stringsDownBow",
  "scripts.trill": "ornamentTrill",
  "scripts.turn": "ornamentTurn",
  "scripts.reverseturn": "ornamentTurnInverted",
  "scripts.mordent": "ornamentMordent",
  "scripts.caesura.straight": "caesura",
  "scripts.caesura.curved": "caesura",
}
_NAME_OF_WORD = {word: name for name, word in compounds.WHOLES.items()}
_LETTERS = {
  "p": "dynamicPiano", "m": "dynamicMezzo", "f": "dynamicForte",
  "s": "dynamicS", "z": "dynamicZ", "r": "dynamicR",
}  # fmt: skip
_LETTER_GAP = 0.8  # staff spaces within a word of dynamics
# Grobs that are one symbol with all their parts.
_WHOLE = {
  "Stem": "stem",
  "Slur": "slur",
  "PhrasingSlur": "slur",
  "Tie": "tie",
  "LaissezVibrerTie": "tie",
  "RepeatTie": "tie",
  "TupletBracket": "tupletBracket",
  "OttavaBracket": "ottavaBracket",
  "MultiMeasureRestNumber": "restHNr",
  "StaffSymbol": "staff",
  "SystemStartBrace": "brace",
}
_EACH = {"Beam": "beam", "LedgerLineSpanner": "legerLine"}
# Where glyphs are read: elsewhere (tempo marks, figured bass) they are text.
_NOTES = {"NoteHead", "Dots", "Flag", "Rest", "MultiMeasureRest"}
_ACCIDENTAL_GROBS = {
  "Accidental", "AccidentalCautionary", "AccidentalSuggestion",
  "KeySignature", "KeyCancellation",
}  # fmt: skip
_CLEF_GROBS = {"Clef", "CueClef", "CueEndClef"}
_FINGERS = re.compile(r"[0-5]")


@dataclasses.dataclass(slots=True)
class Symbol:
  """A symbol of a page.

  Attributes:
    name: of its class.
    parts: what draws it.
    bounds: in staff spaces.
    position: of a notehead, see `engrave.labels.Found`.
    onset: in quarter notes; None for grace notes and what is no note or rest.
  """

  name: str
  parts: Sequence[Part]
  bounds: Bounds
  position: int | None = None
  onset: float | None = None


def symbols(
  grobs: Sequence[Grob], vocabulary: Vocabulary, unnamed: Counter[str]
) -> list[Symbol]:
  """Finds the symbols of a page; what two voices share counts once.

  Args:
    unnamed: gets the glyphs without a class, as `GROB GLYPH`, unless LilyPond
      sets words with them.
  """
  finder = _Finder(grobs, vocabulary, unnamed)
  once: dict[tuple, Symbol] = {}
  for grob in grobs:
    for symbol in finder.of(grob):
      name = vocabulary.label(symbol.name)
      if name:
        symbol.name = name
        key = (name, *(round(v, 2) for v in symbol.bounds))
        once.setdefault(key, symbol)
  return list(once.values())


class _Finder:
  """Looks grobs up."""

  def __init__(
    self,
    grobs: Sequence[Grob],
    vocabulary: Vocabulary,
    unnamed: Counter[str],
  ):
    self.known = vocabulary.known
    self.unnamed = unnamed
    self.by_stem: dict[str, list[Grob]] = {}
    for grob in grobs:
      if grob.name in ("NoteHead", "Stem", "Flag") and grob.data.get("stem"):
        self.by_stem.setdefault(grob.data["stem"], []).append(grob)

  def of(self, grob: Grob) -> Iterator[Symbol]:
    """The symbols of one grob."""
    parts = grob.parts
    if not parts:
      return
    if grob.name in _WHOLE:
      yield _symbol(_WHOLE[grob.name], parts)
    elif grob.name in _EACH:
      yield from (_symbol(_EACH[grob.name], [p]) for p in parts)
    elif grob.name == "StemTremolo":
      yield _symbol(f"tremolo{len(parts)}", parts)
    elif grob.name == "Hairpin":
      opens = (_number(grob.data.get("grow", "")) or 0) > 0
      kind = "Crescendo" if opens else "Diminuendo"
      yield _symbol(f"dynamic{kind}Hairpin", parts)
    elif grob.name == "Arpeggio":
      if any(p.glyph.startswith("scripts.arpeggio") for p in parts):
        yield _symbol("arpeggiato", parts)
    elif grob.name == "SustainPedal":
      yield from self._pedal(parts)
    elif grob.name == "TimeSignature":
      yield from self._meter(grob)
    elif grob.name in _CLEF_GROBS:
      yield from self._clef(grob)
    elif grob.name == "ClefModifier":
      number = "".join(_character(p) for p in parts)
      yield _symbol(f"clef{number}", parts)
    elif grob.name in ("TupletNumber", "Fingering"):
      yield from self._digits(grob)
    elif grob.name == "BarLine":
      dots = [p for p in parts if p.glyph == "dots.dot"]
      yield from (_symbol("repeatDot", [p]) for p in dots)
    else:
      yield from self._glyphs(grob)

  def _glyphs(self, grob: Grob) -> Iterator[Symbol]:
    """Grobs of glyphs that are symbols by themselves."""
    if grob.name in ("DynamicText", "TextScript"):
      yield from self._dynamics(grob.parts)
    for part in grob.parts:
      glyph = part.glyph
      if not glyph and grob.name == "MultiMeasureRest":
        continue
      if glyph in _SIGNS:
        yield _symbol(_SIGNS[glyph], [part])
      elif glyph.startswith("scripts."):
        yield from self._script(grob, part)
      elif glyph.startswith("accidentals."):
        yield from self._accidental(grob, part)
      elif grob.name in _NOTES:
        yield from self._note(grob, part)
    bars = [p for p in grob.parts if not p.glyph]
    if grob.name == "MultiMeasureRest" and bars:
      yield _symbol("restHBar", bars)
    if grob.name == "Flag":
      yield from self._grace(grob)

  def _note(self, grob: Grob, part: Part) -> Iterator[Symbol]:
    glyph = part.glyph
    small = "Small" if part.size < _SMALL_BELOW else ""
    found = None
    if glyph in _NOTEHEADS:
      steps = _step(grob)
      name = f"notehead{_NOTEHEADS[glyph]}"
      if "noteheadBlackOnLine" in self.known:
        name += "InSpace" if (steps or 0) % 2 else "OnLine"
      found = _symbol(name + small, [part])
      found.position = steps
    elif glyph == "dots.dot":
      found = _symbol("augmentationDot", [part])
    elif glyph in _RESTS:
      found = _symbol(_RESTS[glyph], [part])
    elif re.fullmatch(r"flags\.[ud][3-7]", glyph):
      way = "Up" if glyph[6] == "u" else "Down"
      name = f"flag{_LENGTHS[int(glyph[7]) - 3]}{way}"
      found = _symbol(name + small, [part])
    elif glyph not in ("flags.ugrace", "flags.dgrace"):
      self._leave(grob, part)
    if found and grob.name != "Flag" and not _is_grace(grob):
      found.onset = _number(grob.data.get("onset", ""))
    if found:
      yield found

  def _grace(self, flag: Grob) -> Iterator[Symbol]:
    """One grace note with a flag: head, stem, flag and slash together."""
    glyphs = [p.glyph for p in flag.parts]
    kinds = {"flags.u3": "StemUp", "flags.d3": "StemDown"}
    way = next((kinds[g] for g in glyphs if g in kinds), "")
    if way and _is_grace(flag):
      slash = {"flags.ugrace", "flags.dgrace"} & set(glyphs)
      kind = "Acciaccatura" if slash else "Appoggiatura"
      beside = self.by_stem.get(flag.data.get("stem", ""), [flag])
      parts = [part for grob in beside for part in grob.parts]
      yield _symbol(f"graceNote{kind}{way}", parts)

  def _accidental(self, grob: Grob, part: Part) -> Iterator[Symbol]:
    name = _ACCIDENTALS.get(part.glyph.removeprefix("accidentals."))
    if grob.name not in _ACCIDENTAL_GROBS or name is None:
      self._leave(grob, part)
    elif grob.name.startswith("Key"):
      yield _symbol(f"key{name}", [part])
    else:
      small = "Small" if part.size < _SMALL_BELOW else ""
      yield _symbol(f"accidental{name}{small}", [part])

  def _script(self, grob: Grob, part: Part) -> Iterator[Symbol]:
    """Articulations and fermatas."""
    glyph = part.glyph.removeprefix("scripts.")
    way = "Above" if (_number(grob.data.get("dir", "")) or 0) >= 0 else "Below"
    if glyph[:1] in "ud" and glyph[1:] in (*_SCRIPTS, "portato"):
      way = "Above" if glyph[0] == "u" else "Below"
      glyph = glyph[1:]
    if glyph == "portato":  # a line and a dot
      for name, bounds in _portato(part):
        yield Symbol(f"{_SCRIPTS[name]}{way}", [part], bounds)
    elif glyph in _SCRIPTS:
      yield _symbol(f"{_SCRIPTS[glyph]}{way}", [part])
    else:
      self._leave(grob, part)

  def _dynamics(self, parts: Iterable[Part]) -> Iterator[Symbol]:
    """Words of dynamics that are classes, else letters that are."""
    words: list[list[Part]] = []
    for part in parts:
      if part.glyph not in _LETTERS:
        continue
      x0 = part.mark.bounds[0]
      last = words[-1][-1].mark.bounds if words else (math.inf,) * 4
      if not last[0] < x0 < last[2] + _LETTER_GAP:
        words.append([])
      words[-1].append(part)
    for word in words:
      letters = "".join(p.glyph for p in word)
      if _NAME_OF_WORD.get(letters) in self.known:
        yield _symbol(_NAME_OF_WORD[letters], word)
      elif "dynamicS" in self.known or letters in ("p", "m", "f"):
        yield from (_symbol(_LETTERS[p.glyph], [p]) for p in word)
      else:
        self.unnamed[f"DynamicText {letters}"] += 1

  def _pedal(self, parts: Sequence[Part]) -> Iterator[Symbol]:
    stars = [p for p in parts if p.glyph == "pedal.*"]
    word = [p for p in parts if p.glyph.startswith("pedal.") and p not in stars]
    yield from (_symbol("keyboardPedalUp", [p]) for p in stars)
    if word:
      yield _symbol("keyboardPedalPed", word)

  def _meter(self, grob: Grob) -> Iterator[Symbol]:
    """Single digits, but 12 and 16 as one symbol where that is a class."""
    rows: dict[int, list[Part]] = {}
    signs = {"timesig.C44": "Common", "timesig.C22": "CutCommon"}
    for part in grob.parts:
      if part.glyph in signs:
        yield _symbol(f"timeSig{signs[part.glyph]}", [part])
      elif _character(part).isdecimal():
        rows.setdefault(round(part.mark.matrix[5]), []).append(part)
      else:
        self._leave(grob, part)
    for row in rows.values():
      number = "".join(_character(p) for p in row)
      if len(row) > 1 and f"timeSig{number}" in self.known:
        yield _symbol(f"timeSig{number}", row)
        continue
      for part in row:
        yield _symbol(f"timeSig{_character(part)}", [part])

  def _clef(self, grob: Grob) -> Iterator[Symbol]:
    for part in grob.parts:
      glyph = part.glyph.removesuffix("_change")
      change = "Change" if glyph != part.glyph else ""
      name = _CLEFS.get(glyph)
      if glyph == "clefs.C":
        name = _C_CLEFS.get(_step(grob) or 0)
      if name:
        yield _symbol(name + change, [part])
      else:
        self._leave(grob, part)

  def _digits(self, grob: Grob) -> Iterator[Symbol]:
    """Fingerings, and tuplets of one digit or of digits that are classes."""
    digits = [p for p in grob.parts if _character(p).isdecimal()]
    if grob.name == "Fingering":
      for part in digits:
        if _FINGERS.fullmatch(_character(part)):
          yield _symbol(f"fingering{_character(part)}", [part])
    elif len(grob.parts) == 1 or "tuplet1" in self.known:
      for part in digits:
        yield _symbol(f"tuplet{_character(part)}", [part])

  def _leave(self, grob: Grob, part: Part) -> None:
    self.unnamed[f"{grob.name} {part.glyph}"] += 1


def _symbol(name: str, parts: Sequence[Part]) -> Symbol:
  return Symbol(name, parts, outlines.union(p.mark.bounds for p in parts))


def _character(part: Part) -> str:
  """The character of a text, or the digit that a glyph shows; "" = neither."""
  if part.glyph.startswith("'"):
    return part.glyph[1:]
  name = part.glyph.removesuffix(".alt").rpartition(".")[2]
  return _DIGITS.get(name, "")


def _portato(part: Part) -> Iterator[tuple[str, Bounds]]:
  """The contours of a portato sign: ("tenuto" or "staccato", bounds)."""
  x0, _, x1, _ = part.mark.bounds
  for inside in part.contours():
    wide = inside[2] - inside[0] > 0.9 * (x1 - x0)
    yield ("tenuto" if wide else "staccato"), inside


def _number(text: str) -> float | None:
  return float(text) if text else None


def _step(grob: Grob) -> int | None:
  """Steps from the middle line of the staff upwards."""
  steps = _number(grob.data.get("pos", ""))
  return None if steps is None else round(steps)


def _is_grace(grob: Grob) -> bool:
  return grob.data.get("grace") == "1"
