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
  """

  name: str
  names: tuple[str, ...]
  glyphs: Mapping[int, str]
  renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)
  options: Mapping[str, bool] = dataclasses.field(default_factory=dict)
  rates: Mapping[str, float] = dataclasses.field(default_factory=dict)

  @functools.cached_property
  def known(self) -> frozenset[str]:
    """The names as a set."""
    return frozenset(self.names)

  def label(self, symbol: str) -> str:
    """The class name of a symbol, "" if it has none."""
    name = self.renamed.get(symbol, symbol)
    return name if name in self.known else ""


def _run(first: int, names: str) -> dict[int, str]:
  """Consecutive code points; `-` skips one."""
  return {
    first + i: name for i, name in enumerate(names.split()) if name != "-"
  }


# Reference: SMuFL 1.4, https://w3c.github.io/smufl/latest/tables/
_GLYPHS_V1: dict[int, str] = {
  0xE000: "brace",
  0xE044: "repeatDot",
  0xE047: "segno",
  0xE048: "coda",
  0xE050: "gClef",
  0xE062: "fClef",
  0xE069: "unpitchedPercussionClef1",
  0xE07A: "gClefChange",
  0xE07C: "fClefChange",
  **_run(0xE080, " ".join(f"timeSig{digit}" for digit in range(10))),
  **_run(0xE08A, "timeSigCommon timeSigCutCommon"),
  **_run(
    0xE0A0,
    "noteheadDoubleWhole noteheadDoubleWhole noteheadWhole noteheadHalf"
    " noteheadBlack",
  ),
  0xE1E7: "augmentationDot",
  **_run(
    0xE240,
    "flag8thUp flag8thDown flag16thUp flag16thDown flag32ndUp flag32ndDown"
    " flag64thUp flag64thDown flag128thUp flag128thDown",
  ),
  **_run(
    0xE260,
    "accidentalFlat accidentalNatural accidentalSharp accidentalDoubleSharp"
    " accidentalDoubleFlat",
  ),
  # Articulations come in pairs above, below; wedges and strokes are further
  # shapes of staccatissimo.
  **_run(
    0xE4A0,
    "articAccentAbove articAccentBelow articStaccatoAbove articStaccatoBelow"
    " articTenutoAbove articTenutoBelow"
    + " articStaccatissimoAbove articStaccatissimoBelow" * 3
    + " articMarcatoAbove articMarcatoBelow",
  ),
  **_run(0xE4C0, "fermataAbove fermataBelow"),
  **_run(0xE4D1, "caesura"),
  **_run(
    0xE4E0,
    "restMaxima restLonga restDoubleWhole restWhole restHalf restQuarter"
    " rest8th rest16th rest32nd rest64th rest128th",
  ),
  # Rests drawn with a ledger line.
  **_run(0xE4F3, "restDoubleWhole restWhole restHalf"),
  0xE4EE: "restHBar",
  **_run(0xE520, "dynamicPiano dynamicMezzo dynamicForte"),
  **_run(
    0xE528,
    "dynamicPPPPP dynamicPPPP dynamicPPP dynamicPP dynamicMP dynamicMF"
    " - dynamicFF dynamicFFF dynamicFFFF dynamicFFFFF -"
    " dynamicFortePiano - dynamicSforzando1 - - dynamicSforzato - - -"
    " dynamicRinforzando2",
  ),
  **_run(
    0xE566,
    "ornamentTrill ornamentTurn ornamentTurnInverted - - - - ornamentMordent",
  ),
  **_run(0xE610, "stringsDownBow stringsDownBow stringsUpBow stringsUpBow"),
  **_run(0xE650, "keyboardPedalPed - - - - keyboardPedalUp"),
  0xE883: "tuplet3",
  0xE886: "tuplet6",
}

_GLYPHS_V2: dict[int, str] = {
  **_GLYPHS_V1,
  **_run(0xE220, "tremolo1 tremolo2 tremolo3 tremolo4 tremolo5"),
  **_run(0xE523, "dynamicR dynamicS dynamicZ"),
  **_run(0xE881, " ".join(f"tuplet{digit}" for digit in range(1, 10))),
}
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
      "deepscores", in the order of its category ids.

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
  raise InputError(
    f"vocabulary {name!r} is unknown; use deepscores_v1 or deepscores_v2"
  )
