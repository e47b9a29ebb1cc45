"""Ensembles: the staves of a score, their clefs, groups and labels."""

import dataclasses
import random
from xml.sax.saxutils import escape

from dwd_jax.engrave import words
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
_VOICES = (("gClef", ()), ("gClef", ()), ("gClef_8vb", ()), ("fClef", ()))
_KEYBOARD = (("gClef", ("gClef", "fClef")), ("fClef", ("fClef", "gClef")))
_PERCUSSION = (("perc", ()),)
_POOLS = {
  "strings": _STRINGS,
  "wind": _WINDS,
  "voice": _VOICES,
  "percussion": _PERCUSSION,
}


@dataclasses.dataclass(frozen=True)
class Part:
  """Staves grouped by a brace or bracket, or one staff alone."""

  symbol: str
  staves: tuple[Staff, ...]
  label: str


# Symbol of the group, kind of its staves, the staves; for each part.
_Row = tuple[str, str, tuple[Staff, ...]]
_Plan = list[_Row]


def ensemble(rng: random.Random, kind: str) -> list[Part]:
  """Parts from top to bottom; staves are numbered from 1.

  `kind` is a choice of the weights' group `score`.
  """
  if kind == "piano":
    plan = [_piano()]
  elif kind == "quartet":
    plan = [("bracket", "strings", _staves(_STRINGS, "strings"))]
  elif kind == "choir":
    plan = [("bracket", "voice", _staves(_VOICES, "voice"))]
  elif kind == "duo":
    plan = [
      _solo(rng, rng.choice(("strings", "wind", "voice", "percussion"))),
      _piano(),
    ]
  elif kind == "band":
    sorts = ["wind", "wind", "percussion", *rng.choices(["strings", "wind"])]
    plan = [_solo(rng, sort) for sort in sorts]
  elif kind == "percussion":
    plan = [("", "percussion", _staves(_PERCUSSION, "percussion"))]
  else:
    plan = [_solo(rng, rng.choice(("strings", "wind", "wind")))]
  return _parts(rng, plan, 0.35)


def layout_parts(rng: random.Random, name: str, most: int) -> list[Part]:
  """The parts of a layout; `name` is a choice of the group `layout`.

  `most` staves at the most.
  """
  if name == "reduced_solo":
    solos = rng.choices(
      ("strings", "wind", "voice"), k=rng.choice((1, 1, 1, 2))
    )
    size = rng.uniform(0.6, 0.76)
    plan = [_solo(rng, sort, scale=size) for sort in solos]
    plan.append(_piano())
  elif name == "closed_choir":
    clefs = (("gClef", ()), ("fClef", ()))
    plan = [("bracket", "voice", _staves(clefs, "voice", voices=2))]
    if rng.random() < 0.4:
      plan.append(_piano())
  elif name == "tablature":
    plan = _tablature(rng)
  elif name == "one_line":
    plan = [
      _solo(rng, "percussion", lines=1) for _ in range(rng.choice((1, 2, 3)))
    ]
    if rng.random() < 0.5:
      plan.insert(0, _solo(rng, rng.choice(("wind", "strings", "voice"))))
  else:
    plan = _orchestra(rng, most)
  return _parts(rng, plan, 0.7)


def _parts(rng: random.Random, plan: _Plan, labelled: float) -> list[Part]:
  """Numbers the staves; that share of the scores has labels."""
  staves = (staff for *_, found in plan for staff in found)
  for number, staff in enumerate(staves, 1):
    staff.number = number
  if rng.random() < labelled:
    return [Part(s, found, escape(words.part(rng, k))) for s, k, found in plan]
  return [Part(symbol, found, "") for symbol, _, found in plan]


def _solo(rng: random.Random, sort: str, **more) -> _Row:
  """A part of one staff."""
  return "", sort, (_one(rng, sort, **more),)


def _piano() -> _Row:
  """A part of two staves in a brace."""
  return "brace", "keyboard", _staves(_KEYBOARD, "keyboard")


def _one(rng: random.Random, sort: str, **more) -> Staff:
  """A staff of one of the instruments of a sort."""
  clef, others = rng.choice(_POOLS[sort])
  return Staff(0, clef, others, sort, **more)


def _staves(clefs: tuple, sort: str, **more) -> tuple[Staff, ...]:
  return tuple(Staff(0, clef, others, sort, **more) for clef, others in clefs)


def _tablature(rng: random.Random) -> _Plan:
  """Tablature of four or six lines, mostly below a staff with the notes."""
  lines, clef = rng.choice(((6, "gClef_8vb"), (6, "gClef"), (4, "fClef_8vb")))
  tab = Staff(0, "tab", (), "tablature", lines=lines)
  tab.durations = rng.random() < 0.4
  notes = Staff(0, clef, (), "strings")
  form = rng.random()
  if form < 0.2:
    return [("", "tablature", (tab,))]
  plan: _Plan = [("bracket", "tablature", (notes, tab))]
  if form < 0.45:
    plan.insert(0, _solo(rng, "voice"))
  return plan


def _orchestra(rng: random.Random, most: int) -> _Plan:
  """Families in brackets, a keyboard in a brace, one-line percussion."""
  plan: _Plan = []
  for sort, fewest, many in (("wind", 2, 5), ("wind", 1, 4)):
    size = rng.randint(fewest, many)
    staves = tuple(_one(rng, sort) for _ in range(size))
    plan.append(("bracket", sort, staves))
  for _ in range(rng.choice((0, 1, 1, 2))):
    lines = rng.choice((1, 1, 5))
    plan.append(_solo(rng, "percussion", lines=lines))
  if rng.random() < 0.4:
    plan.append(_piano())
  strings = _staves(_STRINGS, "strings")
  if rng.random() < 0.5:
    strings += _staves((("fClef", ()),), "strings")
  plan.append(("bracket", "strings", strings))
  while sum(len(staves) for *_, staves in plan) > most and len(plan) > 1:
    plan.pop(0)
  return plan


def staff_group(parts: list[Part], signs: dict[int, str], lines: int) -> str:
  """The `staffGrp` element of all staves.

  Args:
    signs: key and time signature by staff number.
    lines: of a percussion staff.
  """
  out = ["<staffGrp>"]
  for part in parts:
    label = f"<label>{part.label}</label>" if part.label else ""
    if part.symbol:
      out.append(f'<staffGrp symbol="{part.symbol}" bar.thru="true">{label}')
      label = ""
    for staff in part.staves:
      out.append(_staff_def(staff, label, signs[staff.number], lines))
    if part.symbol:
      out.append("</staffGrp>")
  out.append("</staffGrp>")
  return "".join(out)


def _staff_def(staff: Staff, label: str, signs: str, lines: int) -> str:
  count = staff.lines
  if staff.kind == "percussion" and count == 5:
    count = lines
  more = f' scale="{100 * staff.scale:.0f}%"' if staff.scale != 1 else ""
  if staff.kind == "tablature":
    more += ' notationtype="tab.guitar"'
  return (
    f'<staffDef n="{staff.number}" lines="{count}"{more}>{label}'
    f"<clef {CLEFS[staff.clef][0]}/>{signs}</staffDef>"
  )
