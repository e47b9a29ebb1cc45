"""Class names, and which SMuFL symbol belongs to which class.

A vocabulary is a list of names (a csv file in the layout of DeepScores'
`class_names.csv`) and a table from symbols to names. `labels.py` decides what a
glyph alone cannot tell: a small notehead, the line of a C clef, a two-digit
time signature.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping

from dwd_jax.core import vocabulary
from dwd_jax.core.errors import InputError

_HERE = pathlib.Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Vocabulary:
  """The classes of one data set.

  Attributes:
    name: as given to `--vocabulary`.
    names: class names in the order of their ids.
    glyphs: SMuFL code point -> symbol; codes without a class are absent.
    renamed: symbol -> class name, where they differ.
    options: of verovio, to draw the symbols as the classes need them.
    rates: for symbols that other vocabularies lack; see `rarities.RATES`.
    sometimes: shares of the scores that have an option of verovio.
    layout: vocabulary of the layouts that hands draw; "" = it is engraved.
  """

  name: str
  names: tuple[str, ...]
  glyphs: Mapping[int, str]
  renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)
  options: Mapping[str, bool | int | float] = dataclasses.field(
    default_factory=dict
  )
  rates: Mapping[str, float] = dataclasses.field(default_factory=dict)
  sometimes: Mapping[str, float] = dataclasses.field(default_factory=dict)
  layout: str = ""

  @functools.cached_property
  def known(self) -> frozenset[str]:
    """The names as a set."""
    return frozenset(self.names)

  def label(self, symbol: str) -> str:
    """The class name of a symbol, "" if it has none."""
    name = self.renamed.get(symbol, symbol)
    return name if name in self.known else ""


def _glyphs(table: str) -> dict[int, str]:
  """Symbols by code point, from rows of a first code and consecutive symbols.

  `-` is a code without a class; an indented line continues a row.
  """
  found = {}
  for row in table.strip().replace("\n  ", " ").splitlines():
    first, *symbols = row.split()
    found |= {
      int(first, 16) + i: symbol
      for i, symbol in enumerate(symbols)
      if symbol != "-"
    }
  return found


# Reference: SMuFL 1.4, https://w3c.github.io/smufl/latest/tables/
# Articulations come in pairs above, below; wedges and strokes are further
# shapes of staccatissimo. E4F3: rests drawn with a ledger line.
_GLYPHS_V1 = _glyphs("""
E000 brace
E044 repeatDot - - segno coda
E050 gClef
E062 fClef
E069 unpitchedPercussionClef1
E07A gClefChange - fClefChange
E080 timeSig0 timeSig1 timeSig2 timeSig3 timeSig4 timeSig5 timeSig6 timeSig7
  timeSig8 timeSig9 timeSigCommon timeSigCutCommon
E0A0 noteheadDoubleWhole noteheadDoubleWhole noteheadWhole noteheadHalf
  noteheadBlack
E1E7 augmentationDot
E240 flag8thUp flag8thDown flag16thUp flag16thDown flag32ndUp flag32ndDown
  flag64thUp flag64thDown flag128thUp flag128thDown
E260 accidentalFlat accidentalNatural accidentalSharp accidentalDoubleSharp
  accidentalDoubleFlat
E4A0 articAccentAbove articAccentBelow articStaccatoAbove articStaccatoBelow
  articTenutoAbove articTenutoBelow
  articStaccatissimoAbove articStaccatissimoBelow
  articStaccatissimoAbove articStaccatissimoBelow
  articStaccatissimoAbove articStaccatissimoBelow
  articMarcatoAbove articMarcatoBelow
E4C0 fermataAbove fermataBelow
E4D1 caesura
E4E0 restMaxima restLonga restDoubleWhole restWhole restHalf restQuarter
  rest8th rest16th rest32nd rest64th rest128th - - - restHBar
E4F3 restDoubleWhole restWhole restHalf
E520 dynamicPiano dynamicMezzo dynamicForte
E528 dynamicPPPPP dynamicPPPP dynamicPPP dynamicPP dynamicMP dynamicMF
  - dynamicFF dynamicFFF dynamicFFFF dynamicFFFFF - dynamicFortePiano
  - dynamicSforzando1 - - dynamicSforzato - - - dynamicRinforzando2
E566 ornamentTrill ornamentTurn ornamentTurnInverted - - - - ornamentMordent
E610 stringsDownBow stringsDownBow stringsUpBow stringsUpBow
E650 keyboardPedalPed - - - - keyboardPedalUp
E883 tuplet3 - - tuplet6
""")
_GLYPHS_V2 = _GLYPHS_V1 | _glyphs("""
E220 tremolo1 tremolo2 tremolo3 tremolo4 tremolo5
E523 dynamicR dynamicS dynamicZ
E881 tuplet1 tuplet2 tuplet3 tuplet4 tuplet5 tuplet6 tuplet7 tuplet8 tuplet9
""")
# E4CE: comma, tick. E59D: parts of a wavy line, which are one symbol.
_GLYPHS_PRINTED = _GLYPHS_V2 | _glyphs("""
E4CE breathMark breathMark
E59D wiggleTrill wiggleTrill
""")
# Symbols of the first vocabulary with other names in the second.
_RENAMED_V2: dict[str, str] = {
  **{f"{letter}Clef{c}": f"clef{letter.upper()}"
     for letter in "gf" for c in ("", "Change")},
  **{f"cClef{line}{c}": f"clefC{line}"
     for line in ("Alto", "Tenor") for c in ("", "Change")},
  "unpitchedPercussionClef1": "clefUnpitchedPercussion",
  "dynamicPiano": "dynamicP",
  "dynamicMezzo": "dynamicM",
  "dynamicForte": "dynamicF",
}  # fmt: skip

# Classes of the printed page that the first vocabulary lacks, in the order of
# their ids. The box of a repeat is its lines; its dots are symbols themselves.
_MORE_PRINTED = (
  "stem", "beam", "slur", "tie", "legerLine", "barlineSingle", "barlineDouble",
  "barlineFinal", "repeatLeft", "repeatRight", "repeatRightLeft",
  "dynamicCrescendoHairpin", "dynamicDiminuendoHairpin", "tremolo1",
  "tremolo2", "tremolo3", "tremolo4", "tremolo5", "ottavaBracket",
  "tupletBracket", "keyboardPedalLine", "wiggleTrill", "breathMark", "restHNr",
  "tuplet1", "tuplet2", "tuplet4", "tuplet5", "tuplet7", "tuplet8", "tuplet9",
  "dynamicS", "dynamicZ", "dynamicR",
)  # fmt: skip


# Of MUSCIMA++ v2.0, what is found by its lines, without a network.
_STAVES_MUSCIMA = ("staff", "staffLine", "staffSpace", "staffGrouping")
# Staves follow each other at 8 staff spaces there, and notes are close.
_OPTIONS_MUSCIMA = {
  "spacingStaff": 6,
  "spacingSystem": 5,
  "spacingLinear": 0.16,
}
# Layouts that hands draw have nothing that nobody has written.
_RATES_MUSCIMA = {
  **dict.fromkeys(
    (
      "bowing", "fingering", "caesura", "pedal", "octave_line", "navigation",
      "volta", "lyrics", "song", "chord_symbols", "rehearsal_marks", "title",
      "text_faces", "fingers_beside", "expressions", "page_texts", "text_page",
      "ossia", "bare_strokes", "percussion", "tablature", "one_line",
      "restHBar", "restMaxima", "dashed", "dotted", "accidentalDoubleFlat",
      "9/8", "9/16",
    ),
    0.0,
  ),
  # The pages are full: 6 staves, 150 noteheads on average.
  "dense": 9.0,
  "usual": 4.0,
  "sparse": 0.3,
  "snippet": 0.2,
  "ladder": 0.02,
  "rare_tuplet": 0.02,
  "final": 0.015,
  "arpeggio": 0.05,
  "clef_change": 0.06,
}  # fmt: skip


def _read_names(file: str) -> tuple[str, ...]:
  rows = (_HERE / file).read_text().split()
  return tuple(row.split(",")[1] for row in rows)


@functools.cache
def get(name: str) -> Vocabulary:
  """The vocabulary of that name.

  Args:
    name: `deepscores_v1`, the 124 classes of DeepScores (Tuggener et al.,
      ICPR 2018), in the order of its class_names.csv; `deepscores_v2`, the
      136 of DeepScoresV2 (Tuggener et al., ICPR 2020), annotation set
      "deepscores", in the order of its category ids; `printed`, the 124 and
      what else is printed, one name for each symbol; `muscima_v2`, those of
      MUSCIMA++ v2.0 without staves and their parts, for pages that hands draw.

  Raises:
    InputError: the name is unknown.
  """
  if name == "deepscores_v1":
    return Vocabulary(name, _read_names("deepscores_v1.csv"), _GLYPHS_V1)
  if name == "deepscores_v2":
    return Vocabulary(
      name,
      _read_names("deepscores_v2.csv"),
      _GLYPHS_V2,
      _RENAMED_V2,
      # Letters have classes, not their combinations.
      {"dynamSingleGlyphs": True},
      {"tremolo": 0.04, "rare_tuplet": 0.06},
    )
  if name == "printed":
    return Vocabulary(
      name,
      (*_read_names("deepscores_v1.csv"), *_MORE_PRINTED),
      _GLYPHS_PRINTED,
      sometimes={"dynamSingleGlyphs": 0.4},
      rates={
        "tremolo": 0.04,
        "rare_tuplet": 0.06,
        "rare_dynamic": 0.13,
        "breath": 0.04,
        "trill_line": 0.02,
        "pedal_line": 0.4,
        "repeat_both": 0.4,
        "final": 0.015,
      },
    )
  if name == "muscima_v2":
    names = vocabulary.names_of(name)
    return Vocabulary(
      name,
      tuple(n for n in names if n not in _STAVES_MUSCIMA),
      glyphs={},
      options=_OPTIONS_MUSCIMA,
      rates=_RATES_MUSCIMA,
      layout="printed",
    )
  raise InputError(
    f"vocabulary {name!r} is unknown; use deepscores_v1, deepscores_v2, printed"
    " or muscima_v2"
  )
