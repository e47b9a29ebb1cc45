"""Texts of a random score, as MEI: headings, lyrics, chord symbols, words.

They come from a random generator of their own, so that the music stays as it is
when their rates change.
"""

import random
from xml.sax.saxutils import escape

from dwd_jax.engrave import words
from dwd_jax.engrave.mei_layer import Staff
from dwd_jax.engrave.mei_rhythm import WHOLE, tstamp
from dwd_jax.engrave.rarities import Rarities

_SUNG = ("voice", "wind")  # kinds of staves without chords


class TextWriter:
  """Writes the texts of one score."""

  def __init__(
    self,
    rng: random.Random,
    weights: Rarities,
    staves: list[Staff],
    choir: bool,
  ):
    """Chooses which texts the score has.

    Args:
      staves: of the score, from top to bottom.
      choir: all staves are voices.
    """
    self.rng = rng
    self.weights = weights
    self.staves = staves
    self._language = words.language(rng)
    self._chords = self._happens("chord_symbols")
    self._roman = rng.random() < 0.1
    self._ascii = rng.random() < 0.4
    self._raised = rng.random() < 0.5
    self._rehearsals = self._happens("rehearsal_marks")
    self._enclosure = rng.choice(("box", "box", "circle", ""))
    self._letters = rng.random() < 0.6
    self._mark = 0
    self._sung: set[int] = set()
    if self._happens("lyrics" if choir else "song"):
      singers = [s.number for s in staves if s.kind in _SUNG]
      self._sung = set(singers if choir else singers[:1])
    self._verses = rng.choices((1, 2, 3, 4), (6, 3, 1, 0.5))[0]
    self._to_sing: dict[tuple[int, int], list[tuple[str, str]]] = {}

  def _happens(self, rate: str) -> bool:
    return self.weights.happens(self.rng, rate)

  def head(self) -> str:
    """The heading of the first page, "" if it has none."""
    rng = self.rng
    if not self._happens("title"):
      return ""
    large = rng.choice(("150%", "180%", "200%", "250%", "300%"))
    bold = rng.choice((' fontweight="bold"', ' fontweight="bold"', ""))
    title = _rend(words.title(rng), f'fontsize="{large}"{bold}')
    cells = [("center", "middle", title)]
    if rng.random() < 0.5:
      size = rng.choice(("80%", "100%", "120%"))
      style = rng.choice(("", ' fontstyle="italic"', ' fontweight="bold"'))
      below = _rend(words.subtitle(rng), f'fontsize="{size}"{style}')
      cells.append(("center", "middle", below))
    if rng.random() < 0.25:
      below = _rend(words.author(rng), 'fontsize="90%" fontstyle="italic"')
      cells.append(("center", "middle", below))
    for side, chance in (("right", 0.75), ("left", 0.45)):
      if rng.random() < chance:
        lines = [words.author(rng) for _ in range(rng.choice((1, 1, 2)))]
        style = rng.choice(("", "", ' fontstyle="italic"'))
        size = rng.choice(("80%", "90%", "100%"))
        cell = "<lb/>".join(
          _rend(line, f'fontsize="{size}"{style}') for line in lines
        )
        cells.append((side, "bottom", cell))
    return "<pgHead>{}</pgHead>".format(
      "".join(
        f'<rend halign="{across}" valign="{down}">{cell}</rend>'
        for across, down, cell in cells
      )
    )

  def measure(self, number: int, ticks: int, unit: int) -> str:
    """Texts of one measure, as MEI control elements.

    Args:
      number: of the measure, from 1.
      ticks: its length.
      unit: lower number of the meter.
    """
    rng = self.rng
    out = []
    if self._happens("text"):
      staff = rng.choice(self.staves)
      place = rng.choice(("above", "above", "below"))
      text = _rend(
        words.direction(rng),
        rng.choice(("", "", "", 'fontstyle="normal"', 'fontweight="bold"')),
      )
      when = tstamp(rng.choice((0, 0, ticks // 2)), unit)
      out.append(
        f'<dir staff="{staff.number}" place="{place}" {when}>{text}</dir>'
      )
    if self._happens("tempo") or (number == 1 and rng.random() < 0.4):
      out.append(
        '<tempo staff="1" place="above" tstamp="1">'
        f"{escape(words.tempo(rng))}{self._metronome()}</tempo>"
      )
    if self._chords:
      out += self._harmonies(ticks, unit)
    if self._rehearsals and rng.random() < 0.15:
      text = words.rehearsal(self._mark, self._letters)
      self._mark += 1
      if self._enclosure:
        text = f'<rend rend="{self._enclosure}">{text}</rend>'
      out.append(f'<reh staff="1" place="above" tstamp="1">{text}</reh>')
    return "".join(out)

  def _metronome(self) -> str:
    if self.rng.random() > 0.4:
      return ""
    note = f"&#x{self.rng.choice(('E1D5', 'E1D3', 'E1D7'))};"
    text = (
      f'<rend fontfam="smufl">{note}</rend> = {self.rng.randrange(40, 200)}'
    )
    return f" ({text})" if self.rng.random() < 0.7 else f" {text}"

  def _harmonies(self, ticks: int, unit: int) -> list[str]:
    """A chord symbol at the beginning of a measure, maybe another inside."""
    out = []
    for at, chance in ((0, 0.9), (ticks // 2, 0.45)):
      # Verovio does not keep them apart in short measures.
      if self.rng.random() > chance * min(1.0, ticks / WHOLE):
        continue
      root, tension, bass = words.chord(self.rng, self._roman, self._ascii)
      if self._raised and tension:
        tension = f'<rend rend="sup">{tension}</rend>'
      out.append(
        f'<harm staff="1" place="above" {tstamp(at, unit)}>{root}{tension}'
        f"{bass}</harm>"
      )
    return out

  def sing(self, staff: Staff, content: str) -> str:
    """Puts syllables under the notes of a layer, if the staff has words."""
    if staff.number not in self._sung:
      return content
    *notes, rest = content.split("</note>")
    return (
      "".join(note + self._under(staff, note) + "</note>" for note in notes)
      + rest
    )

  def _under(self, staff: Staff, note: str) -> str:
    if "grace=" in note.rpartition("<note")[2]:
      return ""
    return "".join(
      f'<verse n="{verse}">{self._syllable(staff.number, verse)}</verse>'
      for verse in range(1, self._verses + 1)
    )

  def _syllable(self, staff: int, verse: int) -> str:
    waiting = self._to_sing.setdefault((staff, verse), [])
    number = ""
    if not waiting:
      if self._verses > 1 and self.rng.random() < 0.3:
        number = f"<label>{verse}.</label>"
      for word in words.syllables(self.rng, self._language, 12):
        last = len(word) - 1
        for i, part in enumerate(word):
          place = "i" if not i else ("t" if i == last else "m")
          how = f' wordpos="{place}"' if last else ""
          if i < last:
            how += ' con="d"'
          elif self.rng.random() < 0.1:
            how += ' con="u"'
          waiting.append((part, how))
    text, how = waiting.pop(0)
    return f"{number}<syl{how}>{escape(text)}</syl>"


def _rend(text: str, how: str) -> str:
  return f"<rend {how}>{escape(text)}</rend>" if how else escape(text)
