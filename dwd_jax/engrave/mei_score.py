"""A random score as MEI: its ensemble, meters, keys, barlines and measures."""

import dataclasses
import random

from dwd_jax.engrave.mei_layer import CLEFS, LayerWriter, Staff
from dwd_jax.engrave.mei_marks import measure_marks, staff_marks
from dwd_jax.engrave.mei_rhythm import fill_measure, measure_ticks
from dwd_jax.engrave.rarities import Rarities

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
_LABELS = {
  "strings": ("Violino", "Vl.", "Viola", "Vc."),
  "wind": ("Flauto", "Fl.", "Oboe", "Tromb.", "Fag."),
  "voice": ("S", "A", "T", "B"),
  "keyboard": ("Piano", "Pno.", "Organ"),
  "percussion": ("Tamb.", "Perc.", "Batteria"),
}

_HEAD = (
  '<?xml version="1.0" encoding="UTF-8"?>'
  '<mei xmlns="http://www.music-encoding.org/ns/mei" meiversion="5.0">'
  "<meiHead><fileDesc><titleStmt><title/></titleStmt><pubStmt/></fileDesc>"
  "</meiHead><music><body><mdiv><score>"
)
_TAIL = "</section></score></mdiv></body></music></mei>"
_SYLLABLES = ("la", "do", "mi", "so", "ah", "ti", "re", "fa", "no", "lu")
_NAMES = (
  "Pastorale", "Menuett", "Rondo", "Sonate", "Lied ohne Worte", "Prelude",
  "Etude No. 7", "Marsch", "Walzer", "Aria", "Air varié", "Canzona",
)  # fmt: skip
_AUTHORS = ("Anonymous", "arr. A. Keller", "J. Brandt (1803)", "trad.")
_METER_SIGNS = {
  "timeSigCommon": ('count="4" unit="4" sym="common"', 4, 4),
  "timeSigCutCommon": ('count="2" unit="2" sym="cut"', 2, 2),
}


@dataclasses.dataclass(frozen=True)
class Part:
  """Staves grouped by a brace or bracket, or one staff alone."""

  symbol: str
  staves: tuple[Staff, ...]
  label: str


class ScoreWriter:
  """Writes one score; the same generator state gives the same score."""

  def __init__(self, rng: random.Random, weights: Rarities):
    """Chooses the kind of score."""
    self.rng = rng
    self.weights = weights
    self.kind = weights.pick(rng, "score")
    self.parts = ensemble(rng, self.kind)
    self.staves = [staff for part in self.parts for staff in part.staves]
    self.pitched = [s for s in self.staves if s.kind != "percussion"]
    self.key = 0
    self.count, self.unit = 4, 4
    self.open_repeat = False
    self.volta = 0
    self.lyrics = self.kind == "choir" and self._happens("lyrics")

  def write(self, measures: int) -> str:
    """Writes a score of that many measures as an MEI document."""
    body = [_HEAD, self._score_def(), "<section>"]
    for number in range(1, measures + 1):
      body.append(self._measure(number, number == measures))
    body.append(_TAIL)
    return "".join(body)

  def _happens(self, rate: str) -> bool:
    return self.weights.happens(self.rng, rate)

  def _new_key(self) -> str:
    choices = [k for k in range(-7, 8) if k != self.key]
    # C major often: only there naturals are drawn.
    near = [1 / (1 + abs(k) / 3) if k else 3.0 for k in choices]
    self.key = self.rng.choices(choices, near)[0]
    letter = "f" if self.key < 0 else "s"
    sig = f"{abs(self.key)}{letter}" if self.key else "0"
    return f'<keySig sig="{sig}"/>'

  def _new_meter(self) -> str:
    name = self.weights.pick(self.rng, "meter")
    if name in _METER_SIGNS:
      meter, self.count, self.unit = _METER_SIGNS[name]
    else:
      self.count, self.unit = (int(n) for n in name.split("/"))
      meter = f'count="{self.count}" unit="{self.unit}"'
    return f"<meterSig {meter}/>"

  def _score_def(self) -> str:
    key, meter = self._new_key(), self._new_meter()
    signs = {
      s.number: meter if s.kind == "percussion" else key + meter
      for s in self.staves
    }
    title = ""
    if self._happens("title"):
      name, author = self.rng.choice(_NAMES), self.rng.choice(_AUTHORS)
      title = (
        '<pgHead><rend halign="center" valign="middle" fontsize="x-large" '
        f'fontweight="bold">{name}</rend><rend halign="right" '
        f'valign="bottom">{author}</rend></pgHead>'
      )
    lines = 1 if self.rng.random() < 0.3 else 5
    # A measure number would print over the octave sign of the clef.
    numbers = ' mnum.visible="false"' if "va" in self.staves[0].clef else ""
    group = staff_group(self.parts, signs, lines)
    return f"<scoreDef{numbers}>{title}{group}</scoreDef>"

  def _changes(self) -> str:
    """New key and time signatures before a measure."""
    out = ""
    if self.pitched and self._happens("key_change"):
      key = self._new_key()
      if len(self.pitched) < len(self.staves):
        key = "".join(
          f'<staffDef n="{s.number}">{key}</staffDef>' for s in self.pitched
        )
        key = f"<staffGrp>{key}</staffGrp>"
      out += f"<scoreDef>{key}</scoreDef>"
    if self._happens("meter_change"):
      out += f"<scoreDef>{self._new_meter()}</scoreDef>"
    return out

  def _measure(self, number: int, last: bool) -> str:
    """A measure with what precedes it."""
    before = self._changes() if number > 1 else ""
    bars = self._barlines(number, last)
    if len(self.staves) == 1 and number > 1 and self._happens("multi_rest"):
      measure = self._multi_rest(number)
    else:
      content, marks = [], []
      for staff in self.staves:
        written, found = self._staff(staff, number)
        content.append(written)
        marks.append(found)
      ticks = measure_ticks(self.count, self.unit)
      content += marks
      content.append(
        measure_marks(self.rng, self.weights, self.staves, ticks, self.unit)
      )
      if self._happens("navigation"):
        sign = self.rng.choice(("segno", "coda"))
        content.append(
          f'<repeatMark staff="1" place="above" tstamp="1" func="{sign}"/>'
        )
      measure = f'<measure n="{number}"{bars}>{"".join(content)}</measure>'
    if self.volta:
      measure = f'<ending n="{self.volta}" label="{self.volta}.">{measure}'
      measure += "</ending>"
    return before + measure

  def _barlines(self, number: int, last: bool) -> str:
    self.volta = 2 if self.volta == 1 else 0
    if last:
      return ' right="end"'
    if self.volta:
      return ""
    left = right = ""
    if self._happens("repeat"):
      if self.open_repeat and self.weights.adds(self.rng, "repeat_both"):
        right = ' right="rptboth"'
      elif self.open_repeat or (number > 1 and self.rng.random() < 0.3):
        right = ' right="rptend"'
        self.open_repeat = False
        self.volta = 1 if self._happens("volta") else 0
      else:
        left = ' left="rptstart"'
        self.open_repeat = True
    elif self.rng.random() < 0.03:
      right = ' right="dbl"'
    elif self.weights.adds(self.rng, "final"):
      right = ' right="end"'
    return left + right

  def _multi_rest(self, number: int) -> str:
    """Several measures of rest as one: a bar, or old long rests."""
    meter = ""
    kind = self.weights.pick(self.rng, "multi_rest")
    if kind == "restHBar":
      rest = f'<multiRest num="{self.rng.randrange(2, 60)}" block="true"/>'
    elif kind == "restLonga":
      rest = f'<multiRest num="{self.rng.randrange(2, 13)}" block="false"/>'
    else:
      # A hidden tuplet keeps the measure from growing as wide as it lasts.
      hidden = 'num.visible="false" bracket.visible="false"'
      rest = (
        f'<tuplet num="16" numbase="1" {hidden}><rest dur="maxima"/></tuplet>'
      )
      meter = ' metcon="false"'
    return (
      f'<measure n="{number}"{meter}><staff n="1"><layer n="1">{rest}</layer>'
      "</staff></measure>"
    )

  def _staff(self, staff: Staff, number: int) -> tuple[str, str]:
    """One staff of a measure, and its marks."""
    opening, closing = f'<staff n="{staff.number}">', "</staff>"
    if self._happens("measure_rest"):
      return f'{opening}<layer n="1"><mRest/></layer>{closing}', ""
    two = staff.kind in ("keyboard", "strings") and self._happens("two_voices")
    cue = not two and self._happens("cue")
    clef = ""
    others = [c for c in staff.clefs if c != staff.clef]
    if others and not two and self._happens("clef_change"):
      clef = self.weights.pick(self.rng, "clef", others)
    layers, events = [], []
    for layer, stems in enumerate(("up", "down") if two else ("",), 1):
      writer = LayerWriter(
        self.rng,
        self.weights,
        staff,
        f"m{number}s{staff.number}l{layer}e",
        stems,
        cue,
      )
      nodes = fill_measure(self.rng, self.weights, self.count, self.unit, cue)
      content = writer.write(nodes, clef)
      if self.lyrics:
        content = self._sing(content)
      layers.append(f'<layer n="{layer}">{content}</layer>')
      events.append(writer.events)
    marks = "".join(
      staff_marks(self.rng, self.weights, staff, found) for found in events
    )
    return opening + "".join(layers) + closing, marks

  def _sing(self, content: str) -> str:
    """Adds a syllable under every note."""
    verse = "<verse><syl>{}</syl></verse></note>"
    parts = content.split("</note>")
    return (
      "".join(
        part + verse.format(self.rng.choice(_SYLLABLES)) for part in parts[:-1]
      )
      + parts[-1]
    )


def ensemble(rng: random.Random, kind: str) -> list[Part]:
  """Parts from top to bottom; staves are numbered from 1.

  `kind` is a choice of the weights' group `score`.
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
      count = lines if staff.kind == "percussion" else 5
      out.append(
        f'<staffDef n="{staff.number}" lines="{count}">{label}'
        f"<clef {CLEFS[staff.clef][0]}/>{signs[staff.number]}</staffDef>"
      )
    if part.symbol:
      out.append("</staffGrp>")
  out.append("</staffGrp>")
  return "".join(out)
