"""A random score as MEI: staves, sections, meters, keys, barlines."""

import random
from collections.abc import Iterator

from dwd_jax.engrave.mei_layer import CLEFS, LayerWriter, Staff
from dwd_jax.engrave.mei_marks import measure_marks, staff_marks
from dwd_jax.engrave.mei_rhythm import fill_measure, measure_ticks
from dwd_jax.engrave.weights import Weights

_HEAD = (
  '<?xml version="1.0" encoding="UTF-8"?>'
  '<mei xmlns="http://www.music-encoding.org/ns/mei" meiversion="5.0">'
  "<meiHead><fileDesc><titleStmt><title>{title}</title></titleStmt><pubStmt/>"
  "</fileDesc></meiHead><music><body><mdiv><score>"
)
_TAIL = "</score></mdiv></body></music></mei>"
_STRINGS = (
  ("gClef", ("gClef", "gClef_8va")),
  ("gClef", ("gClef",)),
  ("cClefAlto", ("cClefAlto", "gClef", "cClefTenor")),
  ("fClef", ("fClef", "cClefTenor", "gClef", "cClefAlto")),
)
_WINDS = (
  ("gClef", ("gClef", "fClef", "cClefAlto")),
  ("gClef_8va", ("gClef_8va", "gClef")),
  ("gClef_15ma", ("gClef_15ma", "gClef")),
  ("gClef_15mb", ("gClef_15mb", "fClef")),
  ("fClef", ("fClef", "cClefTenor", "cClefAlto")),
  ("fClef_8vb", ("fClef_8vb", "fClef")),
  ("cClefTenor", ("cClefTenor", "fClef", "gClef")),
  ("cClefAlto", ("cClefAlto", "gClef", "fClef")),
)
_VOICES = (
  ("gClef", ("gClef",)),
  ("gClef", ("gClef",)),
  ("gClef_8vb", ("gClef_8vb",)),
  ("fClef", ("fClef",)),
)
_KEYBOARD = (
  ("gClef", ("gClef", "fClef", "gClef_8va")),
  ("fClef", ("fClef", "gClef", "fClef_8vb")),
)
_SYLLABLES = ["la", "do", "mi", "so", "ah", "ti", "re", "fa", "no", "lu"]
_NAMES = (
  ["Pastorale", "Menuett", "Rondo", "Sonate", "Lied", "Prelude", "Etude", "Marsch", "Walzer"]
)


class ScoreWriter:
  """Writes one score; the same generator state gives the same score."""

  def __init__(self, rng: random.Random, weights: Weights):
    """Chooses the kind of score.

    Args:
      rng: the source of chance.
      weights: what happens how often.
    """
    self.rng = rng
    self.weights = weights
    self.kind = weights.pick(rng, "score")
    self.staves, self.groups = _ensemble(rng, self.kind)
    self.key = 0
    self.count, self.unit = 4, 4
    self.open_repeat = False
    self.lyrics = self.kind == "choir" and weights.happens(rng, "lyrics")

  def write(self, measures: int) -> str:
    """The whole score.

    Args:
      measures: how many.

    Returns:
      An MEI document.
    """
    body = [_HEAD.format(title=self.rng.choice(_NAMES))]
    body.append(self._score_def())
    body.append("<section>")
    number = 1
    while number <= measures:
      for part in self._measure(number, number == measures):
        body.append(part)
      number += 1
    body.append("</section>")
    body.append(_TAIL)
    return "".join(body)

  def _happens(self, rate: str) -> bool:
    return self.weights.happens(self.rng, rate)

  def _new_key(self) -> str:
    if self.kind == "percussion":
      return "0"
    choices = [k for k in range(-7, 8) if k != self.key]
    near = [1 / (1 + abs(k) / 3) for k in choices]
    self.key = self.rng.choices(choices, near)[0]
    return f"{abs(self.key)}{'s' if self.key > 0 else 'f'}" if self.key else "0"

  def _new_meter(self) -> str:
    name = self.weights.pick(self.rng, "meter")
    sign = {
      "timeSigCommon": (4, 4, "common"),
      "timeSigCutCommon": (2, 2, "cut"),
    }.get(name)
    if sign is None:
      self.count, self.unit = (int(n) for n in name.split("/"))
      return f'count="{self.count}" unit="{self.unit}"'
    self.count, self.unit = sign[:2]
    return f'count="{sign[0]}" unit="{sign[1]}" sym="{sign[2]}"'

  def _score_def(self) -> str:
    key, meter = self._new_key(), self._new_meter()
    signs = f'<keySig sig="{key}"/><meterSig {meter}/>'
    out = ["<scoreDef>", "<staffGrp>"]
    at = 0
    for symbol, size, label in self.groups:
      if symbol:
        out.append(f'<staffGrp symbol="{symbol}" bar.thru="true">')
      if label:
        out.append(f"<label>{label}</label>" if symbol else "")
      for staff in self.staves[at : at + size]:
        lines = "1" if self.kind == "percussion" and size == 1 else "5"
        out.append(
          f'<staffDef n="{staff.number}" lines="{lines}">'
          f"<clef {CLEFS[staff.clef][0]}/>{signs}</staffDef>"
        )
      at += size
      if symbol:
        out.append("</staffGrp>")
    out += ["</staffGrp>", "</scoreDef>"]
    return "".join(out)

  def _measure(self, number: int, last: bool) -> Iterator[str]:
    """What comes before the measure, and the measure."""
    change = ""
    if number > 1 and self._happens("key_change"):
      change += f'<keySig sig="{self._new_key()}"/>'
    if number > 1 and self._happens("meter_change"):
      change += f"<meterSig {self._new_meter()}/>"
    if change:
      yield f"<scoreDef>{change}</scoreDef>"
    bars = self._barlines(number, last)
    yield f'<measure n="{number}"{bars}>'
    if len(self.staves) == 1 and number > 1 and self._happens("multi_rest"):
      yield self._multi_rest()
      yield "</measure>"
      return
    marks = []
    for staff in self.staves:
      content, found = self._staff(staff, number)
      yield content
      marks.append(found)
    ticks = measure_ticks(self.count, self.unit)
    yield "".join(marks)
    yield measure_marks(self.rng, self.weights, self.staves, ticks, self.unit)
    if self._happens("navigation"):
      sign = self.rng.choice(("segno", "coda"))
      yield f'<repeatMark staff="1" place="above" tstamp="1" func="{sign}"/>'
    yield "</measure>"

  def _barlines(self, number: int, last: bool) -> str:
    if last:
      return ' right="end"'
    left = right = ""
    if self._happens("repeat"):
      if self.open_repeat or (number > 1 and self.rng.random() < 0.3):
        right = ' right="rptend"'
        self.open_repeat = False
      else:
        left = ' left="rptstart"'
        self.open_repeat = True
    elif self.rng.random() < 0.03:
      right = ' right="dbl"'
    return left + right

  def _multi_rest(self) -> str:
    if self.rng.random() < 0.5:
      num, block = self.rng.randrange(2, 60), "true"
    else:
      num, block = self.rng.randrange(2, 13), "false"
    return (
      f'<staff n="1"><layer n="1"><multiRest num="{num}" block="{block}"/>'
      "</layer></staff>"
    )

  def _staff(self, staff: Staff, number: int) -> tuple[str, str]:
    """One staff of a measure and its marks."""
    opening, closing = f'<staff n="{staff.number}">', "</staff>"
    if self._happens("measure_rest"):
      ident = f"r{number}s{staff.number}"
      rest = f'<layer n="1"><mRest xml:id="{ident}"/></layer>'
      return opening + rest + closing, ""
    two = staff.kind in ("keyboard", "strings") and self._happens("two_voices")
    cue = not two and self._happens("cue")
    clef = ""
    if not two and self._happens("clef_change"):
      others = [c for c in staff.clefs if c != staff.clef]
      clef = self.rng.choice(others) if others else ""
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
      events += writer.events
    marks = staff_marks(self.rng, self.weights, staff, events)
    return opening + "".join(layers) + closing, marks

  def _sing(self, content: str) -> str:
    """A syllable under every note."""
    verse = "<verse><syl>{}</syl></verse></note>"
    parts = content.split("</note>")
    return (
      "".join(
        part + verse.format(self.rng.choice(_SYLLABLES)) for part in parts[:-1]
      )
      + parts[-1]
    )


def _ensemble(
  rng: random.Random, kind: str
) -> tuple[list[Staff], list[tuple[str, int, str]]]:
  """Staves, and groups of them as (symbol, number of staves, label)."""
  if kind == "piano":
    parts, sorts, groups = _KEYBOARD, ["keyboard"] * 2, [("brace", 2, "")]
  elif kind == "quartet":
    parts, sorts, groups = _STRINGS, ["strings"] * 4, [("bracket", 4, "")]
  elif kind == "choir":
    parts, sorts, groups = _VOICES, ["voice"] * 4, [("bracket", 4, "")]
  elif kind == "duo":
    sort = rng.choice(("strings", "wind", "voice"))
    pool = {"strings": _STRINGS, "wind": _WINDS, "voice": _VOICES}[sort]
    parts = (rng.choice(pool), *_KEYBOARD)
    sorts = [sort, "keyboard", "keyboard"]
    groups = [("", 1, ""), ("brace", 2, "")]
  elif kind == "percussion":
    parts, sorts, groups = (("perc", ("perc",)),), ["percussion"], [("", 1, "")]
  else:
    sort = rng.choice(("strings", "wind", "wind"))
    parts = (rng.choice(_STRINGS if sort == "strings" else _WINDS),)
    sorts, groups = [sort], [("", 1, "")]
  staves = [
    Staff(number, clef, clefs, sort)
    for number, ((clef, clefs), sort) in enumerate(
      zip(parts, sorts, strict=True), 1
    )
  ]
  return staves, groups
