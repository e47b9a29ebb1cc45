"""When notes and rests begin, counted from the durations in MEI.

Verovio's own table of times is not used: it ends the process for some scores.
"""

from collections.abc import Iterator

from lxml import etree  # pyright: ignore

_ID = "{http://www.w3.org/XML/1998/namespace}id"
_LONG = {"breve": 8, "long": 16, "maxima": 32}  # quarter notes
_WHOLE_MEASURE = ("mRest", "mSpace", "mRpt", "multiRest", "multiRpt")
_INSIDE = ("beam", "tuplet", "fTrem", "bTrem", "graceGrp", "layer")


def of_score(mei: str) -> dict[str, float]:
  """Onsets of notes, chords and rests by their ids, in quarter notes.

  Repeats are not played. What follows something of unknown length in its
  measure is left out, and so are grace notes; so is all if it is no MEI.
  """
  parser = etree.XMLParser(
    resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
  )
  reader = _Reader()
  try:
    root = etree.fromstring(mei.encode(), parser)
  except etree.XMLSyntaxError:
    return {}
  for element in root.iter():
    reader.read(element)
  return reader.onsets


class _Reader:
  """The state of one reading; `read` gets all elements in their order."""

  def __init__(self):
    self.onsets: dict[str, float] = {}
    self._start = 0.0  # of the measure
    self._full = 4.0  # length of a measure of this meter

  def read(self, element: etree._Element) -> None:
    """Notes a change of meter; counts through a measure."""
    kind = _kind(element)
    if kind in ("meterSig", "scoreDef", "staffDef"):
      prefix = "" if kind == "meterSig" else "meter."
      count = _number(element.get(f"{prefix}count"))
      unit = _number(element.get(f"{prefix}unit"))
      if count and unit:
        self._full = 4 * count / unit
    elif kind == "measure":
      ends = [
        self._layer(layer)
        for layer in element.iter()
        if _kind(layer) == "layer"
      ]
      self._start += max(ends, default=0.0) or self._full

  def _layer(self, layer: etree._Element) -> float:
    """Length of a layer's music; 0 if it does not say."""
    at = 0.0
    for event, factor in _events(layer, 1.0):
      kind = _kind(event)
      name = event.get(_ID)
      if name and kind in ("note", "chord", "rest", *_WHOLE_MEASURE):
        self.onsets[name] = self._start + at
      if kind == "multiRest":
        return self._full * (_number(event.get("num")) or 1)
      length = _length(event)
      if not length:
        return 0.0
      at += length * factor
    return at


def _events(
  parent: etree._Element, factor: float
) -> Iterator[tuple[etree._Element, float]]:
  """What takes time in a layer, with the factor of the tuplets around it."""
  for element in parent:
    kind = _kind(element)
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
    elif kind in ("note", "chord", "rest", "space", *_WHOLE_MEASURE, "beatRpt"):
      yield element, factor


def _length(event: etree._Element) -> float:
  """Quarter notes; 0 = unknown."""
  dur = event.get("dur", "")
  number = _number(dur)
  quarters = 4 / number if number else _LONG.get(dur, 0)
  dots = _number(event.get("dots"))
  dots = dots or sum(_kind(child) == "dot" for child in event)
  return quarters * (2 - 0.5 ** min(dots, 8))


def _number(text: str | None) -> int:
  """A whole number of at most six digits; 0 for others."""
  return int(text) if text and text.isdecimal() and len(text) < 7 else 0


def _kind(element: etree._Element) -> str:
  """The tag without its namespace; "" for comments."""
  tag = element.tag
  return tag.rpartition("}")[2] if isinstance(tag, str) else ""
