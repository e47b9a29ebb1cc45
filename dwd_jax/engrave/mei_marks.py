"""Marks attached to notes: dynamics, ornaments, pedals, fingerings."""

import itertools
import random

from dwd_jax.engrave.mei_layer import Event, Staff
from dwd_jax.engrave.mei_rhythm import tstamp
from dwd_jax.engrave.rarities import Rarities

_DYNAMICS = {
  "dynamicPiano": "p", "dynamicMezzo": "m", "dynamicForte": "f",
  "dynamicPPPPP": "ppppp", "dynamicPPPP": "pppp", "dynamicPPP": "ppp",
  "dynamicPP": "pp", "dynamicMP": "mp", "dynamicMF": "mf", "dynamicFF": "ff",
  "dynamicFFF": "fff", "dynamicFFFF": "ffff", "dynamicFFFFF": "fffff",
  "dynamicFortePiano": "fp", "dynamicSforzando1": "sf",
  "dynamicSforzato": "sfz", "dynamicRinforzando2": "rfz",
}  # fmt: skip
# Without a name for the whole; some are one glyph in SMuFL all the same.
_RARE_DYNAMICS = (
  "sff", "sffp", "ffz", "fzp", "ffp", "mfp", "fpp", "rfp", "mpf", "fz", "rf",
  "pf", "sfp", "sfpp", "sffz",
)  # fmt: skip
_ORNAMENTS = {
  "ornamentTrill": "<trill {}/>",
  "ornamentTurn": '<turn form="upper" {}/>',
  "ornamentTurnInverted": '<turn form="lower" {}/>',
  "ornamentMordent": '<mordent form="lower" {}/>',
}


def staff_marks(
  rng: random.Random, weights: Rarities, staff: Staff, events: list[Event]
) -> str:
  """Marks of one staff in one measure, as MEI control elements.

  `events` are those of the staff's layers in this measure.
  """
  out: list[str] = []
  notes = [e for e in events if e.kind != "rest"]
  at = f'staff="{staff.number}"'
  if events and weights.happens(rng, "fermata"):
    event = rng.choice(events)
    side = rng.choice(("above", "below"))
    out.append(f'<fermata {at} place="{side}" startid="#{event.ident}"/>')
  if not notes:
    return "".join(out)
  _spans(rng, weights, staff, notes, out)
  for event, follower in itertools.pairwise(events):
    same = event.kind == follower.kind == "note" and (
      event.position == follower.position
    )
    if same and weights.happens(rng, "tie"):
      span = f'startid="#{event.ident}" endid="#{follower.ident}"'
      out.append(f"<tie {at} {span}/>")
  for event in notes:
    _note_marks(rng, weights, staff, event, out)
  return "".join(out)


def _spans(
  rng: random.Random,
  weights: Rarities,
  staff: Staff,
  notes: list[Event],
  out: list[str],
) -> None:
  """A dynamic; a hairpin, a slur and an octave line over several notes."""
  at = f'staff="{staff.number}"'
  place = "above" if staff.kind == "voice" else "below"
  if weights.happens(rng, "dynamic"):
    sign = _DYNAMICS[weights.pick(rng, "dynamic")]
    if weights.adds(rng, "rare_dynamic"):
      sign = rng.choice(_RARE_DYNAMICS)
    start = rng.choice(notes).ident
    out.append(f'<dynam {at} place="{place}" startid="#{start}">{sign}</dynam>')
  if len(notes) > 2:
    first, last = sorted(rng.sample(range(len(notes)), 2))
    span = f'startid="#{notes[first].ident}" endid="#{notes[last].ident}"'
    if weights.happens(rng, "hairpin"):
      form = rng.choice(("cres", "dim"))
      out.append(f'<hairpin {at} place="{place}" form="{form}" {span}/>')
    if weights.happens(rng, "slur"):
      out.append(f"<slur {at} {span}/>")
    if weights.happens(rng, "octave_line"):
      out.append(f'<octave {at} dis="8" dis.place="above" {span}/>')
    if weights.adds(rng, "trill_line"):
      out.append(f'<trill {at} extender="true" {span}/>')
  if weights.adds(rng, "breath"):
    out.append(f'<breath {at} startid="#{rng.choice(notes).ident}"/>')


def _note_marks(
  rng: random.Random,
  weights: Rarities,
  staff: Staff,
  event: Event,
  out: list[str],
) -> None:
  at = f'staff="{staff.number}" startid="#{event.ident}"'
  if event.ticks >= 32 and weights.happens(rng, "ornament"):
    out.append(_ORNAMENTS[weights.pick(rng, "ornament")].format(at))
  if staff.kind in ("strings", "keyboard") and weights.happens(
    rng, "fingering"
  ):
    place = rng.choice(("above", "above", "below"))
    # Several on top of each other, as for the notes of a chord.
    for _ in range(rng.choice((1, 1, 1, 1, 2, 2, 3))):
      finger = rng.choice("012345")
      out.append(f'<fing {at} place="{place}">{finger}</fing>')
  if event.kind == "chord" and weights.happens(rng, "arpeggio"):
    out.append(f"<arpeg {at}/>")


def measure_marks(
  rng: random.Random,
  weights: Rarities,
  staves: list[Staff],
  ticks: int,
  unit: int,
) -> str:
  """Marks of a whole measure, pedal and caesura, as MEI control elements.

  Args:
    unit: lower number of the meter.
  """
  out = []
  keyboards = [s for s in staves if s.kind == "keyboard"]
  if keyboards and weights.happens(rng, "pedal"):
    start, end = sorted(rng.sample(range(ticks), 2))
    at = f'staff="{keyboards[-1].number}" place="below"'
    if weights.adds(rng, "pedal_line"):
      # Verovio draws a short line through the sign before it.
      is_long = 2 * (end - start) > ticks
      form = rng.choice(("line", "line", "pedline" if is_long else "line"))
      at += f' form="{form}"'
    for direction, when in (("down", start), ("up", max(end, start + 16))):
      if when < ticks:
        out.append(f'<pedal {at} dir="{direction}" {tstamp(when, unit)}/>')
  if weights.happens(rng, "caesura"):
    when = tstamp(rng.randrange(ticks // 2, ticks), unit)
    out += [
      f'<caesura staff="{staff.number}" {when}/>'
      for staff in staves
      if rng.random() < 0.8
    ]
  return "".join(out)
