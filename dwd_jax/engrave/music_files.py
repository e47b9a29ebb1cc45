"""Music from files: a random excerpt of a score, transposed and varied.

Files are hostile: sizes are bounded, archives are read in memory, XML that
defines entities is refused. MusicXML is cut before verovio sees it, as verovio
takes seconds to lay out a whole quartet.
"""

import dataclasses
import io
import pathlib
import random
import re
import zipfile
import zlib

from lxml import etree  # pyright: ignore

from dwd_jax.core import safe_xml
from dwd_jax.engrave.rarities import Rarities

EXTENSIONS = frozenset((".mei", ".musicxml", ".xml", ".mxl", ".krn", ".kern"))
_MOST_BYTES = 64 * 2**20  # of a file, and of what an archive holds
_CONTAINER = "META-INF/container.xml"
# Semitones, upwards or downwards: of the keys verovio takes the simplest.
_INTERVALS = ("1", "2", "3", "4", "5")
_STATE = (
  "divisions", "key", "time", "staves", "part-symbol", "clef", "staff-details",
  "transpose",
)  # of MusicXML's attributes, in the order of its schema  # fmt: skip
# Clef -> others and the octaves that keep the notes near the staff.
_CLEFS = {
  ("G", "2"): (("C", "3", -1), ("C", "4", -1), ("F", "4", -2)),
  ("F", "4"): (("C", "3", 1), ("C", "4", 1), ("G", "2", 2)),
  ("C", "3"): (("G", "2", 1), ("F", "4", -1), ("C", "4", 0)),
}


@dataclasses.dataclass(frozen=True)
class Excerpt:
  """What verovio is to load.

  Attributes:
    data: MusicXML, MEI or kern.
    options: of verovio.
    measures: first and last measure to select, from 1; "" = all.
  """

  data: str
  options: dict[str, str]
  measures: str = ""


def excerpt(
  path: pathlib.Path, rng: random.Random, weights: Rarities, notes: int
) -> Excerpt:
  """A random part of a score, from a random measure on.

  Args:
    weights: rates of the variations; see `rarities.RATES`.
    notes: about how many to take.

  Raises:
    ValueError: it is damaged, too large, or no known format.
  """
  kind, data = _read(path)
  options = {"inputFrom": kind}
  if weights.happens(rng, "file_transposed"):
    options["transpose"] = rng.choice(("", "-")) + rng.choice(_INTERVALS)
  if kind == "humdrum":
    text = data.decode(errors="replace")
    total = len(re.findall(r"^=\d", text, re.MULTILINE))
    counts = [len(text) / 8 / max(total, 1)] * total
    return Excerpt(text, options, _select(rng, weights, counts, notes))
  root = _parse(data)
  if kind == "mei":
    measures = root.findall(".//{*}measure")
    counts = [len(m.findall(".//{*}note")) for m in measures]
    text = etree.tostring(root, encoding="unicode")
    return Excerpt(text, options, _select(rng, weights, counts, notes))
  if root.tag != "score-partwise":
    raise ValueError(f"<{root.tag[:40]}> is not <score-partwise>")
  _vary(root, rng, weights)
  parts = [part.findall("measure") for part in root.findall("part")]
  counts = [
    sum(len(measure.findall("note")) for measure in column)
    for column in zip(*parts, strict=False)
  ]
  if not counts:
    raise ValueError("no measures")
  first, last = _span(rng, weights, counts, notes)
  for measures in parts:
    _cut(measures, first, last)
  return Excerpt(etree.tostring(root, encoding="unicode"), options)


def _read(path: pathlib.Path) -> tuple[str, bytes]:
  """The kind that verovio calls it, and the bytes of the score."""
  if path.stat().st_size > _MOST_BYTES:
    raise ValueError(f"more than {_MOST_BYTES >> 20} MiB")
  data = path.read_bytes()
  if data[:4] == b"PK\x03\x04":
    return "musicxml", _unzip(data)
  if path.suffix.lower() in (".krn", ".kern"):
    return "humdrum", data
  return ("mei" if b"music-encoding.org" in data[:4096] else "musicxml"), data


def _unzip(data: bytes) -> bytes:
  """The score in a compressed MusicXML file; nothing is written to disk."""
  try:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
      names = archive.namelist()
      if _CONTAINER in names:
        found = _parse(_member(archive, _CONTAINER)).iter("{*}rootfile")
        names = [item.get("full-path", "") for item in found]
      else:
        names = [n for n in names if n.endswith((".xml", ".musicxml"))]
      if not names:
        raise ValueError("the archive holds no score")
      return _member(archive, names[0])
  except (zipfile.BadZipFile, KeyError, NotImplementedError, OSError,
          RuntimeError, EOFError, zlib.error) as e:  # fmt: skip
    raise ValueError(f"damaged archive: {e}") from None


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
  with archive.open(name) as file:
    data = file.read(_MOST_BYTES + 1)  # sizes in the archive may lie
  if len(data) > _MOST_BYTES:
    raise ValueError(f"{name[:80]}: more than {_MOST_BYTES >> 20} MiB")
  return data


def _parse(data: bytes) -> etree._Element:
  try:
    root = safe_xml.parse(data, remove_comments=True, remove_pis=True)
  except etree.XMLSyntaxError as e:
    raise ValueError(f"damaged XML: {e}") from None
  dtd = root.getroottree().docinfo.internalDTD
  if dtd is not None and any(True for _ in dtd.iterentities()):
    raise ValueError("defines XML entities")
  return root


def _span(
  rng: random.Random, weights: Rarities, counts: list, notes: int
) -> tuple[int, int]:
  """A range of measures with about that many notes, at least one measure."""
  first, left = 0, 0.0
  if weights.happens(rng, "file_from_within"):
    # Late enough to be anywhere, early enough to fill most of a page.
    for index in range(len(counts) - 1, 0, -1):
      left += counts[index]
      if left > notes / 2:
        first = rng.randrange(index + 1)
        break
  last, taken = first, 0.0
  while last < len(counts) - 1 and taken < notes:
    taken += counts[last]
    last += 1
  return first, last


def _select(
  rng: random.Random, weights: Rarities, counts: list, notes: int
) -> str:
  """A span as `Excerpt.measures`."""
  if not counts:
    return ""
  first, last = _span(rng, weights, counts, notes)
  return f"{first + 1}-{last + 1}"


def _cut(measures: list, first: int, last: int) -> None:
  """Leaves these measures, the first with all signs that are in force."""
  state: dict[tuple[str, str], etree._Element] = {}
  for measure in measures[:first]:
    for attributes in measure.findall("attributes"):
      _keep(attributes, state)
  for measure in (*measures[:first], *measures[last + 1 :]):
    measure.getparent().remove(measure)
  if state:
    start = measures[first]
    for child in list(start):
      if child.tag in ("note", "backup", "forward"):
        break
      if child.tag == "attributes":
        _keep(child, state)
        start.remove(child)
    signs = sorted(state.items(), key=lambda item: _STATE.index(item[0][0]))
    attributes = etree.Element("attributes")
    attributes.extend(sign for _, sign in signs)
    start.insert(0, attributes)


def _keep(
  attributes: etree._Element, state: dict[tuple[str, str], etree._Element]
) -> None:
  """Notes the signs, which replace those before them."""
  for sign in attributes:
    if sign.tag in _STATE:
      state[sign.tag, sign.get("number", "1")] = sign


def _vary(root: etree._Element, rng: random.Random, weights: Rarities) -> None:
  """Fewer parts, other clefs, smaller staves, no lyrics."""
  if weights.happens(rng, "file_without_lyrics"):
    for lyric in root.findall(".//note/lyric"):
      lyric.getparent().remove(lyric)
  parts = root.findall("part")
  if len(parts) > 1 and weights.happens(rng, "file_fewer_parts"):
    kept = rng.sample(parts, rng.randrange(1, len(parts)))
    names = {part.get("id") for part in kept}
    for part in parts:
      if part not in kept:
        root.remove(part)
    for item in root.findall("part-list/*"):
      if item.tag == "part-group" or item.get("id") not in names:
        item.getparent().remove(item)
    parts = root.findall("part")
  solo = [p for p in parts if p.find("measure/attributes/staves") is None]
  for part in solo:
    if weights.happens(rng, "file_other_clef"):
      _change_clef(part, rng)
  if len(solo) < len(parts) and weights.happens(rng, "file_reduced_solo"):
    size = f"{rng.uniform(58, 78):.0f}"
    for part in solo:
      attributes = part.find("measure/attributes")
      if attributes is not None:
        details = etree.SubElement(attributes, "staff-details")
        etree.SubElement(details, "staff-size").text = size


def _change_clef(part: etree._Element, rng: random.Random) -> None:
  """Another clef throughout, the notes moved by octaves towards its staff."""
  clefs = part.findall(".//attributes/clef")
  signs = {(c.findtext("sign", ""), c.findtext("line", "")) for c in clefs}
  octaved = any(c.find("clef-octave-change") is not None for c in clefs)
  if len(signs) != 1 or octaved or not signs <= _CLEFS.keys():
    return
  sign, line, octaves = rng.choice(_CLEFS[signs.pop()])
  for clef in clefs:
    for name, value in (("sign", sign), ("line", line)):
      element = clef.find(name)
      if element is not None:
        element.text = value
  for octave in part.findall(".//pitch/octave"):
    if (octave.text or "").strip().isdigit():
      octave.text = str(min(max(int(octave.text) + octaves, 0), 9))
