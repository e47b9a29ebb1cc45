"""Who plays: staves with their clefs, groups, labels."""

import dataclasses
import random

from dwd_jax.engrave.mei_layer import CLEFS, Staff

# Instruments: (clef, clefs it may change to). Octave clefs never change.
_STRINGS = (
  ("gClef", ("gClef",)),
  ("gClef", ("gClef",)),
  ("cClefAlto", ("cClefAlto", "gClef")),
  ("fClef", ("fClef", "cClefTenor", "gClef")),
)
_WINDS = (
  ("gClef", ("gClef", "fClef", "cClefAlto", "cClefTenor")),
  ("gClef_8va", ()),
  ("gClef_15ma", ()),
  ("gClef_15mb", ()),
  ("fClef", ("fClef", "cClefTenor", "cClefAlto")),
  ("fClef_8vb", ()),
  ("cClefTenor", ("cClefTenor", "fClef", "gClef", "cClefAlto")),
  ("cClefAlto", ("cClefAlto", "cClefTenor", "gClef", "fClef")),
)
_VOICES = (
  ("gClef", ()),
  ("gClef", ()),
  ("gClef_8vb", ()),
  ("fClef", ()),
)
_KEYBOARD = (("gClef", ("gClef", "fClef")), ("fClef", ("fClef", "gClef")))
_PERCUSSION = (("perc", ()),)
_POOLS = {
  "strings": _STRINGS,
  "wind": _WINDS,
  "voice": _VOICES,
  "percussion": _PERCUSSION,
}
_LABELS = {
  "strings": ("Violino", "Vl.", "Viola", "Vc."),
  "wind": ("Flauto", "Fl.", "Oboe", "Tromb.", "Fag."),
  "voice": ("S", "A", "T", "B"),
  "keyboard": ("Piano", "Pno.", "Organ"),
  "percussion": ("Tamb.", "Perc.", "Batteria"),
}


@dataclasses.dataclass(frozen=True)
class Part:
  """Staves that belong together: a brace, a bracket or one staff."""

  symbol: str
  staves: tuple[Staff, ...]
  label: str


def ensemble(rng: random.Random, kind: str) -> list[Part]:
  """The parts of a score of that kind.

  Args:
    rng: the source of chance.
    kind: a choice of the weights' group `score`.

  Returns:
    Parts from top to bottom; staves are numbered from 1.
  """
  if kind == "piano":
    plan = [("brace", "keyboard", _KEYBOARD)]
  elif kind == "quartet":
    plan = [("bracket", "strings", _STRINGS)]
  elif kind == "choir":
    plan = [("bracket", "voice", _VOICES)]
  elif kind == "duo":
    sort = rng.choice(("strings", "wind", "voice", "percussion"))
    plan = [
      ("", sort, (rng.choice(_POOLS[sort]),)),
      ("brace", "keyboard", _KEYBOARD),
    ]
  elif kind == "band":
    sorts = ["wind", "wind", "percussion", *rng.choices(["strings", "wind"])]
    plan = [("", sort, (rng.choice(_POOLS[sort]),)) for sort in sorts]
  elif kind == "percussion":
    plan = [("", "percussion", _PERCUSSION)]
  else:
    sort = rng.choice(("strings", "wind", "wind"))
    plan = [("", sort, (rng.choice(_POOLS[sort]),))]
  labelled = rng.random() < 0.35
  parts, number = [], 1
  for symbol, sort, clefs in plan:
    staves = []
    for clef, others in clefs:
      staves.append(Staff(number, clef, others, sort))
      number += 1
    label = rng.choice(_LABELS[sort]) if labelled else ""
    parts.append(Part(symbol, tuple(staves), label))
  return parts


def staff_group(parts: list[Part], signs: dict[int, str], lines: int) -> str:
  """The MEI of all staves.

  Args:
    parts: of the ensemble.
    signs: key and time signature by staff number.
    lines: of a percussion staff.

  Returns:
    A `staffGrp` element.
  """
  out = ["<staffGrp>"]
  for part in parts:
    label = f"<label>{part.label}</label>" if part.label else ""
    if part.symbol:
      out.append(f'<staffGrp symbol="{part.symbol}" bar.thru="true">{label}')
      label = ""
    for staff in part.staves:
      count = lines if staff.kind == "percussion" else 5
      out.append(
        f'<staffDef n="{staff.number}" lines="{count}">{label}'
        f"<clef {CLEFS[staff.clef][0]}/>{signs[staff.number]}</staffDef>"
      )
    if part.symbol:
      out.append("</staffGrp>")
  out.append("</staffGrp>")
  return "".join(out)
