"""Which symbol gets which name: the conventions of DeepScores."""

import collections

import engrave_helpers as helpers
import pytest

from dwd_jax.core.errors import InputError
from dwd_jax.engrave import smufl_classes

_NOTE = '<note xml:id="a" dur="4" pname="b" oct="4"/>'
_AT = 'staff="1" startid="#a"'


def _grace(more):
  return f'<note dur="8" pname="g" oct="4" {more}/>{_NOTE}'


@pytest.mark.parametrize(
  ("caption", "arguments", "expected"),
  [
    ("a C clef on line 3", {"clef": 'shape="C" line="3"'}, {"cClefAlto": 1}),
    ("a C clef on line 4", {"clef": 'shape="C" line="4"'}, {"cClefTenor": 1}),
    ("C clefs on other lines have no class",
     {"clef": 'shape="C" line="1"'}, {"cClefAlto": 0, "cClefTenor": 0}),
    ("the octave number is a symbol of its own",
     {"clef": 'shape="G" line="2" dis="8" dis.place="below"'},
     {"gClef": 1, "clef8": 1}),
    ("two octaves up",
     {"clef": 'shape="G" line="2" dis="15" dis.place="above"'},
     {"gClef": 1, "clef15": 1}),
    ("percussion", {"clef": 'shape="perc"'}, {"unpitchedPercussionClef1": 1}),
    ("a change of clef",
     {"layer": f'{_NOTE}<clef shape="C" line="4"/>{_NOTE}'},
     {"gClef": 1, "cClefTenor": 0, "cClefTenorChange": 1}),
    ("12 is one symbol, 8 another",
     {"signs": '<meterSig count="12" unit="8"/>'},
     {"timeSig12": 1, "timeSig8": 1, "timeSig1": 0, "timeSig2": 0}),
    ("16 below is one symbol",
     {"signs": '<meterSig count="6" unit="16"/>'},
     {"timeSig6": 1, "timeSig16": 1, "timeSig1": 0}),
    ("other two-digit numbers are digits",
     {"signs": '<meterSig count="10" unit="8"/>'},
     {"timeSig1": 1, "timeSig0": 1, "timeSig8": 1}),
    ("cut time", {"signs": '<meterSig count="2" unit="2" sym="cut"/>'},
     {"timeSigCutCommon": 1, "timeSig2": 0}),
    ("key signs are not accidentals", {"signs": '<keySig sig="3f"/>'},
     {"keyFlat": 3, "accidentalFlat": 0}),
    ("a slashed grace note is a group and its parts",
     {"layer": _grace('grace="unacc" stem.mod="1slash" stem.dir="up"')},
     {"graceNoteAcciaccaturaStemUp": 1, "noteheadBlackSmall": 1,
      "flag8thUpSmall": 1, "noteheadBlack": 1}),
    ("without a slash, stem down",
     {"layer": _grace('grace="acc" stem.dir="down"')},
     {"graceNoteAppoggiaturaStemDown": 1, "flag8thDownSmall": 1}),
    ("a beamed grace note is no group",
     {"layer": "<beam>" + _grace('grace="unacc"').replace(_NOTE, "") * 2
      + f"</beam>{_NOTE}"},
     {"graceNoteAppoggiaturaStemUp": 0, "noteheadBlackSmall": 2}),
    ("cue notes are small and no grace notes",
     {"layer": _grace('cue="true"')},
     {"noteheadBlackSmall": 1, "flag8thUpSmall": 1,
      "graceNoteAppoggiaturaStemUp": 0}),
    ("small signs of grace notes",
     {"layer": _grace('grace="acc" accid="s"')}, {"accidentalSharpSmall": 1}),
    ("several letters are one dynamic",
     {"marks": f"<dynam {_AT}>mf</dynam>"},
     {"dynamicMF": 1, "dynamicForte": 0, "dynamicMezzo": 0}),
    ("five of them too", {"marks": f"<dynam {_AT}>fffff</dynam>"},
     {"dynamicFFFFF": 1}),
    ("sf, sfz, rfz and fp are different",
     {"marks": "".join(f"<dynam {_AT}>{t}</dynam>"
                       for t in ("sf", "sfz", "rfz", "fp"))},
     {"dynamicSforzando1": 1, "dynamicSforzato": 1, "dynamicRinforzando2": 1,
      "dynamicFortePiano": 1}),
    ("words are no dynamics", {"marks": f"<dynam {_AT}>cresc.</dynam>"},
     {"dynamicPiano": 0}),
    ("fingers are text", {"marks": f"<fing {_AT}>4</fing>"},
     {"fingering4": 1}),
    ("other numbers are not", {"marks": f"<fing {_AT}>12</fing>"},
     {"fingering1": 0, "fingering2": 0}),
    ("a bar of rests, its number has no class",
     {"layer": '<multiRest num="12" block="true"/>'},
     {"restHBar": 1, "timeSig1": 0, "timeSig12": 0}),
    ("old long rests", {"layer": '<multiRest num="7" block="false"/>'},
     {"restLonga": 1, "restDoubleWhole": 1, "restWhole": 1}),
    ("the longest rest", {"layer": '<rest dur="maxima"/>'},
     {"restMaxima": 1}),
    ("a head that two voices share is one",
     {"layer": '<note dur="4" pname="b" oct="4" stem.dir="up"/></layer>'
               '<layer n="2"><note dur="4" pname="b" oct="4" '
               'stem.dir="down"/>'}, {"noteheadBlack": 1}),
    ("double dots are two", {"layer": '<note dur="4" dots="2" pname="b" '
                                      'oct="4"/>'}, {"augmentationDot": 2}),
    ("staccato knows its side",
     {"layer": '<note dur="4" pname="b" oct="4"><artic artic="stacc" '
               'place="above"/><artic artic="marc" place="below"/></note>'},
     {"articStaccatoAbove": 1, "articMarcatoBelow": 1}),
    ("turns", {"marks": f'<turn form="upper" {_AT}/>'
                        f'<turn form="lower" {_AT}/>'},
     {"ornamentTurn": 1, "ornamentTurnInverted": 1}),
    ("an arpeggio is one symbol",
     {"layer": '<chord xml:id="a" dur="4"><note pname="b" oct="4"/>'
               '<note pname="d" oct="4"/></chord>',
      "marks": "<arpeg startid='#a'/>"}, {"arpeggiato": 1}),
    ("a triplet's number",
     {"layer": f'<tuplet num="3" numbase="2">{_NOTE}</tuplet>'},
     {"tuplet3": 1}),
    ("a number that is no class",
     {"layer": f'<tuplet num="13" numbase="2">{_NOTE}</tuplet>'},
     {"tuplet3": 0}),
    ("metronome marks are text",
     {"marks": '<tempo staff="1" tstamp="1"><rend fontfam="smufl">&#xE1D5;'
               "</rend> = 60</tempo>"}, {"noteheadBlack": 1}),
  ],
)  # fmt: skip
def test_names(caption, arguments, expected):
  found = collections.Counter(helpers.names(**{"layer": _NOTE, **arguments}))
  assert {name: found[name] for name in expected} == expected, caption


def test_every_font_knows_its_clefs():
  for font in ("Leipzig", "Bravura", "Leland", "Gootville", "Petaluma"):
    found = helpers.names(
      f'{_NOTE}<clef shape="F" line="4"/>{_NOTE}',
      clef='shape="G" line="2" dis="8" dis.place="below"',
      font=font,
    )
    assert {"gClef", "clef8", "fClefChange"} <= set(found), font


def test_vocabulary_is_that_of_deepscores(shared_data):
  rows = (
    (shared_data / "deepscores_v1/DeepScores_classification/class_names.csv")
    .read_text()
    .split()
  )
  names = smufl_classes.get("deepscores_v1").names
  assert [f"{i},{name}" for i, name in enumerate(names)] == rows


def test_every_symbol_has_a_name_of_the_vocabulary():
  words = smufl_classes.get("deepscores_v1")
  assert len(words.names) == len(words.known) == 124
  assert set(words.glyphs.values()) <= words.known


def test_unknown_vocabulary():
  with pytest.raises(
    InputError, match="use deepscores_v1, deepscores_v2, printed or"
  ):
    smufl_classes.get("klingon")
