"""A random score as MEI: its meters, keys, barlines and measures."""

import dataclasses
import random

from dwd_jax.engrave import mei_tablature
from dwd_jax.engrave.mei_ensemble import ensemble, layout_parts, staff_group
from dwd_jax.engrave.mei_layer import LayerWriter, Staff
from dwd_jax.engrave.mei_marks import measure_marks, staff_marks
from dwd_jax.engrave.mei_rhythm import fill_measure, long_notes, measure_ticks
from dwd_jax.engrave.mei_texts import TextWriter
from dwd_jax.engrave.rarities import Rarities

_HEAD = (
  '<?xml version="1.0" encoding="UTF-8"?>'
  '<mei xmlns="http://www.music-encoding.org/ns/mei" meiversion="5.0">'
  "<meiHead><fileDesc><titleStmt><title/></titleStmt><pubStmt/></fileDesc>"
  "</meiHead><music><body><mdiv><score>"
)
_TAIL = "</section></score></mdiv></body></music></mei>"
_METER_SIGNS = {
  "timeSigCommon": ('count="4" unit="4" sym="common"', 4, 4),
  "timeSigCutCommon": ('count="2" unit="2" sym="cut"', 2, 2),
}


class ScoreWriter:
  """Writes one score; the same generator states give the same score."""

  def __init__(
    self,
    rng: random.Random,
    weights: Rarities,
    layout: random.Random | None = None,
    most_staves: int = 16,
  ):
    """Chooses the kind of score.

    Args:
      layout: draws layouts, ossias, chords of long notes and further barlines;
        None = there are none of them.
      most_staves: of a system, so that it fits on a page.
    """
    self.rng = rng
    self.layout = layout
    self.weights = weights
    self.kind = weights.pick(rng, "score")
    self.parts = ensemble(rng, self.kind)
    name = weights.pick(layout, "layout") if layout else "plain"
    if layout and name != "plain":
      self.kind = name
      self.parts = layout_parts(layout, name, most_staves)
    self.staves = [staff for part in self.parts for staff in part.staves]
    self.with_notes = [s for s in self.staves if s.kind != "tablature"]
    self.pitched = [s for s in self.with_notes if s.kind != "percussion"]
    self.key = 0
    self.count, self.unit = 4, 4
    self.open_repeat = False
    self.volta = 0
    self.texts = TextWriter(
      random.Random(f"texts {rng.random()}"),
      weights,
      self.staves,
      choir=self.kind in ("choir", "closed_choir"),
    )
    # The staff with ossias (0 = none); how many more measures one lasts.
    self.ossia = self.ossia_left = 0
    if layout and self.pitched and self._more("ossia"):
      self.ossia = layout.choice(self.pitched).number

  def write(self, measures: int) -> str:
    """Writes a score of that many measures as an MEI document."""
    body = [_HEAD, self._score_def(), "<section>"]
    for number in range(1, measures + 1):
      body.append(self._measure(number, number == measures))
    body.append(_TAIL)
    return "".join(body)

  def _happens(self, rate: str) -> bool:
    return self.weights.happens(self.rng, rate)

  def _more(self, rate: str) -> bool:
    """Whether something happens that only scores with a layout have."""
    return self.layout is not None and self.weights.happens(self.layout, rate)

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
    own = {"percussion": meter, "tablature": ""}
    signs = {s.number: own.get(s.kind, key + meter) for s in self.staves}
    lines = 1 if self.rng.random() < 0.3 else 5
    for staff in self.staves:
      if self.layout and staff.kind == "percussion":
        staff.lines = min(staff.lines, lines)
    # A measure number would print over the octave sign of the clef.
    numbers = ' mnum.visible="false"' if "va" in self.staves[0].clef else ""
    group = staff_group(self.parts, signs, lines)
    return f"<scoreDef{numbers}>{self.texts.head()}{group}</scoreDef>"

  def _changes(self) -> str:
    """New key and time signatures before a measure."""
    out = ""
    if self.pitched and self._happens("key_change"):
      out += self._change(self._new_key(), self.pitched)
    if self._happens("meter_change"):
      out += self._change(self._new_meter(), self.with_notes)
    return out

  def _change(self, sign: str, staves: list[Staff]) -> str:
    """A new sign for some of the staves."""
    if not staves:
      return ""
    if len(staves) < len(self.staves):
      own = (f'<staffDef n="{s.number}">{sign}</staffDef>' for s in staves)
      sign = f"<staffGrp>{''.join(own)}</staffGrp>"
    return f"<scoreDef>{sign}</scoreDef>"

  def _measure(self, number: int, last: bool) -> str:
    """A measure with what precedes it."""
    before = self._changes() if number > 1 else ""
    bars = self._barlines(number, last)
    single = len(self.staves) == 1 and self.kind != "tablature"
    if single and number > 1 and self._happens("multi_rest"):
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
        measure_marks(
          self.rng,
          self.weights,
          self.with_notes,
          ticks,
          self.unit,
        )
      )
      content.append(self.texts.measure(number, ticks, self.unit))
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
    elif self._more("barline"):
      assert self.layout is not None
      right = f' right="{self.weights.pick(self.layout, "barline")}"'
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
    if staff.kind == "tablature":
      nodes = fill_measure(self.rng, self.weights, self.count, self.unit)
      return opening + mei_tablature.layer(self.rng, staff, nodes) + closing, ""
    if self._happens("measure_rest"):
      return f'{opening}<layer n="1"><mRest/></layer>{closing}', ""
    two = staff.voices == 2 or (
      staff.kind in ("keyboard", "strings") and self._happens("two_voices")
    )
    cue = not two and self._happens("cue")
    clef = ""
    others = [c for c in staff.clefs if c != staff.clef]
    if others and not two and self._happens("clef_change"):
      clef = self.weights.pick(self.rng, "clef", others)
    chords = staff.kind in ("keyboard", "strings") and not (two or cue)
    chords = chords and self._more("long_chords")
    ossia = self._ossia(staff, number)
    layers, events = [], []
    for layer, stems in enumerate(("up", "down") if two else ("",), 1):
      writer = LayerWriter(
        self.rng,
        self.weights,
        staff,
        f"m{number}s{staff.number}l{layer}e",
        stems,
        cue,
        chords,
      )
      if chords:
        nodes = long_notes(self.rng, self.count, self.unit)
      else:
        nodes = fill_measure(self.rng, self.weights, self.count, self.unit, cue)
      content = writer.write(nodes, clef)
      if layer == 1:
        content = self.texts.sing(staff, content)
      layers.append(f'<layer n="{layer}">{content}</layer>')
      events.append(writer.events)
    marks = "".join(
      staff_marks(self.rng, self.weights, staff, found) for found in events
    )
    written = opening + "".join(layers) + closing
    return (f"<ossia>{ossia}{written}</ossia>" if ossia else written), marks

  def _ossia(self, staff: Staff, number: int) -> str:
    """Another version of a measure, on a small staff above; "" = none.

    An ossia lasts some measures; its clef is that of the staff.
    """
    if self.layout is None or staff.number != self.ossia:
      return ""
    if not self.ossia_left and self.layout.random() < 0.12:
      self.ossia_left = self.layout.choice((1, 2, 2, 3, 4))
    if not self.ossia_left:
      return ""
    self.ossia_left -= 1
    writer = LayerWriter(
      self.layout,
      self.weights,
      dataclasses.replace(staff),
      f"m{number}o{staff.number}e",
    )
    nodes = fill_measure(self.layout, self.weights, self.count, self.unit)
    content = f'<layer n="1">{writer.write(nodes)}</layer>'
    return f'<oStaff n="{staff.number}">{content}</oStaff>'
