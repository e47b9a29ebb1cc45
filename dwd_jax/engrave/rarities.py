"""How often the writer uses which feature; users can set every number."""

import difflib
import random
from collections.abc import Iterable, Mapping

from dwd_jax.core.errors import InputError

# Probabilities per opportunity, which the comment names.
RATES: dict[str, float] = {
  "chord": 0.16,  # a note of a keyboard
  "double_stop": 0.05,  # a note of a string instrument
  "accidental": 0.10,  # a note
  "small_accidental": 0.3,  # a grace or cue note
  "articulation": 0.10,  # a note
  "ornament": 0.09,  # a note of a quarter or more
  "bowing": 0.06,  # a note of a string instrument
  "fingering": 0.10,  # a note of strings or keyboard
  "grace": 0.06,  # a note
  "arpeggio": 0.25,  # a chord
  "dynamic": 0.5,  # a staff's measure
  "hairpin": 0.05,  # a staff's measure
  "tie": 0.4,  # two equal notes in a row
  "slur": 0.15,  # a staff's measure
  "fermata": 0.06,  # a staff's measure
  "caesura": 0.04,  # a measure
  "pedal": 0.35,  # a measure of a keyboard
  "octave_line": 0.02,  # a staff's measure
  "text": 0.08,  # a measure
  "tempo": 0.03,  # a measure
  "two_voices": 0.10,  # a staff's measure
  "measure_rest": 0.05,  # a staff's measure
  "cue": 0.05,  # a staff's measure, all in small notes
  "ladder": 0.10,  # a beat, cut into ever shorter notes and rests
  "clef_change": 0.13,  # a staff's measure
  "key_change": 0.07,  # a measure
  "meter_change": 0.16,  # a measure
  "multi_rest": 0.14,  # a measure of a single instrument
  "repeat": 0.10,  # a measure
  "navigation": 0.09,  # a measure: segno, coda
  "volta": 0.3,  # a repeat
  "lyrics": 0.8,  # a score for voices
  "song": 0.15,  # another score: words under one staff
  "chord_symbols": 0.2,  # a score
  "rehearsal_marks": 0.2,  # a score
  "title": 0.45,  # a score
  "text_faces": 0.8,  # a score: texts in other faces than verovio's
  "fingers_beside": 0.06,  # a page: digits beside its noteheads
  "expressions": 0.4,  # a page: words behind some of its dynamics
  "page_texts": 0.7,  # a page: numbers and lines in its margins
  "text_page": 0.03,  # a score: a page of text instead
  "ossia": 0.08,  # a score
  "long_chords": 0.07,  # a staff's measure of strings or a keyboard
  "barline": 0.08,  # a measure: another than a single one
  "repeat_dots": 0.15,  # a page, in all spaces of its repeat barlines
  "bare_strokes": 0.08,  # a page, with beams, stems and bars without notes
  # Of scores from files, which `--scores` names.
  "from_file": 0.5,  # a score
  "file_from_within": 0.8,  # a score: begins anywhere
  "file_transposed": 0.6,  # a score
  "file_fewer_parts": 0.25,  # a score
  "file_without_lyrics": 0.25,  # a score
  "file_reduced_solo": 0.3,  # a score of single staves and a piano
  "file_other_clef": 0.1,  # a part on one staff
  # Set by vocabularies that have names for them. 0 draws nothing from the
  # random generator, so that old seeds keep their pages.
  "tremolo": 0.0,  # a note or chord with a stem of its own
  "rare_tuplet": 0.0,  # a beat: 2, 4, 7, 8, 9, 11, 12, 13 notes
  "rare_dynamic": 0.0,  # a dynamic: letters that have no class as a whole
  "breath": 0.0,  # a staff's measure
  "trill_line": 0.0,  # a staff's measure
  "pedal_line": 0.0,  # a pedal: a line instead of signs
  "repeat_both": 0.0,  # the end of a repeat: another begins
  "final": 0.0,  # a measure: a final barline
}

# Relative weights of alternatives, by group. Where alternatives are classes,
# they have the names of the classes.
CHOICES: dict[str, dict[str, float]] = {
  "score": {
    "solo": 4.0, "percussion": 0.8, "piano": 4.0, "duo": 1.5, "quartet": 1.5,
    "choir": 1.0, "band": 2.2,
  },
  "layout": {
    "plain": 12.0, "reduced_solo": 1.4, "orchestra": 0.8, "closed_choir": 0.8,
    "tablature": 0.8, "one_line": 0.5,
  },
  "spacing": {
    "usual": 9.0, "dense": 1.5, "sparse": 1.5, "short": 1.0, "snippet": 0.6,
  },
  "barline": {
    "rptboth": 3.0, "rptend": 2.0, "rptstart": 1.0, "end": 1.5, "heavy": 0.7,
    "dbl": 1.0, "dashed": 0.4, "dotted": 0.4,
  },
  "articulation": {
    "articStaccato": 1.2, "articAccent": 1.0, "articTenuto": 1.0,
    "articStaccatissimo": 1.0, "articMarcato": 1.0,
  },
  "bowing": {"stringsDownBow": 1.0, "stringsUpBow": 1.0},
  "ornament": {
    "ornamentTrill": 1.0, "ornamentTurn": 1.0, "ornamentTurnInverted": 1.0,
    "ornamentMordent": 1.0,
  },
  "dynamic": {
    "dynamicPiano": 1.2, "dynamicMezzo": 0.8, "dynamicForte": 1.2,
    "dynamicPPPPP": 0.9, "dynamicPPPP": 0.9, "dynamicPPP": 0.9,
    "dynamicPP": 1.0, "dynamicMP": 1.0, "dynamicMF": 1.2, "dynamicFF": 1.0,
    "dynamicFFF": 0.9, "dynamicFFFF": 0.9, "dynamicFFFFF": 0.9,
    "dynamicFortePiano": 0.9, "dynamicSforzando1": 0.9,
    "dynamicSforzato": 0.9, "dynamicRinforzando2": 0.9,
  },
  "accidental": {
    "accidentalFlat": 1.0, "accidentalNatural": 1.0, "accidentalSharp": 1.0,
    "accidentalDoubleSharp": 0.35, "accidentalDoubleFlat": 0.35,
  },
  "grace": {
    "graceNoteAcciaccatura": 1.2, "graceNoteAppoggiatura": 1.2,
    "grace_beam": 0.6, "grace_long": 1.4,
  },
  "meter": {
    "timeSigCommon": 2.0, "timeSigCutCommon": 1.8, "1/4": 0.4, "2/4": 1.0,
    "3/4": 1.2, "4/4": 1.2, "5/4": 1.1, "6/4": 0.4, "7/4": 0.7, "2/2": 0.6,
    "3/2": 0.6, "4/2": 2.2, "3/8": 0.7, "5/8": 1.1, "6/8": 0.9, "7/8": 0.8,
    "9/8": 0.9, "10/8": 1.6, "11/8": 0.4, "12/8": 1.2, "3/16": 0.5,
    "6/16": 0.5, "9/16": 0.6, "12/16": 0.8,
  },
  "clef": {"gClef": 1.0, "fClef": 1.0, "cClefAlto": 4.0, "cClefTenor": 4.0},
  "tremolo": {f"tremolo{strokes}": 1.0 for strokes in range(1, 6)},
  "multi_rest": {"restHBar": 1.0, "restLonga": 0.8, "restMaxima": 0.8},
}  # fmt: skip


class Rarities:
  """Rates and choices, drawn from with a random generator."""

  def __init__(self, changes: Mapping[str, float] | None = None):
    """The defaults with some values changed.

    Args:
      changes: name of a rate or choice -> value; a name in several groups
        changes all of them.

    Raises:
      InputError: a name is unknown or a value no weight.
    """
    self.rates = dict(RATES)
    self.choices = {group: dict(items) for group, items in CHOICES.items()}
    for name, value in (changes or {}).items():
      self._change(name, value)
    for group, items in self.choices.items():
      if not any(items.values()):
        raise InputError(
          f"weights: every choice of {group!r} is 0; leave one of "
          f"{', '.join(items)} above 0"
        )

  def _change(self, name: str, value: float) -> None:
    if not 0 <= value < float("inf"):
      raise InputError(f"weights: {name}={value} must be a number >= 0")
    found = False
    for table in (self.rates, *self.choices.values()):
      if name in table:
        table[name] = value
        found = True
    if not found:
      known = [*self.rates, *(n for c in self.choices.values() for n in c)]
      near = difflib.get_close_matches(name, known, 1)
      hint = f"did you mean {near[0]!r}?" if near else "--helpfull lists all"
      raise InputError(f"weights: {name!r} is unknown; {hint}")

  def happens(self, rng: random.Random, rate: str) -> bool:
    """Draws whether a feature occurs."""
    return rng.random() < self.rates[rate]

  def adds(self, rng: random.Random, rate: str) -> bool:
    """The same of a feature that draws nothing from `rng` at a rate of 0."""
    return bool(self.rates[rate]) and self.happens(rng, rate)

  def pick(
    self, rng: random.Random, group: str, among: Iterable[str] | None = None
  ) -> str:
    """Draws one of a group of choices, or of those in `among`."""
    items = self.choices[group]
    names = [n for n in among if n in items] if among is not None else items
    pairs = [(n, items[n]) for n in names]
    if not any(weight for _, weight in pairs):
      pairs = [(n, 1.0) for n, _ in pairs]
    return rng.choices([n for n, _ in pairs], [w for _, w in pairs])[0]
