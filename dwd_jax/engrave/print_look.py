"""The look of one print: how large its symbols and how thick its lines are.

Each score draws its own, as fonts, engravers and plates differ. Sizes say
nothing about classes, which follow from the role of a symbol in the music.
"""

import dataclasses
import random
from collections.abc import Mapping

from dwd_jax.engrave.verovio_fonts import UNITS_PER_SPACE

MAX_VARIATION = 1.0
# Code points of symbols that change their size together, and by how much.
_GROUPS = {
  "sign": (range(0xE040, 0xE050), 0.15),
  "clef": (range(0xE050, 0xE070), 0.15),
  "clef change": (range(0xE07A, 0xE080), 0.08),  # besides that of clefs
  "time": (range(0xE080, 0xE0A0), 0.1),
  "head": (range(0xE0A0, 0xE100), 0.15),
  "flag": (range(0xE240, 0xE260), 0.1),
  "accidental": (range(0xE260, 0xE300), 0.15),
  "articulation": (range(0xE4A0, 0xE4C0), 0.15),
  "pause": (range(0xE4C0, 0xE4E0), 0.12),
  "rest": (range(0xE4E0, 0xE500), 0.1),
  "dynamic": (range(0xE520, 0xE560), 0.15),
  "ornament": (range(0xE560, 0xE600), 0.15),
  "bowing": (range(0xE610, 0xE620), 0.15),
  "pedal": (range(0xE650, 0xE660), 0.15),
  "tuplet": (range(0xE880, 0xE890), 0.15),
}
_ASPECT = 0.05  # by which heads are wider or narrower besides
_HEAD_SPACES = (0.85, 1.35)  # height of a black head, at least and at most
_DOTS = {0xE044: 1.0, 0xE1E7: 1.0, 0xE4A2: 0.85, 0xE4A3: 0.85}  # of the dot
_DOT_SPACES = (0.25, 0.55)
_THICK = 2.0  # times a thin line of a barline, at least
_BEAM = 0.24  # share of its thickness
# Options of verovio (usual value, least, most), in half staff spaces or shares.
_OPTIONS = {
  "barLineSeparation": (0.8, 0.6, 1.1),
  "barLineWidth": (0.3, 0.2, 0.5),
  "bracketThickness": (1.0, 0.7, 1.3),
  "graceFactor": (0.75, 0.62, 0.8),
  "hairpinSize": (3.0, 2.2, 3.4),
  "hairpinThickness": (0.2, 0.14, 0.36),
  "ledgerLineExtension": (0.54, 0.35, 0.8),
  "ledgerLineThickness": (0.25, 0.16, 0.42),
  "multiRestThickness": (2.0, 1.4, 2.4),
  "octaveLineThickness": (0.2, 0.14, 0.36),
  "pedalLineThickness": (0.2, 0.14, 0.36),
  "repeatBarLineDotSeparation": (0.36, 0.25, 0.6),
  "repeatEndingLineThickness": (0.15, 0.12, 0.4),
  "slurEndpointThickness": (0.1, 0.06, 0.2),
  "slurMidpointThickness": (0.6, 0.35, 0.8),
  "staffLineWidth": (0.16, 0.1, 0.28),
  "stemWidth": (0.2, 0.14, 0.34),
  "subBracketThickness": (0.2, 0.14, 0.36),
  "thickBarlineThickness": (1.0, 0.7, 1.5),
  "tieEndpointThickness": (0.1, 0.06, 0.2),
  "tieMidpointThickness": (0.5, 0.3, 0.7),
  "tupletBracketThickness": (0.2, 0.14, 0.36),
}


@dataclasses.dataclass(frozen=True)
class Look:
  """Sizes and thicknesses of one score; those of the font by default.

  Attributes:
    scales: width and height of groups of symbols, relative to the font's.
    dot: diameter of augmentation dots in staff spaces; 0 = the font's.
    beam: thickness of beams, relative to half a staff space.
    options: of verovio.
  """

  scales: Mapping[str, tuple[float, float]] = dataclasses.field(
    default_factory=dict
  )
  dot: float = 0.0
  beam: float = 1.0
  options: Mapping[str, float] = dataclasses.field(default_factory=dict)

  def scale(self, code: int, height: float) -> tuple[float, float]:
    """Width and height of a symbol, relative to those in the font.

    Args:
      height: of the symbol in the font, in its units.
    """
    if code in _DOTS and self.dot:
      factor = self.dot * _DOTS[code] * UNITS_PER_SPACE / height
      return factor, factor
    for name, (codes, _) in _GROUPS.items():
      if code in codes:
        return self.scales.get(name, (1.0, 1.0))
    return 1.0, 1.0


FONTS_OWN = Look()


def draw(rng: random.Random, variation: float, head_height: float) -> Look:
  """Draws the look of a score.

  Args:
    variation: 0 = what the font and verovio have, 1 = all that print shows.
    head_height: of the black notehead in the font, in its units.
  """
  if not variation:
    return FONTS_OWN
  scales = {}
  for name, (_, spread) in _GROUPS.items():
    factor = 1 + variation * spread * rng.uniform(-1, 1)
    aspect = 1 + variation * _ASPECT * rng.uniform(-1, 1)
    if name == "clef change":
      factor *= scales["clef"][1]
    if name == "head":
      low, high = (s * UNITS_PER_SPACE / head_height for s in _HEAD_SPACES)
      factor = min(max(factor, min(low, 1.0)), max(high, 1.0))
    wide = aspect if name == "head" else 1.0
    scales[name] = (factor * wide, factor)
  usual = sum(_DOT_SPACES) / 2
  dot = usual + variation * (rng.uniform(*_DOT_SPACES) - usual)
  beam = 1 + variation * _BEAM * rng.uniform(-1, 1)
  options = {
    name: normal + variation * (rng.uniform(low, high) - normal)
    for name, (normal, low, high) in _OPTIONS.items()
  }
  # Else a thick line looks like a thin one beside it.
  thick = _THICK * options["barLineWidth"]
  options["thickBarlineThickness"] = max(
    thick, options["thickBarlineThickness"]
  )
  return Look(scales, dot, beam, options)
