"""When notes and rests begin, counted from the durations in MEI.

Where MEI has them (`dur.ppq`, of MusicXML), sounding durations count, as of
triplets that are not marked, else written ones.

Verovio's own table of times is not used: it ends the process for some scores.
"""

from collections.abc import Iterator

from lxml import etree  # pyright: ignore

from dwd_jax.core import safe_xml

_ID = "{http://www.w3.org/XML/1998/namespace}id"
_LONG = {"breve": 8, "long": 16, "maxima": 32}  # quarter notes
_WHOLE_MEASURE = ("mRest", "mSpace", "mRpt", "multiRest", "multiRpt")
_WITH_ONSET = {"note", "chord", "rest", *_WHOLE_MEASURE}
_TIMED = {*_WITH_ONSET, "space", "beatRpt"}
_INSIDE = {"beam", "tuplet", "fTrem", "bTrem"}
_METERS = ("{*}meterSig", "{*}scoreDef", "{*}staffDef")


def of_score(mei: str) -> dict[str, float]:
  """Onsets of notes, chords and rests by their ids, in quarter notes.

  Repeats are not played. What follows something of unknown length in its
  measure is left out, and so are grace notes; so is all if it is no MEI.
  """
  try:
    root = safe_xml.parse(mei)
  except etree.XMLSyntaxError:
    return {}
  onsets: dict[str, float] = {}
  start, full = 0.0, 4.0  # of the measure; its length in this meter
  pulses = 0  # of a quarter note
  for element in root.iter(*_METERS, "{*}measure"):
    if element.tag.endswith("}measure"):
      layers = element.iter("{*}layer")
      ends = [
        _read_layer(layer, start, full, pulses, onsets) for layer in layers
      ]
      start += max(ends, default=0.0) or full
      continue
    pulses = _number(element.get("ppq")) or pulses
    prefix = "" if element.tag.endswith("}meterSig") else "meter."
    count = _number(element.get(f"{prefix}count"))
    unit = _number(element.get(f"{prefix}unit"))
    if count and unit:
      full = 4 * count / unit
  return onsets


def _read_layer(
  layer: etree._Element,
  start: float,
  full: float,
  pulses: int,
  onsets: dict[str, float],
) -> float:
  """Length of a layer's music; 0 if it does not say. Adds to `onsets`."""
  at = 0.0
  for kind, event, factor in _events(layer, 1.0):
    name = event.get(_ID)
    if name and kind in _WITH_ONSET:
      onsets[name] = start + at
    if kind == "multiRest":
      return full * (_number(event.get("num")) or 1)
    sounds = _number(event.get("dur.ppq"))
    length = sounds / pulses if pulses and sounds else _length(event) * factor
    if not length:
      return 0.0
    at += length
  return at


def _events(
  parent: etree._Element, factor: float
) -> Iterator[tuple[str, etree._Element, float]]:
  """What takes time in a layer, with the factor of the tuplets around it."""
  for element in parent.iterchildren("{*}*"):  # no comments
    kind = element.tag.rpartition("}")[2]
    if kind == "graceGrp" or element.get("grace"):
      continue
    if kind in _INSIDE:
      share = factor
      if kind == "tuplet":
        num, base = (_number(element.get(k)) for k in ("num", "numbase"))
        share *= base / num if num and base else 1
      elif kind == "fTrem":  # each of both is written as long as they are
        share /= 2
      yield from _events(element, share)
    elif kind in _TIMED:
      yield kind, element, factor


def _length(event: etree._Element) -> float:
  """Quarter notes; 0 = unknown."""
  dur = event.get("dur", "")
  number = _number(dur)
  quarters = 4 / number if number else _LONG.get(dur, 0)
  dots = _number(event.get("dots")) or len(event.findall("{*}dot"))
  return quarters * (2 - 0.5 ** min(dots, 8))


def _number(text: str | None) -> int:
  """A whole number of at most six digits; 0 for others."""
  return int(text) if text and text.isdecimal() and len(text) < 7 else 0
